import json
import re
import time
from pathlib import Path
from types import SimpleNamespace

import annotation_rounds
import audit_sample
import busy_machine
import cache_speed
import candidate_cost
import cpu_profile
import crf
import distillation
import draw_curve
import engine_speed
import gpu_speed
import levers
import lockstep
import measure
import memory_estimate
import other_taggers
import partial_annotation
import pipeline_speed
import precision_speed
import predict_speed
import pytest
import record
import results
import serve_load
import startup
import take_home
import torch
import train_speed
from seqeval.metrics import f1_score, precision_score, recall_score
from shared import json_rows
from untrained import write_checkpoint

from ner_lightning.commands.main import main
from ner_lightning.data.readers.sentences import read_sentences
from ner_lightning.data.schemes import LabelSet, spans
from ner_lightning.export import exported_folder
from ner_lightning.export.exported_folder import export
from ner_lightning.runs.results import FIELDS, add_rows, describe_data, read_rows, row_key

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
        "command": [
            "ner-lightning",
            "fit",
            "--name=x",
            "--config",
            "configs/a.yaml",
            "--model.optimizer.lr",
            "1",
        ],
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
    rows = {row["metric"]: row for row in read_rows(file)}
    held = json_rows(run / "predictions.test.jsonl")
    gold, predicted = [r["gold"] for r in held], [r["predicted"] for r in held]
    assert rows["f1"]["value"] == pytest.approx(f1_score(gold, predicted))
    assert rows["precision"]["value"] == pytest.approx(precision_score(gold, predicted))
    assert rows["recall"]["value"] == pytest.approx(recall_score(gold, predicted))
    assert rows["f1"]["entities"] == {"correct": 2, "predicted": 4, "gold": 3}
    assert rows["f1"]["config"] == "a"
    assert rows["f1"]["overrides"] == ["--model.optimizer.lr 1"]
    assert rows["f1"]["data"] == "test.txt sha256:0123456789abcdef"
    # Beside scores: what the run was trained on and with, and its mistakes by class.
    assert rows["sentences"]["by_type"] == {"PER": 1, "ORG": 1, "LOC": 1}
    assert (rows["parameters"]["value"], rows["parameters"]["trained"]) == (1000, 30)
    assert [c[:4] for c in rows["mistakes"]["classes"]] == [["wrong type", 1, 1, 1], ["spurious", 1, 1, 0]]
    before = file.read_text()
    record.main([str(run), "--file", str(file)])  # the same run again replaces its rows
    assert file.read_text() == before


def test_a_backbone_that_learned_to_fill_in_words_is_a_row(tmp_path):
    about = {"command": ["ner-lightning", "pretrain", "--config", "configs/a.yaml", "--mask_ratio", "0.3"]}
    about |= {"machine": "m", "versions": {}, "commit": "c", "minutes": 25.4, "peak_memory_bytes": 2**31}
    about["data"] = {"valid": {"origin": "data/x/valid.txt", "fingerprint": "sha256:0123"}}
    about["pretraining"] = {"mask_ratio": 0.3}
    (tmp_path / "recipe.yaml").write_text("seed_everything: 7\n", encoding="utf-8")
    (tmp_path / "run.json").write_text(json.dumps(about), encoding="utf-8")
    file = tmp_path / "results.json"
    assert record.main([str(tmp_path), "--file", str(file)]) == 2  # it is not done
    about["pretraining"]["val_loss"] = 3.25
    (tmp_path / "run.json").write_text(json.dumps(about), encoding="utf-8")
    assert record.main([str(tmp_path), "--file", str(file)]) == 0
    assert "| `a --mask_ratio 0.3` | 7 | 3.250 | 25 | 2.0 | m |" in results.TABLES["pretraining"](
        read_rows(file)
    )


