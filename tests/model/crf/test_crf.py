"""The CRF against enumeration of all paths, and against pytorch-crf."""

import itertools
import math
import sys
import threading

import pytest
import torch
import torchcrf
from hypothesis import assume, given
from hypothesis import strategies as st
from oracles import enumeration
from oracles.crf_problems import (
    BIO_MOVES,
    BIO_STARTS,
    INF,
    Problem,
    double,
    hypothesis_settings,
    make,
    problems,
)
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from ner_lightning.model.crf import inputs, log_space, sums
from ner_lightning.model.crf import viterbi as viterbi_module
from ner_lightning.model.crf.layer import CRF
from ner_lightning.model.crf.segments import Segments, segment_log_probs
from ner_lightning.model.crf.viterbi import viterbi


@hypothesis_settings
@given(problem=problems())
def test_likelihood_and_gradient_equal_enumeration(recursion: str, problem: Problem) -> None:
    emissions, mask, tags, scores = problem
    inputs = [x.clone().requires_grad_() for x in (emissions, *scores)]
    result = sums.log_likelihood(inputs[0], mask, tags, *inputs[1:])
    result.sum().backward()
    with torch.no_grad():
        assert torch.equal(result, sums.log_likelihood(emissions, mask, tags, *scores))
    d_transitions = torch.zeros_like(scores[1])
    d_start, d_end = torch.zeros_like(scores[0]), torch.zeros_like(scores[2])
    for row, (words, paths) in enumerate(problem.rows()):
        length, c = len(words), len(scores[0])
        gold = tuple(tags[row, :length].tolist())
        lists = [score.tolist() for score in scores]
        expected = enumeration.path_score(gold, words, *lists) - enumeration.log_partition(paths)
        if gold not in [path for _, path in paths]:
            assert result[row] == -INF
            assert (inputs[0].grad[row] == 0).all()
            continue
        assert result[row].item() == pytest.approx(expected, abs=1e-9, rel=1e-12)
        counts = torch.zeros(length, c, dtype=torch.float64)
        counts[torch.arange(length), torch.tensor(gold)] = 1
        difference = counts - double(enumeration.marginals(paths, length, c))
        torch.testing.assert_close(inputs[0].grad[row, :length], difference, atol=1e-9, rtol=0)
        assert (inputs[0].grad[row, length:] == 0).all()
        d_start += difference[0]
        d_end += difference[-1]
        for before, after in itertools.pairwise(gold):
            d_transitions[before, after] += 1
        d_transitions -= double(enumeration.transition_counts(paths, c))
    for found, right in zip(inputs[1:], (d_start, d_transitions, d_end), strict=True):
        torch.testing.assert_close(found.grad, right, atol=1e-8, rtol=0)


@hypothesis_settings
@given(problem=problems())
def test_posterior_equals_enumeration(recursion: str, problem: Problem) -> None:
    emissions, mask, _, scores = problem
    found = sums.posterior(emissions, mask, *scores)
    torch.testing.assert_close(found.log_partition, sums.log_partition(emissions, mask, *scores))
    c = len(scores[0])
    assert (found.transition_counts[:, c, c] == 0).all()
    for row, (words, paths) in enumerate(problem.rows()):
        total = enumeration.log_partition(paths)
        assert found.log_partition[row].item() == pytest.approx(total, abs=1e-9, rel=1e-12)
        nodes = double(enumeration.marginals(paths, len(words), c))
        torch.testing.assert_close(found.marginals[row, : len(words)], nodes, atol=1e-9, rtol=0)
        assert (found.marginals[row, len(words) :] == 0).all()
        edges = double(enumeration.transition_counts(paths, c))
        torch.testing.assert_close(found.transition_counts[row, :c, :c], edges, atol=1e-8, rtol=0)


