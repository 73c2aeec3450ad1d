import pytest
from hypothesis import given
from hypothesis import strategies as st
from rows import predictions, row

from ner_lightning.analysis.failure import analyse, calibration_error, confusion, error_classes, unpaired
from ner_lightning.analysis.mistakes import CLASSES, NOISE, all_mistakes, describe, mistakes, worst
from ner_lightning.analysis.slices import totals

TAGS = st.lists(st.sampled_from(["O", "B-A", "I-A", "B-B", "I-B"]), min_size=7, max_size=7)
PAIRS = st.lists(st.tuples(TAGS, TAGS, st.floats(0, 1)), min_size=1, max_size=6)


def test_each_class_of_mistake():
    a1, a2, b1 = ["B-A"], ["B-A", "I-A"], ["B-B"]
    kinds = {
        "missed": (["O", *a1], ["O", "O"]),
        "spurious": (["O", "O"], ["O", *a1]),
        "wrong type": (a2, ["B-B", "I-B"]),
        "too short": (a2, [*a1, "O"]),
        "too long": (["O", *a1], a2),
        "shifted": ([*a2, "O"], ["O", *a2]),
        "split": (a2, [*a1, *a1]),
        "merged": ([*a1, *a1], a2),
        "type and boundary": (a2, ["O", *b1]),
    }
    assert {*kinds, NOISE} == set(CLASSES)
    for kind, (gold, predicted) in kinds.items():
        assert [m.kind for m in mistakes(row(gold, predicted))] == [kind]
    assert mistakes(row(a2, a2)) == []


def test_a_chain_of_overlaps_is_one_mistake():
    found = mistakes(row(["B-A", "I-A", "B-A", "I-A", "O"], ["O", "B-A", "I-A", "B-A", "I-A"]))
    assert [(m.kind, len(m.gold), len(m.predicted)) for m in found] == [("shifted", 2, 2)]


@given(PAIRS)
def test_classes_add_up_to_false_positives_and_negatives(pairs):
    held = predictions([row(*pair) for pair in pairs])
    found = all_mistakes(held)
    spurious = missed = 0
    for each, those in zip(held.rows, found, strict=True):
        assert sorted(s for m in those for s in m.gold) == sorted(set(each.gold) - set(each.predicted))
        assert sorted(s for m in those for s in m.predicted) == sorted(set(each.predicted) - set(each.gold))
        spurious += len(set(each.predicted) - set(each.gold))
        missed += len(set(each.gold) - set(each.predicted))
    classes = error_classes(found, totals(held))
    assert sum(c.false_positives for c in classes) == spurious
    assert sum(c.false_negatives for c in classes) == missed
    assert sum(c.mistakes for c in classes) == sum(map(len, found))
    assert all(c.gain >= 0 for c in classes)


@given(PAIRS)
def test_the_confusion_holds_every_entity_once(pairs):
    held = predictions([row(*pair) for pair in pairs])
    table = confusion(held, all_mistakes(held))
    for kind in "AB":
        gold = sum(s.type == kind for r in held.rows for s in r.gold)
        predicted = sum(s.type == kind for r in held.rows for s in r.predicted)
        assert sum(n for (g, _), n in table.items() if g == kind) == gold
        assert sum(n for (_, p), n in table.items() if p == kind) == predicted


def test_fixing_every_class_gains_all_of_f1():
    held = predictions([row(["B-A", "O", "B-B"], ["B-A", "B-A", "O"], 0.5)])
    (missed, spurious) = sorted(error_classes(all_mistakes(held), totals(held)))
    assert (missed.kind, spurious.kind) == ("missed", "spurious")
    # Before 2*1/(2+2); a missed one found: 2*2/(3+2); a spurious one gone: 2*1/(1+2).
    assert round(missed.gain, 6) == round(0.8 - 0.5, 6)
    assert round(spurious.gain, 6) == round(2 / 3 - 0.5, 6)


def test_noise_is_sure_consistent_and_never_annotated_as_here():
    def kind(train, probability=0.99, gold=("O", "O"), others=()):
        held = predictions([row(list(gold), ["B-A", "O"], probability, ["Oslo", "x"]), *others], train)
        return all_mistakes(held)[0][0].kind

    often = {"A": {"Oslo": 3}}
    assert kind(often) == NOISE
    assert kind(often, probability=0.9) == "spurious"
    assert kind({"A": {"Oslo": 1}}) == "spurious"
    assert kind(often, gold=("B-B", "O")) == NOISE
    assert kind(often | {"B": {"Oslo": 1}}, gold=("B-B", "O")) == "wrong type"
    plain = row(["O", "O"], ["O", "O"], 0.5, ["y", "Oslo"])
    assert kind(often, others=[plain]) == "spurious"
    silent = predictions([row(["O"], ["B-A"], None, ["Oslo"])], often, probabilities=False)
    assert all_mistakes(silent)[0][0].kind == "spurious"


def test_the_most_confident_mistakes_come_first_and_terminals_are_safe():
    sure = row(["O", "O"], ["B-A", "O"], 0.9, ["w0", "\x1b[31mred\u202e"])
    unsure, right = row(["O", "O"], ["O", "B-A"], 0.3), row(["O"], ["O"])
    held = predictions([right, unsure, sure])
    ranked = worst(held, all_mistakes(held), 5)
    assert [r for r, _ in ranked] == [sure, unsure]
    lines = list(describe(*ranked[0]))
    assert lines == ["*w0* \\x1b[31mred\\x202e", "    spurious: predicted A w0 (90% sure), gold nothing"]
    assert "\x1b[1mw0\x1b[0m" in next(iter(describe(*ranked[0], colour=True)))


def test_missed_and_spurious_of_the_matrix_are_accounted_for_by_classes():
    split = row(["B-X", "I-X", "O", "O"], ["B-X", "B-X", "O", "B-X"])
    lost = row(["B-X", "O"], ["O", "O"])
    found = [split, lost]
    by_row = [mistakes(each) for each in found]
    table = confusion(predictions(found), by_row)
    missed, spurious = unpaired(by_row)
    assert missed == {"missed": 1}
    assert spurious == {"split": 1, "spurious": 1}
    assert table["nothing", "X"] == spurious.total()
    assert table["X", "nothing"] == missed.total()


def test_calibration_says_how_often_entities_of_a_probability_are_correct():
    gold, wrong = ["B-PER", "O"], ["O", "B-PER"]
    found = analyse(
        predictions(
            [row(gold, gold, 0.93, ["Vera", "left"])] * 3 + [row(gold, wrong, 0.97, ["Vera", "left"])]
        )
    ).calibration
    (one,) = found
    assert (one.low, one.high, one.size, one.precision) == (0.9, 1.0, 4, 0.75)
    assert one.probability == pytest.approx(0.94)
    assert calibration_error(found) == pytest.approx(0.94 - 0.75)
