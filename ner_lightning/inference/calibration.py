"""Temperature scaling: fits the probabilities of entities to how often they are correct (Guo et al. 2017)."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ner_lightning.analysis.failure import bins, calibration_error
from ner_lightning.data.in_memory import split_of
from ner_lightning.data.partial_annotation import unknown_words
from ner_lightning.data.schemes import Span, spans
from ner_lightning.data.sentence import Sentence
from ner_lightning.errors import UserError
from ner_lightning.inference.ner_tagger import NERTagger
from ner_lightning.inference.scoring import score

# From a quarter to four: twelve steps make a factor of two.
TEMPERATURES = tuple(2 ** (step / 12) for step in range(-24, 25))
_EPSILON = 1e-6  # fp32 has no probability closer to 1


class Calibration(NamedTuple):
    """The result of calibrating.

    Attributes:
        temperature: the temperature under which the predicted entities' log-loss is least.
        before: expected calibration error at temperature 1, from 0 to 1.
        after: the same with temperature, cross-validated: each half of the sentences is scored at the
            temperature that was fitted to the other half.
        entities: the number of predicted entities.
    """

    temperature: float
    before: float
    after: float
    entities: int


def calibrate(tagger: NERTagger, sentences: Any) -> Calibration:
    """Sets a tagger's temperature to the one that fits sentences best.

    It is the one of `TEMPERATURES` under which the log-loss of the predicted entities, correct or not, is
    least. The tags stay the same.

    Args:
        tagger: its temperature is set.
        sentences: with gold tags, not used in training: a validation set, as `read_sentences` returns it or
            as `CoNLLDataModule(valid=...)` takes it: pairs of words and tags, dicts, a data frame.

    Raises:
        UserError: sentences have no tags, or too few entities are predicted in them.
    """
    if not isinstance(sentences, Sequence) or not all(isinstance(one, Sentence) for one in sentences):
        sentences = split_of("calibration", sentences).sentences
    if any(sentence.tags is None for sentence in sentences):
        raise UserError("calibration needs sentences with gold tags")
    if unknown := unknown_words(sentences):
        raise UserError(
            f"calibration needs every tag, and {unknown:,} are unknown (?): an entity there would count as "
            "wrong; complete these sentences, or leave them out"
        )
    probabilities, correct, half = _predicted_entities(tagger, sentences)
    if min((half == 0).sum(), (half == 1).sum()) == 0:
        raise UserError("too few entities are predicted to calibrate by; name a larger file of sentences")
    clamped = probabilities.clamp(_EPSILON, 1 - _EPSILON)
    losses = -torch.where(correct, clamped.log(), (1 - clamped).log())  # (K, E)
    best = TEMPERATURES[int(losses.mean(1).argmin())]
    best_of_other_half = torch.stack([losses[:, half != part].mean(1).argmin() for part in (0, 1)])
    cross_validated = probabilities.gather(0, best_of_other_half[half].unsqueeze(0)).squeeze(0)  # (E,)
    before, after = (
        calibration_error(bins(zip(values.tolist(), correct.tolist(), strict=True)))
        for values in (probabilities[TEMPERATURES.index(1.0)], cross_validated)
    )
    tagger.temperature = best
    return Calibration(best, before, after, len(correct))


def _predicted_entities(tagger: NERTagger, sentences: Sequence[Sentence]) -> tuple[Tensor, Tensor, Tensor]:
    """Each predicted entity's probability at K temperatures, whether it is correct, and its sentence's half.

    Returns:
        *Shape:* (K, E), (E,), (E,)
    """
    decoder, types = tagger.tagger.decoder, tagger.labels.types
    probabilities = [torch.zeros(len(TEMPERATURES), 0)]
    correct: list[bool] = []
    half: list[int] = []
    documents = [sentence.document for sentence in sentences]
    words = [sentence.words for sentence in sentences]
    for indices, emissions, mask in score(tagger.tagger, tagger.encoder, words, documents):
        tags = decoder.decode(emissions, mask)
        rows = decoder.entities(emissions, mask, tags)
        predicted = [(row, Span(*entity[:3])) for row, entities in enumerate(rows) for entity in entities]
        gold = [set(spans(sentences[index].tags or ())) for index in indices]
        correct += [span in gold[row] for row, span in predicted]
        half += [indices[row] % 2 for row, _ in predicted]
        numbers = [(row, span.start, span.end, types.index(span.type)) for row, span in predicted]
        where = torch.tensor(numbers, dtype=torch.long, device=emissions.device).reshape(-1, 4)
        at_each = [decoder.span_probabilities(emissions, mask, where, value) for value in TEMPERATURES]
        probabilities.append(torch.stack(at_each).cpu())
    return torch.cat(probabilities, 1), torch.tensor(correct, dtype=torch.bool), torch.tensor(half).long()
