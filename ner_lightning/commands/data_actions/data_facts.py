"""What `data check` reads: the splits of a data set, and what a backbone's tokenizer makes of their words."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ner_lightning.analysis.data_reading import ReadingFacts
from ner_lightning.data.corpus_settings import Files
from ner_lightning.data.readers.sentences import read_with_scheme
from ner_lightning.data.sentence import Sentence
from ner_lightning.data.sources import SAMPLE, Source
from ner_lightning.data.split_files import check_one_split, no_split
from ner_lightning.errors import UserError


@dataclass(frozen=True)
class CheckedSplits:
    """The splits of a data set.

    Attributes:
        sentences: of each split.
        origins: the file of each split.
        facts: what reading and tokenising tell.
    """

    sentences: dict[str, list[Sentence]]
    origins: dict[str, str]
    facts: ReadingFacts


def read_splits(address: str, files: Files, backbone: str | None, window: int) -> CheckedSplits:
    """Reads the splits of a local data set.

    Args:
        address: a folder, a file, or `sample`.
        files: how files are read.
        backbone: the backbone whose tokenizer is asked; None for none.
        window: the longest window, in sub-tokens.

    Raises:
        UserError: there is no such file, or it is malformed.
    """
    if address != SAMPLE and not Path(address).exists():
        raise UserError(f"{address}: there is no such file or folder; name a data set on this machine")
    paths = Source(address, {}, files).local()
    if not paths:
        raise UserError(no_split(Path(address)))
    for split, path in paths.items():
        check_one_split(split, path)
    read = {split: read_with_scheme(path, files.options()) for split, path in paths.items()}
    facts = ReadingFacts(
        scheme={split: str(each.scheme) for split, each in read.items()},
        illegal={split: each.illegal for split, each in read.items()},
        miscounted={split: each.miscounted for split, each in read.items() if each.miscounted},
    )
    sentences = {split: each.sentences for split, each in read.items()}
    if backbone is not None:
        facts = _with_tokenizer(facts, sentences, backbone, window)
    return CheckedSplits(sentences, {split: str(path) for split, path in paths.items()}, facts)


def _with_tokenizer(
    facts: ReadingFacts, splits: Mapping[str, Sequence[Sentence]], backbone: str, window: int
) -> ReadingFacts:
    from ner_lightning.data.pretrained import locate
    from ner_lightning.data.tokenization.alignment import space_before, special_tokens
    from ner_lightning.data.tokenization.encoding import load_tokenizer

    tokenizer = load_tokenizer(locate(backbone, None), trust_remote_code=False)
    words = list(dict.fromkeys(word for part in splits.values() for each in part for word in each.words))
    space = space_before(tokenizer)
    ids = tokenizer([space + word for word in words], add_special_tokens=False)["input_ids"]
    unknown = getattr(tokenizer, "unk_token_id", None)
    vanishing = [word for word, own in zip(words, ids, strict=True) if all(i == unknown for i in own)]
    sizes = {word: len(own) for word, own in zip(words, ids, strict=True)}
    lengths = {
        split: [sum(sizes[word] for word in each.words) for each in part] for split, part in splits.items()
    }
    room = window - sum(map(len, special_tokens(tokenizer)))
    return replace(facts, lengths=lengths, window=room, vanishing=vanishing)
