"""A teacher's distributions, and the divergence of a student from them."""

import itertools
import math

import pytest
import torch
from oracles.crf_problems import BIO_MOVES, BIO_STARTS

from ner_lightning.data.batching import Batch
from ner_lightning.data.schemes import LabelSet
from ner_lightning.data.teacher import TeacherTags
from ner_lightning.errors import UserError
from ner_lightning.model.crf.layer import CRF
from ner_lightning.model.decoder import Decoder
from ner_lightning.model.distillation import teach, teacher_divergence
from ner_lightning.model.loss import Loss

LABELS = LabelSet(("X", "Y"))
MASK = torch.tensor([[True, True, True], [True, True, False]])
SAME = torch.arange(5)


def crf_of(seed: int, *, constrained: bool = True) -> CRF:
    torch.manual_seed(seed)
    made = CRF(5, BIO_STARTS, BIO_MOVES) if constrained else CRF(5)
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter)
    return made.double()


def emissions_of(seed: int) -> torch.Tensor:
    return torch.randn(2, 3, 5, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 2


def tags_of(crf, emissions, temperature=1.0, order=SAME) -> TeacherTags:
    found = teach(crf, emissions, MASK, LABELS, order, temperature)
    return TeacherTags(*found, temperature)


def log_probs(crf, emissions, row, temperature, *, legal):
    """Of all tag sequences of a sentence, by writing them out."""
    words = emissions[row][MASK[row]] / temperature
    found = {}
    for path in itertools.product(range(5), repeat=len(words)):
        score = sum(words[word, tag].item() for word, tag in enumerate(path))
        if crf is not None:
            score += (crf.start_transitions[path[0]] + crf.end_transitions[path[-1]]).item() / temperature
            score += sum(crf.transitions[a, b].item() / temperature for a, b in itertools.pairwise(path))
        follows = all(BIO_MOVES[a, b] for a, b in itertools.pairwise(path))
        if (BIO_STARTS[path[0]] and follows) or not legal:
            found[path] = score
    total = math.log(math.fsum(map(math.exp, found.values())))
    return {path: score - total for path, score in found.items()}


@pytest.mark.parametrize("temperature", [1.0, 2.5])
@pytest.mark.parametrize("student", ["crf", "softmax"])
@pytest.mark.parametrize("teacher", ["crf", "unconstrained crf", "softmax"])
def test_either_kind_learns_from_either_over_whole_sequences(teacher, student, temperature):
    ours = None if student == "softmax" else crf_of(1)
    theirs = None if teacher == "softmax" else crf_of(2, constrained=teacher == "crf")
    own, other = emissions_of(3), emissions_of(4)
    # The teacher's own rules do not matter: sequences that a student cannot give have no probability.
    taught = tags_of(theirs, other, temperature)
    for row, weights in enumerate(torch.eye(2, dtype=torch.float64)):
        value = teacher_divergence(ours, own, MASK, taught, weights)
        p = log_probs(theirs, other, row, temperature, legal=True)
        q = log_probs(ours, own, row, temperature, legal=ours is not None)
        expected = temperature**2 * math.fsum(math.exp(p[path]) * (p[path] - q[path]) for path in p)
        assert value.item() == pytest.approx(expected, rel=1e-4)  # a softmax is computed in fp32


def test_an_ensemble_is_the_chain_of_mean_scores():
    crfs, emissions = [crf_of(seed) for seed in (1, 2)], [emissions_of(seed) for seed in (3, 4)]
    mean = crf_of(0)
    for name, parameter in mean.named_parameters():
        parameter.data = torch.stack([dict(crf.named_parameters())[name].data for crf in crfs]).mean(0)
    taught = tags_of(mean, torch.stack(emissions).mean(0))
    each = [log_probs(crf, e, 0, 1.0, legal=True) for crf, e in zip(crfs, emissions, strict=True)]
    scores = {path: sum(one[path] for one in each) / 2 for path in each[0]}
    total = math.log(math.fsum(map(math.exp, scores.values())))
    probs = {path: math.exp(score - total) for path, score in scores.items()}
    for word, tag in itertools.product(range(3), range(5)):
        expected = math.fsum(prob for path, prob in probs.items() if path[word] == tag)
        assert taught.marginals[0, word, tag].item() == pytest.approx(expected, abs=1e-9)


def test_a_teacher_with_its_types_in_another_order_says_the_same():
    order = torch.tensor(LabelSet(("Y", "X")).encode(LABELS.decode(list(range(5)))))
    crf, emissions = crf_of(1), emissions_of(2)
    other = crf_of(1)
    back = order.argsort()
    other.transitions.data = crf.transitions.data[back][:, back]
    for name in ("start_transitions", "end_transitions"):
        getattr(other, name).data = getattr(crf, name).data[back]
    for one, two in zip(
        tags_of(crf, emissions)[:3], tags_of(other, emissions[..., back], order=order)[:3], strict=True
    ):
        torch.testing.assert_close(one, two)


def test_the_gradient_is_that_of_the_value():
    crf, emissions = crf_of(1), emissions_of(2).requires_grad_()
    taught = tags_of(crf_of(3), emissions_of(4), 1.5)
    inputs = [emissions, *crf.parameters()]

    def value(*_):
        return teacher_divergence(crf, emissions, MASK, taught)

    assert torch.autograd.gradcheck(value, inputs, atol=1e-6)


def test_a_decoder_adds_the_divergence_to_the_gold_parts():
    decoder = Decoder(LABELS, loss=Loss(ce=1, crf=1, kl=0.5))
    emissions, tags = emissions_of(2).float(), torch.zeros(2, 3, dtype=torch.long)
    taught = tags_of(crf_of(3), emissions_of(4))
    parts = decoder.losses(emissions, tags, MASK, teacher=taught)
    assert list(parts) == ["ce", "crf", "kl"]
    expected = parts["ce"] + parts["crf"] + 0.5 * parts["kl"]
    torch.testing.assert_close(decoder.total(parts), expected)
    assert list(decoder.losses(emissions, tags, MASK)) == ["ce", "crf"]


@pytest.mark.parametrize(("use_crf", "part"), [(True, "crf"), (False, "ce")])
def test_a_student_of_the_teacher_alone_is_scored_by_its_likelihood(use_crf, part):
    decoder = Decoder(LABELS, use_crf=use_crf, loss=Loss(ce=0, crf=0, kl=1))
    emissions, tags = emissions_of(2).float(), torch.zeros(2, 3, dtype=torch.long)
    assert list(decoder.losses(emissions, tags, MASK, teacher=tags_of(None, emissions_of(4)))) == ["kl"]
    scored = decoder.losses(emissions, tags, MASK)
    assert list(scored) == [part]
    assert decoder.total(scored) > 0
    if use_crf:
        assert decoder.crf.transitions.requires_grad


def test_untagged_words_count_where_a_teacher_tells_them():
    tags = torch.tensor([[0, 1, 2], [-1, -1, 0]])
    loss = Loss(kl=1)
    assert loss.counted(tags, MASK, partial=True) == 3
    assert loss.counted(tags, MASK, partial=True, taught=True) == 5
    assert loss.counted(tags, MASK, partial=True, taught=True, weights=torch.tensor([1.0, 0.5])) == 4


@pytest.mark.parametrize(
    ("loss", "teacher", "message"),
    [
        (Loss(), "one", "model.loss.kl is 0: nothing is learned from it"),
        (
            Loss(ce=0, crf=0, kl=1),
            None,
            "without kl, which needs a teacher, nothing is learned from the tags",
        ),
        (Loss(ce=1, crf=0, kl=1), None, "without kl, which needs a teacher, nothing trains the CRF"),
    ],
)
def test_a_teacher_and_its_weight_belong_together(loss, teacher, message):
    with pytest.raises(UserError, match=message):
        loss.check_data(None, teacher, use_crf=True)
    Loss(ce=1, crf=0, kl=1).check_data(None, None, use_crf=False)
    Loss(ce=0, crf=1, kl=1).check_data(None, None, use_crf=True)
    with pytest.raises(UserError, match=r"nothing is learned from the tags;\n.* set model\.loss\.ce above 0"):
        Loss(ce=0, kl=1).check_data(None, None, use_crf=False)  # without a CRF, `crf` counts nothing


def test_a_batch_moves_with_its_teacher():
    taught = tags_of(crf_of(3), emissions_of(4))
    empty = torch.zeros(1)
    batch = Batch(empty, empty, empty, empty, empty, None, empty, teacher=taught)
    moved = batch.to(torch.device("meta"))
    assert moved.teacher is not None
    assert all(tensor.is_meta for tensor in moved.teacher[:3])
    assert moved.teacher.temperature == 1.0


@pytest.mark.parametrize("use_crf", [True, False])
def test_what_a_teacher_says_of_a_sentence_does_not_depend_on_its_padding(use_crf):
    crf, emissions = crf_of(0) if use_crf else None, emissions_of(1)
    padded = teach(crf, emissions, MASK, LABELS, SAME, 1.0)
    alone = teach(crf, emissions[1:, :2], MASK[1:, :2], LABELS, SAME, 1.0)
    torch.testing.assert_close(padded.marginals[1:, :2], alone.marginals)
    torch.testing.assert_close(padded.transitions[1:], alone.transitions)
    torch.testing.assert_close(padded.entropy[1:], alone.entropy)
