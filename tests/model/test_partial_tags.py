"""Losses of partly annotated sentences: sums over the tags that are possible, against enumeration."""

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ner_lightning.data.schemes import UNTAGGED_ID, LabelSet, spans
from ner_lightning.model.decoder import Decoder
from ner_lightning.model.extensions import LossPart
from ner_lightning.model.loss import Loss
from ner_lightning.model.partial_tags import PartialTags

LABELS = LabelSet(("PER", "LOC"))
C = len(LABELS)
PIECES = st.lists(
    st.sampled_from([["O"], ["?"], ["?"], ["B-PER"], ["B-PER", "I-PER"], ["B-LOC"]]), min_size=1, max_size=4
)


def decoder(**options) -> Decoder:
    torch.manual_seed(1)
    return Decoder(LABELS, **options).double()


def batch(rows):
    """Tag ids with -1 where unknown, and the mask."""
    width = max(map(len, rows))
    tags, mask = (
        torch.zeros(len(rows), width, dtype=torch.long),
        torch.zeros(len(rows), width, dtype=torch.bool),
    )
    for at, row in enumerate(rows):
        tags[at, : len(row)], mask[at, : len(row)] = torch.tensor(LABELS.encode(row)), True
    return tags, mask


@pytest.mark.parametrize("use_crf", [True, False])
def test_text_without_tags_says_nothing_of_what_is_in_it(use_crf):
    one = decoder(loss=Loss(ce=1, crf=int(use_crf), missed=0.1), use_crf=use_crf)
    tags = torch.tensor([[UNTAGGED_ID] * 3, [UNTAGGED_ID] * 3])
    emissions = torch.randn(*tags.shape, C, dtype=torch.float64, requires_grad=True)
    parts = one.losses(emissions, tags, torch.ones_like(tags, dtype=torch.bool), partial=True)
    assert parts["ce"].item() == pytest.approx(0, abs=1e-12)
    assert torch.autograd.grad(sum(parts.values()), emissions)[0].abs().max() < 1e-12
    assert one.losses(emissions, tags + 1, tags < 0, partial=True)["ce"] > 1, (
        "annotated, with entities left out"
    )


def agrees(path, tags, legal):
    """Whether a path of tag names fits what is known: the marked entities are in it as they are."""
    if legal and any(
        tag[0] == "I" and before[1:] != tag[1:] for before, tag in itertools.pairwise(["O", *path])
    ):
        return False
    if any(known not in ("?", tag) for known, tag in zip(tags, path, strict=True)):
        return False
    return set(spans(tags)) <= set(spans(path))


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(pieces=st.lists(PIECES, min_size=1, max_size=3), missed=st.sampled_from([1.0, 0.3]))
def test_the_loss_sums_over_the_paths_that_have_the_marked_entities(pieces, missed):
    rows = [[tag for piece in row for tag in piece][:5] for row in pieces]
    tags, mask = batch(rows)
    one = decoder(loss=Loss(ce=0, crf=1, missed=missed))
    emissions = torch.randn(*tags.shape, C, dtype=torch.float64, requires_grad=True)
    loss = one.losses(emissions, tags, mask, partial=True)["crf"]
    (gradient,) = torch.autograd.grad(loss, emissions)
    again = emissions.detach().clone().requires_grad_()
    expected = torch.zeros((), dtype=torch.float64)
    for at, row in enumerate(rows):
        score, fits = [], []
        for ids in itertools.product(range(C), repeat=len(row)):
            path = LABELS.decode(ids)
            if not agrees(path, ["?"] * len(row), legal=True):
                continue
            terms = [again[at, word, tag] for word, tag in enumerate(ids)]
            terms += [one.crf.transitions[a, b].detach() for a, b in itertools.pairwise(ids)]
            terms += [one.crf.start_transitions[ids[0]].detach(), one.crf.end_transitions[ids[-1]].detach()]
            score.append(torch.stack(terms).sum())
            if agrees(path, row, legal=True):
                unmarked = [span for span in spans(path) if span not in spans(row)]
                fits.append(score[-1] + len(unmarked) * math.log(missed))
        expected = expected + torch.logsumexp(torch.stack(score), 0) - torch.logsumexp(torch.stack(fits), 0)
    torch.testing.assert_close(loss, expected, rtol=1e-7, atol=1e-7)  # weights are fp32
    (other,) = torch.autograd.grad(expected, again)
    torch.testing.assert_close(gradient, other, rtol=0, atol=1e-7)


