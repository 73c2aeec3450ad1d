"""The W&B workspace and report, as they would be sent; nothing here uses a network."""

import json
import socket
import sys

import pytest
import yaml

from ner_lightning.analysis.experiment import find_experiment
from ner_lightning.commands.main import main
from ner_lightning.training.loggers.wandb_workspace import seeds_text, specification, workspace

SECTIONS = ["Quality", "By type", "Errors", "Optimisation", "Speed"]


@pytest.fixture(autouse=True)
def _without_network(monkeypatch, tmp_path):
    def refuse(*_, **__):
        raise AssertionError("the network was used")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)


def finished_run(folder, seed, valid, test=None, *, attention="causal", **about):
    """The files of a finished run with these scores."""
    folder.mkdir(parents=True)
    model = {"backbone": "b", "attention": attention}
    config = {"seed_everything": seed, "model": model, "data": {"seed": seed}, "trainer": {}}
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    (folder / "run.json").write_text(json.dumps({"seed": seed, **about}))
    (folder / "metrics.json").write_text(json.dumps({"val/f1": valid} | ({"test/f1": test} if test else {})))
    line = {"sentence": 0, "document": 0, "words": ["Zanzibar"], "gold": ["B-LOC"], "predicted": ["O"]}
    (folder / "predictions.valid.jsonl").write_text(json.dumps(line) + "\n")
    return str(folder)


def without_ids(value):
    """A specification without the names that W&B's package draws at random."""
    if isinstance(value, dict):
        return {key: without_ids(one) for key, one in value.items() if key not in ("__id__", "id")}
    return [without_ids(one) for one in value] if isinstance(value, list) else value


def panels(section):
    """What each panel of a section shows, in a line."""
    for panel in section["panels"]:
        config, kind = panel["config"], panel["viewType"]
        if kind == "Vega2":
            (query,) = config["userQuery"]["queryFields"]
            shown = query["fields"][0]["args"][0]["value"]
        elif kind == "Weave":
            shown = next(name for name in TABLES if json.dumps(name) in json.dumps(config))
        else:
            shown = config.get("metricRegex") or config.get("metrics") or config.get("mediaKeys")
        yield f"{kind}: {', '.join([shown] if isinstance(shown, str) else shown)}"


TABLES = ("test/by_type", "analysis/errors", "analysis/predictions", "test/errors")
EXPECTED = {
    "Quality": [
        "Run History Line Plot: val/f1",
        "Run History Line Plot: val/precision, val/recall",
        "Run History Line Plot: val/loss",
        "Bar Chart: best/f1",
        "Bar Chart: test/f1",
    ],
    "By type": [
        "Run History Line Plot: ^val/f1/",
        "Run History Line Plot: ^val/precision/",
        "Run History Line Plot: ^val/recall/",
        "Vega2: analysis/by_type_table",
        "Weave: test/by_type",
    ],
    "Errors": [
        "Vega2: analysis/confusion_table",
        "Vega2: analysis/calibration_table",
        "Weave: analysis/errors",
        "Weave: analysis/predictions",
        "Weave: test/errors",
    ],
    "Optimisation": [
        "Run History Line Plot: train/loss, train/ce, train/crf, train/ls",
        "Run History Line Plot: ^lr/",
        "Run History Line Plot: train/grad_norm",
        "Media Browser: analysis/transitions",
    ],
    "Speed": [
        "Run History Line Plot: train/words_per_second",
        "Run History Line Plot: train/subtokens_per_second",
        "Run History Line Plot: train/padding",
        "Run History Line Plot: train/peak_memory_gib",
    ],
}


def test_the_workspace_has_its_sections_with_runs_grouped_by_recipe(tmp_path, capsys):
    assert main(["dashboard", "team/ner", "--json", "workspace.json"]) == 0
    written = json.loads((tmp_path / "workspace.json").read_text())
    assert list(written) == ["workspace"]
    made = written["workspace"]
    assert (made["entity"], made["project"], made["displayName"]) == ("team", "ner", "ner-lightning")
    section = made["spec"]["section"]
    shown = {one["name"]: list(panels(one)) for one in section["panelBankConfig"]["sections"]}
    assert shown == EXPECTED
    (runs,) = section["runSets"]
    assert runs["grouping"] == [{"section": "run", "name": "group"}]
    assert runs["sort"]["keys"][0]["key"] == {"section": "summary", "name": "best/f1"}
    assert "summary:test/f1" in runs["runFeed"]["columnPinned"]
    assert without_ids(specification(workspace("team", "ner"))) == without_ids(made)


