"""Runs the model over sentences in batches of similar length, and decodes tags, entities and marginals."""

import math
from collections.abc import Iterable, Iterator, Sequence
from itertools import count
from typing import NamedTuple

import torch
from torch import Tensor

from ner_lightning.data.batching import EncodedDataset
from ner_lightning.data.running_text import Document
from ner_lightning.data.sampling import LengthGroupedSampler
from ner_lightning.data.sentence import SURROGATE
from ner_lightning.data.tokenization.encoding import Encoder
from ner_lightning.inference.arguments import checked_sentences
from ner_lightning.inference.grouping import grouped
from ner_lightning.inference.result import SentenceResult
from ner_lightning.model.tagger import Tagger

WINDOW = 2048  # sentences that are sorted by length together
TOKENS = 4096  # padded sub-tokens per batch
GROUP = 1024  # documents that are tagged together at most, however short they are


class ScoredBatch(NamedTuple):
    """The model's emissions for a batch of sentences.

    Attributes:
        indices: index of each sentence in what was scored.
        emissions: *Shape:* (B, W, C)
        mask: true on words, false on padding. *Shape:* (B, W)
    """

    indices: list[int]
    emissions: Tensor
    mask: Tensor


def score(
    tagger: Tagger,
    encoder: Encoder,
    sentences: Sequence[Sequence[str]],
    documents: Sequence[int] | None = None,
) -> Iterator[ScoredBatch]:
    """Computes emissions, batch by batch, in order of length.

    Args:
        tagger: the model, in evaluation mode.
        encoder: the encoder of its backbone.
        sentences: the words of each sentence.
        documents: the document of each sentence, for a model with document context; None: each its own.
    """
    checked = checked_sentences(sentences, "sentences")
    encoded = list(encoder.encode([_encodable(words) for words in checked], documents))
    if not encoded:
        return
    dataset = EncodedDataset(encoded, encoder.pad_id)
    device = next(tagger.parameters()).device
    for indices in LengthGroupedSampler(encoded, batch_size=1, tokens_per_batch=TOKENS, shuffle=False):
        batch = dataset[indices].to(device)
        with torch.inference_mode():
            emissions = tagger(batch)
        yield ScoredBatch(batch.index.tolist(), emissions, batch.mask)


@torch.inference_mode()
def decode(tagger: Tagger, batch: ScoredBatch, *, marginals: bool, n_best: int) -> dict[int, SentenceResult]:
    """Decodes a batch.

    Args:
        tagger: the model that scored it.
        batch: the batch.
        marginals: return the probability of each tag at each word.
        n_best: the number of tag sequences to return.

    Returns:
        the result of each sentence, by its index.
    """
    emissions, mask = batch.emissions, batch.mask
    ids = tagger.decoder.decode(emissions, mask)
    entities = tagger.decoder.entities(emissions, mask, ids)
    probabilities = tagger.decoder.marginals(emissions, mask).cpu().numpy() if marginals else None
    paths, log_probs = tagger.decoder.n_best(emissions, mask, n_best) if n_best else (None, None)
    labels = tagger.labels
    results = {}
    for row, (index, length) in enumerate(zip(batch.indices, mask.sum(1).tolist(), strict=True)):
        results[index] = SentenceResult(
            labels.decode(ids[row, :length].tolist()),
            entities[row],
            None if probabilities is None else probabilities[row, :length],
            []
            if paths is None or log_probs is None
            else [
                (labels.decode(path), log_prob)
                for path, log_prob in zip(
                    paths[row, :, :length].tolist(), log_probs[row].tolist(), strict=True
                )
                if log_prob > -math.inf
            ],
        )
    return results


def document_groups(
    documents: Iterable[Document], numbers: Iterable[int] | None
) -> Iterator[list[tuple[Document, int]]]:
    """Groups documents, each with its number: about `WINDOW` sentences, and at most `GROUP` documents.

    Args:
        documents: the documents.
        numbers: consecutive documents with the same number are parts of one text and stay together; None
            numbers them from 0.
    """
    separate = numbers is None
    numbered = zip(documents, count() if numbers is None else numbers, strict=not separate)
    return grouped(
        (pair, (1 / GROUP, len(pair[0].sentences) / WINDOW), None if separate else pair[1])
        for pair in numbered
    )


def windows(documents: Sequence[int]) -> Iterator[range]:
    """Splits sentences into windows of at most `WINDOW`, where possible at the end of a document.

    Args:
        documents: the document of each sentence.
    """
    begin = 0
    while begin < len(documents):
        limit = end = min(begin + WINDOW, len(documents))
        while begin < end < len(documents) and documents[end - 1] == documents[end]:
            end -= 1
        end = end if end > begin else limit
        yield range(begin, end)
        begin = end


def _encodable(words: Sequence[str]) -> Sequence[str]:
    if any(map(SURROGATE.search, words)):
        return [SURROGATE.sub("\ufffd", word) for word in words]
    return words
