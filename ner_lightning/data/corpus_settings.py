"""Settings of the data: how files are read, how words are encoded, how batches are made."""

from dataclasses import dataclass
from typing import Literal

from ner_lightning.data.readers.read_options import (
    AnnotationRules,
    EmptyWords,
    FormatName,
    Misaligned,
    Overlapping,
    ReadOptions,
    SeveralTags,
)
from ner_lightning.data.tags.tag_names import read_tag_names
from ner_lightning.data.tags.type_names import read_renames
from ner_lightning.system.plain_settings import fixed
from ner_lightning.system.ranges import NonNegativeInt, PositiveFloat, PositiveInt, check_arguments

Unannotated = Literal["outside", "unknown"]


@dataclass(frozen=True)
class Files:
    """How a data set's files are read.

    Args:
        config: the Hub data set's configuration, where it has several.
        revision: the Hub data set's branch, tag or commit.
        format: conll, csv, jsonl, parquet, spacy, conllu, conll2012, webanno, pubtator or brat;
            null recognises it.
        words_column: the column or field with the words or the text: a name, or a number from 0 for columns
            without a header; null recognises it by what is in it.
        tags_column: the same with the tags or the entities.
        document_column: the same with what tells documents apart; in columns and CSV a sentence ends where it
            changes.
        tag_names: the tags that numbers in a file stand for, from 0, separated by commas, as in
            `O,B-PER,I-PER`; or a file with one per line, or JSON that maps tags to numbers.
        rename_types: new names of entity types, `OLD=NEW` separated by commas: types of one name are merged,
            and a type without a new name (`MISC=`) is left out.
        misaligned: an entity given by characters that begins or ends inside a word splits the word there, is
            expanded to the whole word, or is dropped.
        overlapping: of entities that share a word, keep the longest or the first in the file; refuse stops.
        several_tags: of several tags of one word, keep the first; refuse stops.
        empty_words: leave out a word without a visible character, and its tag; refuse stops.
        unannotated: what words outside of marked entities are in training: outside, or unknown where only
            some entities were marked. A single word's tag is unknown where it is `?`.
    """

    config: str | None = None
    revision: str | None = None
    format: FormatName | None = fixed("training", None)
    words_column: str | None = fixed("training", None)
    tags_column: str | None = fixed("training", None)
    document_column: str | None = fixed("training", None)
    tag_names: str | None = fixed("training", None)
    rename_types: str | None = fixed("training", None)
    misaligned: Misaligned = fixed("training", "split")
    overlapping: Overlapping = fixed("training", "refuse")
    several_tags: SeveralTags = fixed("training", "refuse")
    empty_words: EmptyWords = fixed("training", "refuse")
    unannotated: Unannotated = fixed("training", "outside")

    def __post_init__(self) -> None:
        check_arguments(type(self), vars(self), "data.files.")

    def options(self) -> ReadOptions:
        """The same as readers take it, with tags.

        Raises:
            UserError: one of `tag_names` is not a tag, or `rename_types` is malformed.
        """
        names = None if self.tag_names is None else read_tag_names(self.tag_names)
        renames = {} if self.rename_types is None else read_renames(self.rename_types)
        rules = AnnotationRules(
            self.misaligned, self.overlapping, self.several_tags, self.empty_words, names, renames
        )
        return ReadOptions(
            self.format, self.words_column, self.tags_column, self.document_column, rules=rules
        )


@dataclass(frozen=True)
class Limits:
    """How many sentences of a split are used.

    Args:
        train: train on the first sentences only; the entity types are those of all of them.
        valid: validate on the first sentences only.
    """

    train: PositiveInt | None = None
    valid: PositiveInt | None = None

    def __post_init__(self) -> None:
        check_arguments(type(self), vars(self), "data.limits.")


@dataclass(frozen=True)
class Supervision:
    """What training learns from beside gold tags, and how much sentences count.

    Args:
        sentence_weights: a file with how much each training sentence counts, as `data audit` writes it: lines
            of JSON with words and weight. Null counts all the same.
        teacher: a folder that `ner-lightning distill` wrote: what a trained tagger, or an ensemble, says of
            the training sentences and of text without tags.
        text_weight: how much a sentence of that text counts beside a training sentence.
    """

    sentence_weights: str | None = None
    teacher: str | None = None
    text_weight: PositiveFloat = fixed("training", 1.0)

    def __post_init__(self) -> None:
        check_arguments(type(self), vars(self), "data.supervision.")


@dataclass(frozen=True)
class Encoding:
    """How words become rows of sub-tokens.

    Args:
        max_length: the most sub-tokens in a window, special tokens included; longer sentences are split and
            stitched. Null takes 512, or as many as the backbone has positions where those are fewer.
        overlap: sub-tokens that consecutive windows of a long sentence share, words permitting.
        context: read consecutive sentences of a document together, a line each, up to this many sub-tokens;
            null reads each sentence alone. `batches.size` then counts such passages.
        margin: with `context`, also read up to this many sub-tokens of the document before each passage and
            after it, which are tagged in their own passages: no sentence is at the edge of what is read.
        repeats: write the text this many times more, a line each, and tag its last copy: right context for a
            causal model (Springer et al. 2024).
    """

    max_length: PositiveInt | None = None
    overlap: NonNegativeInt = 64
    context: PositiveInt | None = fixed("weights", None)
    margin: NonNegativeInt = 0
    repeats: NonNegativeInt = fixed("weights", 0)

    def __post_init__(self) -> None:
        check_arguments(type(self), vars(self), "data.encoding.")


@dataclass(frozen=True)
class Batches:
    """How sentences are put into batches.

    Args:
        size: sentences in a training batch, on each rank.
        eval_size: sentences in a validation or test batch.
        tokens: the most padded sub-tokens in a batch, instead of a number of sentences.
        packing: put a batch's sentences into one row without padding, each seeing itself alone; needs a
            backbone with rotary positions and attn_implementation auto, eager or sdpa.
    """

    size: PositiveInt = 8
    eval_size: PositiveInt = 32
    tokens: PositiveInt | None = None
    packing: bool = False

    def __post_init__(self) -> None:
        check_arguments(type(self), vars(self), "data.batches.")
