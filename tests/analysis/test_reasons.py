"""Groups that are missed more or less often than the rest: few false alarms, and real differences."""

import numpy as np
import pytest

from ner_lightning.analysis.reasons import design_effect
from ner_lightning.analysis.reasons import reasons as reasons_of
from ner_lightning.analysis.resampling import Sparse

DATA_SETS = 60


def reasons(by_property):
    return reasons_of(
        {n: {g: Sparse.of(counts) for g, counts in groups.items()} for n, groups in by_property.items()}
    )


def _groups(missed, member, sentence):
    """Counts of each group, from whether each entity is missed, its group and its sentence."""
    groups = {}
    for group in np.unique(member):
        counts = np.zeros((sentence.max() + 1, 3), dtype=np.int64)
        own = member == group
        np.add.at(counts[:, 0], sentence[own & ~missed], 1)
        np.add.at(counts[:, 2], sentence[own], 1)
        groups[str(group)] = counts
    return groups


@pytest.mark.parametrize(
    ("sizes", "rate"),
    [
        ([800, *[12] * 15], 0.08),
        ([800, *[12] * 15], 0.015),
        ([400, *[12] * 3], 0.08),
        ([400, *[40] * 3], 0.08),
        ([400, 400, 100], 0.02),
    ],
)
def test_equal_rates_give_reasons_in_few_data_sets(sizes, rate):
    rng = np.random.default_rng(0)
    member = np.repeat(np.arange(len(sizes)), sizes)
    alarms = 0
    for _ in range(DATA_SETS):
        missed = rng.random(len(member)) < rate
        alarms += bool(reasons({"type": _groups(missed, member, np.arange(len(member)))})[0])
    assert alarms <= 0.05 * DATA_SETS


def test_false_negatives_that_cluster_in_sentences_are_no_reasons():
    rng = np.random.default_rng(0)
    sizes, per_sentence = np.array([400, 100, 40, 20, 20]), 4
    member = np.repeat(np.arange(len(sizes)), sizes)  # of whole sentences, as by sentence length
    sentence = np.arange(len(member)) // per_sentence
    alarms = 0
    for _ in range(DATA_SETS):
        rates = rng.beta(0.08 * 1.5, 0.92 * 1.5, size=sentence.max() + 1)  # correlation 0.4
        missed = rng.random(len(member)) < rates[sentence]
        alarms += bool(reasons({"sentence length": _groups(missed, member, sentence)})[0])
    assert alarms <= 0.05 * DATA_SETS


def test_the_design_effect_is_that_of_the_sentences():
    alone = np.array([[0, 0, 1]] * 10 + [[1, 1, 1]] * 30)
    assert design_effect(alone) == pytest.approx(1)
    assert design_effect(alone * 3) == pytest.approx(3)  # all of a sentence are missed, or none
    assert design_effect(alone[10:]) == design_effect(alone[:10]) == design_effect(alone * 0) == 1


def _counts(rng, size, found):
    right = rng.binomial(1, found, size)
    return np.stack([right, right, np.ones(size, dtype=np.int64)], axis=1)


def test_a_reason_is_shown_only_beyond_chance():
    rng = np.random.default_rng(0)
    same = {"x": _counts(rng, 300, 0.8), "y": _counts(rng, 300, 0.8), "few": _counts(rng, 300, 0.8) * 0}
    assert reasons({"property": same}) == ([], 2)
    differing = {"x": _counts(rng, 300, 0.6), "y": _counts(rng, 300, 0.9)}
    (harder, easier), tested = reasons({"property": differing})
    assert tested == 2
    assert {harder.group, easier.group} == {"x", "y"}
    by_name = {r.group: r for r in (harder, easier)}
    assert by_name["x"].difference.low > 0
    assert by_name["y"].difference.high < 0
    assert by_name["x"].rate == pytest.approx(1 - differing["x"][:, 0].mean())


def test_a_group_without_a_false_negative_differs_if_it_is_large():
    rng = np.random.default_rng(0)
    rest = _counts(rng, 400, 0.9)
    for size, found in ((20, []), (400, [("all", 0.0), ("rest", pytest.approx(1 - rest[:, 0].mean()))])):
        counts = np.zeros((400 + size, 3), dtype=np.int64)
        groups = {"rest": counts.copy(), "all": counts}
        groups["rest"][:400], groups["all"][400:] = rest, 1
        differing, _ = reasons({"property": groups})
        assert sorted((reason.group, reason.rate) for reason in differing) == found
        assert all(-1 <= r.difference.low < r.difference.value < r.difference.high <= 1 for r in differing)


def test_false_negatives_that_cluster_in_one_group_alone_are_no_reason():
    """Twenty of forty, but in five sentences of ten: as if there were ten entities."""
    rng = np.random.default_rng(0)
    rest = _counts(rng, 2000, 0.75)
    for size, found in ((4, []), (1, ["group", "rest"])):
        own = np.repeat([[0, 0, size], [size, size, size]], 20 // size, axis=0)
        groups = {name: np.zeros((2000 + len(own), 3), dtype=np.int64) for name in ("group", "rest")}
        groups["rest"][:2000], groups["group"][2000:] = rest, own
        assert sorted(reason.group for reason in reasons({"property": groups})[0]) == found


def test_of_two_groups_one_differs_as_much_as_the_other_in_the_opposite_direction():
    rng = np.random.default_rng(0)
    groups = {name: np.zeros((340, 3), dtype=np.int64) for name in "ab"}
    groups["a"][:300], groups["b"][300:] = _counts(rng, 300, 0.9), _counts(rng, 40, 0.3)
    (a, b), _ = reasons({"property": groups})
    assert a.difference == pytest.approx((-b.difference.value, -b.difference.high, -b.difference.low))
