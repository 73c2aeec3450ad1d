"""Candidates of the CRF and of a softmax against enumeration of all paths, and the cost of the search."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import enumeration

from ner_lightning.data.schemes import LabelSet, spans
from ner_lightning.model.crf.candidates import Kinds, candidate_segments
from ner_lightning.model.crf.layer import CRF
from ner_lightning.model.crf.segments import Segments
from ner_lightning.model.decoder import Decoder

LABELS = LabelSet(("X", "Y"))
THRESHOLDS = st.sampled_from([1e-3, 0.01, 0.05, 0.2, 0.4, 0.5, 0.7, 0.95, 1.0])


def scores_of(seed, spread, constrained=True):
    """Start, transition and end scores of BIO2 with two types, -inf where illegal."""
    g = torch.Generator().manual_seed(seed)
    scores = [
        torch.randn(*shape, generator=g, dtype=torch.float64) * spread for shape in ((5,), (5, 5), (5,))
    ]
    if constrained:
        scores[0].masked_fill_(~torch.tensor(LABELS.legal_starts()), -math.inf)
        scores[1].masked_fill_(~torch.tensor(LABELS.legal_transitions()), -math.inf)
    return tuple(scores)


def batch(seed, lengths, spread):
    g = torch.Generator().manual_seed(seed)
    mask = torch.arange(max(lengths)) < torch.tensor(lengths).unsqueeze(1)
    return torch.randn(*mask.shape, 5, generator=g, dtype=torch.float64) * spread, mask


def kinds_of(thresholds):
    number = torch.arange(2)
    return Kinds(1 + 2 * number, 2 + 2 * number, torch.tensor(thresholds, dtype=torch.float64))


def by_enumeration(emissions, scores):
    """The probability of every entity of a sentence: that of all paths that have exactly it."""
    paths = enumeration.legal_paths(emissions.tolist(), *(score.tolist() for score in scores))
    found = {}
    for log_prob, (_, path) in zip(enumeration.log_probs(paths), paths, strict=True):
        for span in spans(LABELS.decode(path)):
            found.setdefault(span, []).append(log_prob)
    return {span: math.exp(enumeration.log_sum(values)) for span, values in found.items()}


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 2**31),
    st.lists(st.integers(1, 5), min_size=1, max_size=3),
    st.sampled_from([0.1, 1.0, 3.0, 30.0, 1e4]),
    st.tuples(THRESHOLDS, THRESHOLDS),
    st.booleans(),
)
def test_candidates_are_all_entities_of_the_enumeration(seed, lengths, spread, thresholds, constrained):
    emissions, mask = batch(seed, lengths, spread)
    scores = scores_of(seed + 1, spread, constrained)
    found = candidate_segments(emissions, mask, kinds_of(thresholds), *scores)
    least = dict(zip(LABELS.types, thresholds, strict=True))
    for row, length in enumerate(lengths):
        expected = by_enumeration(emissions[row, :length], scores)
        got = {
            (LABELS.types[kind], start, end): prob
            for sentence, start, end, kind, prob in zip(*(each.tolist() for each in found), strict=True)
            if sentence == row
        }
        for span, prob in expected.items():
            if abs(prob - least[span.type]) > 1e-9:  # else rounding decides
                assert (tuple(span) in got) == (prob >= least[span.type])
        assert all(prob >= least[type_] for (type_, _, _), prob in got.items())
        assert got == {span: pytest.approx(expected[span], abs=1e-9) for span in got}


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 6), THRESHOLDS, st.booleans())
def test_candidates_of_a_softmax_are_all_products(seed, length, threshold, constrained):
    emissions, mask = batch(seed, [length, 1], 2.0)
    decoder = Decoder(LABELS, use_crf=False, constrained=constrained)
    decoder.temperature = 1.5
    found, _ = decoder.candidates(emissions, mask, [threshold] * 2)
    every = [
        (0, start, end, kind)
        for start in range(length)
        for end in range(start + 1, length + 1)
        for kind in (0, 1)
    ]
    probabilities = decoder.span_probabilities(emissions, mask, torch.tensor(every)).tolist()
    expected = [
        (LABELS.types[kind], start, end, pytest.approx(probability))
        for (_, start, end, kind), probability in zip(every, probabilities, strict=True)
        if probability >= threshold
    ]
    assert [tuple(each[:4]) for each in found] == expected
    single = torch.log_softmax(emissions[0].float() / 1.5, -1).exp()
    for each in found:
        after = 1 - single[each.end, 2 + 2 * LABELS.types.index(each.type)].item() if each.end < length else 1
        assert each.priority == pytest.approx(each.probability * after, rel=1e-4)


@pytest.mark.parametrize("use_crf", [True, False])
def test_an_unconstrained_entity_begins_with_either_tag(use_crf):
    """Its probability is that of all tag sequences in which it is read, and the search finds it by that."""
    torch.manual_seed(0)
    decoder = Decoder(LABELS, use_crf=use_crf, constrained=False)
    emissions, mask = batch(3, [4], 2.0)
    emissions = emissions.float()
    zeros = [torch.zeros(shape) for shape in ((5,), (5, 5), (5,))]
    scores = decoder.crf.path_scores(emissions)[1] if use_crf else zeros
    paths = enumeration.legal_paths(emissions[0].tolist(), *(score.tolist() for score in scores))
    expected = {}
    for log_prob, (_, path) in zip(enumeration.log_probs(paths), paths, strict=True):
        for type_, start, end in spans(LABELS.decode(path)):
            # A softmax's product leaves open whether the entity goes on: it has all longer ones.
            for stop in [end] if use_crf else range(start + 1, end + 1):
                key = type_, start, stop
                expected[key] = expected.get(key, 0) + math.exp(log_prob)
    (found,) = decoder.candidates(emissions, mask, [1e-6] * 2)
    assert {each[:3]: each.probability for each in found} == pytest.approx(expected, rel=1e-4)
    (entities,) = decoder.entities(emissions, mask, torch.tensor([[2, 2, 0, 4]]))
    assert [each[:3] for each in entities] == [("X", 0, 2), ("Y", 3, 4)]
    for each in entities:
        assert each.probability == pytest.approx(expected[each[:3]], rel=1e-4)


def test_a_longer_entity_of_a_softmax_precedes_its_first_words():
    emissions = torch.zeros(1, 3, 5)
    for word, tag in enumerate((1, 2, 0)):
        emissions[0, word, tag] = 6
    found = Decoder(LABELS, use_crf=False).candidates(
        emissions, torch.ones(1, 3, dtype=torch.bool), [0.5, 0.5]
    )[0]
    assert [(each.start, each.end) for each in found] == [(0, 1), (0, 2)]
    assert found[0].probability > found[1].probability
    assert max(found, key=lambda each: each.priority).end == 2


def test_candidates_have_the_probabilities_of_predicted_entities():
    torch.manual_seed(0)
    emissions, mask = torch.randn(8, 12, 5) * 2, torch.arange(12) < torch.randint(1, 13, (8, 1)).clamp(min=1)
    decoder = Decoder(LABELS)
    decoder.temperature = 0.8
    predicted = decoder.entities(emissions, mask, decoder.decode(emissions, mask))
    possible = decoder.candidates(emissions, mask, [1e-9] * 2)
    for entities, candidates in zip(predicted, possible, strict=True):
        known = {tuple(each[:3]): each.probability for each in candidates}
        assert all(known[tuple(e[:3])] == pytest.approx(e.probability, rel=1e-5) for e in entities)


def test_search_visits_no_more_than_what_can_be_probable(monkeypatch):
    """Every word is in one entity of a path at most, so few segments can be probable at any threshold."""
    from ner_lightning.model.crf import candidates

    visited = []
    real = candidates.search
    monkeypatch.setattr(candidates, "search", lambda *args: visited.append(real(*args)) or visited[-1])
    number = torch.arange(18)
    labels = LabelSet(tuple(map(str, range(18))))
    crf = CRF(len(labels), torch.tensor(labels.legal_starts()), torch.tensor(labels.legal_transitions()))
    emissions, mask = torch.randn(4, 200, len(labels)) * 3, torch.ones(4, 200, dtype=torch.bool)
    for threshold in (0.001, 0.05, 0.5):
        kinds = Kinds(1 + 2 * number, 2 + 2 * number, torch.full((18,), threshold, dtype=torch.float64))
        found = crf.candidates(emissions, mask, kinds)
        assert len(found.prob) <= len(visited[-1][0]) <= 4 * 200 / threshold


def test_half_precision_and_autocast_change_no_candidate():
    decoder = Decoder(LABELS)
    emissions, mask = torch.randn(2, 6, 5).bfloat16(), torch.ones(2, 6, dtype=torch.bool)
    expected = decoder.candidates(emissions.float(), mask, [0.05] * 2)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert decoder.candidates(emissions, mask, [0.05] * 2) == expected
    assert expected[0]


def test_no_legal_path_has_no_candidate_and_a_threshold_is_above_zero():
    scores = scores_of(0, 1.0)
    scores[2].fill_(-math.inf)
    emissions, mask = batch(0, [3], 1.0)
    assert len(candidate_segments(emissions, mask, kinds_of((0.1, 0.1)), *scores).prob) == 0
    with pytest.raises(ValueError, match="above 0, got 0"):
        candidate_segments(emissions, mask, kinds_of((0.0, 0.1)), *scores)


def test_a_candidate_may_be_as_probable_as_its_threshold_says():
    emissions = torch.full((1, 1, 5), -1e4, dtype=torch.float64)
    emissions[..., 1] = 0
    zeros = [torch.zeros(shape, dtype=torch.float64) for shape in ((5,), (5, 5), (5,))]
    found = candidate_segments(emissions, torch.ones(1, 1, dtype=torch.bool), kinds_of((1.0, 1.0)), *zeros)
    assert (found.kind.tolist(), found.prob.tolist()) == ([0], [1.0])


def test_candidates_agree_with_the_probability_of_given_segments():
    torch.manual_seed(1)
    crf = CRF(5, torch.tensor(LABELS.legal_starts()), torch.tensor(LABELS.legal_transitions()))
    emissions, mask = torch.randn(3, 20, 5), torch.ones(3, 20, dtype=torch.bool)
    sentence, start, end, kind, prob = crf.candidates(emissions, mask, kinds_of((0.01, 0.01)), 2.0)
    first, inner = 1 + 2 * kind, 2 + 2 * kind
    given_ = crf.segment_log_probs(emissions, mask, Segments(sentence, start, end, first, inner), 2.0)
    assert torch.equal(prob, given_.exp())
