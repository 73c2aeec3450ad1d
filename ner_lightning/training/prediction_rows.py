"""Predictions of a split as rows, gathered from all ranks, and a description of the split."""

from collections.abc import Collection, Iterator
from typing import Any

import torch.distributed

from ner_lightning.analysis.rows import LEAST
from ner_lightning.data.schemes import spans
from ner_lightning.data.train_overlap import KEY, overlap_with_train
from ner_lightning.data.word_agreement import WITHIN_WORDS, entities_within_words
from ner_lightning.metrics.functional import entity_counts
from ner_lightning.model.entity_spans import CandidateSpan
from ner_lightning.runs.folder import SPLIT_OF
from ner_lightning.training.datamodule import CoNLLDataModule
from ner_lightning.training.module import NERModule
from ner_lightning.training.prediction import Prediction


def prediction_rows(
    module: NERModule, data: CoNLLDataModule, stage: str, prediction: Prediction
) -> Iterator[dict[str, Any]]:
    """A row for each sentence of a batch: words, gold, predicted, and probabilities of entities.

    `candidates` are all entities of at least `LEAST`, predicted or not: type, start, end, probability, and
    with a softmax the priority among those that share words.
    `counts` is not for the file: correct, predicted and gold entities, as the metrics count them.
    """
    sentences = data.corpus.split(SPLIT_OF[stage]).sentences
    decoder, prediction = module.built.decoder, prediction.to(module.device)
    metric: Any = module.metrics[stage]
    counts = entity_counts(prediction.tags, prediction.gold, prediction.mask, len(metric.types))
    by_sentence = counts.sum(1).tolist()
    entities = decoder.entities(prediction.emissions, prediction.mask, prediction.tags)
    types = len(module.labels.types)
    candidates = decoder.candidates(prediction.emissions, prediction.mask, [LEAST] * types)
    for row, index in enumerate(prediction.index.tolist()):
        sentence = sentences[index]
        yield {
            "sentence": index,
            "document": sentence.document,
            "words": list(sentence.words),
            "gold": list(sentence.tags or ()),
            "predicted": module.labels.decode(prediction.tags[row, : len(sentence.words)].tolist()),
            "counts": by_sentence[row],
            "entities": [
                {
                    "type": entity.type,
                    "start": entity.start,
                    "end": entity.end,
                    decoder.probability_name: round(entity.probability, 6),
                }
                for entity in entities[row]
            ],
            "candidates": [_compact(candidate) for candidate in candidates[row]],
        }


def _compact(candidate: CandidateSpan) -> list[str | int | float]:
    # Nine digits are all that single precision has: a threshold counts in the file as it does in prediction.
    type_, start, end, *values = candidate
    probability, *priority = (float(f"{value:.9g}") for value in dict.fromkeys(values))
    return [type_, start, end, probability, *priority]


def gather(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """All ranks' rows on rank 0, each other rank's own elsewhere."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return rows
    first = torch.distributed.get_rank() == 0
    parts: list[Any] | None = [None] * torch.distributed.get_world_size() if first else None
    torch.distributed.gather_object(rows, parts)
    return [row for part in parts for row in part] if parts is not None else rows


def describe_parameters(module: torch.nn.Module) -> dict[str, int]:
    """Numbers of all and of trained parameters, as `run.json` holds them."""
    sizes = [(parameter.numel(), parameter.requires_grad) for parameter in module.parameters()]
    trained = sum(size for size, is_trained in sizes if is_trained)
    return {"parameters": sum(size for size, _ in sizes), "trained_parameters": trained}


def describe_split(data: CoNLLDataModule, name: str, trained: Collection[str] = ()) -> dict[str, Any]:
    """Origin, fingerprint and sizes of a split.

    Args:
        data: the data.
        name: the split.
        trained: digests of the sentences of which training sentences are counted in a split that is scored.
    """
    split = data.corpus.split(name)
    counts = dict.fromkeys(data.types, 0)
    for sentence in split.sentences:
        for span in spans(sentence.tags or ()):
            counts[span.type] = counts.get(span.type, 0) + 1
    within = 0 if name == "train" else entities_within_words(split.sentences)  # scores are of others
    return {
        "origin": split.origin,
        "fingerprint": split.fingerprint,
        "sentences": len(split.sentences),
        "words": sum(len(sentence.words) for sentence in split.sentences),
        "entities": counts,
        **({WITHIN_WORDS: within} if within else {}),
        **(
            {KEY: overlap_with_train((sentence.words for sentence in split.sentences), trained)}
            if trained
            else {}
        ),
    }
