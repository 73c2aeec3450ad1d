"""Where sentences come from: a Hub data set, local files, or the bundled sample."""

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ner_lightning.data.corpus_settings import Files
from ner_lightning.data.readers import brat
from ner_lightning.data.readers.arrow import is_saved_dataset, saved_splits
from ner_lightning.data.readers.formats import SUFFIXES
from ner_lightning.data.readers.hub_dataset import load_hub
from ner_lightning.data.readers.sentences import read_sentences
from ner_lightning.data.schemes import OUTSIDE, UNKNOWN, split_tag
from ner_lightning.data.sentence import Sentence, check_sentence, in_bio2
from ner_lightning.data.split_files import (
    ALIASES,
    check_one_split,
    no_split,
    say_unread,
    similar,
    split_paths,
)
from ner_lightning.data.splitting import divide
from ner_lightning.errors import UserError
from ner_lightning.runs.fingerprints import of_hub_split, of_part, part_origin, with_note
from ner_lightning.system.digests import digest_of
from ner_lightning.system.progress import stage
from ner_lightning.system.user_paths import expanded, may_be_on_hub

SAMPLE = "sample"
DATASET, NO_DATASET = "eriktks/conll2003", "no data set"  # if none is named: without, with training data
PLACEHOLDER = "data/mine"  # of configs/own_data.yaml
SAMPLE_FOLDER = Path(__file__).parent / SAMPLE
HELD_OUT = {"valid": 0.1, "test": 0.1}  # shares of training data without such splits
SEED = 1  # by which they are chosen


def is_bundled(data: Any) -> bool:
    """Whether all sentences are the bundled sample's, which anybody may read.

    Args:
        data: the options of the data, as a mapping or a namespace of the parser.
    """
    own = ("source", "train", "valid", "test")
    return data.get("dataset") == SAMPLE and all(data.get(name) is None for name in own)


@dataclass(frozen=True)
class Split:
    """The sentences of one split, and their origin.

    Attributes:
        sentences: in data order, at least one.
        types: entity types in the data set's own order; None if the source does not name them.
        origin: for messages: a file, or a Hub id with revision and split.
        fingerprint: the file's SHA-256, or the data set's commit on the Hub with configuration and split.
        weights: how much each sentence counts in training; None if all count the same.
    """

    sentences: Sequence[Sentence]
    types: tuple[str, ...] | None
    origin: str
    fingerprint: str
    weights: Sequence[float] | None = None

    @classmethod
    def of(
        cls,
        sentences: Iterable[tuple[Sequence[str], Sequence[str]]],
        origin: str,
        types: Sequence[str] | None = None,
    ) -> "Split":
        """A split from pairs of words and tags, for a source outside the package.

        Args:
            sentences: words and tags of each; the tags in one of the schemes.
            origin: the name of the source, for messages.
            types: the entity types in the data set's own order.

        Raises:
            UserError: a sentence has no words, or not one tag per word; the message counts from 1.
        """
        checked = []
        for number, (words, tags) in enumerate(sentences, start=1):
            try:
                check_sentence(words, tags)
            except UserError as error:
                raise UserError(f"{origin}, sentence {number}: {error}") from None
            checked.append(Sentence(tuple(words), tuple(tags), 0))
        text = json.dumps([(s.words, s.tags) for s in checked])
        digest = hashlib.sha256(text.encode()).hexdigest()
        ordered = None if types is None else tuple(types)
        return cls(in_bio2(origin, checked), ordered, origin, f"sha256:{digest}")


class SentenceSource(ABC):
    """Where splits come from; a config names a class of your own by its `class_path`."""

    @abstractmethod
    def read(self, split: str) -> Split:
        """Reads one of train, valid and test.

        Raises:
            UserError: it does not exist or cannot be read.
        """


