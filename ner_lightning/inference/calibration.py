"""Temperature scaling: probabilities of entities that are right as often as they say (Guo et al. 2017)."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ner_lightning.analysis.failure import bins, calibration_error
from ner_lightning.data.schemes import spans
from ner_lightning.data.sentence import Sentence
from ner_lightning.errors import UserError
from ner_lightning.inference.predictor import NERTagger

# From a quarter to four: twelve steps make a factor of two.
TEMPERATURES = tuple(2 ** (step / 12) for step in range(-24, 25))
_TINY = 1e-6  # fp32 holds no probability closer to 1


class Calibration(NamedTuple):
    """What calibrating came to.

    Attributes:
        temperature: what makes the predicted entities' probabilities fit best.
        before: expected calibration error at temperature 1.
        after: the same with temperature; each half of the sentences has the temperature that the other
            half gave, so that nothing is measured on what it was fitted to.
        entities: how many predicted entities that is.
    """

    temperature: float
    before: float
    after: float
    entities: int


def calibrate(tagger: NERTagger, sentences: Sequence[Sentence]) -> Calibration:
    """Finds the temperature that suits sentences, and gives it to the tagger.

    It is the one of `TEMPERATURES` under which the log-loss of the predicted entities, right or wrong, is
    least. The tags stay the same.

    Args:
        tagger: its temperature is set.
        sentences: with gold tags, unseen in training: a validation set.

    Raises:
        UserError: sentences have no tags, or next to no entity is predicted in them.
    """
    if any(sentence.tags is None for sentence in sentences):
        raise UserError("calibration needs sentences with gold tags")
    chances, right, half = _chances(tagger, sentences)
    if min((half == 0).sum(), (half == 1).sum()) == 0:
        raise UserError("too few entities are predicted to calibrate by; name a larger file of sentences")
    kept = chances.clamp(_TINY, 1 - _TINY)
    losses = -torch.where(right, kept.log(), (1 - kept).log())  # (temperatures, entities)
    best = losses.mean(1).argmin()
    other = torch.stack([losses[:, half != part].mean(1).argmin() for part in (0, 1)])  # for each half
    crossed = chances.gather(0, other[half].unsqueeze(0)).squeeze(0)
    tagger.temperature = TEMPERATURES[int(best)]
    before, after = (
        calibration_error(bins(zip(each.tolist(), right.tolist(), strict=True)))
        for each in (chances[TEMPERATURES.index(1.0)], crossed)
    )
    return Calibration(tagger.temperature, before, after, len(right))


def _chances(tagger: NERTagger, sentences: Sequence[Sentence]) -> tuple[Tensor, Tensor, Tensor]:
    """Of each predicted entity: its probability at all temperatures, whether it is right, and its half.

    Returns:
        *Shape:* (temperatures, E), (E,), (E,)
    """
    model, types = tagger.tagger, tagger.labels.types
    chances, right, half = [], [], []
    before = model.temperature
    try:
        documents = [sentence.document for sentence in sentences]
        for scored in tagger.scores([sentence.words for sentence in sentences], documents):
            ids = model.decode(scored.emissions, scored.mask)
            places = []
            for row, (number, length) in enumerate(
                zip(scored.numbers, scored.mask.sum(1).tolist(), strict=True)
            ):
                gold = set(spans(sentences[number].tags or ()))
                for span in spans(tagger.labels.decode(ids[row, :length].tolist())):
                    places.append((row, span.start, span.end, types.index(span.type)))
                    right.append(span in gold)
                    half.append(number % 2)
            columns = torch.tensor(places, dtype=torch.long).reshape(-1, 4).to(ids.device).unbind(1)
            found = []
            for model.temperature in TEMPERATURES:
                found.append(model.span_probabilities(scored.emissions, scored.mask, *columns).cpu())
            chances.append(torch.stack(found))
    finally:
        model.temperature = before
    if not chances:
        return torch.zeros(len(TEMPERATURES), 0), torch.zeros(0, dtype=torch.bool), torch.zeros(0).long()
    return torch.cat(chances, 1), torch.tensor(right, dtype=torch.bool), torch.tensor(half).long()