@hypothesis_settings
@given(problem=problems(), n=st.integers(1, 6))
def test_best_paths_equal_enumeration(problem: Problem, n: int) -> None:
    emissions, mask, _, scores = problem
    best = viterbi(emissions, mask, *scores)
    crf = crf_of(problem)
    tags, log_probs = crf.n_best(emissions, mask, n)
    assert tags.shape == (*mask.shape[:1], n, mask.shape[1])
    assert (best[~mask] == 0).all()
    assert (tags[~mask.unsqueeze(1).expand_as(tags)] == 0).all()
    for row, (words, paths) in enumerate(problem.rows()):
        length = len(words)
        if paths:
            assert tuple(best[row, :length].tolist()) == paths[0][1]
        right = enumeration.log_probs(paths)[:n]
        assert tags[row, : len(right), :length].tolist() == [list(path) for _, path in paths[:n]]
        assert log_probs[row].tolist() == pytest.approx(right + [-INF] * (n - len(right)), abs=1e-6)


@hypothesis_settings
@given(problem=problems(), data=st.data())
def test_segments_equal_enumeration(problem: Problem, data: st.DataObject) -> None:
    emissions, mask, _, scores = problem
    c = len(scores[0])
    rows = list(problem.rows())
    spans = [
        (row, start, end)
        for row, (words, _) in enumerate(rows)
        for start in range(len(words))
        for end in range(start + 1, len(words) + 1)
    ]
    assume(c > 1)
    tags = st.permutations(range(c))
    cases = [(*span, *data.draw(tags)[:2]) for span in spans]
    segments = Segments(*torch.tensor(cases).unbind(1))
    found = segment_log_probs(emissions, mask, segments, *scores)
    for case, log_prob in zip(cases, found.tolist(), strict=True):
        paths = rows[case[0]][1]
        right = enumeration.segment_log_prob(paths, *case[1:]) if paths else -INF
        assert log_prob == pytest.approx(right, abs=1e-6)


def crf_of(problem: Problem) -> CRF:
    """The module with the problem's scores as parameters, and what is illegal as masks."""
    crf = CRF(len(problem.scores[0]), *(score > -INF for score in problem.scores)).to(torch.float64)
    parameters = (crf.start_transitions, crf.transitions, crf.end_transitions)
    with torch.no_grad():
        for parameter, score in zip(parameters, problem.scores, strict=True):
            parameter.copy_(score.masked_fill(score == -INF, 3.0))  # what stands there is not used
    return crf


@pytest.mark.parametrize("spread", [1.0, 20.0])
def test_equals_pytorch_crf(spread: float) -> None:
    problem = make(0, [7, 1, 30, 12, 29, 2], 9, spread=spread, dtype=torch.float32)
    theirs = torchcrf.CRF(9, batch_first=True)
    ours = CRF(9)
    ours.load_state_dict(theirs.state_dict())
    grads = []
    for crf in (theirs.double(), ours):
        dtype = crf.transitions.dtype
        emissions = problem.emissions.to(dtype).requires_grad_()
        if crf is theirs:
            value = crf(emissions, problem.tags, problem.mask, reduction="none")
        else:
            value = crf.log_likelihood(emissions, problem.tags, problem.mask)
        value.sum().backward()
        named = {name: parameter.grad for name, parameter in crf.named_parameters()}
        grads.append({"value": value, "emissions": emissions.grad, **named})
    assert grads[0].keys() == grads[1].keys()
    for name, right in grads[0].items():
        torch.testing.assert_close(grads[1][name], right.float(), atol=1e-5, rtol=1e-6, msg=name)
    paths = theirs.decode(problem.emissions.double(), problem.mask)
    found = ours.decode(problem.emissions, problem.mask)
    assert [row[: len(path)].tolist() for row, path in zip(found, paths, strict=True)] == paths


@pytest.mark.parametrize("batch_first", [True, False])
def test_weights_are_exchanged_with_pytorch_crf(batch_first: bool) -> None:
    problem = make(2, [6, 1, 9, 3], 5)
    theirs = torchcrf.CRF(5, batch_first=batch_first).double()
    ours = CRF.from_pytorch_crf(theirs)
    back = ours.to_pytorch_crf()
    assert isinstance(back, torchcrf.CRF)
    assert (back.num_tags, back.batch_first, back.transitions.dtype) == (5, True, torch.float64)
    for name, parameter in theirs.state_dict().items():
        assert torch.equal(parameter, ours.state_dict()[name])
        assert torch.equal(parameter, back.state_dict()[name])
        assert parameter.data_ptr() not in {
            ours.state_dict()[name].data_ptr(),
            back.state_dict()[name].data_ptr(),
        }
    value = back(problem.emissions, problem.tags, problem.mask, reduction="none")
    torch.testing.assert_close(ours.log_likelihood(problem.emissions, problem.tags, problem.mask), value)
    paths = back.decode(problem.emissions, problem.mask)
    found = ours.decode(problem.emissions, problem.mask)
    assert [row[: len(path)].tolist() for row, path in zip(found, paths, strict=True)] == paths


