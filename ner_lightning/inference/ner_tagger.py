"""NERTagger: a trained tagger at work on text or words, without the training code."""

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import count, islice
from pathlib import Path
from typing import NamedTuple, overload

import torch
from torch import Tensor

from ner_lightning.data.batching import EncodedDataset
from ner_lightning.data.sampling import LengthGroupedSampler
from ner_lightning.data.schemes import LabelSet
from ner_lightning.data.tokenization.encoding import Encoder
from ner_lightning.errors import UserError
from ner_lightning.inference import given
from ner_lightning.inference import loading as source
from ner_lightning.inference.grouping import grouped
from ner_lightning.inference.result import Piece, Tagged, joined
from ner_lightning.inference.text import Document, from_words, read
from ner_lightning.model.devices import chosen_device
from ner_lightning.model.tagger import Tagger

WINDOW = 2048  # sentences that are sorted by length together
TOKENS = 4096  # padded sub-tokens in a batch
GROUP = 1024  # texts that are looked at together, however short
_SURROGATE = re.compile(r"[\ud800-\udfff]")  # halves of characters, which no tokenizer takes


class Scored(NamedTuple):
    """A batch of sentences that the model has scored.

    Attributes:
        numbers: which sentences these are.
        emissions: *Shape:* (B, W, C)
        mask: true on words. *Shape:* (B, W)
    """

    numbers: list[int]
    emissions: Tensor
    mask: Tensor