def test_an_ensemble_is_named_after_its_members():
    def member(seed, *options):
        command = ["ner-lightning", "fit", "--config", "configs/a.yaml", *options, "--seed_everything", seed]
        return {"run": f"runs/a/{seed}", "seed": int(seed), "command": command}

    seeds = {"members": [member("1", "--model.optimizer.lr", "1"), member("2", "--model.optimizer.lr", "1")]}
    assert record.recipe_of(seeds) == (["a", "ensemble"], ["--model.optimizer.lr 1", "of seeds 1, 2"])
    mixed = {"members": [member("1"), member("2", "--model.optimizer.lr", "1")]}
    assert record.recipe_of(mixed) == (["a", "ensemble"], ["of a seed 1 + a --model.optimizer.lr 1 seed 2"])
    assert record.recipe_of({"members": [member("1"), member("2") | {"command": None}]})[0] == [
        "a",
        "ensemble",
    ]
    assert record.recipe_of({"members": [member("1") | {"command": None}] * 2})[0] == []
    command = [
        "ner-lightning",
        "distill",
        "runs/both/1",
        "--config",
        "configs/a.yaml",
        "--text",
        "a/news.txt",
    ]
    taught = {"command": command, "teacher": {"teacher": {"run": "runs/both/1", **seeds}}}
    expected = ["--text news.txt", "from a ensemble --model.optimizer.lr 1 of seeds 1, 2"]
    assert record.recipe_of(taught) == (["a", "distilled"], expected)
    for lost, options in ((None, []), (0.1, ["--soup_rank 8"])):
        soup = seeds | {"soup": {"members": 2, "rank": 8, "lost": lost}}
        assert record.recipe_of(soup) == (
            ["a", "soup"],
            ["--model.optimizer.lr 1", *options, "of seeds 1, 2"],
        )
    soup = mixed | {"soup": {"members": 2, "rank": 8, "lost": None}}
    assert record.recipe_of(soup) == (["a", "soup"], ["of a seed 1 + a --model.optimizer.lr 1 seed 2"])
    soup["seed"] = 1
    nested = {"members": [soup, member("3")]}
    assert record.recipe_of(nested) == (
        ["a", "ensemble"],
        ["of a soup of a seed 1 + a --model.optimizer.lr 1 seed 2 seed 1 + a seed 3"],
    )


def test_a_flag_takes_no_value():
    command = ["ner-lightning", "baseline", "--constrained", "--config", "configs/a.yaml", "--shots", "5"]
    assert record.split_command(command) == (["a"], ["--constrained", "--shots 5"])


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
    whole = describe_data("/x/valid.txt", "sha256:" + "a" * 64)
    cut = describe_data("/x/valid.txt", "sha256:" + "a" * 64 + "[:64]")
    assert (whole, cut) == ("valid.txt sha256:aaaaaaaaaaaaaaaa", "valid.txt sha256:aaaaaaaaaaaaaaaa[:64]")


def row(**changes):
    return dict.fromkeys(FIELDS, "") | {"overrides": [], "seed": 1, "value": 0.5} | changes


def test_the_table_of_runs_has_those_of_the_recipe_on_its_own_data():
    name = {"config": "smollm2_conll2003", "metric": "f1"}
    table = results.TABLES["smollm2"](
        [
            row(**name, split="test", value=0.87654),
            row(**name, split="valid", value=0.9),
            row(**name, split="test", overrides=["--data.dataset sample"]),
            row(config="quickstart", metric="f1", split="test"),
            row(**name, split="valid", value=0.99, ladder="a ladder has its own table"),
        ]
    )
    assert table.splitlines()[2:] == ["| `smollm2_conll2003` | 1 | 0.9000 | - | - | 0.8765 |"]


def test_the_table_of_runs_has_a_mean_over_seeds():
    shared = {"config": "smollm2_conll2003", "metric": "f1", "split": "test"}
    table = results.TABLES["smollm2"]([row(**shared, seed=n, value=v) for n, v in ((2, 0.9), (1, 0.8))])
    assert table.splitlines()[2:] == ["| `smollm2_conll2003` | 1, 2 | - | - | - | 0.8500 ± 0.0707 |"]


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
    # The run is chosen on validation, for the table of the test set as well.
    kind = [["ORG", 20, 18, 0.5, 0.25, 0.375, 0.25, 0.5]]
    other = mistakes | {"intervals": {"f1": [0.9, 0.8, 1.0]}, "types": kind}
    mine = mistakes | {"intervals": {"f1": [0.7, 0.6, 0.8]}}
    rows += [
        row(**about | {"overrides": ["--model.optimizer.lr 1"]}, split="test", **other),
        row(
            **about | {"overrides": ["--model.optimizer.lr 1"]},
            split="valid",
            **mistakes | {"intervals": {"f1": [0.6, 0, 1]}},
        ),
        row(**about, split="test", **mine),
    ]
    assert "| test | 0.7000 | 0.6000 to 0.8000 |" in results.TABLES["report_source"](rows)
    assert "0.9000" not in results.TABLES["report_source"](rows)


def test_what_the_rows_of_a_run_have_in_common_is_written_once(tmp_path):
    shared = {"config": "a", "overrides": ["--x 1"], "seed": 1, "command": "c", "machine": "m", "commit": "k"}
    shared |= {"versions": {"torch": "2"}}
    rows = [
        shared | {"data": "d", "split": split, "metric": metric, "value": 0.5} | more
        for split, metric, more in (
            ("valid", "f1", {"rung": "r"}),
            ("test", "f1", {}),
            ("test", "recall", {}),
        )
    ]
    rows.append(rows[0] | {"seed": 2})
    file = tmp_path / "results.json"
    add_rows(rows, file)
    assert file.read_text().count('"versions"') == 2
    assert read_rows(file) == sorted(rows, key=row_key)
    flat = tmp_path / "flat.json"  # a list of rows is read, too
    flat.write_text(json.dumps(rows))
    assert read_rows(flat) == rows
    add_rows([rows[1] | {"value": 0.6}], flat)
    assert [row["value"] for row in read_rows(flat)].count(0.6) == 1
    assert len(read_rows(flat)) == 4


