"""NERTagger: a trained tagger at work on text or words, without the training code."""

import heapq
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import overload

import numpy as np
import torch
from numpy.typing import NDArray

from ner_lightning.data.batching import Batch, EncodedDataset
from ner_lightning.data.encoding import Encoder
from ner_lightning.data.sampling import LengthGroupedSampler
from ner_lightning.data.schemes import LabelSet
from ner_lightning.inference import source
from ner_lightning.inference.result import Entity, Path as TagPath, Tagged
from ner_lightning.inference.text import Document, from_words, read
from ner_lightning.model import tagger as model

WINDOW = 2048  # sentences that are sorted by length together
TOKENS = 4096  # padded sub-tokens in a batch
_SURROGATE = re.compile(r"[\ud800-\udfff]")  # halves of characters, which no tokenizer takes


class NERTagger:
    """Finds entities in texts, or in words.

    `tagger("text")`, `tagger(["text", ...])` and `tagger(words=[["a", "sentence"], ...])` return `Tagged`
    texts; `stream` does the same for texts that come one after the other.

    Args:
        tagger: the model, ready to run.
        encoder: around its backbone's tokenizer.
    """

    def __init__(self, tagger: model.Tagger, encoder: Encoder) -> None:
        self.tagger = tagger.eval()
        self.encoder = encoder
        self.labels: LabelSet = tagger.labels

    @classmethod
    def from_run(
        cls, run: str | None = None, *, root: str = "runs", device: str | None = None
    ) -> "NERTagger":
        """Loads the best checkpoint of a run.

        Args:
            run: a run folder, a checkpoint file or an exported folder; None is the last run.
            root: the folder of runs, for None.
            device: where to run; None takes a GPU if there is one.

        Raises:
            UserError: there is no such run, or its checkpoint or backbone cannot be used.
        """
        return cls._of(source.find(run, Path(root)), device)

    @classmethod
    def from_pretrained(
        cls, folder: str | Path, *, device: str | None = None, trust_remote_code: bool = False
    ) -> "NERTagger":
        """Loads a folder that `ner-lightning export` wrote.

        Args:
            folder: the folder.
            device: where to run; None takes a GPU if there is one.
            trust_remote_code: run code that comes with the weights.

        Raises:
            UserError: it is no such folder, or it or its backbone cannot be used.
        """
        held = source.read_folder(Path(folder).expanduser(), trust=trust_remote_code)
        return cls._of(held, device)

    @classmethod
    def _of(cls, held: source.Source, device: str | None) -> "NERTagger":
        tagger = cls(held.build(device or ("cuda" if torch.cuda.is_available() else "cpu")), held.encoder())
        tagger.temperature = held.temperature
        return tagger

    @property
    def temperature(self) -> float:
        """What all scores are divided by before they become probabilities; see `calibration.calibrate`."""
        return self.tagger.temperature

    @temperature.setter
    def temperature(self, value: float) -> None:
        if not 0 < value < float("inf"):
            raise ValueError(f"expected a temperature above 0, got {value}")
        self.tagger.temperature = value

    @overload
    def __call__(self, texts: str, *, marginals: bool = ..., n_best: int = ...) -> Tagged: ...

    @overload
    def __call__(
        self, texts: list[str] | tuple[str, ...], *, marginals: bool = ..., n_best: int = ...
    ) -> list[Tagged]: ...

    @overload
    def __call__(
        self, *, words: Sequence[Sequence[str]], marginals: bool = ..., n_best: int = ...
    ) -> list[Tagged]: ...

    def __call__(
        self,
        texts: str | list[str] | tuple[str, ...] | None = None,
        *,
        words: Sequence[Sequence[str]] | None = None,
        marginals: bool = False,
        n_best: int = 0,
    ) -> Tagged | list[Tagged]:
        """Tags a text, several texts, or sentences of words.

        Args:
            texts: any text, of any length, or several.
            words: instead of texts, the words of each sentence.
            marginals: give the probability of each tag at each word as well.
            n_best: give this many of the best tag sequences as well.

        Returns:
            what was found in the text; a list of that for several texts, and for words.
        """
        if (texts is None) == (words is None):
            raise TypeError("give texts or words")
        if words is not None:
            documents: Iterable[Document] = map(from_words, words)
        else:
            documents = map(read, [texts] if isinstance(texts, str) else texts or ())
        found = list(self.tag(documents, marginals=marginals, n_best=n_best))
        return found[0] if isinstance(texts, str) else found

    def stream(self, texts: Iterable[str], *, marginals: bool = False, n_best: int = 0) -> Iterator[Tagged]:
        """Tags texts as they come, in order, and holds only some thousand sentences of them at a time.

        Arguments are those of a call.
        """
        return self.tag(map(read, texts), marginals=marginals, n_best=n_best)

    def tag(
        self, documents: Iterable[Document], *, marginals: bool = False, n_best: int = 0
    ) -> Iterator[Tagged]:
        """Tags documents as they come, in order; `text.read` and `text.from_words` make them.

        Arguments are those of a call.
        """
        raise NotImplementedError
