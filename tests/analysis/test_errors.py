from hypothesis import given
from hypothesis import strategies as st

from ner_lightning.analysis.errors import describe, mistakes, worst
from ner_lightning.data.schemes import spans

TAGS = st.lists(st.sampled_from(["O", "B-A", "I-A", "B-B", "I-B"]), min_size=6, max_size=6)


def row(gold, predicted, **more):
    return {"words": [f"w{i}" for i in range(len(gold))], "gold": gold, "predicted": predicted} | more


def test_each_kind_of_mistake():
    kinds = {
        "missed": (["B-A", "O"], ["O", "O"]),
        "spurious": (["O", "O"], ["O", "B-A"]),
        "wrong type": (["B-A", "I-A"], ["B-B", "I-B"]),
        "wrong boundary": (["B-A", "I-A"], ["B-A", "O"]),
        "type and boundary": (["B-A", "I-A"], ["O", "B-B"]),
    }
    for kind, (gold, predicted) in kinds.items():
        assert [m.kind for m in mistakes(row(gold, predicted))] == [kind]
    assert mistakes(row(["B-A", "O"], ["B-A", "O"])) == []


@given(TAGS, TAGS)
def test_mistakes_add_up(gold, predicted):
    found = mistakes(row(gold, predicted))
    wrong = set(spans(predicted)) - set(spans(gold))
    absent = set(spans(gold)) - set(spans(predicted))
    assert {m.predicted for m in found if m.predicted} == wrong
    assert {m.gold for m in found if m.gold} == absent


def test_the_most_confident_mistakes_come_first_and_terminals_are_safe():
    sure = row(["O", "O"], ["B-A", "O"], entities=[{"type": "A", "start": 0, "end": 1, "marginal": 0.9}])
    unsure = row(["O", "O"], ["O", "B-A"], entities=[{"type": "A", "start": 1, "end": 2, "marginal": 0.3}])
    right = row(["O"], ["O"])
    sure["words"][1] = "\x1b[31mred\u202e"
    ranked = worst([right, unsure, sure], 5)
    assert [r for r, _ in ranked] == [sure, unsure]
    lines = list(describe(*ranked[0]))
    assert lines == ["*w0* \\x1b[31mred\\x202e", "    spurious: predicted A w0 (90% sure), gold nothing"]
    assert "\x1b[1mw0\x1b[0m" in next(iter(describe(*ranked[0], colour=True)))