def test_weights_of_pytorch_crf_can_be_given_legal_transitions() -> None:
    theirs = torchcrf.CRF(5)
    ours = CRF.from_pytorch_crf(theirs, BIO_STARTS, BIO_MOVES)
    emissions = torch.tensor([[[0.0, 0, 9, 0, 0], [0, 0, 0, 0, 9]]])  # I-X, then I-Y
    mask = torch.ones(1, 2, dtype=torch.bool)
    assert ours.to_pytorch_crf().decode(emissions, mask) == [[2, 4]]
    (path,) = ours.decode(emissions, mask).tolist()
    assert BIO_STARTS[path[0]]
    assert BIO_MOVES[path[0], path[1]]


def test_other_modules_than_pytorch_crf_are_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(TypeError, match=r"expected a torchcrf.CRF, got torch.nn.*Linear"):
        CRF.from_pytorch_crf(torch.nn.Linear(2, 2))
    theirs = torchcrf.CRF(5)
    theirs.num_tags = 4
    with pytest.raises(ValueError, match=r"start_transitions to have shape \(4,\) for 4 tags, got \(5,\)"):
        CRF.from_pytorch_crf(theirs)
    with pytest.raises(ValueError, match="expected legal_starts to be"):
        CRF.from_pytorch_crf(torchcrf.CRF(4), BIO_STARTS)
    monkeypatch.setitem(sys.modules, "torchcrf", None)
    with pytest.raises(ImportError, match="pip install pytorch-crf"):
        CRF(3).to_pytorch_crf()


def test_state_dict_moves_both_ways() -> None:
    torch.manual_seed(3)
    ours = CRF(5, BIO_STARTS, BIO_MOVES)
    torch.manual_seed(3)
    theirs = torchcrf.CRF(5)
    for name, parameter in theirs.named_parameters():
        assert torch.equal(parameter, ours.get_parameter(name))  # the same draws, too
    theirs.load_state_dict(CRF(5).state_dict())
    ours.load_state_dict(theirs.state_dict())
    assert torch.equal(ours.transitions, theirs.transitions)


@pytest.mark.parametrize("tags", [3, 1])
@pytest.mark.parametrize("spread", [1.0, 200.0])  # scaled, log space
def test_gradcheck(tags: int, spread: float) -> None:
    problem = make(1, [4, 1, 3], tags, spread=spread)
    inputs = [x.clone().requires_grad_() for x in (problem.emissions, *problem.scores)]

    def likelihood(emissions: Tensor, *scores: Tensor) -> Tensor:
        return sums.log_likelihood(emissions, problem.mask, problem.tags, *scores)

    # A raw score of 200 has differences of 1e-6 in the sums' tenth digit.
    assert torch.autograd.gradcheck(likelihood, inputs, atol=1e-4 if spread > 1 else 1e-6)


def test_gradient_cannot_be_taken_twice() -> None:
    problem = make(1, [3], 3)
    emissions = problem.emissions.requires_grad_()

    def likelihood(emissions: Tensor) -> Tensor:
        return sums.log_likelihood(emissions, problem.mask, problem.tags, *problem.scores).sum()

    for value in (likelihood(emissions), likelihood(emissions).square()):
        with pytest.raises(RuntimeError, match="can be taken once: no create_graph=True"):
            torch.autograd.grad(value, emissions, create_graph=True)
    with pytest.raises(RuntimeError, match="no Hessian"):
        torch.autograd.functional.hessian(likelihood, emissions)


@pytest.mark.slow  # torch.compile takes seconds
def test_what_is_compiled_around_it_computes_the_same() -> None:
    compiled = torch.compile(sums.log_likelihood, backend="eager")
    for lengths in ([3, 2], [5, 1, 4], [7]):  # the second size is compiled for any
        problem = make(1, lengths, 3)
        found = []
        for likelihood in (sums.log_likelihood, compiled):
            emissions = problem.emissions.clone().requires_grad_()
            value = likelihood(emissions, problem.mask, problem.tags, *problem.scores)
            value.sum().backward()
            found.append((value.detach(), emissions.grad))
        for one, other in zip(*found, strict=True):
            torch.testing.assert_close(one, other, rtol=0, atol=0)