def test_every_recorded_row_is_whole():
    rows = read_rows(results.FILE)
    assert rows
    for row in rows:
        assert set(FIELDS) <= set(row)
        assert not re.search(r"(?<![\w./])/\w+/", json.dumps(row))  # no folder of whoever measured
    assert len({row_key(row) for row in rows}) == len(rows)


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
        ("<!-- results: training -->\nno end\n", "malformed or has no"),
        ("<!-- results: training -->\n<!-- results: smollm2 -->\n<!-- end -->\n", "malformed or has no"),
    ],
)
def test_a_wrong_marker_is_an_error(tmp_path, capsys, text, said):
    page = tmp_path / "page.md"
    page.write_text(text)
    assert results.main(["--check", str(page)]) == 2
    assert said in capsys.readouterr().err


def test_a_row_without_its_commit_is_refused(tmp_path):
    with pytest.raises(ValueError, match="lacks commit"):
        add_rows([dict.fromkeys(set(FIELDS) - {"commit"})], tmp_path / "r.json")


def test_rounds_alternate_and_ratios_go_round_by_round(capsys):
    order = []

    def side(name, value):
        def call():
            order.append(name)
            return value * len(order)

        return call

    found = measure.alternate({"a": side("a", 1.0), "b": side("b", 2.0)}, 3)
    assert order == ["a", "b", "b", "a", "a", "b"]
    assert found == {"a": [1.0, 4.0, 5.0], "b": [4.0, 6.0, 12.0]}
    assert measure.ratio(found, "b", "a") == [4.0, 1.5, 2.4]


def test_a_measurement_is_recorded_with_its_rounds(tmp_path, capsys):
    file = tmp_path / "results.json"
    measure.report(
        {"x, times as fast": [3.0, 1.0, 2.0]},
        kind="training speed",
        script="train_speed.py",
        words=["--kept", "turns.jsonl", "--rounds", "3", "--record", str(file)],
        record=file,
    )
    (found,) = read_rows(file)
    assert (found["value"], found["spread"], found["rounds"]) == (2.0, "1.00 to 3.00", [3.0, 1.0, 2.0])
    assert found["command"] == "python benchmarks/train_speed.py --rounds 3"
    assert "| x, times as fast | 2.00 (1.00 to 3.00) |" in results.TABLES["training"]([found])
    assert "| training: x, times as fast | 2.00 (1.00 to 3.00) |" in results.TABLES["speedups"]([found])


TURNS = """
import sys, time
from lockstep import Turns
turns = Turns()
while True:
    turns.before_step()
    time.sleep(0.01)
    turns.after_step(5)
"""


@pytest.mark.slow
def test_trainings_run_only_in_their_turn(tmp_path):
    (tmp_path / "training.py").write_text(TURNS)
    worker = lockstep.Worker([str(tmp_path / "training.py")], tmp_path / "log")
    try:
        rate, seconds = worker.turn(10)
        assert 0.01 < seconds < 1
        assert rate == pytest.approx(5 / seconds)
        time.sleep(0.5)  # not its turn: these seconds must not count
        assert worker.turn(2)[1] < 0.4
    finally:
        worker.end()


def test_a_training_that_ends_says_why(tmp_path):
    (tmp_path / "training.py").write_text("raise SystemExit('no data')")
    worker = lockstep.Worker([str(tmp_path / "training.py")], tmp_path / "log")
    with pytest.raises(RuntimeError, match="no data"):
        worker.turn(1)
    worker.end()


@pytest.fixture
def small(llama, corpus, tmp_path):
    """Options that make a measurement small, and the file that it records to."""
    file = tmp_path / "results.json"
    return ["--backbone", str(llama), "--data", str(corpus), "--record", str(file)], file


def recorded(file):
    return {row["metric"]: row["value"] for row in read_rows(file)}


def test_prediction_speed(small, monkeypatch):
    monkeypatch.chdir(ROOT)
    words, file = small
    assert predict_speed.main([*words, "--rounds", "2"]) == 0
    assert recorded(file)["share of the backbone's own rate"] > 0
    assert recorded(file)["times the rate with adapters not merged"] > 0


def test_the_cost_of_candidates(small, monkeypatch):
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(candidate_cost, "SHAPES", ((2, 4, 2),))
    words, file = small
    assert candidate_cost.main([*words, "--rounds", "2"]) == 0
    found = recorded(file)
    assert found["min_score 0.05: times the seconds without"] > 0
    assert found["2 sentences of up to 4 words, 2 types: candidates of 0.001, ms"] > 0
    assert "| min_score 0.05: times the seconds without |" in results.TABLES["candidates"](read_rows(file))


