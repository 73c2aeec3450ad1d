import json
import re
from pathlib import Path

import pytest
import record
import results
import torch
import train_step
from seqeval.metrics import f1_score, precision_score, recall_score

from ner_lightning.data.datamodule import CoNLLDataModule
from ner_lightning.training.module import NERModule

ROOT = Path(__file__).parent.parent


@pytest.fixture
def run(tmp_path):
    """A finished run folder, as small as can be."""
    pairs = [
        (["B-PER", "I-PER", "O"], ["B-PER", "I-PER", "O"]),
        (["B-LOC", "O", "B-ORG"], ["B-ORG", "O", "B-ORG"]),
        (["O", "O"], ["O", "B-PER"]),
    ]
    gold, predicted = [g for g, _ in pairs], [p for _, p in pairs]
    lines = [json.dumps({"words": ["w"] * len(g), "gold": g, "predicted": p}) for g, p in pairs]
    (tmp_path / "predictions.test.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    metrics = {
        "test/precision": precision_score(gold, predicted),
        "test/recall": recall_score(gold, predicted),
        "test/f1": f1_score(gold, predicted),
        "test/accuracy": 6 / 8,
    }
    noted = {k: float(v) for k, v in metrics.items()}
    noted["test/by_type"] = {
        "PER": {"correct": 1, "predicted": 2, "gold": 1},
        "LOC": {"correct": 0, "predicted": 0, "gold": 1},
        "ORG": {"correct": 1, "predicted": 2, "gold": 1},
    }
    (tmp_path / "metrics.json").write_text(json.dumps(noted))
    about = {
        "command": ["ner-lightning", "fit", "--name=x", "--config", "configs/a.yaml", "--model.lr", "1"],
        "seed": 1,
        "machine": "here",
        "versions": {},
        "commit": "abc",
        "parameters": 1000,
        "trained_parameters": 30,
        "data": {
            "test": {
                "origin": "/somewhere/test.txt",
                "fingerprint": "sha256:0123456789abcdef01",
                "sentences": 3,
                "words": 8,
                "entities": {"PER": 1, "ORG": 1, "LOC": 1},
            }
        },
    }
    (tmp_path / "run.json").write_text(json.dumps(about))
    return tmp_path


def test_recorded_counts_are_seqevals(run, tmp_path):
    file = tmp_path / "results.json"
    assert record.main([str(run), "--file", str(file)]) == 0
    rows = {row["metric"]: row for row in results.read(file)}
    held = [json.loads(line) for line in (run / "predictions.test.jsonl").read_text().splitlines()]
    gold, predicted = [r["gold"] for r in held], [r["predicted"] for r in held]
    assert rows["f1"]["value"] == pytest.approx(f1_score(gold, predicted))
    assert rows["precision"]["value"] == pytest.approx(precision_score(gold, predicted))
    assert rows["recall"]["value"] == pytest.approx(recall_score(gold, predicted))
    assert rows["f1"]["entities"] == {"correct": 2, "predicted": 4, "gold": 3}
    assert rows["f1"]["config"] == "a"
    assert rows["f1"]["overrides"] == ["--model.lr 1"]
    assert rows["f1"]["data"] == "test.txt sha256:0123456789abcdef"
    # Beside scores: what the run was trained on and with, and its mistakes by class.
    assert rows["sentences"]["by_type"] == {"PER": 1, "ORG": 1, "LOC": 1}
    assert (rows["parameters"]["value"], rows["parameters"]["trained"]) == (1000, 30)
    assert [c[:4] for c in rows["mistakes"]["classes"]] == [["wrong type", 1, 1, 1], ["spurious", 1, 1, 0]]
    before = file.read_text()
    record.main([str(run), "--file", str(file)])  # the same run again replaces its rows
    assert file.read_text() == before


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('["B-LOC", "O", "B-ORG"]', '["B-ORG", "O", "B-ORG"]', "entities of LOC, but the run noted 1"),
        ('["O", "B-PER"]', '["O", "O"]', "has 1 predicted entities of PER, but the run noted 2"),
        # As many are right and wrong as before, but of other types: micro F1 alone would not tell.
        ("PER", "LOC", "entities of LOC"),
        ('"gold"', '"golden"', "jsonl:1: not a sentence"),
    ],
)
def test_predictions_that_do_not_give_the_score_are_refused(run, tmp_path, capsys, old, new, said):
    file = run / "predictions.test.jsonl"
    changed = file.read_text().replace(old, new)
    assert changed != file.read_text()
    file.write_text(changed)
    assert record.main([str(run), "--file", str(tmp_path / "results.json")]) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "results.json").exists()


