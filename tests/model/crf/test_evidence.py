"""Evidence, such as partly known tags, against enumeration of all paths."""

import itertools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from oracles import enumeration
from oracles.crf_problems import BIO_MOVES, BIO_STARTS, INF, Problem, hypothesis_settings, make, problems

from ner_lightning.model.crf import evidence as evidence_module
from ner_lightning.model.crf import scaled, sums
from ner_lightning.model.crf.evidence import evidence_log_likelihood
from ner_lightning.model.crf.layer import CRF


@st.composite
def with_evidence(draw: st.DrawFn) -> tuple[Problem, torch.Tensor]:
    """A batch, and evidence of all kinds: one tag, all, some, and weights between 0 and 1."""
    problem = draw(problems())
    g = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    b, w, c = problem.emissions.shape
    one = torch.arange(c) == torch.randint(0, c, (b, w, 1), generator=g)
    some = torch.rand(b, w, c, generator=g) < 0.6
    kind = torch.randint(0, 4, (b, w, 1), generator=g)
    possible = torch.where(kind == 0, one, torch.where(kind == 1, some, True))
    weights = torch.rand(b, w, c, generator=g, dtype=torch.float64) * draw(st.sampled_from([0.0, 3.0]))
    log = torch.where(kind == 2, -weights, 0).masked_fill(~possible, -INF)
    if draw(st.booleans()):
        log[0] = 0
    return problem, log


def expected_value(words, paths, log) -> tuple[float, list]:
    """The log-likelihood of evidence of a sentence, and its paths with their weights in their scores."""
    rows = log[: len(words)].tolist()
    given = [(s + sum(rows[t][tag] for t, tag in enumerate(path)), path) for s, path in paths]
    given = [pair for pair in given if pair[0] > -INF]
    if not given:
        return -INF, given
    return enumeration.log_partition(given) - enumeration.log_partition(paths), given


@pytest.fixture(params=["sentences of which something is known", "all sentences"])
def selection(request, monkeypatch):
    """On a GPU, all sentences are computed."""
    if request.param == "all sentences":
        monkeypatch.setattr(evidence_module, "_selected", lambda _: slice(None))
    return request.param


@hypothesis_settings
@given(case=with_evidence())
def test_value_and_gradient_equal_enumeration(recursion: str, selection: str, case) -> None:
    problem, log = case
    emissions, mask, _, scores = problem
    inputs = [x.clone().requires_grad_() for x in (emissions, *scores)]
    result = evidence_log_likelihood(inputs[0], mask, log, *inputs[1:])
    result.sum().backward()
    c = len(scores[0])
    d_start, d_end = torch.zeros_like(scores[0]), torch.zeros_like(scores[2])
    d_transitions = torch.zeros_like(scores[1])
    for row, (words, paths) in enumerate(problem.rows()):
        length = len(words)
        if (log[row, :length] == 0).all():
            assert result[row] == 0
            assert (inputs[0].grad[row] == 0).all()
            continue
        value, given_paths = expected_value(words, paths, log[row])
        if value == -INF:
            assert result[row] == -INF
            assert (inputs[0].grad[row] == 0).all()
            continue
        assert result[row].item() == pytest.approx(value, abs=1e-8, rel=1e-10)
        difference = torch.tensor(
            enumeration.marginals(given_paths, length, c), dtype=torch.float64
        ) - torch.tensor(enumeration.marginals(paths, length, c), dtype=torch.float64)
        torch.testing.assert_close(inputs[0].grad[row, :length], difference, atol=1e-8, rtol=0)
        assert (inputs[0].grad[row, length:] == 0).all()
        d_start += difference[0]
        d_end += difference[-1]
        d_transitions += torch.tensor(
            enumeration.transition_counts(given_paths, c), dtype=torch.float64
        ) - torch.tensor(enumeration.transition_counts(paths, c), dtype=torch.float64)
    for found, right in zip(inputs[1:], (d_start, d_transitions, d_end), strict=True):
        torch.testing.assert_close(found.grad, right, atol=1e-7, rtol=0)


def test_one_possible_tag_a_word_is_the_likelihood_of_a_path(recursion: str) -> None:
    problem = make(5, [6, 3, 1], tags=4)
    log = torch.zeros(3, 6, 4, dtype=torch.float64).masked_fill(
        torch.arange(4) != problem.tags.unsqueeze(-1), -INF
    )
    torch.testing.assert_close(
        evidence_log_likelihood(problem.emissions, problem.mask, log, *problem.scores),
        sums.log_likelihood(problem.emissions, problem.mask, problem.tags, *problem.scores),
        rtol=0,
        atol=1e-12,
    )