@pytest.mark.parametrize("reentrant", [True, False])
def test_gradient_of_recomputed_activations_is_the_same(reentrant: bool) -> None:
    problem = make(1, [3, 2], 3)
    grads = []
    for recompute in (False, True):
        emissions = problem.emissions.clone().requires_grad_()

        def likelihood(emissions: Tensor) -> Tensor:
            return sums.log_likelihood(emissions, problem.mask, problem.tags, *problem.scores).sum()

        how = {"use_reentrant": reentrant}
        value = checkpoint(likelihood, emissions, **how) if recompute else likelihood(emissions)
        value.backward()
        grads.append(emissions.grad)
    assert torch.equal(*grads)


@pytest.mark.parametrize("wanted", range(4))
def test_gradient_of_one_input_only(wanted: int) -> None:
    problem = make(2, [4, 2], 4)
    every = [x.clone().requires_grad_() for x in (problem.emissions, *problem.scores)]
    weights = torch.tensor([2.0, -0.5], dtype=torch.float64)
    (sums.log_likelihood(every[0], problem.mask, problem.tags, *every[1:]) * weights).sum().backward()
    one = [x.detach().requires_grad_(at == wanted) for at, x in enumerate(every)]
    (sums.log_likelihood(one[0], problem.mask, problem.tags, *one[1:]) * weights).sum().backward()
    for at, (x, right) in enumerate(zip(one, every, strict=True)):
        assert (x.grad is None) == (at != wanted)
        if at == wanted:
            assert torch.equal(x.grad, right.grad)


def test_illegal_gold_is_minus_infinity_and_leaves_gradients_alone() -> None:
    problem = make(4, [4, 4], 5, "bio")
    crf = crf_of(problem)
    tags = torch.tensor([[0, 2, 0, 0], [0, 3, 4, 0]])  # O I-X, then a legal row
    emissions = problem.emissions.requires_grad_()
    value = crf.log_likelihood(emissions, tags, problem.mask)
    assert value[0] == -INF
    value.sum().backward()
    together = [emissions.grad[1], *(p.grad.clone() for p in crf.parameters())]
    assert (emissions.grad[0] == 0).all()
    emissions.grad = None
    crf.zero_grad()
    crf.log_likelihood(emissions, tags, problem.mask)[1].backward()
    for found, right in zip(together, [emissions.grad[1], *(p.grad for p in crf.parameters())], strict=True):
        assert torch.equal(found, right)
    assert (crf.transitions.grad[~BIO_MOVES] == 0).all()
    assert (crf.start_transitions.grad[~BIO_STARTS] == 0).all()


def test_illegal_paths_are_never_decoded() -> None:
    problem = make(5, [30] * 8, 5, "bio", spread=3.0)
    tags, _ = crf_of(problem).n_best(problem.emissions, problem.mask, 4)
    tags = torch.cat((tags.flatten(0, 1), crf_of(problem).decode(problem.emissions, problem.mask)))
    assert BIO_STARTS[tags[:, 0]].all()
    assert BIO_MOVES[tags[:, :-1], tags[:, 1:]].all()
    marginals = crf_of(problem).marginals(problem.emissions, problem.mask)
    assert (marginals[:, 0, ~BIO_STARTS] == 0).all()
    torch.testing.assert_close(marginals.sum(-1), torch.ones(8, 30, dtype=torch.float64))