def test_a_score_that_was_edited_is_refused(run, tmp_path, capsys):
    noted = json.loads((run / "metrics.json").read_text())
    (run / "metrics.json").write_text(json.dumps(noted | {"test/f1": noted["test/f1"] + 1e-4}))
    assert record.main([str(run), "--file", str(tmp_path / "results.json")]) == 2
    assert "gives f1" in capsys.readouterr().err


def test_a_run_without_a_recipe_in_its_command_is_refused(run, tmp_path, capsys):
    about = json.loads((run / "run.json").read_text())
    command = ["ner-lightning", "fit", "--config", "/tmp/x/config.yaml"]
    (run / "run.json").write_text(json.dumps(about | {"command": command}))
    assert record.main([str(run), "--file", str(tmp_path / "results.json")]) == 2
    assert "no recipe" in capsys.readouterr().err
    assert record.main([str(tmp_path / "nowhere")]) == 2


def test_a_cut_split_is_not_named_as_the_whole():
    whole = results.describe_data("/x/valid.txt", "sha256:" + "a" * 64)
    cut = results.describe_data("/x/valid.txt", "sha256:" + "a" * 64 + "[:64]")
    assert (whole, cut) == ("valid.txt sha256:aaaaaaaaaaaaaaaa", "valid.txt sha256:aaaaaaaaaaaaaaaa[:64]")


def row(**changes):
    return dict.fromkeys(results.FIELDS, "") | {"overrides": [], "seed": 1, "value": 0.5} | changes


def test_the_table_of_runs_has_those_of_the_recipe_on_its_own_data():
    name = {"config": "smollm2_conll2003", "metric": "f1"}
    table = results.TABLES["smollm2"](
        [
            row(**name, split="test", value=0.87654),
            row(**name, split="valid", value=0.9),
            row(**name, split="test", overrides=["--data.dataset sample"]),
            row(config="quickstart", metric="f1", split="test"),
        ]
    )
    assert table.splitlines()[2:] == ["| `smollm2_conll2003` | 1 | 0.9000 | - | - | 0.8765 |"]


def test_the_tables_of_the_report_are_made_of_recorded_runs():
    about = {"config": "smollm2_conll2003", "data": "d", "machine": "m"}
    mistakes = {
        "metric": "mistakes",
        "classes": [["missed", 3, 0, 3, 0.01]],
        "reasons": [["type", "ORG", 20, 0.5, 0.25, 0.25, 0.125, 0.375]],
        "types": [["ORG", 20, 18, 0.5, 0.25, 0.375, 0.25, 0.5]],
        "intervals": {"f1": [0.75, 0.5, 1.0]},
        "calibration_error": 0.0625,
    }
    rows = [
        row(**about, split="valid", metric="sentences", value=3250, words=9, by_type={"ORG": 4, "PER": 2}),
        row(**about, split="fit", metric="parameters", value=200, trained=50),
        row(**about, split="fit", metric="peak memory, bytes", value=2**30),
        row(**about, split="valid", metric="f1", value=0.75),
        row(**about | {"config": "smollm2_conll2003 causal"}, split="valid", metric="f1", value=0.5),
        row(**about, split="valid", **mistakes),
    ]
    said = {name: results.TABLES[name](rows) for name in results.TABLES}
    assert "| CoNLL-2003 | valid | 3,250 | 9 | 6 | 4 ORG, 2 PER |" in said["report_sizes"]
    assert "| `smollm2_conll2003` | 200 | 50 | 25.00% | 1.00 | - | m |" in said["report_model"]
    assert "| valid | 1 | 0.5000 | 0.7500 | +0.2500 |" in said["report_attention"]
    assert "| missed | 3 | 0 | 3 | +0.0100 |" in said["report_errors"]
    assert "| type: ORG | 20 | 50.0% | 25.0% | +25.0% | +12.5% to +37.5% |" in said["report_reasons"]
    assert "| valid | ORG | 20 | 18 | 0.5000 | 0.2500 | 0.3750 | 0.2500 to 0.5000 |" in said["report_by_type"]
    assert results.TABLES["report_errors"]([]) == "Not measured here.\n"


def test_every_recorded_row_is_whole():
    rows = results.read()
    assert rows
    for row in rows:
        assert set(results.FIELDS) <= set(row)
        assert "/work" not in json.dumps(row)
    assert len({results.key(row) for row in rows}) == len(rows)


def test_tables_of_the_docs_are_those_of_the_results():
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    assert any(results.MARKED.search(page.read_text(encoding="utf-8")) for page in pages)
    assert results.main(["--check", *map(str, pages)]) == 0


