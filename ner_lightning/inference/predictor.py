"""NERTagger: a trained tagger at work on words, without the training code."""

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import torch

from ner_lightning import runs
from ner_lightning.data.batching import Batch, EncodedDataset
from ner_lightning.data.encoding import ENCODING, Encoder, load_tokenizer
from ner_lightning.data.pretrained import locate
from ner_lightning.data.sampling import LengthGroupedSampler
from ner_lightning.data.schemes import LabelSet
from ner_lightning.model.architecture import Architecture
from ner_lightning.model.build import build_tagger
from ner_lightning.model.checkpoint import check_backbone, check_names, kept_names
from ner_lightning.model.tagger import Entity, Tagger

PREFIX = "tagger."
WINDOW = 2048  # sentences that are sorted by length together
TOKENS = 4096  # padded sub-tokens in a batch


class Tagged(NamedTuple):
    """A tagged sentence: its words, one BIO2 tag for each, and the entities that these spell."""

    words: Sequence[str]
    tags: Sequence[str]
    entities: Sequence[Entity]


class NERTagger:
    """Tags sentences of words.

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
        cls, run: str | None = None, *, root: str = "runs", device: str | None = None
    ) -> "NERTagger":
        """Loads the best checkpoint of a run.

        Args:
            run: a run folder or a checkpoint file; None is the last run.
            root: the folder of runs, for None.
            device: where to run; None takes a GPU if there is one.

        Raises:
            UserError: there is no such run, or its checkpoint or backbone cannot be used.
        """
        checkpoint = runs.load_checkpoint(runs.resolve(run, runs.BEST, Path(root)))
        config: dict[str, Any] = checkpoint["config"]
        model, data = config["model"], config["data"]
        device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        pretrained = locate(model["backbone"], model["revision"])
        tagger, weights = build_tagger(
            pretrained,
            LabelSet(tuple(data["types"])),
            Architecture.of(model),
            bf16="bf16" in str(config["trainer"]["precision"]),
            implementation=model["attn_implementation"],
            device_type=device,
            mergeable=True,
            trust_remote_code=model["trust_remote_code"],
        )
        check_backbone(checkpoint["backbone"], model["backbone"], weights)
        state = {name.removeprefix(PREFIX): value for name, value in checkpoint["state_dict"].items()}
        check_names(state, kept_names(tagger))
        tagger.load_state_dict(state, strict=False)
        tagger.merge()
        tokenizer = load_tokenizer(pretrained, trust_remote_code=model["trust_remote_code"])
        encoder = Encoder(tokenizer, **{name: data[name] for name in ENCODING if name in data})
        return cls(tagger.to(device), encoder)

    def stream(self, sentences: Iterator[Sequence[str]]) -> Iterator[Tagged]:
        """Tags sentences as they come, in order, a window of them at a time; each has a word at least."""
        while window := list(islice(sentences, WINDOW)):
            yield from self(window)

    def __call__(
        self, sentences: Sequence[Sequence[str]], documents: Sequence[int] | None = None
    ) -> list[Tagged]:
        """Tags sentences.

        Args:
            sentences: the words of each, at least one.
            documents: the document of each, for a tagger that reads the sentences of one together.
        """
        encoded = list(self.encoder.encode(sentences, documents))
        sampler = LengthGroupedSampler(encoded, batch_size=1, tokens_per_batch=TOKENS, shuffle=False)
        dataset = EncodedDataset(encoded, self.encoder.pad_id)
        found: dict[int, Tagged] = {}
        for places in sampler if sentences else ():
            found |= self._tag(dataset[places], sentences)
        return [found[index] for index in range(len(sentences))]

    @torch.inference_mode()
    def _tag(self, batch: Batch, sentences: Sequence[Sequence[str]]) -> dict[int, Tagged]:
        device = next(self.tagger.parameters()).device
        batch = batch.to(device)
        emissions = self.tagger(batch)
        ids = self.tagger.decode(emissions, batch.mask)
        entities = self.tagger.entities(emissions, batch.mask, ids)
        return {
            index: Tagged(sentences[index], self.labels.decode(row[: len(sentences[index])]), found)
            for index, row, found in zip(batch.index.tolist(), ids.tolist(), entities, strict=True)
        }
