"""Types that training did not know, and the scores that seqeval counts again."""

import json
import os
from pathlib import Path

import pytest
import tiny
import yaml
from seqeval.metrics import f1_score
from seqeval.scheme import IOB2
from shared import json_rows

from ner_lightning.commands.main import main
from ner_lightning.metrics import functional
from ner_lightning.metrics.entity_f1 import EntityF1
from ner_lightning.training.callbacks.run_files import RunFiles

EXTRA = "Vera/B-PER saw/O the/O Halden/B-SHIP Star/I-SHIP and/O Tollan/B-TOOL lamps/O ./O\n"
WARNING = (
    "test.txt has entities of types that the tagger does not know: 1 SHIP, 1 TOOL; "
    "they are scored as missed (it knows PER, ORG, LOC, MISC)."
)


def add(file, text):
    rows = "\n".join(f"{w} {t}" for w, t in zip(*tiny.sentences(text)[0], strict=True))
    file.write_text(file.read_text(encoding="utf-8") + "\n" + rows + "\n", encoding="utf-8")


@pytest.fixture(scope="module")
def workplace(tmp_path_factory, llama):
    """A folder with a finished and tested run, whose validation and test data have types of their own."""
    folder = tmp_path_factory.mktemp("scoring")
    data = tiny.write_corpus(folder / "data")
    for split in ("valid", "test"):
        add(data / f"{split}.txt", EXTRA)
    config = {
        "seed_everything": 3,
        "trainer": {"accelerator": "cpu", "max_epochs": 12},
        "model": {
            "backbone": str(llama),
            "lora": {"rank": 4},
            "optimizer": {"lr": 0.01, "head_lr": 0.03, "crf_lr": 0.1},
        },
        "data": {"dataset": str(data), "batches": {"size": 4}},
    }
    (folder / "recipe.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    before = Path.cwd()
    os.chdir(folder)
    try:
        assert main(["fit", "--config", "recipe.yaml", "--name", "r"]) == 0
        assert main(["test"]) == 0
    finally:
        os.chdir(before)
        os.environ.pop("NER_LIGHTNING_RUN", None)
    return folder


@pytest.fixture
def run(workplace, monkeypatch):
    monkeypatch.chdir(workplace)
    return workplace / "runs/r/1"


def rows(run, split):
    return json_rows(run / f"predictions.{split}.jsonl")


@pytest.mark.parametrize(
    ("command", "stage", "split"), [("validate", "val", "valid"), ("test", "test", "test")]
)
def test_types_unknown_to_training_are_scored_as_missed(run, capsys, command, stage, split):
    assert main([command]) == 0
    said = capsys.readouterr()
    assert said.err.count(WARNING.replace("test.txt", f"{split}.txt")) == 1
    scores, held = json.loads((run / "metrics.json").read_text()), rows(run, split)
    for kind in ("SHIP", "TOOL"):
        row = {"precision": 0.0, "recall": 0.0, "f1": 0.0, "correct": 0, "predicted": 0, "gold": 1}
        assert scores[f"{stage}/by_type"][kind] == row
        assert scores[f"{stage}/f1/{kind}"] == 0
        assert any(
            line.split() == [kind, "0.0000", "0.0000", "0.0000", "1"] for line in said.out.splitlines()
        )
    assert "seqeval agrees (strict IOB2)\n" in said.out
    assert {"B-SHIP", "I-SHIP", "B-TOOL"} < set(held[-1]["gold"])
    gold, predicted = [row["gold"] for row in held], [row["predicted"] for row in held]
    strict = f1_score(gold, predicted, mode="strict", scheme=IOB2)
    assert scores[f"{stage}/f1"] == pytest.approx(strict, abs=1e-12)
    assert strict < 1 - 1 / 20  # these two are among the gold entities
    assert 0 < scores[f"{stage}/loss"] < float("inf")
    right = sum(a == b for row in held for a, b in zip(row["gold"], row["predicted"], strict=True))
    assert scores[f"{stage}/accuracy"] == right / sum(map(len, gold))


def test_a_fit_warns_once_and_asks_seqeval_at_its_end(run, capsys, monkeypatch, tmp_path):
    config = str(run.parents[2] / "recipe.yaml")
    monkeypatch.chdir(tmp_path)
    assert main(["fit", "--config", config, "--trainer.max_epochs=1"]) == 0
    said = capsys.readouterr()
    assert said.err.count("valid.txt has entities of types that the tagger does not know") == 1
    assert said.out.count("seqeval agrees (strict IOB2)") == 1


def test_report_and_calibration_take_unknown_types(run, capsys, tmp_path):
    assert main(["report"]) == 0
    text = (run / "report.md").read_text(encoding="utf-8")
    assert "| test | 4 | " in text
    assert "| SHIP | 1 | 0 |" in text
    said = "no entity of SHIP (1 gold), TOOL (1 gold): a tagger cannot learn these from them."
    assert said in text
    capsys.readouterr()
    assert main(["predict", "--calibrate", str(run.parents[2] / "data/test.txt")]) == 0
    said = capsys.readouterr()
    assert said.err.count(WARNING) == 1
    assert "temperature" in said.out


def test_types_that_are_named_must_hold_for_training_but_not_for_the_rest(run, capsys):
    config = ["--config", "recipe.yaml", "--name", "named", "--data.types=[PER,LOC]"]
    assert main(["fit", *config]) == 2
    said = capsys.readouterr().err
    assert "train.txt, sentence 1 " in said
    assert "entity type 'ORG' is not one of the entity types PER, LOC" in said
    assert "--data.types [PER,...]" in said
    assert not (run.parents[1] / "named").exists()


def alter_lines(run):
    file = run / "predictions.test.jsonl"
    changed = json_rows(file)
    changed[1]["predicted"] = ["B-PER"] * len(changed[1]["words"])
    file.write_text("".join(json.dumps(row) + "\n" for row in changed))


def alter_both(run):
    alter_lines(run)
    row = rows(run, "test")[1]
    file = run / "predictions.test.conll"
    blocks = file.read_text().split("\n\n")
    cells = zip(row["words"], row["gold"], row["predicted"], strict=True)
    blocks[1] = "\n".join(map(" ".join, cells))
    file.write_text("\n\n".join(blocks))


def lose_one(run):
    for file, end in ((run / "predictions.test.jsonl", "\n"), (run / "predictions.test.conll", "\n\n")):
        parts = file.read_text().split(end)
        file.write_text(end.join(parts[:1] + parts[2:]))


@pytest.mark.parametrize(
    ("alter", "message"),
    [
        (alter_lines, "predictions.test.jsonl and predictions.test.conll differ, first at sentence 2: "),
        (alter_both, "First at sentence 2 (The Baltic Open ended in Lima .): "),
        (lose_one, "First at sentence 2, which the file lacks."),
    ],
)
def test_a_prediction_file_that_was_altered_is_named(run, monkeypatch, capsys, alter, message):
    write = RunFiles._write_predictions

    def altered(self, *args):
        write(self, *args)
        alter(run)

    monkeypatch.setattr(RunFiles, "_write_predictions", altered)
    scores = (run / "metrics.json").read_text()
    assert main(["test"]) == 2
    said = capsys.readouterr()
    assert message in said.err
    assert "seqeval agrees" not in said.out
    assert len(said.err.strip().split("ner-lightning: ")[1].splitlines()) <= 3
    assert (run / "metrics.json").read_text() == scores  # no score that is in doubt is written


def test_counts_that_are_wrong_are_named(run, monkeypatch, capsys):
    count = functional.entity_counts

    def off(predicted, gold, mask, types):
        found = count(predicted, gold, mask, types)
        return found + (mask.sum(1) == 7).long()[:, None, None] * found.new_tensor([0, 1, 0])

    monkeypatch.setattr("ner_lightning.metrics.entity_f1.entity_counts", off)
    monkeypatch.setattr("ner_lightning.training.prediction_rows.entity_counts", off)
    assert main(["test"]) == 2
    said = capsys.readouterr().err
    assert "precision is " in said
    assert "First at sentence 2 (The Baltic Open ended in Lima .): " in said


def test_sums_that_are_wrong_are_told(run, monkeypatch, capsys):
    compute = EntityF1.compute
    monkeypatch.setattr(EntityF1, "compute", lambda self: compute(self) | {"f1": 0.9999})
    assert main(["validate"]) == 2
    said = capsys.readouterr().err
    assert "predictions.valid.jsonl: f1 is 0.9999 by the metrics, " in said
    assert "Each sentence agrees by itself" in said


def test_a_fit_whose_scores_are_wrong_ends_with_an_error(run, monkeypatch, capsys):
    compute = EntityF1.compute
    monkeypatch.setattr(EntityF1, "compute", lambda self: compute(self) | {"recall": 0.9999})
    assert main(["fit", "--config", "recipe.yaml", "--name", "wrong", "--trainer.max_epochs=1"]) == 2
    assert "recall is 0.9999 by the metrics" in capsys.readouterr().err
    assert (run.parents[1] / "wrong/1/checkpoints/best.ckpt").is_file()