def test_a_stale_table_is_noticed_and_renewed(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- results: smollm2 -->\nold\n<!-- end -->\nafter\n")
    assert results.main(["--check", str(page)]) == 1
    assert results.main(["--write", str(page)]) == 0
    text = page.read_text()
    assert "old" not in text
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert results.main(["--check", str(page)]) == 0


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("<!-- results: smolm2 -->\n<!-- end -->\n", "no table is named smolm2"),
        ("<!-- results: speed -->\nno end\n", "malformed or has no"),
        ("<!-- results: speed -->\n<!-- results: smollm2 -->\n<!-- end -->\n", "malformed or has no"),
    ],
)
def test_a_wrong_marker_is_an_error(tmp_path, capsys, text, said):
    page = tmp_path / "page.md"
    page.write_text(text)
    assert results.main(["--check", str(page)]) == 2
    assert said in capsys.readouterr().err


def test_a_row_without_its_commit_is_refused(tmp_path):
    with pytest.raises(ValueError, match="lacks commit"):
        results.add([dict.fromkeys(set(results.FIELDS) - {"commit"})], tmp_path / "r.json")


def test_training_speed_is_measured_side_by_side(llama, corpus, tmp_path, capsys):
    file = tmp_path / "results.json"
    options = ["--rounds", "2", "--steps", "1", "--warmup", "1", "--batch", "4", "--no-compile"]
    paths = ["--data", str(corpus), "--backbone", str(llama), "--record", str(file)]
    assert train_step.main([*options, *paths]) == 0
    said = capsys.readouterr().out
    trained = dict(re.findall(r"warming up: (.*), ([\d,]+) trained parameters", said))
    difference = int(trained["ours"].replace(",", "")) - int(trained["plain loop"].replace(",", ""))
    assert difference == 9 * 9 + 9 + 9  # the CRF
    rows = {row["metric"]: row for row in results.read(file)}
    assert len(rows) == 6
    assert all(row["value"] > 0 for row in rows.values())
    ours, plain = (rows[f"{name}, sub-tokens/s"]["rounds"] for name in ("ours", "plain loop"))
    ratios = [a / b for a, b in zip(ours, plain, strict=True)]
    assert rows["training, times the plain loop"]["rounds"] == pytest.approx(ratios)
    assert rows["ours, sub-tokens/s"]["overrides"] == [f"--backbone {llama}", "--batch 4", "--no-compile"]
    assert "| ours, sub-tokens/s |" in results.speed(results.read(file))


def test_steps_that_compile_are_not_counted(monkeypatch, capsys):
    graphs = iter([1, 1, 0, 0])  # what each attempt compiles
    measured = iter([(1.0, 9.0), (2.0, 9.0), (3.0, 1.0)])

    def timed(*_):
        train_step.counters["stats"]["unique_graphs"] += next(graphs)
        return next(measured)

    monkeypatch.setattr(train_step, "timed", timed)
    assert train_step.settled(None, None, 1, 0) == (3.0, 1.0)
    assert capsys.readouterr().out.count("do not count") == 2


def test_training_speed_needs_data(tmp_path, capsys):
    assert train_step.main(["--data", str(tmp_path / "nowhere")]) == 2
    assert "there is no folder" in capsys.readouterr().err


def test_both_sides_of_the_speed_measurement_compute_in_bf16(llama, corpus, monkeypatch):
    """The plain loop is only a fair comparison if autocast reaches its backbone."""
    data = CoNLLDataModule(dataset=str(corpus), backbone=str(llama), batch_size=4)
    module = NERModule(backbone=str(llama), types=data.types)
    batch = next(iter(train_step.random_loader(data)))
    seen = {}
    linear = torch.nn.functional.linear

    def spy(x, weight, bias=None):
        result = linear(x, weight, bias)
        if weight.shape in {(64, 32), (32, 64)}:  # the feed-forward layers
            seen.setdefault(name, set()).add((weight.dtype, result.dtype))
        return result

    monkeypatch.setattr(torch.nn.functional, "linear", spy)
    for name, build in (
        ("ours", lambda: train_step.our_step(module, "bf16-mixed")),
        ("plain", lambda: train_step.plain_step(module)),
    ):
        step, _ = build()
        seen.pop(name, None)  # of the check of attention's direction at loading
        step(batch)
    assert seen["ours"] == {(torch.bfloat16, torch.bfloat16)}
    assert seen["plain"] == {(torch.float32, torch.bfloat16)}