@pytest.mark.parametrize("spread", [0.5, 3.0, 8.0])
def test_long_sentences_agree_in_both_recursions(monkeypatch: pytest.MonkeyPatch, spread: float) -> None:
    """Nothing underflows where the scaled recursion is chosen, also between words with few tags."""
    problem = make(3, [300, 180, 40], tags=5, legal="bio", spread=spread)
    g = torch.Generator().manual_seed(1)
    few = torch.rand(3, 300, 5, generator=g) < 0.5
    few[..., 0] = True
    free = torch.rand(3, 300, 1, generator=g) < 0.5
    log = torch.zeros(3, 300, 5, dtype=torch.float64).masked_fill(~(few | free), -INF)
    chosen = []

    def noted(*args, **options):
        chosen.append(scaled.scaled_posterior(*args, **options))
        return chosen[-1]

    monkeypatch.setattr(sums, "scaled_posterior", noted)
    found = evidence_log_likelihood(problem.emissions, problem.mask, log, *problem.scores)
    assert len(chosen) == 2
    if spread < 1:
        assert all(chosen)
    monkeypatch.setattr(sums, "scaled_posterior", lambda *args, **options: None)
    plain = evidence_log_likelihood(problem.emissions, problem.mask, log, *problem.scores)
    torch.testing.assert_close(found, plain, rtol=1e-12, atol=1e-9)


@pytest.mark.parametrize("words", [40, 100])
def test_chains_of_two_tags_that_never_meet_count_in_full(words: int) -> None:
    """Restricted to A A A ... or B B B ..., messages drift apart by far more than free words allow."""
    gap = 9.0
    emissions = torch.zeros(1, words, 3, dtype=torch.float64)
    emissions[..., 0] = gap
    start, end = torch.zeros(3, dtype=torch.float64), torch.zeros(3, dtype=torch.float64)
    transitions = torch.zeros(3, 3, dtype=torch.float64)
    transitions[0, 1] = transitions[1, 0] = -INF
    log = torch.zeros(1, words, 3, dtype=torch.float64)
    log[..., 2] = -INF
    log[:, -1, 0] = -INF  # only B B B ... remains, exp(-351) of A A A ..., or less, until then
    mask = torch.ones(1, words, dtype=torch.bool)
    found = evidence_log_likelihood(emissions, mask, log, start, transitions, end)
    total = sums.log_partition(emissions, mask, start, transitions, end)
    torch.testing.assert_close(found, -total, rtol=1e-12, atol=1e-9)


def test_nothing_is_computed_for_sentences_of_which_nothing_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = make(2, [4, 3], tags=3)
    seen = []

    def counting(emissions, *args, **options):
        seen.append(len(emissions))
        return sums.forward_backward(emissions, *args, **options)

    monkeypatch.setattr(evidence_module, "forward_backward", counting)
    crf = CRF(3)
    emissions = problem.emissions.float().requires_grad_()
    log = torch.zeros_like(emissions)
    loss = crf.evidence_log_likelihood(emissions, log, problem.mask).sum()
    loss.backward()
    assert loss == 0
    assert seen == []
    assert all((parameter.grad == 0).all() for parameter in crf.parameters())  # there is one: DDP needs it
    log = log.clone()
    log[1, 0, 1:] = -INF
    crf.evidence_log_likelihood(emissions, log, problem.mask)
    assert seen == [1, 1]


def test_shapes_are_checked() -> None:
    crf = CRF(3)
    with pytest.raises(ValueError, match=r"expected evidence \(1, 2, 3\), got \(1, 2, 1\)"):
        crf.evidence_log_likelihood(
            torch.zeros(1, 2, 3), torch.zeros(1, 2, 1), torch.ones(1, 2, dtype=torch.bool)
        )


def test_legal_paths_of_unknown_words_need_no_mask_of_their_own() -> None:
    """`? I-X`: the word before is B-X or I-X, as far as legality goes."""
    crf = CRF(5, BIO_STARTS, BIO_MOVES)
    emissions = torch.randn(1, 2, 5)
    log = torch.zeros(1, 2, 5)
    log[0, 1] = torch.tensor([-INF, -INF, 0, -INF, -INF])
    value = crf.evidence_log_likelihood(emissions, log, torch.ones(1, 2, dtype=torch.bool))
    paths = crf.n_best(emissions, torch.ones(1, 2, dtype=torch.bool), 25)
    wanted = [p for tags, p in zip(paths[0][0].tolist(), paths[1][0].tolist(), strict=True) if tags == [1, 2]]
    assert math.exp(value.item()) == pytest.approx(math.exp(wanted[0]), rel=1e-5)
    assert len(list(itertools.chain(wanted))) == 1
