"""Where sentences come from: a Hub data set, local files, or the bundled sample."""

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ner_lightning.data.corpus_settings import Files
from ner_lightning.data.readers.formats import SUFFIXES
from ner_lightning.data.readers.hub_dataset import load_hub
from ner_lightning.data.readers.sentences import read_sentences
from ner_lightning.data.sentence import Sentence, check_sentence, in_bio2
from ner_lightning.errors import UserError
from ner_lightning.system.progress import stage

SAMPLE = "sample"
SAMPLE_FOLDER = Path(__file__).parent / SAMPLE
# Names of a split's file or Hub split.
ALIASES = {"train": ("train",), "valid": ("validation", "valid", "dev", "val"), "test": ("test",)}


@dataclass(frozen=True)
class Split:
    """The sentences of one split, and their origin.

    Attributes:
        sentences: in data order, at least one.
        types: entity types in the data set's own order; None if the source does not name them.
        origin: for messages: a file, or a Hub id with revision and split.
        fingerprint: the file's SHA-256, or the data set's commit on the Hub.
    """

    sentences: Sequence[Sentence]
    types: tuple[str, ...] | None
    origin: str
    fingerprint: str

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
        dataset: a Hub id, a folder, or `sample`.
        paths: the file of a split that is not the data set's, by the split's name.
        files: how they are read.
    """

    dataset: str
    paths: Mapping[str, str]
    files: Files = Files()

    def read(self, split: str) -> Split:
        """Reads a split; see `SentenceSource.read`."""
        stage(f"Reading the {split} split ...")
        path = self._path(split)
        if path is None:
            return self._from_hub(split)
        sentences = read_sentences(path, self.files.options())
        return Split(sentences, None, str(path), f"sha256:{_digest(path)}")

    def _path(self, split: str) -> Path | None:
        """The local file of a split; None if the data set is on the Hub."""
        if split in self.paths:
            return Path(self.paths[split]).expanduser()
        if self.dataset == SAMPLE:
            return SAMPLE_FOLDER / f"{split}.conll"
        folder = Path(self.dataset).expanduser()
        if not folder.is_dir():
            if folder.exists():
                raise UserError(
                    f"data.dataset: {self.dataset} is a file; name a folder with train, valid and "
                    "test files, or set data.train, data.valid and data.test"
                )
            return None
        names = [alias + suffix for alias in ALIASES[split] for suffix in SUFFIXES]
        paths = [folder / name for name in names if (folder / name).is_file()]
        if len(paths) == 1:
            return paths[0]
        if paths:
            both = " and ".join(map(str, paths))
            raise UserError(f"data.dataset: {both} both look like the {split} split; set data.{split}")
        raise UserError(
            f"data.dataset: {self.dataset} has no {split} file; set data.{split}.\n"
            f"Looked for {' or '.join(ALIASES[split])} with {', '.join(SUFFIXES)}"
        )

    def _from_hub(self, split: str) -> Split:
        if self.dataset.count("/") > 1 or self.dataset.startswith((".", "/", "~")):
            raise UserError(f"data.dataset: there is no folder {self.dataset}")
        loaded = load_hub(
            self.dataset,
            config=self.files.config,
            revision=self.files.revision,
            splits=ALIASES[split],
            options=self.files.options(),
        )
        origin = f"{loaded.dataset}@{loaded.revision or 'main'}:{loaded.split}"
        return Split(loaded.sentences, loaded.types, origin, f"commit:{loaded.commit}")


def _digest(path: Path) -> str:
    """The SHA-256 of a file, or of the files of a folder with their names."""
    if path.is_file():
        return hashlib.sha256(path.read_bytes()).hexdigest()
    digest = hashlib.sha256()
    for file in sorted(file for file in path.rglob("*") if file.is_file()):
        digest.update(f"{file.relative_to(path)}\0".encode() + hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()