def test_a_file_of_others_is_not_replaced(tmp_path, capsys):
    for _ in range(2):  # its own file is
        assert main(["dashboard", "team/ner", "--json", "workspace.json"]) == 0
    (tmp_path / "workspace.json").write_text('{"mine": 1}')
    assert main(["dashboard", "team/ner", "--json", "workspace.json"]) == 2
    assert "--json workspace.json exists and was not written by this command" in capsys.readouterr().err
    assert (tmp_path / "workspace.json").read_text() == '{"mine": 1}'


def test_the_report_says_what_seeds_differ_by_and_no_text_of_the_data(tmp_path, capsys):
    runs = [
        finished_run(tmp_path / "runs/crf/1", 1, 0.90, 0.80),
        finished_run(tmp_path / "runs/crf/2", 2, 0.92, 0.84),
    ]
    assert main(["dashboard", "team/ner", "--report", *runs, "--json", "-"]) == 0
    printed = capsys.readouterr().out
    report = json.loads(printed)["report"]
    (text,) = [block["content"] for block in report["spec"]["blocks"] if block["type"] == "markdown-block"]
    assert "| crf | 1, 2 | 0.9100 ± 0.0141 | 0.8200 ± 0.0283 |" in text
    assert "Zanzibar" not in printed
    (grid,) = [block for block in report["spec"]["blocks"] if block["type"] == "panel-grid"]
    assert grid["metadata"]["runSets"][0]["grouping"] == [{"section": "run", "name": "group"}]


def test_recipes_of_one_name_and_ensembles_are_told_apart(tmp_path):
    members = [{"seed": 1, "run": "run/1"}, {"seed": 2, "run": "run/2"}]
    runs = [
        finished_run(tmp_path / "runs/run/1", 1, 0.90, 0.80),
        finished_run(tmp_path / "runs/run/2", 2, 0.92, 0.84, attention="bidirectional"),
        finished_run(tmp_path / "runs/both/1", 1, 0.93, 0.85, attention="mixed", members=members),
    ]
    text = seeds_text([find_experiment(run, tmp_path) for run in runs])
    assert "| 1: run | 1 | 0.9000 (one run) |" in text
    assert "| 2: run | 2 | 0.9200 (one run) |" in text
    assert "| 3: both | ensemble of seeds 1, 2 | 0.9300 (one run) |" in text
    assert "| setting | 1: run | 2: run | 3: both |" in text
    assert "| model.attention | causal | bidirectional | mixed |" in text


def test_without_a_key_it_says_what_to_do(capsys):
    assert main(["dashboard", "team/ner"]) == 2
    assert "W&B has no key: `wandb login`" in capsys.readouterr().err


def test_in_a_mode_that_sends_nothing_the_mode_is_named(capsys, monkeypatch):
    monkeypatch.setenv("WANDB_API_KEY", "a" * 40)
    monkeypatch.setenv("WANDB_MODE", "offline")
    assert main(["dashboard", "team/ner"]) == 2
    assert "WANDB_MODE is offline, so nothing is sent" in capsys.readouterr().err


def test_a_malformed_key_is_no_bug(capsys, monkeypatch):
    monkeypatch.setenv("WANDB_API_KEY", "short")
    assert main(["dashboard", "team/ner"]) == 2
    assert "W&B does not take the key" in capsys.readouterr().err


def test_a_project_has_an_owner(capsys):
    assert main(["dashboard", "ner"]) == 2
    assert "'ner' is not ENTITY/PROJECT" in capsys.readouterr().err


def test_a_run_that_is_not_there(capsys):
    assert main(["dashboard", "team/ner", "--report", "runs/none/1"]) == 2
    assert "there is no run folder or prediction file runs/none/1" in capsys.readouterr().err


def test_without_the_extra_it_names_it(capsys, monkeypatch):
    monkeypatch.delitem(sys.modules, "ner_lightning.training.loggers.wandb_workspace")
    monkeypatch.setitem(sys.modules, "wandb_workspaces.workspaces", None)
    assert main(["dashboard", "team/ner"]) == 2
    assert "pip install 'ner-lightning[dashboard]'" in capsys.readouterr().err