@pytest.mark.parametrize("rubbish", [0.0, 1e9, -INF, INF, math.nan])
def test_padding_does_not_matter(recursion: str, rubbish: float) -> None:
    problem = make(6, [9, 3, 6], 5, "bio")
    crf = crf_of(problem)
    longer = torch.nn.functional.pad(problem.emissions, (0, 0, 0, 4))
    mask = torch.nn.functional.pad(problem.mask, (0, 4))
    tags = crf.decode(problem.emissions, problem.mask)
    padded = torch.nn.functional.pad(tags, (0, 4)).masked_fill(~mask, -100)
    longer = longer.masked_fill(~mask.unsqueeze(-1), rubbish).requires_grad_()
    emissions = problem.emissions.requires_grad_()
    values = []
    for e, t, m in ((emissions, tags, problem.mask), (longer, padded, mask)):
        values.append(crf.log_likelihood(e, t, m))
        values[-1].sum().backward()
    torch.testing.assert_close(values[0], values[1])
    torch.testing.assert_close(longer.grad[:, :9], emissions.grad)
    assert (longer.grad[~mask] == 0).all()
    assert torch.equal(crf.decode(longer, mask)[:, :9], tags)
    right, found = crf.n_best(emissions, problem.mask, 3), crf.n_best(longer, mask, 3)
    assert torch.equal(found[0][..., :9], right[0])
    torch.testing.assert_close(found[1], right[1])
    segments = Segments(*torch.tensor([[0, 7, 9, 1, 2], [1, 1, 3, 1, 2]]).unbind(1))
    torch.testing.assert_close(
        crf.segment_log_probs(longer, mask, segments),
        crf.segment_log_probs(emissions, problem.mask, segments),
    )


def test_always_fp32() -> None:
    problem = make(7, [40, 25, 1], 5, "bio", dtype=torch.float32)
    crf = crf_of(problem).float()
    tags = crf.decode(problem.emissions, problem.mask)
    coarse = problem.emissions.bfloat16()
    right = crf.log_likelihood(coarse.float(), tags, problem.mask)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        emissions = coarse.clone().requires_grad_()
        value = crf.log_likelihood(emissions, tags, problem.mask)
        value.sum().backward()
        assert torch.equal(crf.decode(coarse, problem.mask), crf.decode(coarse.float(), problem.mask))
        assert crf.marginals(coarse, problem.mask).dtype == torch.float32
    assert value.dtype == torch.float32
    assert torch.equal(value, right)
    assert emissions.grad.dtype == torch.bfloat16
    assert crf.log_likelihood(problem.emissions.double(), tags, problem.mask).dtype == torch.float64


@pytest.mark.parametrize("legal", ["all", "bio"])
def test_extreme_emissions(legal: str) -> None:
    problem = make(8, [40, 17, 1, 33], 5, legal, spread=1e4, dtype=torch.float32)
    crf = crf_of(problem).float()
    double = crf_of(problem)
    tags = crf.decode(problem.emissions, problem.mask)
    assert torch.equal(tags, double.decode(problem.emissions.double(), problem.mask))
    emissions = problem.emissions.requires_grad_()
    value = crf.log_likelihood(emissions, tags, problem.mask)
    value.sum().backward()
    # Among scores this far apart the best path has all the probability.
    torch.testing.assert_close(value, torch.zeros(4), atol=1e-3, rtol=0)
    assert emissions.grad.abs().max() < 1e-3
    assert all(parameter.grad.isfinite().all() for parameter in crf.parameters())


@pytest.mark.parametrize("spread", [5.0, 9.0, 12.0, 17.0, 25.0])
def test_scaled_recursion_is_exact_up_to_the_edge_of_its_range(monkeypatch, spread: float) -> None:
    problem = make(9, [200, 3, 150], 5, "bio")
    # The worst case: at every word the score is at one end of the range or the other.
    emissions = problem.emissions.sign() * spread
    fast = sums.posterior(emissions, problem.mask, *problem.scores)
    matrix = inputs.transition_matrix(*problem.scores)
    assert sums.scaled_posterior(emissions, problem.mask, matrix, backward=True) is not None
    monkeypatch.setattr(sums, "scaled_posterior", lambda *args, **options: None)
    right = sums.posterior(emissions, problem.mask, *problem.scores)
    for found, expected in zip(fast[:2], right[:2], strict=True):
        torch.testing.assert_close(found, expected, atol=1e-9, rtol=1e-12)
    torch.testing.assert_close(
        fast.transition_counts[..., :5], right.transition_counts[..., :5], atol=1e-8, rtol=0
    )