def test_prediction_speed_beside_a_pipeline(small, monkeypatch):
    monkeypatch.chdir(ROOT)
    words, file = small
    assert pipeline_speed.main([*words, "--rounds", "2"]) == 0
    assert recorded(file)["times the rate of the pipeline as it comes"] > 0
    assert recorded(file)["times the rate of the pipeline at its best"] > 0


@pytest.mark.slow
def test_engines_beside_each_other(llama, corpus, tmp_path, monkeypatch, capsys):
    measured = {"sentence_ms": 1.0, "words_per_second": 1.0}
    figures = {"torch": measured, "openvino": measured}
    monkeypatch.setattr(exported_folder, "measure_engines", lambda folder, trust: figures)
    monkeypatch.setattr(engine_speed, "SIZES", {"a batch": 60})
    folder = export(str(write_checkpoint(tmp_path, llama)), tmp_path / "out", format="openvino")
    file = tmp_path / "results.json"
    few = ["--data", str(corpus), "--calls", "2", "--rounds", "2", "--record", str(file)]
    assert engine_speed.main(["--export", str(folder), *few]) == 0
    found = recorded(file)
    assert found["openvino fp32: one sentence, p50, ms"] > 0
    assert found["openvino fp32: one sentence, p99, times torch fp32"] > 0
    assert found["openvino fp32: a batch, times as fast as torch fp32"] > 0
    assert found["openvino fp32: words tagged as by torch fp32, percent"] == 100
    assert found["openvino fp32: largest difference of a probability"] < 0.01
    assert found["openvino fp32: F1"] == found["torch fp32: F1"]
    assert "--export FOLDER --data" in read_rows(file)[0]["command"]
    assert "| torch fp32: one sentence, p99, ms |" in results.TABLES["engines"](read_rows(file))


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_other_taggers_and_a_busy_machine(llama, corpus, tmp_path, monkeypatch):
    measured = {"sentence_ms": 1.0, "words_per_second": 1.0}
    figures = {"torch": measured, "openvino": measured}
    monkeypatch.setattr(exported_folder, "measure_engines", lambda folder, trust: figures)
    folder = export(str(write_checkpoint(tmp_path, llama)), tmp_path / "out", format="openvino")
    file = tmp_path / "results.json"
    few = ["--export", str(folder), "--calls", "1", "--rounds", "1", "--record", str(file)]
    assert busy_machine.main(few) == 0
    assert other_taggers.main([*few, "--data", str(corpus), "--sentences", "2"]) == 0
    found = recorded(file)
    assert min(found.values()) > 0
    assert len([name for name in found if name.endswith("beside another process, ms")]) == 3
    assert "ours, torch fp32: words/s, times transformers' pipeline, BERT-base" in found
    assert all(str(tmp_path) not in row["command"].replace(str(corpus), "") for row in read_rows(file))


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_cpu_profile(small, monkeypatch):
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(cpu_profile, "NARROW", 16)  # the small model's sides are narrow as well
    words, file = small
    few = ["--sentences", "6", "--train", "6", "--budget", "64", "--no-compile"]
    assert cpu_profile.main([*words, *few]) == 0
    found = recorded(file)
    for size in ("one sentence", "1,000 sub-tokens", "a full batch"):
        shares = [v for name, v in found.items() if name.startswith(size) and name.endswith(", percent")]
        assert sum(shares) == pytest.approx(100, abs=10)
        assert found[f"{size}: decoding, percent"] > 0
    assert any(name.endswith("training steps: loss and CRF, percent") for name in found)
    assert any(name.endswith("matrix products of adapters, percent") for name in found)
    assert "| decoding, percent |" in results.TABLES["cpu_profile"](read_rows(file))


def test_crf_speed(tmp_path, monkeypatch):
    threads = torch.get_num_threads()
    file = tmp_path / "results.json"
    crf.main(["--sentences", "4", "--words", "5", "--rounds", "3", "--record", str(file)])
    torch.set_num_threads(threads)
    assert {name for name in recorded(file) if "times" in name} == {
        f"{what}, times as fast" for what in ("forward + backward", "forward", "decode")
    }


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_training_speed_beside_run_ner(small, monkeypatch):
    monkeypatch.chdir(ROOT)
    words, file = small
    monkeypatch.setattr(train_speed, "WARMUP", 2)
    assert train_speed.main([*words, "--rounds", "1", "--steps", "2", "--no-compile"]) == 0
    found = recorded(file)
    assert len([name for name in found if name.startswith("run_ner, ")]) == 4
    assert len([name for name in found if "times" in name]) == 2
    assert min(found.values()) > 0


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_precisions_beside_each_other(small, monkeypatch):
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "")
    assert set(precision_speed.CPUS) == {"all instructions", "AVX512 without bf16", "AVX2"}
    monkeypatch.setattr(precision_speed, "CPUS", {"AVX2": precision_speed.CPUS["AVX2"]})
    words, file = small
    assert precision_speed.main([*words, "--rounds", "1", "--steps", "2"]) == 0
    found = recorded(file)
    assert min(found.values()) > 0
    assert len([name for name in found if name.endswith("fp32, times bf16")]) == 1
    assert "| AVX2: fp32, times bf16 |" in results.TABLES["precision"](read_rows(file))


