"""The divergence between two distributions over tag sequences, against enumeration of all paths."""

import itertools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from oracles import enumeration
from oracles.crf_problems import INF, Problem, double, hypothesis_settings, make, problems

from ner_lightning.model.crf.divergence import divergence, entropy
from ner_lightning.model.crf.inputs import transition_matrix
from ner_lightning.model.crf.sums import posterior


@st.composite
def pairs(draw: st.DrawFn) -> tuple[Problem, Problem]:
    """A student, and a teacher of other scores for the same sentences with the same legal paths."""
    student = draw(problems())
    g = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    spread = draw(st.sampled_from([0.1, 1.0, 5.0]))

    def others(scores: torch.Tensor) -> torch.Tensor:
        drawn = torch.randn(scores.shape, generator=g, dtype=torch.float64) * spread
        return torch.where(scores > -INF, drawn, -INF)

    start, transitions, end = map(others, student.scores)
    return student, Problem(others(student.emissions), student.mask, student.tags, (start, transitions, end))


def sums_of(problem: Problem):
    """What a student needs of a teacher."""
    sums = posterior(problem.emissions, problem.mask, *problem.scores)
    matrix = transition_matrix(*problem.scores)
    return sums, entropy(sums, problem.emissions, problem.mask, matrix)


def enumerated(student: Problem, teacher: Problem) -> list[float | None]:
    """The divergence of each sentence; None if it has no legal path."""
    values: list[float | None] = []
    for (_, ours), (_, theirs) in zip(student.rows(), teacher.rows(), strict=True):
        own = {path: log_prob for (_, path), log_prob in zip(ours, enumeration.log_probs(ours), strict=True)}
        probs = zip(theirs, enumeration.log_probs(theirs), strict=True)
        terms = [math.exp(log_prob) * (log_prob - own[path]) for (_, path), log_prob in probs]
        values.append(math.fsum(terms) if terms else None)
    return values


@hypothesis_settings
@given(case=pairs())
def test_value_and_gradient_equal_enumeration(recursion: str, case) -> None:
    student, teacher = case
    expected = enumerated(student, teacher)
    if None in expected:
        return  # nothing is defined where no path is legal
    sums, entropies = sums_of(teacher)
    inputs = [x.clone().requires_grad_() for x in (student.emissions, *student.scores)]
    value = divergence(inputs[0], student.mask, (inputs[1], inputs[2], inputs[3]), sums, entropies)
    torch.testing.assert_close(value, torch.tensor(expected, dtype=torch.float64), rtol=1e-8, atol=1e-8)
    value.sum().backward()
    tags = student.emissions.shape[2]
    expected_moves = torch.zeros(tags, tags, dtype=torch.float64)
    for row, ((words, ours), (_, theirs)) in enumerate(zip(student.rows(), teacher.rows(), strict=True)):
        own, other = (double(enumeration.marginals(paths, len(words), tags)) for paths in (ours, theirs))
        torch.testing.assert_close(inputs[0].grad[row, : len(words)], own - other, atol=1e-7, rtol=0)
        assert not inputs[0].grad[row, len(words) :].any()
        one, two = (double(enumeration.transition_counts(paths, tags)) for paths in (ours, theirs))
        expected_moves += one - two
    torch.testing.assert_close(inputs[2].grad, expected_moves, atol=1e-7, rtol=0)


def test_a_distribution_does_not_diverge_from_itself() -> None:
    problem = make(3, [4, 2, 1], 5, "bio")
    sums, entropies = sums_of(problem)
    inputs = problem.emissions.clone().requires_grad_()
    value = divergence(inputs, problem.mask, problem.scores, sums, entropies)
    torch.testing.assert_close(value, torch.zeros(3, dtype=torch.float64), atol=1e-12, rtol=0)
    value.sum().backward()
    assert inputs.grad.abs().max() < 1e-12


def test_a_path_that_the_student_excludes_is_infinitely_far() -> None:
    teacher = make(4, [3], 5)
    student = make(5, [3, 2], 5, "bio")
    emissions = teacher.emissions.expand(2, -1, -1)
    both = Problem(emissions, student.mask, student.tags, teacher.scores)
    sums, entropies = sums_of(both)
    inputs = student.emissions.clone().requires_grad_()
    value = divergence(inputs, student.mask, student.scores, sums, entropies)
    assert value.tolist() == [INF, INF]
    value.sum().backward()
    assert not inputs.grad.any()


def test_entropy_equals_enumeration() -> None:
    problem = make(6, [4, 1, 3], 4, "random")
    _, entropies = sums_of(problem)
    for (_, paths), value in itertools.zip_longest(problem.rows(), entropies.tolist()):
        log_probs = enumeration.log_probs(paths)
        assert value == pytest.approx(-math.fsum(math.exp(p) * p for p in log_probs), abs=1e-10)


def test_a_teacher_of_another_shape_is_named() -> None:
    problem, other = make(7, [3], 5), make(7, [3], 4)
    sums, entropies = sums_of(other)
    with pytest.raises(ValueError, match="expected a teacher of shapes"):
        divergence(problem.emissions, problem.mask, problem.scores, sums, entropies)