def test_tag_that_must_be_kept_from_the_start() -> None:
    # Two tags that never change into each other: the unlikely one is the only one that may end. A
    # recursion that let it underflow would say that no path exists.
    moves = torch.tensor([[0.0, -INF], [-INF, 0.0]])
    scores = (torch.zeros(2), moves, torch.tensor([-INF, 0.0]))
    emissions = torch.tensor([50.0, -50.0]).expand(1, 100, 2)
    mask = torch.ones(1, 100, dtype=torch.bool)
    assert sums.log_partition(emissions, mask, *scores).item() == -5000
    assert viterbi(emissions, mask, *scores).tolist() == [[1] * 100]


def test_ties_go_to_the_lowest_tag_as_in_pytorch_crf() -> None:
    mask = torch.arange(6) < torch.tensor([[6], [1], [4]])
    emissions = torch.randint(0, 2, (3, 6, 4), generator=torch.Generator().manual_seed(0)).float()
    theirs = torchcrf.CRF(4, batch_first=True)
    ours = CRF(4)
    for parameter in (*theirs.parameters(), *ours.parameters()):
        torch.nn.init.zeros_(parameter)
    paths = theirs.decode(emissions, mask)
    found = ours.decode(emissions, mask)
    assert [row[: len(path)].tolist() for row, path in zip(found, paths, strict=True)] == paths


def test_sentence_without_a_legal_path() -> None:
    mask = torch.tensor([[True, False], [True, True]])
    scores = (torch.tensor([0.0, -INF]), torch.zeros(2, 2), torch.tensor([-INF, 0.0]))
    emissions = torch.zeros(2, 2, 2, requires_grad=True)
    value = sums.log_likelihood(emissions, mask, torch.tensor([[0, 0], [0, 1]]), *scores)
    value.sum().backward()
    assert value.tolist() == [-INF, 0]
    assert (emissions.grad == 0).all()
    assert CRF(1, legal_starts=torch.tensor([False])).n_best(emissions[..., :1], mask, 1)[1].tolist() == [
        [-INF],
        [-INF],
    ]


@pytest.mark.parametrize("value", [math.nan, INF])
def test_nan_and_infinite_emissions_propagate(value: float) -> None:
    problem = make(10, [4, 2], 3)
    problem.emissions[1, 1, 1] = value
    emissions = problem.emissions.requires_grad_()
    result = sums.log_likelihood(emissions, problem.mask, problem.tags, *problem.scores)
    result.sum().backward()
    assert result.isnan().tolist() == [False, True]
    assert not emissions.grad[0].isnan().any()


def test_no_gradient_means_forward_only(monkeypatch) -> None:
    calls = []
    posterior = sums.forward_backward
    monkeypatch.setattr(
        sums,
        "forward_backward",
        lambda *args, backward: calls.append(backward) or posterior(*args, backward=backward),
    )
    problem = make(11, [4, 2], 3)
    crf = crf_of(problem)
    crf.log_likelihood(problem.emissions, problem.tags, problem.mask)
    with torch.no_grad():
        crf.log_likelihood(problem.emissions, problem.tags, problem.mask)
    with torch.inference_mode():
        crf.log_likelihood(problem.emissions, problem.tags, problem.mask)
    assert calls == [True, False, False]


def test_blocks_of_sentences_equal_the_whole_batch(monkeypatch) -> None:
    problem = make(13, [7, 1, 9, 9, 2, 5, 8], 5, "bio")
    problem.emissions[2] *= 1000  # one block in log space, the others scaled
    right = log_space.log_posterior(
        problem.emissions, problem.mask, inputs.transition_matrix(*problem.scores), backward=True
    )
    monkeypatch.setattr(sums, "MAX_PRODUCT", 2 * 6 * 6)
    found = sums.posterior(problem.emissions, problem.mask, *problem.scores)
    torch.testing.assert_close(found.marginals, right.marginals)
    torch.testing.assert_close(found.transition_counts[..., :5], right.transition_counts[..., :5])
    torch.testing.assert_close(found.log_partition, right.log_partition)
    forward = sums.log_partition(problem.emissions, problem.mask, *problem.scores)
    torch.testing.assert_close(forward, right.log_partition)