def test_a_speed_is_that_of_a_machine_and_a_score_of_none(tmp_path):
    file = tmp_path / "results.json"
    row = dict.fromkeys((*FIELDS, "rounds"), "x") | {"overrides": []}
    speeds = [row | {"machine": name, "value": value} for name, value in (("a", 1), ("b", 2), ("a", 3))]
    scores = [{k: v for k, v in each.items() if k != "rounds"} | {"metric": "f1"} for each in speeds]
    add_rows([*speeds, *scores], file)
    found = [(each["metric"], each["machine"], each["value"]) for each in read_rows(file)]
    assert sorted(found) == [("f1", "a", 3), ("x", "a", 3), ("x", "b", 2)]


def test_a_measurement_that_was_stopped_goes_on(tmp_path):
    kept, calls = tmp_path / "kept.jsonl", []

    def side(name, value):
        def measured():
            if len(calls) == 3:
                raise KeyboardInterrupt
            calls.append(name)
            return value

        return measured

    sides = {"a": side("a", 1.0), "b": side("b", 2.0)}
    with pytest.raises(KeyboardInterrupt):
        measure.alternate(sides, 3, kept)
    assert calls == ["a", "b", "b"]
    calls.clear()
    found = measure.alternate({"a": lambda: 3.0, "b": lambda: 4.0}, 3, kept)
    assert found == {"a": [1.0, 3.0, 3.0], "b": [2.0, 2.0, 4.0]}
    assert measure.alternate({}, 0) == {}


def test_the_baseline_counts_with_its_better_batches():
    rates = {
        "ner-lightning fit": [1200.0, 1300.0, 1100.0],
        "run_ner, random batches of 8": [100.0, 130.0, 90.0],
        "run_ner, random batches of 32": [110.0, 110.0, 110.0],
        "run_ner, grouped batches of 8": [200.0, 200.0, 500.0],
        "run_ner, grouped batches of 32": [250.0, 250.0, 250.0],
    }
    assert train_speed.compared(rates) == {
        "ner-lightning fit, times run_ner as it comes": [1200 / 110, 1300 / 110, 10.0],
        "ner-lightning fit, times its own grouping by length": [4.8, 5.2, 4.4],
    }


