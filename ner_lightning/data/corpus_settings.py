"""Settings of the data: how files are read, how words are encoded, how batches are made."""

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ner_lightning.data.readers.char_spans import AnnotationRules, Misaligned, Overlapping
from ner_lightning.data.schemes import is_tag
from ner_lightning.data.sentence import read_lines
from ner_lightning.errors import UserError
from ner_lightning.system.plain_settings import fixed
from ner_lightning.system.progress import warn
from ner_lightning.system.ranges import NonNegativeInt, PositiveInt, check_arguments

WORDS_COLUMN, TAGS_COLUMN = "tokens", "ner_tags"  # unless others are named


@dataclass(frozen=True)
class Files:
    """How a data set's files are read.

    Args:
        config: the Hub data set's configuration, where it has several.
        revision: the Hub data set's branch, tag or commit.
        words_column: the Hub column, JSONL field or CSV column with the words; the number, from 0, of a CoNLL
            column.
        tags_column: the same with the tags.
        document_column: the Hub column, JSONL field or CSV column that names each sentence's document, where
            there is one.
        tag_names: the tags that numbers in a file stand for, from 0, separated by commas, as in
            `O,B-PER,I-PER`; or a file with one per line.
        misaligned: an entity given by characters that begins or ends inside a word splits the word there, is
            expanded to the whole word, or is dropped.
        overlapping: of entities that share a word, keep the longest or the first in the file; refuse stops.
    """

    config: str | None = None
    revision: str | None = None
    words_column: str = WORDS_COLUMN
    tags_column: str = TAGS_COLUMN
    document_column: str | None = None
    tag_names: str | None = None
    misaligned: Misaligned = "split"
    overlapping: Overlapping = "refuse"

    def rules(self) -> AnnotationRules:
        """How annotation is read that is not one named tag for each word.

        Raises:
            UserError: one of `tag_names` is not a tag.
        """
        return AnnotationRules(self.misaligned, self.overlapping, self._named_tags())

    def warn_of_unused_rules(self, where: object) -> None:
        """Warns of what is set and matters only to JSON with spans or numbers.

        Args:
            where: data with a named tag for each word.
        """
        for name in ("tag_names", "misaligned", "overlapping"):
            if getattr(self, name) != getattr(type(self)(), name):
                warn(f"data.files.{name} has no effect on {where}, which has a named tag for each word.")

    def _named_tags(self) -> tuple[str, ...] | None:
        if self.tag_names is None:
            return None
        path = Path(self.tag_names).expanduser()
        is_file = False
        with suppress(OSError):  # a long list of names is too long for a path
            is_file = path.is_file()
        if is_file:
            names = [line.strip() for line in read_lines(path) if line.strip()]
        else:
            names = [name.strip() for name in self.tag_names.split(",")]
        wrong = next((name for name in names if not is_tag(name)), None)
        if wrong is not None:
            raise UserError(
                f"data.files.tag_names: {wrong!a:.40} is not a tag, and {self.tag_names!a:.60} is no file; "
                "write tags such as O,B-PER,I-PER in the order of their numbers"
            )
        return tuple(names)


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
class Encoding:
    """How words become rows of sub-tokens.

    Args:
        max_length: the most sub-tokens in a window, special tokens included; longer sentences are split and
            stitched. Null takes 512, or as many as the backbone has positions where those are fewer.
        overlap: sub-tokens that consecutive windows of a long sentence share, words permitting.
        context: read consecutive sentences of a document together, a line each, up to this many sub-tokens;
            null reads each sentence alone. `batches.size` then counts such passages.
        repeats: write the text this many times more, a line each, and tag its last copy: right context for a
            causal model (Springer et al. 2024).
    """

    max_length: PositiveInt | None = None
    overlap: NonNegativeInt = 64
    context: PositiveInt | None = fixed("weights", None)
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
