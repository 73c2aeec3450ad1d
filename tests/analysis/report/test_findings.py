"""What the report says in words is true of one type or class, of equal scores, and of nothing."""

from pathlib import Path

import pytest
from rows import predictions, row

from ner_lightning.analysis.experiment import Experiment
from ner_lightning.analysis.failure import analyse
from ner_lightning.analysis.render.blocks import markdown
from ner_lightning.analysis.report.assemble import report_blocks

PER, LOC, NOTHING = ["B-PER", "O"], ["B-LOC", "O"], ["O", "O"]


def experiment(history=(), **splits):
    """A run with predictions of splits, each as pairs of gold and predicted tags of sentences."""
    rows = {step: {"epoch": step - 1, **values} for step, values in enumerate(history, 1)}
    folder = Path("nowhere") if history else None
    run = Experiment("run/1", folder, history=rows, files=dict.fromkeys(splits))
    run.__dict__["splits"] = {
        name: analyse(predictions([row(gold, predicted, 0.9) for gold, predicted in pairs]))
        for name, pairs in splits.items()
    }
    return run


def report(history=(), **splits):
    return said(experiment(history, **splits))


def said(*runs):
    return " ".join(markdown(report_blocks(runs)).split())


def test_the_split_without_a_mistake_is_named():
    text = report(valid=[(PER, PER)], test=[(PER, PER), (PER, NOTHING)])
    assert "There is no mistake on valid." in text
    assert "There is no mistake. " not in text


@pytest.mark.parametrize(
    ("pairs", "finding"),
    [
        ([(PER, PER), (PER, NOTHING)], "F1 of PER on valid is 0.67"),
        (
            [(PER, NOTHING), (LOC, NOTHING), (["B-ORG", "O"],) * 2],
            "LOC and PER have the lowest F1 on valid: 0.00",
        ),
        ([(PER, PER), (LOC, LOC)], "All types have the same F1 on valid: 1.00"),
        ([(PER, NOTHING), (LOC, LOC)], "PER has the lowest F1 on valid: 0.00"),
        ([(PER, PER), (NOTHING, LOC)], "F1 of PER on valid is 1.00"),
    ],
)
def test_the_lowest_type_is_one_of_several(pairs, finding):
    text = report(valid=pairs)
    assert f"**{finding}**" in text


def test_scores_of_nothing_are_undefined():
    text = report(valid=[(NOTHING, NOTHING)] * 2)
    assert "F1 is undefined" in text
    assert text.count("| undefined | 95%: - |") == 3
    assert "| valid | undefined | undefined | undefined | 1.000 |" in text
    text = report(valid=[(PER, NOTHING)] * 2)  # no prediction that could be right or wrong
    assert "| precision, valid | undefined | 95%: - |" in text
    assert "| PER | 0.00 | - | 2 | 0 | - | 0.00 |" in text


def test_runs_without_an_entity_are_not_said_to_be_equal():
    text = said(experiment(valid=[(NOTHING, NOTHING)]), experiment(valid=[(NOTHING, PER)]))
    assert "F1 of A (run/1) is undefined: no entity is gold or predicted." in text
    assert "| A: run/1 | | undefined | - | undefined | undefined |" in text
    assert "the same F1" not in text


@pytest.mark.parametrize(
    ("pairs", "findings"),
    [
        (
            [(PER, NOTHING)],
            ["It is PER.", "Missed is the only class: 1 mistake, 1.000 F1", "Only PER is missed: 1 of 1"],
        ),
        (
            [(PER, LOC), (LOC, PER), (PER, PER)],
            [
                "Such as PER predicted as LOC: 1.",
                "Wrong type is the only class: 2 mistakes",
                "As often as another, PER is predicted as LOC: 1 of 2",
            ],
        ),
        (
            [(PER, LOC), (PER, ["B-PER", "I-PER"])],
            ["Too long and wrong type cost most: 0.500 F1 each", "Only PER is predicted as LOC: 1 of 2"],
        ),
        (
            [(PER, PER), (NOTHING, LOC)],
            [
                "Only LOC is predicted where there is nothing: 1 time**",
                "1 false positive and 0 false negatives: ",
            ],
        ),
    ],
)
def test_the_costliest_and_the_most_frequent_are_some_of_several(pairs, findings):
    text = report(valid=pairs)
    assert [each for each in findings if each not in text] == []


@pytest.mark.parametrize(
    ("f1", "finding"),
    [
        ([0.0, 0.0], "F1 is 0.00 at every validation"),
        ([0.5, 0.75, 0.75], "F1 first reaches its best at epoch 2 of 3: 0.75"),
        ([0.5, 0.75, 0.25], "F1 is best at epoch 2 of 3: 0.75"),
    ],
)
def test_the_best_epoch_is_better_than_others(f1, finding):
    text = report([{"val/f1": value, "val/loss": 0.5, "train/loss": 1.0} for value in f1], valid=[(PER, PER)])
    assert f"**{finding}**" in text
    assert "**The loss on validation is 0.5 each time**" in text
