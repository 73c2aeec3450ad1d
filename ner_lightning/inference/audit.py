"""Audits gold tags: how much more probable the model finds its own tags of a sentence than the gold ones."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ner_lightning.data.schemes import UNKNOWN
from ner_lightning.data.sentence import Sentence
from ner_lightning.errors import UserError
from ner_lightning.inference.ner_tagger import NERTagger
from ner_lightning.inference.scoring import score
from ner_lightning.model.decoder import Decoder


class Audited(NamedTuple):
    """The gold tags of a sentence against a model that did not see them.

    Attributes:
        number: index of the sentence in what was audited.
        gold_log_prob: log-probability of the gold tags.
        best_log_prob: log-probability of the most probable tags.
        predicted: the most probable tags.
    """

    number: int
    gold_log_prob: float
    best_log_prob: float
    predicted: tuple[str, ...]

    @property
    def margin(self) -> float:
        """How many times as probable the model's tags are as the gold ones, as a logarithm; at least 0."""
        return max(0.0, self.best_log_prob - self.gold_log_prob)


@torch.inference_mode()
def audit(tagger: NERTagger, sentences: Sequence[Sentence]) -> Iterator[Audited]:
    """Compares the gold tags of sentences with the most probable ones, in any order.

    With a CRF, probabilities are those of whole tag sequences over legal paths; with a softmax, products of
    the words' probabilities. The model must not have seen the sentences with these tags.

    Args:
        tagger: the model; its temperature counts nothing here.
        sentences: with BIO2 tags.

    Raises:
        UserError: a sentence has no tags, or a type that the tagger does not know.
    """
    decoder, labels = tagger.tagger.decoder, tagger.labels
    if any(sentence.tags is None or UNKNOWN in sentence.tags for sentence in sentences):
        raise UserError("an audit needs sentences with gold tags, none of them unknown (?)")
    gold = [labels.encode(sentence.tags or ()) for sentence in sentences]
    documents = [sentence.document for sentence in sentences]
    words = [sentence.words for sentence in sentences]
    for indices, emissions, mask in score(tagger.tagger, tagger.encoder, words, documents):
        ids = torch.zeros(mask.shape, dtype=torch.long, device=mask.device)  # (B, W)
        for row, index in enumerate(indices):
            ids[row, : len(gold[index])] = torch.tensor(gold[index], device=mask.device)
        log_probs = _log_probs(decoder, emissions, ids, mask)  # (B,)
        paths = decoder.decode(emissions, mask)  # (B, W)
        best = _log_probs(decoder, emissions, paths, mask)  # (B,)
        for row, index in enumerate(indices):
            tags = labels.decode(paths[row, : len(gold[index])].tolist())
            yield Audited(index, log_probs[row].item(), best[row].item(), tuple(tags))


def _log_probs(decoder: Decoder, emissions: Tensor, tags: Tensor, mask: Tensor) -> Tensor:
    """The log-probability of tag sequences. *Shape:* (B, W, C), (B, W), (B, W) to (B,)."""
    if decoder.crf is not None:
        return decoder.crf.log_likelihood(emissions, tags, mask)
    words = torch.log_softmax(emissions.float(), -1).gather(-1, tags.unsqueeze(-1)).squeeze(-1)  # (B, W)
    return words.masked_fill(~mask, 0).sum(1)
