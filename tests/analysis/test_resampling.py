import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from ner_lightning.analysis import resampling
from ner_lightning.analysis.compare import holm
from ner_lightning.analysis.resampling import Sparse, intervals, paired_test, resampled
from ner_lightning.metrics.from_counts import f1, precision_recall

COUNTS = arrays(np.int64, (8, 3), elements=st.integers(0, 5)).map(
    lambda c: np.stack([np.minimum(c[:, 0], c[:, 1:].min(1)), c[:, 1], c[:, 2]], axis=1)
)


def sample(rng, size, right):
    """Sentences with two annotated and two predicted entities each."""
    return np.stack([rng.binomial(2, right, size), np.full(size, 2), np.full(size, 2)], axis=1)


def test_scores_are_those_of_the_formulas():
    counts = np.array([[3, 4, 6], [0, 0, 0], [0, 2, 0]])
    assert f1(counts).tolist() == [2 * 3 / 10, 0, 0]
    precision, recall = precision_recall(counts)
    assert precision.tolist() == [3 / 4, 0, 0]
    assert recall.tolist() == [3 / 6, 0, 0]


@given(COUNTS)
def test_the_interval_holds_the_value_of_many_draws(counts):
    (found,) = intervals([Sparse.of(counts)])
    assert 0 <= found.low <= found.high <= 1
    assert found.value == f1(counts.sum(0))


def test_draws_are_of_whole_sentences_and_the_same_for_a_seed():
    counts = np.eye(3, dtype=np.int64)[[0, 1, 2, 2]]
    sums = resampled([Sparse.of(counts)], rounds=500, seed=1)[:, 0]
    assert (sums.sum(1) == 4).all()
    assert np.allclose(sums.mean(0), [1, 1, 2], atol=0.15)
    assert (sums == resampled([Sparse.of(counts)] * 2, rounds=500, seed=1)[:, 1]).all()


def test_the_sums_of_sparse_groups_are_those_of_the_whole_arrays():
    rng = np.random.default_rng(0)
    counts = rng.integers(0, 3, size=(50, 4, 3)) * (rng.random((50, 4, 1)) < 0.2)
    draws = np.random.default_rng(7).integers(50, size=(300, 50))
    groups = [Sparse.of(counts[:, group]) for group in range(4)]
    assert (resampled(groups, rounds=300, seed=7) == counts[draws].sum(1)).all()
    assert all((group.dense() == counts[:, index]).all() for index, group in enumerate(groups))


def test_draws_and_permutations_do_not_depend_on_how_many_are_held_at_a_time(monkeypatch):
    rng = np.random.default_rng(0)
    one, other = sample(rng, 40, 0.7), sample(rng, 40, 0.8)
    whole = resampled([Sparse.of(one)], rounds=90), paired_test(one, other)
    monkeypatch.setattr(resampling, "_CELLS", 40 * 7)
    assert (resampled([Sparse.of(one)], rounds=90) == whole[0]).all()
    assert paired_test(one, other) == whole[1]


def test_intervals_cover_the_truth_as_often_as_they_say():
    rng = np.random.default_rng(0)
    hits = 0
    for seed in range(120):
        (found,) = intervals([Sparse.of(sample(rng, 150, 0.8))], seed=seed)
        hits += found.low <= 0.8 <= found.high
    assert 105 <= hits <= 120  # 114 expected


def test_draws_without_an_entity_of_a_rare_group_do_not_count():
    counts = np.zeros((1000, 3), dtype=np.int64)
    counts[:3] = 1  # three entities, all correct
    assert intervals([Sparse.of(counts)]) == [(1.0, 1.0, 1.0)]
    assert intervals([Sparse.of(0 * counts)]) == [(0.0, 0.0, 0.0)]
    test = paired_test(counts * [0, 0, 1], counts)
    assert test.difference == (1.0, 1.0, 1.0)


def test_a_paired_test_finds_what_is_there_and_no_more():
    rng = np.random.default_rng(0)
    one = sample(rng, 400, 0.7)
    assert paired_test(one, one) == ((0.0, 0.0, 0.0), 1.0)
    better = paired_test(one, sample(rng, 400, 0.85))
    assert better.p < 0.01
    assert better.difference.low > 0
    values = [paired_test(sample(rng, 60, 0.7), sample(rng, 60, 0.7)).p for _ in range(100)]
    assert sum(p < 0.05 for p in values) <= 12  # 5 expected
    assert np.mean(values) == pytest.approx(0.5, abs=0.12)


def test_no_p_value_is_zero_since_the_observed_difference_counts():
    worse, better = np.tile([0, 2, 2], (100, 1)), np.tile([2, 2, 2], (100, 1))
    assert paired_test(worse, better).p == pytest.approx(1 / 2001)


def test_p_values_of_several_tests_are_adjusted():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.6, 0.9]) == [1.0, 1.0]
    assert holm([]) == []