@dataclass(frozen=True)
class Source(SentenceSource):
    """Finds and reads splits; each argument is described at `CoNLLDataModule`.

    Args:
        dataset: a Hub id, a file, a folder, or `sample`.
        paths: the file of a split that is not the data set's, by the split's name.
        files: how they are read.
    """

    dataset: str
    paths: Mapping[str, str]
    files: Files = Files()
    _divided: dict[Path, dict[str, Split]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )
    _told: list[str] = field(default_factory=list, init=False, repr=False, compare=False)

    def read(self, split: str) -> Split:
        """Reads a split; see `SentenceSource.read`."""
        stage(f"Reading the {split} split ...")
        found, rules = self._read(split), self.files.options().rules
        if rules.tag_names is not None:  # which may be in a file that changes
            found = _noted(found, "tag names", rules.tag_names)
        return _noted(found, "types renamed", dict(rules.renames)) if rules.renames else found

    def _read(self, split: str) -> Split:
        local = self.local()
        path = local.get(split)
        held_out = [name for name in HELD_OUT if name not in local]
        # With a validation split beside it, training data are as their maker divided them.
        is_divided = "train" in local and "train" not in self.paths and "valid" in held_out
        if is_divided and split in ("train", *held_out):
            return self._parts(local["train"], held_out)[split]
        if path is None:
            if self.dataset == NO_DATASET:
                raise UserError(f"only training data are given: set data.{split}, or data.dataset")
            if not local and expanded(self.dataset).is_dir():
                raise UserError(f"data.dataset: {no_split(Path(self.dataset))}")
            if self.dataset == SAMPLE or expanded(self.dataset).exists():
                raise UserError(
                    f"data.dataset: {self.dataset} has no {split} file; set data.{split}.\n"
                    f"Looked for {' or '.join(ALIASES[split])} with {', '.join(SUFFIXES)}"
                )
            return self._from_hub(split)
        check_one_split(split, path)
        sentences = read_sentences(path, self.files.options())
        return Split(sentences, None, str(path), f"sha256:{digest_of(path)}")

    def _parts(self, path: Path, held_out: Sequence[str]) -> dict[str, Split]:
        """Training data in parts, of which some are held out for validation and test; made once."""
        if path in self._divided:
            return self._divided[path]
        check_one_split("train", path)
        shares = {"train": 1 - sum(HELD_OUT[name] for name in held_out)}
        shares |= {name: HELD_OUT[name] for name in held_out}
        sentences = read_sentences(path, self.files.options())
        try:
            division = divide(sentences, shares, SEED)
        except UserError as error:
            raise UserError(
                f"{path}: there is no {' and no '.join(held_out)} split, and none can be held out:\n"
                f"{error}, or set data.valid and data.test"
            ) from None
        names = " and no ".join(held_out)
        stage(f"{path}: there is no {names} split; a tenth is held out for each: {division.summary()}")
        # Those of the whole file, in its order: a rare type may be in one part alone.
        tags = (tag for sentence in sentences for tag in sentence.tags or ())
        types = tuple(dict.fromkeys(split_tag(tag)[1] for tag in tags if tag not in (OUTSIDE, UNKNOWN)))
        digest = f"sha256:{digest_of(path)}"
        rule = ", ".join(f"{name} {share:g}" for name, share in shares.items())
        self._divided[path] = {
            name: Split(
                [sentences[index] for index in indices],
                types or None,
                part_origin(str(path), name),
                of_part(digest, name, rule),
            )
            for name, indices in division.parts.items()
        }
        return self._divided[path]

    def local(self) -> dict[str, Path]:
        """The file or folder of each split that is on this machine.

        Raises:
            UserError: a split has several.
        """
        found = self._of_dataset()
        return found | {name: expanded(path) for name, path in self.paths.items()}

    def _of_dataset(self) -> dict[str, Path]:
        folder = expanded(self.dataset)
        if self.dataset == SAMPLE:
            return {split: SAMPLE_FOLDER / f"{split}.conll" for split in ALIASES}
        if folder.is_file() or (folder.is_dir() and is_saved_dataset(folder) and not saved_splits(folder)):
            return {"train": folder}
        if not folder.is_dir():
            return {}
        found: dict[str, Path] = {}
        for split, paths in split_paths(folder).items():
            if len(paths) > 1 and split not in self.paths:
                both = " and ".join(map(str, paths[:2]))
                raise UserError(
                    f"data.dataset: {both} both look like the {split} split; set data.{split}, "
                    "or move one away"
                )
            found[split] = paths[0]
        if not self._told and found:  # once, whatever the number of splits
            self._told.append(self.dataset)
            say_unread(folder, [*found.values(), *map(expanded, self.paths.values())])
        is_brat = not found and any(path.suffix == brat.SUFFIX for path in folder.iterdir())
        return {"train": folder} if is_brat else found

    def _from_hub(self, split: str) -> Split:
        if self.dataset == PLACEHOLDER or not may_be_on_hub(self.dataset):
            raise UserError(
                f"data.dataset: there is no folder {self.dataset}; name your data: --data.dataset FILE"
            )
        if Path(self.dataset).suffix.lower() in SUFFIXES:
            raise UserError(f"data.dataset: there is no file {self.dataset}{similar(Path(self.dataset))}")
        loaded = load_hub(
            self.dataset,
            config=self.files.config,
            revision=self.files.revision,
            splits=ALIASES[split],
            options=self.files.options(),
        )
        config = "" if self.files.config is None else f" ({self.files.config})"  # others have other sentences
        origin = f"{loaded.dataset}@{loaded.revision or 'main'}:{loaded.split}{config}"
        split_of = "/".join(filter(None, (self.files.config, loaded.split)))
        return Split(loaded.sentences, loaded.types, origin, of_hub_split(loaded.commit, split_of))


def _noted(split: Split, name: str, value: object) -> Split:
    """The split, whose fingerprint notes how it was read."""
    digest = hashlib.sha256(json.dumps(value).encode()).hexdigest()
    return replace(split, fingerprint=with_note(split.fingerprint, name, digest))
