"""NERTagger: loads a trained tagger and predicts the entities of texts, without the training code."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Literal, overload

from ner_lightning.data.running_text import Document, from_text, from_words
from ner_lightning.data.schemes import LabelSet
from ner_lightning.data.tokenization.encoding import Encoder
from ner_lightning.errors import UserError
from ner_lightning.inference import hub, loading, scoring
from ner_lightning.inference.arguments import checked_sentences, checked_texts
from ner_lightning.inference.result import SentenceResult, Tagged, join
from ner_lightning.inference.scoring import ScoredBatch
from ner_lightning.model.devices import chosen_device
from ner_lightning.model.tagger import Tagger
from ner_lightning.system.ranges import PositiveFloat, RangeError


class NERTagger:
    """Predicts the entities of texts or words.

    `tagger("text")`, `tagger(["text", ...])` and `tagger(words=[["a", "sentence"], ...])` return `Tagged`
    results; `stream` does the same for texts that arrive one after the other.

    Args:
        tagger: the model.
        encoder: the encoder of its backbone.

    Attributes:
        path: the checkpoint or exported folder that it was loaded from, if any.
    """

    def __init__(self, tagger: Tagger, encoder: Encoder) -> None:
        self.tagger = tagger.eval()
        self.encoder = encoder
        self.labels: LabelSet = tagger.labels
        self.path: Path | None = None
        self._trust = False  # whether code that comes with it may run

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
            run: a run folder, a checkpoint file or an exported folder; None: the last run.
            root: the folder of runs, for None.
            device: `cpu`, `cuda`, `cuda:N` or `mps`; None: a CUDA GPU if there is one, else the CPU.
            trust_remote_code: run code that comes with the backbone, or that the run names.

        Raises:
            UserError: there is no such run, or its checkpoint or backbone cannot be used.
        """
        chosen = chosen_device(device)
        return cls._load(loading.find(run, Path(root), trust=trust_remote_code), chosen, requested=device)

    @classmethod
    def from_pretrained(
        cls,
        name: str | Path,
        *,
        revision: str | None = None,
        device: str | None = None,
        trust_remote_code: bool = False,
    ) -> "NERTagger":
        """Loads a folder that `ner-lightning export` wrote, from here or from the Hugging Face Hub.

        Args:
            name: a local folder, or a repository `org/name` on the Hub; a local folder has priority.
            revision: a branch, tag or commit of the repository; None: the main branch.
            device: `cpu`, `cuda`, `cuda:N` or `mps`; None: a CUDA GPU if there is one, else the CPU.
            trust_remote_code: run code that comes with the weights, or that the folder names.

        Raises:
            UserError: there is no such folder or repository, or it or its backbone cannot be used.
        """
        chosen = chosen_device(device)
        folder = Path(name).expanduser()
        if not folder.exists() and isinstance(name, str) and hub.is_repo_id(name):
            folder = hub.download(name, revision)
        elif revision is not None:
            raise UserError(f"{name} is not a repository org/name on the Hub; leave out revision")
        return cls._load(loading.read_folder(folder, trust=trust_remote_code), chosen, requested=device)

    @classmethod
    def _load(cls, files: loading.TaggerFiles, device: str, *, requested: str | None) -> "NERTagger":
        if files.form == loading.ONNX and requested not in (None, "cpu"):
            raise UserError(f"--device {requested}: {files.path} is an ONNX graph, which runs on the CPU")
        encoder = files.encoder()  # before the backbone, which frees what both read of a GGUF file
        tagger = cls(files.build(device), encoder)
        tagger.temperature, tagger.path, tagger._trust = files.temperature, files.path.absolute(), files.trust
        return tagger

    def push_to_hub(
        self,
        repo_id: str,
        *,
        private: bool = False,
        format: Literal["merged", "adapter", "onnx"] = "merged",
    ) -> str:
        """Uploads the tagger, at its current temperature, to the Hugging Face Hub.

        A run is exported first, as by `ner-lightning export`; an exported folder is uploaded as it is.

        Args:
            repo_id: `org/name`; the repository is created if it does not exist.
            private: whether a repository that is created is private.
            format: what to export a run as; see `ner-lightning export --help`.

        Returns:
            the address of the commit.

        Raises:
            UserError: the tagger was not loaded from files, cannot be exported, or the Hub refuses it.
        """
        from ner_lightning.export.upload import upload

        if self.path is None:
            raise UserError("push_to_hub uploads files; load the tagger with from_run or from_pretrained")
        return upload(
            self.path, repo_id, format, private=private, temperature=self.temperature, trust=self._trust
        )

    @property
    def temperature(self) -> float:
        """Scores are divided by it before they become probabilities; see `calibration.calibrate`."""
        return self.tagger.decoder.temperature

    @temperature.setter
    def temperature(self, value: float) -> None:
        try:
            self.tagger.decoder.temperature = PositiveFloat(value)
        except RangeError as error:
            raise ValueError(f"temperature {error}") from None

    @overload  # a str is also an iterable of str
    def __call__(self, texts: str, *, marginals: bool = ..., n_best: int = ...) -> Tagged: ...  # type: ignore[overload-overlap]

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
            texts: a text of any length, or an iterable of texts, such as a column of a data frame.
            words: instead of texts, the words of each sentence.
            documents: with words, the number of each sentence's document, for a model with document
                context; None: each sentence is its own document.
            marginals: also return the probability of each tag at each word.
            n_best: also return this many of the most probable tag sequences.

        Returns:
            the result of a text; a list of results of several texts, and of words.

        Raises:
            TypeError: an argument or an entry of it is not a text, or words are not in sentences.
        """
        if (texts is None) == (words is None):
            raise TypeError("give texts or words")
        numbers = None if documents is None else list(documents)
        if words is not None:
            made: list[Document] = list(map(from_words, checked_sentences(words)))
        else:
            assert texts is not None
            made = list(map(from_text, checked_texts([texts] if isinstance(texts, str) else texts)))
        if numbers is not None and (words is None or len(numbers) != len(made)):
            raise TypeError("documents has a number for each sentence of words")
        results = list(self.tag(made, numbers, marginals=marginals, n_best=n_best))
        return results[0] if isinstance(texts, str) else results

    def stream(self, texts: Iterable[str], *, marginals: bool = False, n_best: int = 0) -> Iterator[Tagged]:
        """Tags texts as they arrive, in order, a few thousand sentences at a time; arguments as in a call."""
        return self.tag(map(from_text, checked_texts(texts)), marginals=marginals, n_best=n_best)

    def tag(
        self,
        documents: Iterable[Document],
        numbers: Iterable[int] | None = None,
        *,
        marginals: bool = False,
        n_best: int = 0,
    ) -> Iterator[Tagged]:
        """Tags documents as they arrive, in order.

        Args:
            documents: made by `text.from_text` or `text.from_words`.
            numbers: consecutive documents with the same number are parts of one text, which a model with
                document context reads together; None: each is its own text.
            marginals: as in a call.
            n_best: as in a call.
        """
        if n_best < 0:
            raise ValueError(f"expected n_best to be at least 0, got {n_best}")
        num_tags = len(self.labels) if marginals else 0
        for group in scoring.document_groups(documents, numbers):
            sentences = [words for document, _ in group for words in document.words]
            owners = [number for document, number in group for _ in document.sentences]
            results = self._sentence_results(sentences, owners, marginals=marginals, n_best=n_best)
            for document, _ in group:
                own = list(islice(results, len(document.sentences)))
                yield join(document, own, n_best=n_best, num_tags=num_tags)

    def scores(
        self, sentences: Sequence[Sequence[str]], documents: Sequence[int] | None = None
    ) -> Iterator[ScoredBatch]:
        """Computes emissions, batch by batch, in order of length; see `scoring.score`."""
        return scoring.score(self.tagger, self.encoder, sentences, documents)

    def _sentence_results(
        self, sentences: Sequence[Sequence[str]], documents: Sequence[int], *, marginals: bool, n_best: int
    ) -> Iterator[SentenceResult]:
        """The result of each sentence, in order."""
        for window in scoring.windows(documents):
            results: dict[int, SentenceResult] = {}
            part = slice(window.start, window.stop)
            for batch in self.scores(sentences[part], documents[part]):
                results |= scoring.decode(self.tagger, batch, marginals=marginals, n_best=n_best)
            yield from (results[index] for index in range(len(window)))
