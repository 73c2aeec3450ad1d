"""Mixed batches: texts for several taggers that share a backbone, which runs once over all of them."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import groupby
from typing import NamedTuple, Unpack

import numpy as np
import torch
from torch import Tensor

from ner_lightning.data.batching import Batch, collate
from ner_lightning.data.running_text import Document, from_text
from ner_lightning.data.sampling import LengthGroupedSampler
from ner_lightning.data.tokenization.encoding import Encoded, Encoder
from ner_lightning.inference.arguments import checked_sentences
from ner_lightning.inference.ner_tagger import NERTagger
from ner_lightning.inference.result import SentenceResult, Tagged, join
from ner_lightning.inference.scoring import TOKENS, ScoredBatch, decode, encodable
from ner_lightning.inference.selection import CallOptions
from ner_lightning.model.backbone import evaluating
from ner_lightning.model.masks import hidden_states
from ner_lightning.model.shared_adapters import AdapterBank, RowsLost, SharedEmitter


class Request(NamedTuple):
    """A text, and who tags it.

    Attributes:
        tagger: who tags it.
        text: the text.
    """

    tagger: NERTagger
    text: str


class _Unit(NamedTuple):
    """A passage for a tagger.

    Attributes:
        request: the first of this tagger, which stands for all of them.
        passage: with indices of sentences in `_Encoding`.
    """

    request: Request
    passage: Encoded


class _Encoding:
    """The sentences of some texts, each text once, as one encoder makes passages of them."""

    def __init__(self, encoder: Encoder, texts: Sequence[str]) -> None:
        self.documents: dict[str, Document] = {text: from_text(text) for text in dict.fromkeys(texts)}
        words = [words for document in self.documents.values() for words in document.words]
        owners = [n for n, document in enumerate(self.documents.values()) for _ in document.sentences]
        checked = checked_sentences(words, "sentences")
        self.passages = list(encoder.encode([encodable(each) for each in checked], owners))
        self.sentences: dict[str, range] = {}  # of each text
        start = 0
        for text, document in self.documents.items():
            self.sentences[text] = range(start, start + len(document.sentences))
            start += len(document.sentences)

    def of(self, texts: set[str]) -> Iterator[Encoded]:
        """The passages of some of the texts."""
        wanted = {index for text in texts for index in self.sentences[text]}
        return (passage for passage in self.passages if int(passage.index[0]) in wanted)


def tag_mixed(requests: Sequence[Request], bank: AdapterBank, **options: Unpack[CallOptions]) -> list[Tagged]:
    """Tags texts, those of different taggers in the same batches.

    Args:
        requests: the texts.
        bank: of the backbone that their taggers share.
        **options: as of `NERTagger`, for all.

    Returns:
        a result for each request.
    """
    encodings: dict[int, _Encoding] = {}
    for encoder in {id(each.tagger.encoder): each.tagger.encoder for each in requests}.values():
        texts = [each.text for each in requests if each.tagger.encoder is encoder]
        encodings[id(encoder)] = _Encoding(encoder, texts)
    units: list[_Unit] = []
    for tagger in {id(each.tagger): each.tagger for each in requests}.values():
        own = [each for each in requests if each.tagger is tagger]
        texts_of_it = {each.text for each in own}
        units += (_Unit(own[0], p) for p in encodings[id(tagger.encoder)].of(texts_of_it))
    results: dict[tuple[int, int], SentenceResult] = {}
    if units:
        passages = [unit.passage for unit in units]
        sampler = LengthGroupedSampler(passages, batch_size=1, tokens_per_batch=TOKENS, shuffle=False)
        with evaluating(bank.backbone, *(_emitter(each.tagger).dropout for each in requests)):
            for indices in sampler:
                results |= _results([units[index] for index in indices], bank, options)
    made = []
    for tagger, text in requests:
        encoding = encodings[id(tagger.encoder)]
        own_results = [results[id(tagger), index] for index in encoding.sentences[text]]
        made.append(_joined(tagger, encoding.documents[text], own_results, options))
    return made


def _results(
    units: Sequence[_Unit], bank: AdapterBank, options: CallOptions
) -> dict[tuple[int, int], SentenceResult]:
    """The results of a batch, by tagger and sentence."""
    ordered = sorted(units, key=lambda unit: id(unit.request.tagger))  # rows of a tagger follow each other
    try:
        return _batch_results(ordered, bank, options)
    except RowsLost:
        bank.mixes = False
        apart = groupby(ordered, key=lambda unit: id(unit.request.tagger))
        parts = [_batch_results(list(own), bank, options) for _, own in apart]
        return {key: result for part in parts for key, result in part.items()}


@torch.inference_mode()
def _batch_results(
    units: Sequence[_Unit], bank: AdapterBank, options: CallOptions
) -> dict[tuple[int, int], SentenceResult]:
    first = units[0].request.tagger
    device = first.tagger.device
    batch = collate([unit.passage for unit in units], first.encoder.pad_id).to(device)
    owners = np.repeat([id(unit.request.tagger) for unit in units], [len(u.passage.index) for u in units])
    taggers = {id(unit.request.tagger): unit.request.tagger for unit in units}
    rows = [_emitter(unit.request.tagger).adapters for unit in units for _ in unit.passage.windows]
    with bank.running(rows):
        hidden = hidden_states(bank.backbone, batch)  # (R, T, D)
    found: dict[tuple[int, int], SentenceResult] = {}
    for key, tagger in taggers.items():
        part = _rows(batch, torch.from_numpy(np.flatnonzero(owners == key)).to(device))
        emissions = tagger.tagger.checked(_emitter(tagger).emissions(hidden, part), part.mask)
        scored = ScoredBatch(part.index.tolist(), emissions, part.mask)
        decoded = decode(tagger.tagger, scored, tagger.wanted(options))
        found |= {(key, index): result for index, result in decoded.items()}
    return found


def _rows(batch: Batch, rows: Tensor) -> Batch:
    """Some sentences of a batch, whose words still point into all of its rows."""
    mask = batch.mask[rows]
    width = int(mask.sum(1).max())
    first, last = (each[rows, :width] for each in (batch.first, batch.last))
    return replace(batch, first=first, last=last, mask=mask[:, :width], index=batch.index[rows])


def _emitter(tagger: NERTagger) -> SharedEmitter:
    assert isinstance(tagger.tagger.emitter, SharedEmitter), "only taggers that share a backbone are here"
    return tagger.tagger.emitter


def _joined(
    tagger: NERTagger, document: Document, results: list[SentenceResult], options: CallOptions
) -> Tagged:
    wanted = tagger.wanted(options)
    num_tags = len(tagger.labels) if wanted.marginals else 0
    return join(document, results, n_best=wanted.n_best, num_tags=num_tags, keep=wanted.keeps)