class NERTagger:
    """Finds entities in texts, or in words.

    `tagger("text")`, `tagger(["text", ...])` and `tagger(words=[["a", "sentence"], ...])` return `Tagged`
    texts; `stream` does the same for texts that come one after the other.

    Args:
        tagger: the model, ready to run.
        encoder: around its backbone's tokenizer.
    """

    def __init__(self, tagger: Tagger, encoder: Encoder) -> None:
        self.tagger = tagger.eval()
        self.encoder = encoder
        self.labels: LabelSet = tagger.labels

    @classmethod
    def from_run(
        cls,
        run: str | None = None,
        *,
        root: str = "runs",
        device: str | None = None,
        trust_remote_code: bool = False,
    ) -> "NERTagger":
        """Loads the best checkpoint of a run.

        Args:
            run: a run folder, a checkpoint file or an exported folder; None is the last run.
            root: the folder of runs, for None.
            device: where to run: `cpu`, `cuda`, `cuda:N` or `mps`; None takes a CUDA GPU if there is one.
            trust_remote_code: run code that comes with the backbone, or that the run names.

        Raises:
            UserError: there is no such run, or its checkpoint or backbone cannot be used.
        """
        where = chosen_device(device)
        return cls._of(source.find(run, Path(root), trust=trust_remote_code), where, asked=device)

    @classmethod
    def from_pretrained(
        cls, folder: str | Path, *, device: str | None = None, trust_remote_code: bool = False
    ) -> "NERTagger":
        """Loads a folder that `ner-lightning export` wrote.

        Args:
            folder: the folder.
            device: where to run: `cpu`, `cuda`, `cuda:N` or `mps`; None takes a CUDA GPU if there is one.
            trust_remote_code: run code that comes with the weights, or that the folder names.

        Raises:
            UserError: it is no such folder, or it or its backbone cannot be used.
        """
        where = chosen_device(device)
        held = source.read_folder(Path(folder).expanduser(), trust=trust_remote_code)
        return cls._of(held, where, asked=device)

    @classmethod
    def _of(cls, held: source.TaggerFiles, device: str, *, asked: str | None) -> "NERTagger":
        if held.form == "onnx" and asked not in (None, "cpu"):
            raise UserError(f"--device {asked}: {held.path} is an ONNX graph, which runs on the CPU")
        encoder = held.encoder()  # before the backbone, which gives back what both read of a GGUF file
        tagger = cls(held.build(device), encoder)
        tagger.temperature = held.temperature
        return tagger

    @property
    def temperature(self) -> float:
        """What all scores are divided by before they become probabilities; see `calibration.calibrate`."""
        return self.tagger.decoder.temperature

    @temperature.setter
    def temperature(self, value: float) -> None:
        if not 0 < value < float("inf"):
            raise ValueError(f"expected a temperature above 0, got {value}")
        self.tagger.decoder.temperature = value

    @overload
    def __call__(  # type: ignore[overload-overlap]  # a text is an iterable of texts, and is no list of any
        self, texts: str, *, marginals: bool = ..., n_best: int = ...
    ) -> Tagged: ...

    @overload
    def __call__(self, texts: Iterable[str], *, marginals: bool = ..., n_best: int = ...) -> list[Tagged]: ...

    @overload
    def __call__(
        self,
        *,
        words: Iterable[Iterable[str]],
        documents: Iterable[int] | None = ...,
        marginals: bool = ...,
        n_best: int = ...,
    ) -> list[Tagged]: ...

    def __call__(
        self,
        texts: Iterable[str] | None = None,
        *,
        words: Iterable[Iterable[str]] | None = None,
        documents: Iterable[int] | None = None,
        marginals: bool = False,
        n_best: int = 0,
    ) -> Tagged | list[Tagged]:
        """Tags a text, several texts, or sentences of words.

        Args:
            texts: any text, of any length, or several: any iterable of texts, as a column of a table.
            words: instead of texts, the words of each sentence.
            documents: with words, the number of each sentence's document, for a model that reads the
                sentences of a document together; None takes each sentence by itself.
            marginals: give the probability of each tag at each word as well.
            n_best: give this many of the best tag sequences as well.

        Returns:
            what was found in the text; a list of that for several texts, and for words.

        Raises:
            TypeError: an argument or an entry of it is no text, or words have no sentence around them.
        """
        if (texts is None) == (words is None):
            raise TypeError("give texts or words")
        numbers = None if documents is None else list(documents)
        if words is not None:
            made: list[Document] = list(map(from_words, given.sentences(words)))
        else:
            assert texts is not None
            made = list(map(read, given.texts([texts] if isinstance(texts, str) else texts)))
        if numbers is not None and (words is None or len(numbers) != len(made)):
            raise TypeError("documents has a number for each sentence of words")
        found = list(self.tag(made, numbers, marginals=marginals, n_best=n_best))
        return found[0] if isinstance(texts, str) else found

    def stream(self, texts: Iterable[str], *, marginals: bool = False, n_best: int = 0) -> Iterator[Tagged]:
        """Tags texts as they come, in order, and holds only some thousand sentences of them at a time.

        Arguments are those of a call.
        """
        return self.tag(map(read, given.texts(texts)), marginals=marginals, n_best=n_best)

    def tag(
        self,
        documents: Iterable[Document],
        numbers: Iterable[int] | None = None,
        *,
        marginals: bool = False,
        n_best: int = 0,
    ) -> Iterator[Tagged]:
        """Tags documents as they come, in order; `text.read` and `text.from_words` make them.

        Args:
            documents: texts or sentences.
            numbers: those with the same number, one after the other, are parts of one text, which a model
                with document context reads together; None takes each by itself.
            marginals: as in a call.
            n_best: as in a call.
        """
        if n_best < 0:
            raise ValueError(f"expected n_best to be at least 0, got {n_best}")
        for group in _groups(documents, numbers):
            sentences = [words for document, _ in group for words in document.words]
            places = [number for document, number in group for _ in document.sentences]
            found = self._pieces(sentences, places, marginals=marginals, n_best=n_best)
            columns = len(self.labels) if marginals else 0
            for document, _ in group:
                pieces = list(islice(found, len(document.sentences)))
                yield joined(document, pieces, n_best=n_best, columns=columns)

    def scores(
        self, sentences: Sequence[Sequence[str]], documents: Sequence[int] | None = None
    ) -> Iterator[Scored]:
        """Runs the model over sentences, those of like length together.

        Args:
            sentences: the words of each.
            documents: the document of each, for a tagger that reads the sentences of one together.
        """
        checked = given.sentences(sentences, "sentences")
        encoded = list(self.encoder.encode([_encodable(words) for words in checked], documents))
        sampler = LengthGroupedSampler(encoded, batch_size=1, tokens_per_batch=TOKENS, shuffle=False)
        dataset = EncodedDataset(encoded, self.encoder.pad_id)
        device = next(self.tagger.parameters()).device
        for places in sampler if encoded else ():
            batch = dataset[places].to(device)
            with torch.inference_mode():
                emissions = self.tagger(batch)
            yield Scored(batch.index.tolist(), emissions, batch.mask)

    def _pieces(
        self, sentences: Sequence[Sequence[str]], documents: Sequence[int], *, marginals: bool, n_best: int
    ) -> Iterator[Piece]:
        """What is found in each sentence, in order, a window of them at a time."""
        begin = 0
        while begin < len(sentences):
            end = _window_end(documents, begin)
            found: dict[int, Piece] = {}
            for scored in self.scores(sentences[begin:end], documents[begin:end]):
                found |= self._decode(scored, marginals=marginals, n_best=n_best)
            yield from (found[index] for index in range(end - begin))
            begin = end

    @torch.inference_mode()
    def _decode(self, scored: Scored, *, marginals: bool, n_best: int) -> dict[int, Piece]:
        numbers, emissions, mask = scored
        ids = self.tagger.decoder.decode(emissions, mask)
        entities = self.tagger.decoder.entities(emissions, mask, ids)
        chances = self.tagger.decoder.marginals(emissions, mask).cpu().numpy() if marginals else None
        paths, log_probs = self.tagger.decoder.n_best(emissions, mask, n_best) if n_best else (None, None)
        found = {}
        for row, (place, length) in enumerate(zip(numbers, mask.sum(1).tolist(), strict=True)):
            found[place] = Piece(
                self.labels.decode(ids[row, :length].tolist()),
                entities[row],
                None if chances is None else chances[row, :length],
                []
                if paths is None or log_probs is None
                else [
                    (self.labels.decode(path), log_prob)
                    for path, log_prob in zip(
                        paths[row, :, :length].tolist(), log_probs[row].tolist(), strict=True
                    )
                    if log_prob > -math.inf
                ],
            )
        return found


def _groups(
    documents: Iterable[Document], numbers: Iterable[int] | None
) -> Iterator[list[tuple[Document, int]]]:
    """Documents with their numbers, a window of sentences or a little more, and not too many documents."""
    alone = numbers is None
    numbered = zip(documents, count() if numbers is None else numbers, strict=not alone)
    return grouped(
        (pair, (1 / GROUP, len(pair[0].sentences) / WINDOW), None if alone else pair[1]) for pair in numbered
    )


def _window_end(numbers: Sequence[int], begin: int) -> int:
    """Where a window of sentences ends that begins there: where a text does, if that can be."""
    end = min(begin + WINDOW, len(numbers))
    if end == len(numbers):
        return end
    border = end
    while border > begin and numbers[border - 1] == numbers[border]:
        border -= 1
    return border if border > begin else end


def _encodable(words: Sequence[str]) -> Sequence[str]:
    if any(map(_SURROGATE.search, words)):
        return [_SURROGATE.sub("\ufffd", word) for word in words]
    return words
