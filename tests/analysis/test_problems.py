from rows import predictions, row

from ner_lightning.analysis.failure import analyse
from ner_lightning.analysis.problems import example, problems

WORDS = ["Vera", "Holt", "left", "Lima"]
GOLD = ["B-PER", "I-PER", "O", "B-LOC"]


def of(predicted, probability=0.5):
    return row(GOLD, predicted, probability, WORDS)


def test_the_costliest_classes_come_first_with_their_most_frequent_types():
    rows = [
        of(["B-ORG", "I-ORG", "O", "B-LOC"]),
        of(["B-ORG", "I-ORG", "O", "B-LOC"], 0.9),
        of(["B-PER", "I-PER", "O", "B-PER"]),
        of(["O", "O", "O", "B-LOC"]),
        of(["B-PER", "I-PER", "B-LOC", "B-LOC"]),
    ]
    first, second, third = problems(analyse(predictions(rows)))
    assert (first.error.kind, first.gold, first.predicted, first.times) == ("wrong type", "PER", "ORG", 2)
    assert first.sentence == 1  # the more probable one
    assert {(each.error.kind, each.gold, each.predicted) for each in (second, third)} == {
        ("missed", "PER", "nothing"),
        ("spurious", "nothing", "LOC"),
    }


def test_mistakes_of_several_entities_have_all_their_types():
    joined = of(["B-PER", "I-PER", "I-PER", "I-PER"])
    (found,) = problems(analyse(predictions([joined] * 3)))
    assert (found.gold, found.predicted, found.times, found.is_tied) == ("LOC + PER", "PER", 3, False)
    each = [of(["O", "O", "O", "B-LOC"]), of(["B-PER", "I-PER", "O", "O"])]
    (tied,) = problems(analyse(predictions(each)))
    assert (tied.times, tied.is_tied) == (1, True)


def test_an_example_shows_gold_and_says_what_was_predicted():
    wrong, long, missed, spurious = (
        of(["B-ORG", "I-ORG", "O", "B-LOC"], 0.9),
        of(["B-PER", "I-PER", "I-PER", "B-LOC"], 0.9),
        of(["O", "O", "O", "B-LOC"]),
        of(["B-PER", "I-PER", "B-LOC", "B-LOC"], 0.8),
    )
    said = []
    for each in (wrong, long, missed, spurious):
        (found,) = problems(analyse(predictions([each])), 1)
        said.append(example(each, found.mistake, "valid, sentence 1").text())
    assert said == [
        "valid, sentence 1: [Vera Holt PER] left Lima (predicted: ORG, 90% sure)",
        "valid, sentence 1: [Vera Holt PER] left Lima (predicted: PER Vera Holt left, 90% sure)",
        "valid, sentence 1: [Vera Holt PER] left Lima (predicted: nothing)",
        "valid, sentence 1: Vera Holt [left LOC] Lima (predicted, gold has nothing here, 80% sure)",
    ]


def test_without_a_mistake_there_is_no_problem():
    assert problems(analyse(predictions([of(GOLD)]))) == []
