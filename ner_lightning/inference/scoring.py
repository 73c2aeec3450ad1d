"""Runs the model over sentences in batches of similar length, and decodes tags, entities and marginals."""

import math
from collections.abc import Iterable, Iterator, Sequence
from itertools import count, islice
from typing import NamedTuple

import torch
from torch import Tensor

from ner_lightning.data.batching import EncodedDataset
from ner_lightning.data.running_text import Document
from ner_lightning.data.sampling import LengthGroupedSampler
from ner_lightning.data.schemes import Span, to_bio2
from ner_lightning.data.sentence import SURROGATE
from ner_lightning.data.tokenization.encoding import Encoder
from ner_lightning.inference.arguments import checked_sentences
from ner_lightning.inference.grouping import grouped
from ner_lightning.inference.result import SentenceResult, Tagged, join
from ner_lightning.inference.selection import CallOptions, Selection, selection
from ner_lightning.model.backbone import evaluating
from ner_lightning.model.entity_spans import CandidateSpan, EntitySpan
from ner_lightning.model.tagger import Tagger

CHUNK = 2048  # sentences that are sorted by length together
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
        tagger: the model; its mode, of training or of evaluation, stays as it is.
        encoder: the encoder of its backbone.
        sentences: the words of each sentence.
        documents: the document of each sentence, for a model with document context; None: each its own.
    """
    checked = checked_sentences(sentences, "sentences")
    encoded = list(encoder.encode([encodable(words) for words in checked], documents))
    if not encoded:
        return
    dataset = EncodedDataset(encoded, encoder.pad_id)
    device = tagger.device
    for indices in LengthGroupedSampler(encoded, batch_size=1, tokens_per_batch=TOKENS, shuffle=False):
        batch = dataset[indices].to(device)
        with evaluating(tagger), torch.inference_mode():
            emissions = tagger.scores(batch)
        yield ScoredBatch(batch.index.tolist(), emissions, batch.mask)


class DecodeOptions(NamedTuple):
    """What a call asks for of each sentence.

    Attributes:
        marginals: also the probability of each tag at each word.
        n_best: also this many tag sequences.
        selection: which entities; None: those of the best tag sequence.
    """

    marginals: bool = False
    n_best: int = 0
    selection: Selection | None = None

    @property
    def keeps(self) -> bool:
        """Whether entities that overlap more probable ones are returned."""
        return self.selection is not None and self.selection.keeps


def decode_options(options: CallOptions, types: Sequence[str], default: Selection | None) -> DecodeOptions:
    """Checks the options of a call.

    Args:
        options: of the call.
        types: the tagger's entity types.
        default: the tagger's own selection.

    Raises:
        TypeError: there is no such option, or `n_best` is no integer.
        UserError: a probability is outside its range, or a type is unknown.
        ValueError: `n_best` is below 0.
    """
    if unknown := options.keys() - CallOptions.__annotations__:
        known = ", ".join(CallOptions.__annotations__)
        raise TypeError(f"there is no option {', '.join(sorted(unknown))}; there are {known}")
    n_best = options.get("n_best", 0)
    if isinstance(n_best, bool) or not isinstance(n_best, int):
        raise TypeError(f"n_best is {n_best!r}; it must be a whole number of at least 0")
    if n_best < 0:
        raise ValueError(f"n_best is {n_best}; it must be a whole number of at least 0")
    chosen = selection(options.get("min_score"), options.get("overlaps"), types, default)
    return DecodeOptions(options.get("marginals", False), n_best, chosen)


def tagged_documents(
    tagger: Tagger,
    encoder: Encoder,
    documents: Iterable[Document],
    numbers: Iterable[int] | None,
    wanted: DecodeOptions,
) -> Iterator[Tagged]:
    """The result of each document, in order; arguments as of `score` and `document_groups`."""
    num_tags = len(tagger.labels) if wanted.marginals else 0
    for group in document_groups(documents, numbers):
        sentences = [words for document, _ in group for words in document.words]
        owners = [number for document, number in group for _ in document.sentences]
        results = sentence_results(tagger, encoder, sentences, owners, wanted)
        for document, _ in group:
            own = list(islice(results, len(document.sentences)))
            yield join(document, own, n_best=wanted.n_best, num_tags=num_tags, keep=wanted.keeps)


def sentence_results(
    tagger: Tagger,
    encoder: Encoder,
    sentences: Sequence[Sequence[str]],
    documents: Sequence[int],
    wanted: DecodeOptions,
) -> Iterator[SentenceResult]:
    """The result of each sentence, in order; arguments as of `score`."""
    for chunk in chunks(documents):
        results: dict[int, SentenceResult] = {}
        part = slice(chunk.start, chunk.stop)
        for batch in score(tagger, encoder, sentences[part], documents[part]):
            results |= decode(tagger, batch, wanted)
        yield from (results[index] for index in range(len(chunk)))


@torch.inference_mode()
def decode(tagger: Tagger, batch: ScoredBatch, wanted: DecodeOptions) -> dict[int, SentenceResult]:
    """Decodes a batch.

    Args:
        tagger: the model that scored it.
        batch: the batch.
        wanted: what to return.

    Returns:
        the result of each sentence, by its index.
    """
    emissions, mask = batch.emissions, batch.mask
    lengths = mask.sum(1).tolist()
    decoder, labels = tagger.decoder, tagger.labels
    if wanted.selection is not None:
        candidates = decoder.candidates(emissions, mask, wanted.selection.min_scores)
        tagged = _selected(candidates, lengths, wanted.selection)
    else:
        ids = decoder.decode(emissions, mask)
        entities = decoder.entities(emissions, mask, ids)
        rows = zip(ids.tolist(), lengths, entities, strict=True)
        tagged = [(labels.decode(row[:length]), found, None) for row, length, found in rows]
    marginals = decoder.marginals(emissions, mask).cpu().numpy() if wanted.marginals else None
    paths, log_probs = decoder.n_best(emissions, mask, wanted.n_best) if wanted.n_best else (None, None)
    results = {}
    for row, (index, length) in enumerate(zip(batch.indices, lengths, strict=True)):
        tags, found, overlapping = tagged[row]
        results[index] = SentenceResult(
            tags,
            found,
            None if marginals is None else marginals[row, :length],
            []
            if paths is None or log_probs is None
            else [
                (labels.decode(path), log_prob)
                for path, log_prob in zip(
                    paths[row, :, :length].tolist(), log_probs[row].tolist(), strict=True
                )
                if log_prob > -math.inf
            ],
            overlapping,
        )
    return results


def _selected(
    candidates: Sequence[Sequence[CandidateSpan]], lengths: Sequence[int], selection: Selection
) -> list[tuple[list[str], list[EntitySpan], list[EntitySpan] | None]]:
    """Of each sentence the tags, the entities that they encode, and those that overlap these."""
    parts = map(selection.split, candidates)
    return [
        (to_bio2([Span(*each[:3]) for each in entities], length), entities, overlapping)
        for (entities, overlapping), length in zip(parts, lengths, strict=True)
    ]


def document_groups(
    documents: Iterable[Document], numbers: Iterable[int] | None
) -> Iterator[list[tuple[Document, int]]]:
    """Groups documents, each with its number: about `CHUNK` sentences, and at most `GROUP` documents.

    Args:
        documents: the documents.
        numbers: consecutive documents with the same number are parts of one text and stay together; None
            numbers them from 0.
    """
    separate = numbers is None
    numbered = zip(documents, count() if numbers is None else numbers, strict=not separate)
    return grouped(
        (pair, (1 / GROUP, len(pair[0].sentences) / CHUNK), None if separate else pair[1])
        for pair in numbered
    )


def chunks(documents: Sequence[int]) -> Iterator[range]:
    """Splits sentences into chunks of at most `CHUNK`, where possible at the end of a document.

    Args:
        documents: the document of each sentence.
    """
    begin = 0
    while begin < len(documents):
        limit = end = min(begin + CHUNK, len(documents))
        while begin < end < len(documents) and documents[end - 1] == documents[end]:
            end -= 1
        end = end if end > begin else limit
        yield range(begin, end)
        begin = end


def encodable(words: Sequence[str]) -> Sequence[str]:
    """Words that a tokenizer accepts: halves of characters are replaced."""
    if any(map(SURROGATE.search, words)):
        return [SURROGATE.sub("\ufffd", word) for word in words]
    return words