def test_compiling_has_paid_when_its_seconds_are_saved():
    rates = {"ner-lightning fit": [2000.0] * 3, "ner-lightning fit, not compiled": [1000.0] * 3}
    starts = {"ner-lightning fit": [60.0], "ner-lightning fit, not compiled": [20.0, 30.0, 20.0]}
    found = train_speed.paid_back(rates, starts, 2000)
    assert found["compiling, seconds"] == [40]
    assert found["compiling, steps until it has paid"] == [40]
    assert train_speed.paid_back(rates, starts | {"ner-lightning fit": []}, 2000) == {}


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_gpu_speed_runs_without_one(corpus, llama, tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    file = tmp_path / "results.json"
    few = ["--tiny", "--budget", "64", "--rounds", "1", "--steps", "2", "--backbone", str(llama)]
    few += ["--data", str(corpus), "--record", str(file)]
    timed = ["budget", "eight", "run_ner", "profile"]
    monkeypatch.setattr(gpu_speed, "WARMUP", 2)
    fit, uncompiled = gpu_speed.Bench.fit, ["--model.runtime.compile", "false"]
    monkeypatch.setattr(gpu_speed.Bench, "fit", lambda bench, *words: fit(bench, *uncompiled, *words))
    assert gpu_speed.main([*few, "--parts", *timed]) == 0
    found = recorded(file)
    assert {"fit, batches of 8, sub-tokens/s", "run_ner, batches of 32, sub-tokens/s"} <= found.keys()
    assert found["fit, the budget, an epoch, seconds"] > 0
    assert found["fit, the budget, times run_ner, batches of 32"] > 0
    assert any(name.startswith("fit, the budget, profiled:") for name in found)


def test_the_learning_curve_is_that_of_the_rows():
    assert draw_curve.PICTURE.read_text(encoding="utf-8") == draw_curve.picture()


def test_a_part_that_fails_costs_no_other(corpus, llama, tmp_path, monkeypatch, capsys):
    def fails(bench):
        raise RuntimeError("no such kernel")

    monkeypatch.setattr(gpu_speed, "PARTS", {"nf4": fails, "eight": lambda bench: {"rate": [1.0]}})
    monkeypatch.chdir(ROOT)
    file = tmp_path / "results.json"
    words = [
        "--backbone",
        str(llama),
        "--data",
        str(corpus),
        "--record",
        str(file),
        "--parts",
        "nf4",
        "eight",
    ]
    assert gpu_speed.main(words) == 1
    assert recorded(file) == {"rate": 1.0}
    said = capsys.readouterr().out
    assert "nf4 failed: no such kernel" in said
    assert "with --parts nf4 tries again" in said


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_cache_speed(small, monkeypatch):
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("TORCHDYNAMO_DISABLE", "1")  # to compile layers takes minutes
    words, file = small
    few = ["--epochs", "3", "--rounds", "1", "--steps", "1", "--warmup", "1"]
    monkeypatch.setattr(cache_speed, "TOP_LAYERS", 1)
    assert cache_speed.main([*words, *few]) == 0
    assert recorded(file)["times as fast, filling included"] > 0
    assert recorded(file)["adapters on the top layers, times as fast"] > 0


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_service_under_load(small, llama, corpus, tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    _, file = small
    run = str(write_checkpoint(tmp_path, llama))
    few = ["--clients", "4", "--seconds", "1", "--offline_seconds", "1", "--malformed", "0.3"]
    assert serve_load.main([run, "--data", str(corpus), *few, "--record", str(file)]) == 0
    found = recorded(file)
    assert found["texts/s"] > 0
    assert found["malformed bodies"] > 0
    assert found["answers that should not be"] == 0
    assert found["p50, ms"] <= found["p95, ms"] <= found["p99, ms"]
    assert "| p99, ms |" in results.TABLES["service"](read_rows(file))
    assert serve_load.main([run, run, "--data", str(corpus), *few, "--record", str(file)]) == 0
    found = recorded(file)
    assert found["times the rate of one tagger"] == pytest.approx(
        found["characters/s"] / found["one tagger, characters/s"]
    )
    assert "times the rate of one tagger" in results.TABLES["taggers_under_load"](read_rows(file))


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_startup(small, llama, tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    words, file = small
    run = write_checkpoint(tmp_path, llama)
    assert startup.main([*words, "--rounds", "1", "--predict", f"a run={run}"]) == 0
    assert recorded(file)["fit: command to first training step, seconds"] > 0
    assert recorded(file)["predict --text, a run, seconds"] > 0


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_what_comes_out_of_a_run(small, llama, corpus, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words, file = small
    model = [
        "--model.backbone",
        str(llama),
        "--model.optimizer.lr",
        "0.01",
        "--model.optimizer.head_lr",
        "0.03",
    ]
    data = ["--data.dataset", str(corpus), "--data.batches.size", "4", "--data.encoding.context", "60"]
    assert main(["fit", *model, *data, "--trainer.max_epochs", "20", "--trainer.accelerator", "cpu"]) == 0
    run, few = "runs/run/1", ["--onnx_sentences", "4"]
    assert take_home.main([run, *few, *words[2:]]) == 0
    found = recorded(file)
    assert found["entities that the run wrote"] > 0
    assert {name: value for name, value in found.items() if "one side" in name} == {
        "merged: entities on one side only": 0,
        "merged, float32: entities on one side only": 0,
        "adapter: entities on one side only": 0,
    }
    assert [value for name, value in found.items() if name.startswith("onnx: tags")] == [0]
    assert found["temperature"] > 0
    assert "| temperature |" in results.TABLES["calibration"](read_rows(file))


def test_partial_annotation_removes_entities_whole():
    sentences = read_sentences(partial_annotation.SAMPLE_FOLDER / "train.conll")
    kept = partial_annotation.thinned(sentences, 0.5, seed=1)
    before = [span for at, s in enumerate(sentences) for span in [(at, each) for each in spans(s.tags)]]
    after = {(at, span) for at, tags in enumerate(kept) for span in spans(tags)}
    assert after < set(before)
    assert len(after) == len(before) - round(len(before) / 2)
    assert partial_annotation.thinned(sentences, 0.5, seed=1) == kept
    assert partial_annotation.thinned(sentences, 0.5, seed=2) != kept


def tiny_options(llama, *more):
    """Options of `cells` with which a training takes seconds."""
    small = ["data.limits.train=12", "data.limits.valid=8", "trainer.precision=32-true"]
    small += ["trainer.accelerator=cpu", f"model.backbone={llama}", *more]
    recipe = ["--config", str(ROOT / "configs/quickstart.yaml")]
    return [*recipe, *(f"--option={option}" for option in small)]


@pytest.mark.slow
def test_partial_annotation_measures_each_cell_once(llama, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "results.json"
    words = ["--seeds", "1", "--record", str(file), *tiny_options(llama, "trainer.max_epochs=1")]
    assert partial_annotation.main([*words, "--arms", "missed"]) == 0
    rows = read_rows(file)
    assert {(row["split"], row["metric"]) for row in rows} >= {("valid", "f1"), ("test", "f1")}
    assert {row["config"] for row in rows} == {"partial annotation quickstart"}
    assert rows[0]["overrides"][:2] == ["0.5 removed", "missed"]
    run = json.loads((tmp_path / "runs/partial_annotation_0.5_removed_missed/1/run.json").read_text())
    assert "--model.loss.missed=0.5" in run["command"]
    assert "--data.files.unannotated=unknown" in run["command"]
    assert partial_annotation.main([*words, "--arms", "missed", "complete"]) == 0
    assert "missed, seed 1: measured already" in capsys.readouterr().out
    assert len(read_rows(file)) == 2 * len(rows)


@pytest.mark.parametrize("lever", levers.LEVERS)
def test_a_lever_trains(llama, tmp_path, monkeypatch, lever):
    monkeypatch.chdir(tmp_path)
    for changed, name, _ in levers.LEVERS[lever]:
        monkeypatch.setattr(changed, name, getattr(changed, name))  # put back after the test
    file = tmp_path / "results.json"
    words = ["--lever", lever, "--seeds", "1", "--valid_only", "--record", str(file)]
    assert levers.main([*words, *tiny_options(llama, "trainer.max_epochs=2")]) == 0
    rows = read_rows(file)
    assert {row["overrides"][0] for row in rows} == {lever}
    assert {(row["split"], row["metric"]) for row in rows} >= {("valid", "f1")}


def test_bioes_tags_inside_are_those_of_the_bio2_tags_outside():
    rows = ["O B-A I-A B-A O", "B-A I-A I-A B-B B-B"]
    labels = LabelSet(("A", "B"))
    tags = torch.tensor([labels.encode(row.split()) for row in rows])
    mask = torch.tensor([[True] * 5, [True, True, True, True, False]])
    inside = levers.bioes_ids(tags, mask)
    names = ["O", *(f"{letter}-{kind}" for kind in "AB" for letter in "BIES")]
    assert [names[i] for i in inside[0]] == ["O", "B-A", "E-A", "S-A", "O"]
    assert [names[i] for i in inside[1]] == ["B-A", "I-A", "E-A", "S-B", "O"]
    assert torch.equal(levers.bio2_ids(inside), torch.where(mask, tags, 0))
    crf = levers.BIOESDecoder(labels).crf
    for before, first in enumerate(names):
        for after, second in enumerate(names):
            goes_on = second[0] in "IE"
            legal = goes_on == (first[0] in "BI") and (not goes_on or first[1:] == second[1:])
            assert bool(crf.legal_transitions[before, after]) == legal, (first, second)
    assert [names[i] for i in crf.legal_ends.nonzero().flatten()] == ["O", "E-A", "S-A", "E-B", "S-B"]


@pytest.mark.slow
def test_annotation_rounds_add_texts_to_those_of_the_round_before(llama, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "results.json"
    words = ["--seeds", "1", "--texts", "8", "--rounds", "3", "--steps", "2", "--record", str(file)]
    words += tiny_options(llama)
    assert annotation_rounds.main(words) == 0
    cells = {tuple(row["overrides"][:2]) for row in read_rows(file)}
    later = {(arm, f"{count} texts") for arm in annotation_rounds.ARMS for count in (16, 24)}
    assert cells == {("first", "8 texts"), *later}
    for arm in annotation_rounds.ARMS:
        kept = set()
        for name, count in (("first_8", 8), (f"{arm}_16", 16), (f"{arm}_24", 24)):
            sentences = read_sentences(f"runs/annotation_rounds/{name}_seed_1.conll")
            assert len(sentences) == count
            assert kept <= {sentence.words for sentence in sentences}
            kept = {sentence.words for sentence in sentences}
    capsys.readouterr()
    assert annotation_rounds.main(words) == 0
    assert capsys.readouterr().out.count("measured already") == 5


@pytest.fixture
def made(tmp_path, monkeypatch):
    """Writes what a finished run of a name leaves, beside the earlier ones; returns its folder."""
    monkeypatch.chdir(tmp_path)

    def make(name, command=(), **about):
        folder = Path("runs", name, str(1 + len(list(Path("runs", name).glob("*")))))
        folder.mkdir(parents=True)
        about |= {"finished": "now", "command": ["ner-lightning", "fit", *command]}
        (folder / "run.json").write_text(json.dumps(about), encoding="utf-8")
        return folder

    return make


def test_members_are_of_the_seeds_the_recipe_and_the_options(made, monkeypatch):
    def member(seed, *options):
        words = ["--config=a.yaml", *options, "--name=distillation_member", f"--seed_everything={seed}"]
        return made("distillation_member", words)

    def measured(*names):
        return [row(config="distillation a", overrides=["member", *names], seed=seed) for seed in (1, 2)]

    first, other = member(1), member(1, "--x=1")
    second = member(2)
    member(3)
    third = member(1)  # again
    add_rows([*measured(), *measured("x=1")], Path("r.json"))
    used = []
    monkeypatch.setattr(distillation, "together", lambda members, *flags, **_: used.append((members, flags)))
    monkeypatch.setattr(distillation.Cells, "measure", lambda self, names, seed, make: make({}))
    words = ["--config", "a.yaml", "--record", "r.json", "--seeds"]
    assert distillation.main([*words, "1", "2", "--arms", "ensemble", "soup"]) == 0
    assert used == [([third, second], ("--soup",)), ([third, second], ())]
    with pytest.raises(SystemExit, match="no finished member of seed 2"):
        distillation.main([*words, "1", "2", "--arms", "soup", "--option", "x=1"])
    used.clear()
    assert distillation.main([*words, "1", "--arms", "soup", "--option", "x=1"]) == 0
    assert used == [([other], ("--soup",))]
    # The teacher is the ensemble of these members, not the latest.
    right = made("distillation_ensemble", members=[{"run": str(third)}, {"run": str(second)}])
    made("distillation_ensemble", members=[{"run": str(first)}, {"run": str(second)}])
    taught = []
    monkeypatch.setattr(distillation, "distill", lambda teacher, *_, **__: taught.append(teacher))
    assert distillation.main([*words, "1", "2", "--arms", "students"]) == 0
    assert taught == [right, right]


def test_the_label_of_an_audit_follows_its_options(tmp_path, monkeypatch):
    def audit(command, check):
        folder = Path(command[command.index("--output") + 1])
        folder.mkdir(exist_ok=True)
        (folder / "audit.jsonl").write_text('{"index": 0}\n', encoding="utf-8")

    monkeypatch.setattr(audit_sample, "subprocess", SimpleNamespace(run=audit))
    file = tmp_path / "results.json"
    words = ["--folder", str(tmp_path / "a"), "--record", str(file)]
    assert audit_sample.main([*words, "--folds", "3", "--option=--model.backbone=b"]) == 0
    expected = "configs/quickstart.yaml --model.backbone=b, 3 folds, 5% of the sample's entities corrupted"
    assert {row["config"] for row in read_rows(file)} == {expected}
    assert "minutes" in {row["metric"] for row in read_rows(file)}
    file.unlink()
    assert audit_sample.main([*words, "--seed", "2"]) == 0  # resumed, so that the time is that of a part
    assert {row["config"].partition(", ")[2] for row in read_rows(file)} == {
        "5 folds, 5% of the sample's entities corrupted by seed 2"
    }
    assert "minutes" not in {row["metric"] for row in read_rows(file)}


@pytest.mark.parametrize(
    ("words", "found"), [([], []), (["--backbone=b", "--rounds", "1", "--tiny"], ["--backbone b", "--tiny"])]
)
def test_a_row_names_the_model_that_was_measured_instead(tmp_path, words, found):
    file = tmp_path / "r.json"
    measure.report({"words/s": [1.0]}, kind="k", script="s.py", words=words, record=file)
    assert [row["overrides"] for row in read_rows(file)] == [found]


@pytest.mark.slow
def test_the_memory_estimate_runs_small(tmp_path, capsys):
    file = tmp_path / "results.json"
    assert (
        memory_estimate.main(["--table", "--tiny", "--rows", "2", "--length", "16", "--record", str(file)])
        == 0
    )
    rows = read_rows(file)
    assert {row["metric"].partition(": ")[2] for row in rows} == {
        f"{setting}, GiB" for setting in memory_estimate.SETTINGS
    }
    table = results.memory_by_backbone(rows)
    assert table.startswith("| GiB | full, bf16-mixed | LoRA, ")
    assert table.count("SmolLM2-135M") == 1
    assert results.memory_by_backbone([]) == "Not computed yet.\n"


def test_a_table_of_measurements_has_a_column_for_each_machine():
    def row(metric, value, rounds, machine="one, 2 cores"):
        spread = f"{min(rounds):.2f} to {max(rounds):.2f}"
        return {"split": "s", "metric": metric, "value": value, "rounds": rounds, "spread": spread} | {
            "machine": machine
        }

    rows = [
        row("seconds", 2.0, [1.5, 2.0, 2.5]),
        row("requests", 1204.0, [1204.0]),
        row("seconds", 1.0, [1.0], "other, 2 cores"),
        {**row("seconds", 9.0, [9.0]), "split": "of another program"},
    ]
    assert results.bench("s")(rows) == (
        "| median (least to most) | one, 2 cores | other, 2 cores |\n"
        "| --- | --- | --- |\n"
        "| seconds | 2.00 (1.50 to 2.50) | 1.00 |\n"
        "| requests | 1,204 | - |\n"
    )
    assert "| measured | one, 2 cores |\n" in results.bench("s")(rows[1:2])
    assert "| median (least to most) | one, 2 cores, 3 rounds |\n" in results.bench("s")(rows[:1])
    assert results.bench("none")(rows) == "Not measured yet.\n"
