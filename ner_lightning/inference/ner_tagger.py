"""NERTagger: loads a trained tagger and predicts the entities of texts, without the training code."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack, overload

from ner_lightning.data.running_text import Document, from_text
from ner_lightning.data.schemes import LabelSet
from ner_lightning.data.tokenization.encoding import Encoder
from ner_lightning.errors import UserError
from ner_lightning.inference import hub, loading, scoring
from ner_lightning.inference.arguments import checked_documents, checked_texts
from ner_lightning.inference.engines.choice import EngineName, place
from ner_lightning.inference.result import Tagged
from ner_lightning.inference.selection import CallOptions, MinScore, Overlaps, selection
from ner_lightning.inference.tagger_files import ExportFormat, TaggerFiles
from ner_lightning.model.devices import chosen_device
from ner_lightning.model.tagger import Tagger
from ner_lightning.system.ranges import PositiveFloat, RangeError
from ner_lightning.system.terminal import shortlist

if TYPE_CHECKING:
    from ner_lightning.inference.tagger_group import TaggerGroup


class NERTagger:
    """Predicts the entities of texts or words.

    `tagger("text")`, `tagger(["text", ...])` and `tagger(words=[["a", "sentence"], ...])` return `Tagged`.

    Args:
        tagger: the model; where it is being trained, it predicts without dropout, and the training goes on.
        encoder: the encoder of its backbone.
        min_score: predict every entity of at least this probability, not those of the best tag sequence;
            a number above 0, or one for each entity type, where `*` stands for those not named.
        overlaps: of entities that share words, `resolve` or None returns the most probable, `keep` all.

    Attributes:
        path: the checkpoint or exported folder that it was loaded from, if any.
        selection: what `min_score` and `overlaps` say; None predicts the best tag sequence.
        trained_on: fingerprints of its training data, where they are known.
    """

    def __init__(
        self, tagger: Tagger, encoder: Encoder, *, min_score: MinScore = None, overlaps: Overlaps = None
    ) -> None:
        self.tagger, self.encoder = tagger, encoder
        self.labels: LabelSet = tagger.labels
        self.selection = selection(min_score, overlaps, self.labels.types)
        self.path: Path | None = None
        self.trained_on: tuple[str, ...] = ()
        self._trust = False  # whether code that comes with it may run
        self._backbone: str | Path | None = None  # where its run's backbone was said to be

    def __repr__(self) -> str:
        loaded = "" if self.path is None else f"{str(self.path)!r}: "
        return f"NERTagger({loaded}{shortlist(self.labels.types)}; on {self.tagger.device})"

    @classmethod
    def from_run(
        cls,
        run: str | Path | None = None,
        *,
        root: str | Path = "runs",
        backbone: str | Path | None = None,
        device: str | None = None,
        engine: EngineName = "auto",
        trust_remote_code: bool = False,
        min_score: MinScore = None,
        overlaps: Overlaps = None,
    ) -> "NERTagger":
        """Loads the best checkpoint of a run.

        Args:
            run: a run folder, a checkpoint file or an exported folder; None: the last run.
            root: the folder of runs, for None.
            backbone: where the run's backbone is now, if its folder was moved; its weights are checked.
            device: `cpu`, `cuda`, `cuda:N` or `mps`; None: a CUDA GPU if there is one, else the CPU.
            engine: what computes: `torch`, `openvino` (of a folder with its graph) or the faster at export.
            trust_remote_code: run code that comes with the backbone, or that the run names.
            min_score: as for `NERTagger`, here and below.
            overlaps: what becomes of entities that share words.

        Raises:
            UserError: there is no such run, or its checkpoint or backbone cannot be used.
        """
        chosen_device(device)  # which may not be there, before anything is read
        files = loading.read_tagger_files(run, Path(root), backbone=backbone, trust=trust_remote_code)
        tagger = cls.of_files(files, device, engine, min_score=min_score, overlaps=overlaps)
        tagger._backbone = backbone
        return tagger

    @classmethod
    def from_pretrained(
        cls,
        name: str | Path,
        *,
        revision: str | None = None,
        backbone: str | Path | None = None,
        device: str | None = None,
        engine: EngineName = "auto",
        trust_remote_code: bool = False,
        min_score: MinScore = None,
        overlaps: Overlaps = None,
    ) -> "NERTagger":
        """Loads a folder that `ner-lightning export` wrote, from here or from the Hugging Face Hub.

        Args:
            name: a local folder, or a repository `org/name` on the Hub; a local folder has priority.
            revision: a branch, tag or commit of the repository; None: the main branch.
            backbone: where an adapter's backbone is now, if its folder was moved; its weights are checked.
            device: `cpu`, `cuda`, `cuda:N` or `mps`; None: a CUDA GPU if there is one, else the CPU.
            engine: as of `from_run`.
            trust_remote_code: run code that comes with the weights, or that the folder names.
            min_score: as for `NERTagger`, here and below.
            overlaps: what becomes of entities that share words.

        Raises:
            UserError: there is no such folder or repository, or it or its backbone cannot be used.
        """
        chosen_device(device)  # before a download
        folder = hub.local_or_downloaded(name, revision)
        files = loading.read_folder(folder, backbone=backbone, trust=trust_remote_code)
        return cls.of_files(files, device, engine, min_score=min_score, overlaps=overlaps)

    @classmethod
    def of_files(
        cls, files: TaggerFiles, device: str | None, engine: EngineName = "auto", **selected: Any
    ) -> "NERTagger":
        """Builds the tagger of files that were read; arguments as of `from_run`."""
        where, chosen = place(files, device, engine)
        encoder = files.encoder()  # before the backbone, which frees what both read of a GGUF file
        tagger = cls(files.build(where, engine=chosen), encoder, **selected)
        tagger.path, tagger._trust, tagger.trained_on = files.path.absolute(), files.trust, files.trained_on
        tagger.temperature = files.temperature
        return tagger

    def push_to_hub(self, repo_id: str, *, private: bool = False, format: ExportFormat = "merged") -> str:
        """Uploads the tagger, at its current temperature, to the Hugging Face Hub.

        Args:
            repo_id: `org/name`; the repository is created if it does not exist.
            private: whether a repository that is created is private.
            format: as of `ner-lightning export`, for a run; an exported folder is uploaded as it is.

        Returns:
            the address of the commit.

        Raises:
            UserError: the tagger was not loaded from files, cannot be exported, or the Hub refuses it.
        """
        from ner_lightning.export.upload import upload

        if self.path is None:
            raise UserError("push_to_hub uploads files; load the tagger with from_run or from_pretrained")
        source: Any = {"backbone": self._backbone, "trust": self._trust}
        return upload(self.path, repo_id, format, private=private, temperature=self.temperature, **source)

    @staticmethod
    def group(runs: Mapping[str, str | Path] | Sequence[str | Path], **options: Any) -> "TaggerGroup":
        """Loads several taggers, each backbone once; arguments as of `TaggerGroup`."""
        from ner_lightning.inference.tagger_group import TaggerGroup  # which is made of taggers

        return TaggerGroup(runs, **options)

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
    def __call__(self, texts: str, **options: Unpack[CallOptions]) -> Tagged: ...  # type: ignore[overload-overlap]
    @overload
    def __call__(self, texts: Iterable[str], **options: Unpack[CallOptions]) -> list[Tagged]: ...
    @overload
    def __call__(
        self,
        *,
        words: Iterable[Iterable[str]],
        documents: Iterable[int] | None = ...,
        **options: Unpack[CallOptions],
    ) -> list[Tagged]: ...

    def __call__(
        self,
        texts: Iterable[str] | None = None,
        *,
        words: Iterable[Iterable[str]] | None = None,
        documents: Iterable[int] | None = None,
        marginals: bool = False,
        n_best: int = 0,
        min_score: MinScore = None,
        overlaps: Overlaps = None,
    ) -> Tagged | list[Tagged]:
        """Tags a text, several texts, or sentences of words.

        Args:
            texts: a text of any length, or an iterable of texts, such as a column of a data frame.
            words: instead of texts, the words of each sentence.
            documents: of words, each sentence's document, for a model with document context; None: its own.
            marginals: also return the probability of each tag at each word.
            n_best: also return this many of the most probable tag sequences.
            min_score: as for `NERTagger`; None: the tagger's own, here and below.
            overlaps: what becomes of entities that share words.

        Returns:
            the result of a text; a list of results of several texts, and of words.

        Raises:
            TypeError: an argument or an entry of it is not a text, or words are not in sentences.
        """
        made, numbers = checked_documents(texts, words, documents)
        options = CallOptions(marginals=marginals, n_best=n_best, min_score=min_score, overlaps=overlaps)
        results = list(self.tag(made, numbers, **options))
        return results[0] if isinstance(texts, str) else results

    def stream(self, texts: Iterable[str], **options: Unpack[CallOptions]) -> Iterator[Tagged]:
        """Tags texts as they arrive, in order, a few thousand sentences at a time; options as of a call."""
        return self.tag(map(from_text, checked_texts(texts)), **options)

    def tag(
        self,
        documents: Iterable[Document],
        numbers: Iterable[int] | None = None,
        **options: Unpack[CallOptions],
    ) -> Iterator[Tagged]:
        """Tags documents as they arrive, in order.

        Args:
            documents: made by `from_text` or `from_words` of the module `running_text`.
            numbers: consecutive ones with the same number are a text, which a model with document context
                reads as one; None: each is its own text.
            **options: as of a call.
        """
        wanted = self.wanted(options)  # checked now, not at the first result
        return scoring.tagged_documents(self.tagger, self.encoder, documents, numbers, wanted)

    def wanted(self, options: CallOptions) -> scoring.DecodeOptions:
        """What a call with these options wants."""
        return scoring.decode_options(options, self.labels.types, self.selection)
