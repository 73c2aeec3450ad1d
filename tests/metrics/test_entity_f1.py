import re
import warnings

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from seqeval.metrics import classification_report
from seqeval.metrics.sequence_labeling import get_entities

from ner_lightning.data.schemes import LabelSet
from ner_lightning.metrics.entity_f1 import EntityF1
from ner_lightning.metrics.from_counts import scores
from ner_lightning.metrics.functional import entity_counts

LABELS = LabelSet(("PER", "LOC", "ORG"))
PAIR = st.integers(1, 12).flatmap(
    lambda n: st.tuples(*(st.lists(st.sampled_from(LABELS.tags), min_size=n, max_size=n) for _ in "ab"))
)


def ids(tags):
    return [LABELS.tags.index(tag) for tag in tags]


def batch(pairs):
    width = max(len(gold) for _, gold in pairs)
    predicted, gold = (torch.randint(0, 7, (len(pairs), width)) for _ in "ab")  # padding holds anything
    mask = torch.zeros(len(pairs), width, dtype=torch.bool)
    for row, (p, g) in enumerate(pairs):
        predicted[row, : len(p)] = torch.tensor(ids(p))
        gold[row, : len(g)] = torch.tensor(ids(g))
        mask[row, : len(g)] = True
    return predicted, gold, mask


@given(st.lists(PAIR, min_size=1, max_size=8))
@settings(deadline=None, max_examples=300)
def test_counts_and_scores_are_seqevals(pairs):
    metric = EntityF1(LABELS.types)
    for part in (pairs[::2], pairs[1::2]):
        if part:
            metric.update(*batch(part))
    predicted, gold = ([list(p) for p, _ in pairs], [list(g) for _, g in pairs])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        report = classification_report(gold, predicted, output_dict=True, zero_division=0)
    found = metric.compute()
    micro = report.get("micro avg", {"precision": 0.0, "recall": 0.0, "f1-score": 0.0})
    assert found["precision"] == pytest.approx(micro["precision"])
    assert found["recall"] == pytest.approx(micro["recall"])
    assert found["f1"] == pytest.approx(micro["f1-score"])
    for name, row in metric.by_type().items():
        expected = report.get(name, {"f1-score": 0.0, "support": 0})
        assert found[f"f1/{name}"] == row["f1"] == pytest.approx(expected["f1-score"])
        assert row["gold"] == expected["support"]
        assert row["predicted"] == sum(e[0] == name for p in predicted for e in get_entities(p))
    words = sum(len(g) for g in gold)
    right = sum(a == b for p, g in pairs for a, b in zip(p, g, strict=True))
    assert found["accuracy"] == pytest.approx(right / words)


def test_an_entity_counts_only_whole_and_of_its_type():
    gold = ["B-PER", "I-PER", "O", "B-LOC", "B-LOC"]
    predicted = ["B-PER", "I-PER", "O", "B-ORG", "I-ORG"]
    counts = entity_counts(*batch([(predicted, gold)]), types=3)[0]
    assert counts.tolist() == [[1, 1, 1], [0, 0, 2], [0, 1, 0]]
    assert scores(counts.sum(0)) == pytest.approx((1 / 2, 1 / 3, 2 / 5))


def test_scores_without_entities_are_zero():
    metric = EntityF1(["X"])
    outside = torch.zeros(1, 3, dtype=torch.long)
    metric.update(outside, outside, outside == 0)
    assert metric.compute()["f1"] == 0.0
    assert scores(torch.zeros(3)) == (0.0, 0.0, 0.0)


def test_loss_is_averaged_over_words():
    metric = EntityF1(LABELS.types)
    for size, loss in ((2, 6.0), (4, 3.0)):
        tags = torch.zeros(1, size, dtype=torch.long)
        metric.update(tags, tags, torch.ones(1, size, dtype=torch.bool))
        metric.add_loss(torch.tensor(loss))
    assert metric.compute()["loss"] == pytest.approx(1.5)


