"""Temperature scaling: probabilities of entities that are right as often as they say (Guo et al. 2017)."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ner_lightning.analysis.failure import bins, calibration_error
from ner_lightning.data.schemes import Span, spans
from ner_lightning.data.sentence import Sentence
from ner_lightning.errors import UserError
from ner_lightning.inference.ner_tagger import NERTagger, Scored

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
    probabilities, correct, half = _entities(tagger, sentences)
    if min((half == 0).sum(), (half == 1).sum()) == 0:
        raise UserError("too few entities are predicted to calibrate by; name a larger file of sentences")
    inside = probabilities.clamp(_TINY, 1 - _TINY)
    losses = -torch.where(correct, inside.log(), (1 - inside).log())  # (temperatures, E)
    best = losses.mean(1).argmin()
    other = torch.stack([losses[:, half != part].mean(1).argmin() for part in (0, 1)])  # for each half
    crossed = probabilities.gather(0, other[half].unsqueeze(0)).squeeze(0)  # (E,)
    tagger.temperature = TEMPERATURES[int(best)]
    before, after = (
        calibration_error(bins(zip(each.tolist(), correct.tolist(), strict=True)))
        for each in (probabilities[TEMPERATURES.index(1.0)], crossed)
    )
    return Calibration(tagger.temperature, before, after, len(correct))


def _entities(tagger: NERTagger, sentences: Sequence[Sentence]) -> tuple[Tensor, Tensor, Tensor]:
    """Of each predicted entity: its probability at all temperatures, whether it is correct, and its half.

    Returns:
        *Shape:* (temperatures, E), (E,), (E,)
    """
    parts = [torch.zeros(len(TEMPERATURES), 0)]
    correct: list[bool] = []
    half: list[int] = []
    documents = [sentence.document for sentence in sentences]
    for scored in tagger.scores([sentence.words for sentence in sentences], documents):
        tags = tagger.tagger.decoder.decode(scored.emissions, scored.mask)
        rows = _predicted(tagger, scored, tags)
        gold = [set(spans(sentences[number].tags or ())) for number in scored.numbers]
        correct += [span in gold[row] for row, span in rows]
        half += [scored.numbers[row] % 2 for row, _ in rows]
        parts.append(_probabilities(tagger, scored, rows))
    return torch.cat(parts, 1), torch.tensor(correct, dtype=torch.bool), torch.tensor(half).long()


def _predicted(tagger: NERTagger, scored: Scored, tags: Tensor) -> list[tuple[int, Span]]:
    """The row and the span of each predicted entity of a batch."""
    lengths = scored.mask.sum(1).tolist()
    return [
        (row, span)
        for row, (ids, length) in enumerate(zip(tags.tolist(), lengths, strict=True))
        for span in spans(tagger.labels.decode(ids[:length]))
    ]


def _probabilities(tagger: NERTagger, scored: Scored, rows: Sequence[tuple[int, Span]]) -> Tensor:
    """The probabilities of a batch's predicted entities. *Shape:* (temperatures, S)."""
    types = tagger.labels.types
    numbers = [(row, span.start, span.end, types.index(span.type)) for row, span in rows]
    places = torch.tensor(numbers, dtype=torch.long).reshape(-1, 4).to(scored.emissions.device)
    found = [
        tagger.tagger.decoder.span_probabilities(scored.emissions, scored.mask, places, temperature)
        for temperature in TEMPERATURES
    ]
    return torch.stack(found).cpu()