def test_one_pass_handles_a_batch_of_which_a_single_sentence_exceeds_the_limit(monkeypatch) -> None:
    problem = make(13, [7, 1, 9], 5, "bio")
    right = sums.posterior(problem.emissions, problem.mask, *problem.scores)
    sizes = []

    def counted(emissions, *rest, **options):
        sizes.append(len(emissions))
        return scaled_posterior(emissions, *rest, **options)

    scaled_posterior = sums.scaled_posterior
    monkeypatch.setattr(sums, "scaled_posterior", counted)
    monkeypatch.setattr(sums, "MAX_PRODUCT", 6 * 6 - 1)
    found = sums.posterior(problem.emissions, problem.mask, *problem.scores)
    assert sizes == [3], "what depends on the tags alone would be computed for each sentence"
    torch.testing.assert_close(found.marginals, right.marginals)


def test_decoding_some_tags_at_a_time_finds_the_same_paths(monkeypatch) -> None:
    problem = make(3, [7, 1, 9, 4], 11)
    right = viterbi(problem.emissions, problem.mask, *problem.scores)
    monkeypatch.setattr(viterbi_module, "_SUMS", 4 * 11 * 3)
    assert torch.equal(viterbi(problem.emissions, problem.mask, *problem.scores), right)


def test_threads_do_not_share_memory() -> None:
    batches = [make(seed, [60 - seed, 30, 5] * 8, 9) for seed in range(4)]
    right = [sums.posterior(x.emissions, x.mask, *x.scores).marginals for x in batches]
    wrong = []

    def work(at: int) -> None:
        x = batches[at]
        for _ in range(20):
            if not torch.equal(sums.posterior(x.emissions, x.mask, *x.scores).marginals, right[at]):
                wrong.append(at)

    threads = [threading.Thread(target=work, args=(at,)) for at in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_no_segments() -> None:
    problem = make(12, [4, 2], 5, "bio")
    empty = torch.zeros(0, dtype=torch.long)
    found = crf_of(problem).segment_log_probs(problem.emissions, problem.mask, Segments(*[empty] * 5))
    assert found.shape == (0,)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"emissions": torch.zeros(2, 3, 4)}, r"expected emissions \(B, W, 5\).*got \(2, 3, 4\)"),
        ({"emissions": torch.zeros(0, 3, 5)}, "with B and W above 0"),
        ({"mask": torch.ones(2, 2, dtype=torch.bool)}, r"expected mask to be torch.bool \(2, 3\)"),
        ({"mask": torch.ones(2, 3)}, "expected mask to be torch.bool"),
        ({"mask": torch.tensor([[True] * 3, [False] * 3])}, "one or more True, then only False"),
        ({"mask": torch.tensor([[True] * 3, [True, False, True]])}, "one or more True, then only False"),
        ({"tags": torch.zeros(2, 3)}, "expected tags to be torch.int64"),
        ({"tags": torch.full((2, 3), 5)}, "expected tags 0 to 4, got 5 to 5"),
        ({"tags": torch.full((2, 3), -100)}, "expected tags 0 to 4, got -100"),
    ],
)
def test_bad_inputs_are_named(change: dict[str, Tensor], message: str) -> None:
    inputs = {
        "emissions": torch.zeros(2, 3, 5),
        "mask": torch.ones(2, 3, dtype=torch.bool),
        "tags": torch.zeros(2, 3, dtype=torch.long),
    }
    with pytest.raises(ValueError, match=message):
        CRF(5).log_likelihood(**(inputs | change))


def test_bad_constructions_are_named() -> None:
    with pytest.raises(ValueError, match="at least one tag, got num_tags=0"):
        CRF(0)
    with pytest.raises(
        ValueError, match=r"legal_transitions to be torch.bool \(5, 5\), got torch.bool \(5,\)"
    ):
        CRF(5, legal_transitions=BIO_STARTS)
    crf, emissions, mask = CRF(5), torch.zeros(1, 3, 5), torch.ones(1, 3, dtype=torch.bool)
    with pytest.raises(ValueError, match="expected n to be at least 1, got 0"):
        crf.n_best(emissions, mask, 0)
    for span in ([0, 1, 1], [0, -1, 1], [0, 2, 4]):
        segments = Segments(*torch.tensor([[*span, 1, 2]]).unbind(1))
        with pytest.raises(ValueError, match="0 <= start < end <= words of the sentence"):
            crf.segment_log_probs(emissions, mask, segments)