def test_there_is_a_loss_only_where_one_was_added_on_any_rank():
    tags, mask = torch.tensor([[1, 2]]), torch.ones(1, 2, dtype=torch.bool)
    ranks = [EntityF1(LABELS.types) for _ in range(2)]
    for metric in ranks:
        metric.update(tags, tags, mask)
    assert "loss" not in ranks[0].compute()
    ranks[1].add_loss(torch.tensor(2.0))
    for metric, other in (ranks, ranks[::-1]):
        states = iter([getattr(other, name) for name in other._reductions])
        metric._computed, metric.distributed_available_fn = None, lambda: True
        metric.dist_sync_fn = lambda state, group=None, states=states: [state, next(states)]
    found = [metric.compute() for metric in ranks]
    assert found[0] == found[1]
    assert found[0]["loss"] == 0.5
    ranks[1].reset()
    ranks[1].distributed_available_fn = lambda: False
    ranks[1].update(tags, tags, mask)
    assert "loss" not in ranks[1].compute()


@pytest.mark.parametrize("dtype", [torch.int32, torch.int16, torch.uint8])
def test_ids_are_integers_of_any_type(dtype):
    tags = torch.tensor([[0, 1, 2, 0, 3]])
    mask = torch.ones(1, 5, dtype=torch.bool)
    counts = entity_counts(tags.to(dtype), tags.to(dtype), mask, types=3)
    assert counts.tolist() == entity_counts(tags, tags, mask, types=3).tolist()


IDS, MASK = torch.tensor([[1, 2, 0]]), torch.ones(1, 3, dtype=torch.bool)


@pytest.mark.parametrize(
    ("predicted", "gold", "mask", "what"),
    [
        (IDS[0], IDS, MASK, "expected predicted to be tag ids (1, 3), got torch.int64 (3,)"),
        (IDS, IDS.expand(2, 3), MASK, "expected gold to be tag ids (1, 3), got torch.int64 (2, 3)"),
        (IDS.float(), IDS, MASK, "expected predicted to be tag ids (1, 3), got torch.float32"),
        (
            torch.rand(1, 3, 7),
            IDS,
            MASK,
            "expected predicted to be tag ids (1, 3), got torch.float32 (1, 3, 7)",
        ),
        (MASK, IDS, MASK, "expected predicted to be tag ids (1, 3), got torch.bool"),
        (IDS, IDS, MASK.long(), "expected mask to be torch.bool (B, W), got torch.int64 (1, 3)"),
        (IDS, torch.tensor([[1, -100, 0]]), MASK, "expected gold to be 0 to 6, got -100 to 1"),
        (IDS + 5, IDS, MASK, "expected predicted to be 0 to 6, got 5 to 7"),
        (IDS, IDS, torch.tensor([[True, False, True]]), "each row of mask to be True on words, then only"),
    ],
)
def test_malformed_batches_are_rejected(predicted, gold, mask, what):
    with pytest.raises(ValueError, match=re.escape(what)):
        EntityF1(LABELS.types).update(predicted, gold, mask)


def test_padding_is_ignored():
    metric = EntityF1(LABELS.types)
    padded = torch.tensor([[True, True, False]])
    metric.update(torch.tensor([[1, 2, -100]]), torch.tensor([[1, 2, 99]]), padded)
    assert metric.compute()["f1"] == 1.0


def test_an_added_loss_keeps_no_graph():
    metric = EntityF1(["X"])
    metric.add_loss(torch.ones((), requires_grad=True) * 2)
    assert not metric.loss.requires_grad


def test_counts_and_loss_move_with_the_metric():
    metric = EntityF1(["X"]).to("meta")
    assert {each.device.type for each in (metric.counts, metric.words, metric.loss)} == {"meta"}


def test_a_string_of_types_is_rejected():
    for make in (EntityF1, LabelSet):
        with pytest.raises(TypeError, match="types is the text 'PER'"):
            make("PER")