def test_a_word_after_a_marked_entity_does_not_continue_it():
    tags, mask = batch([["B-PER", "I-PER", "?", "?"], ["?", "B-LOC", "?", "O"], ["?", "O"]])
    found = PartialTags.of(tags, mask, C)
    possible = found.paths > -math.inf
    names = [
        [{LABELS.tags[i] for i in range(C) if possible[row, word, i]} for word in range(length)]
        for row, length in ((0, 4), (1, 4), (2, 2))
    ]
    free = set(LABELS.tags)
    assert names[0] == [{"B-PER"}, {"I-PER"}, free - {"I-PER"}, free]
    assert names[1] == [free, {"B-LOC"}, free - {"I-LOC"}, {"O"}]
    assert names[2] == [free, {"O"}]
    assert found.known.tolist() == [
        [True, True, False, False],
        [False, True, False, True],
        [False, True, False, False],
    ]
    assert (found.ids >= 0).all()


@pytest.mark.parametrize("use_crf", [True, False])
@pytest.mark.parametrize("constrained", [True, False])
def test_where_all_tags_are_known_the_losses_are_the_usual_ones(use_crf, constrained):
    tags, mask = batch([["B-PER", "I-PER", "O"], ["O", "B-LOC"]])
    one = decoder(use_crf=use_crf, constrained=constrained, loss=Loss(1, 1, 0.1))
    emissions = torch.randn(*tags.shape, C, dtype=torch.float64)
    usual = one.losses(emissions, tags, mask)
    partial = one.losses(emissions, tags, mask, partial=True)
    assert usual.keys() == partial.keys()
    torch.testing.assert_close(partial["ce"], usual["ce"], rtol=0, atol=0)
    torch.testing.assert_close(partial["ls"], usual["ls"], rtol=0, atol=0)
    torch.testing.assert_close(partial, usual, rtol=1e-12, atol=1e-12)
    assert one.loss.counted(tags, mask, partial=True) == one.loss.counted(tags, mask, partial=False) == 5


@pytest.mark.parametrize("use_crf", [True, False])
def test_a_sentence_of_unknown_words_alone_has_no_loss_and_no_gradient(use_crf):
    tags, mask = batch([["?", "?", "?"], ["?"]])
    one = decoder(use_crf=use_crf, loss=Loss(1, 1, 0.5))
    emissions = torch.randn(*tags.shape, C, dtype=torch.float64, requires_grad=True)
    total = one.total(one.losses(emissions, tags, mask, partial=True))
    total.backward()
    assert abs(total.item()) < 1e-12
    assert (emissions.grad.abs() < 1e-12).all()
    assert all(p.grad is not None and (p.grad == 0).all() for p in one.parameters())
    assert one.loss.counted(tags, mask, partial=True) == 0


def test_cross_entropy_is_that_to_the_possible_tags():
    tags, mask = batch([["B-PER", "?", "?"]])
    emissions = torch.randn(1, 3, C, dtype=torch.float64)
    p = emissions.softmax(-1)[0]
    found = decoder(loss=Loss(1, 0, 1)).losses(emissions, tags, mask, partial=True)
    torch.testing.assert_close(found["ce"], -p[0, 1].log() - (1 - p[1, 2]).log())
    torch.testing.assert_close(found["ls"], -p[0].log().mean())
    missed = decoder(loss=Loss(1, 0, 0, missed=0.3)).losses(emissions, tags, mask, partial=True)
    rest = p[1, 0] + 0.3 * (p[1, 1] + p[1, 3] + p[1, 4])
    last = p[2, 0] + 0.3 * p[2, 1:].sum()
    torch.testing.assert_close(missed["ce"], -p[0, 1].log() - rest.log() - last.log())
    assert Loss(missed=0.3).counted(tags, mask, partial=True) == 3


class Seen(LossPart):
    """Keeps what it gets."""

    def __call__(self, emissions, tags, mask):
        self.tags, self.mask = tags, mask
        return emissions.sum()


def test_a_project_s_own_part_gets_the_words_of_known_tags():
    part = Seen()
    tags, mask = batch([["?", "B-PER", "?"]])
    decoder(loss=Loss(parts=[part])).losses(torch.zeros(1, 3, C).double(), tags, mask, partial=True)
    assert (part.tags.tolist(), part.mask.tolist()) == ([[0, 1, 0]], [[False, True, False]])


def test_unmarked_entities_are_learned_if_the_share_that_was_missed_is_known():
    """Of 40 words of one kind half are marked: to take the others for O is not the most likely reading."""
    tags, mask = batch([["B-PER" if at % 2 else "?"] for at in range(40)] + [["?"]] * 40)
    kinds = torch.tensor([0] * 40 + [1] * 40)
    one = decoder(loss=Loss(1, 1, 0, missed=0.5))
    weights = torch.zeros(2, C, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.Adam([weights], lr=0.1)
    for _ in range(400):
        optimizer.zero_grad()
        one.total(one.losses(weights[kinds].unsqueeze(1), tags, mask, partial=True)).backward()
        optimizer.step()
    probabilities = one.marginals(weights.detach()[kinds].unsqueeze(1), mask)[:, 0]
    assert probabilities[0, 1] > 0.95
    assert probabilities[-1, 0] > 0.9
