"""The ladder: cells are run, continued, recorded and put into one table; a failing one stops nothing."""

import contextlib
import json
import os
import shutil
import signal
import sys
from dataclasses import replace
from pathlib import Path
from unittest import mock

import pytest
import yaml

from ner_lightning.analysis.render.learning_curve import learning_curve
from ner_lightning.analysis.render.style import svg
from ner_lightning.commands.ladder_runs import ladder_training
from ner_lightning.commands.main import main
from ner_lightning.commands.options.consent import FLAG
from ner_lightning.data.positions import DEFAULT
from ner_lightning.errors import UserError
from ner_lightning.runs import ladder_cells
from ner_lightning.runs.folder import Run
from ner_lightning.runs.ladder_cells import find_run, is_done
from ner_lightning.runs.ladder_file import read_ladder
from ner_lightning.runs.ladder_table import curve_points, ladder_table, table
from ner_lightning.runs.results import FIELDS, read_rows
from ner_lightning.system.digests import digest_of
from ner_lightning.system.locks import locked, only_writer
from ner_lightning.training.module import NERModule

SHIPPED = sorted(f for f in Path(__file__).parents[2].glob("benchmarks/ladders/*.yaml") if f.stem != "start")


@pytest.fixture
def file(llama, corpus, tmp_path, monkeypatch):
    """A ladder of three rungs; the last one cannot work."""
    monkeypatch.chdir(tmp_path)
    recipe = {
        "trainer": {"accelerator": "cpu", "max_epochs": 1, "precision": "32-true"},
        "model": {"backbone": str(llama), "lora": {"rank": 2}},
        "data": {"dataset": str(corpus), "limits": {"train": 4, "valid": 2}},
    }
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    content = {
        "configs": ["recipe.yaml"],
        "settings": {"model.runtime.compile": False},
        "seeds": [1],
        "rungs": {
            "base": {"note": "as it is", "seeds": [1, 2]},
            "softmax": {"configs": ["configs/with/softmax.yaml"]},
            "broken": {"settings": {"model.lora.targets": ["no_such_layer"]}},
        },
    }
    path = tmp_path / "small.yaml"
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return path


@pytest.fixture
def one_process(monkeypatch):
    """Cells run in this process, because each of their own would import everything again."""

    def run_logged(command, log, environment, held):
        assert command[:3] == [sys.executable, "-m", "ner_lightning"]
        with (
            mock.patch.dict(os.environ, environment),
            log.open("a") as file,
            contextlib.redirect_stdout(file),
            contextlib.redirect_stderr(file),
        ):
            return main(command[3:])

    monkeypatch.setattr(ladder_training, "_run_logged", run_logged)


@pytest.mark.slow
def test_a_ladder_runs_all_cells_and_survives_one_that_fails(file, one_process, tmp_path, capsys):
    assert main(["ladder", str(file)]) == 2
    out, err = capsys.readouterr()
    assert "1 of 4 cells failed: broken-seed1" in err
    root = tmp_path / "runs/small"
    assert "no layer is named" in (root / "broken-seed1.log").read_text()
    rows = read_rows(root / "results.json")
    assert sorted((row["rung"], row["seed"]) for row in rows) == [("base", 1), ("base", 2), ("softmax", 1)]
    for row in rows:
        assert set(FIELDS) <= set(row)
        assert row["minutes"] > 0
        assert row["data"].endswith("[:2]")
        noted = json.loads((root / f"{row['rung']}-seed{row['seed']}/1/metrics.json").read_text())
        assert row["value"] == pytest.approx(noted["val/f1"], abs=1e-6)
    page = (root / "ladder.md").read_text()
    assert page.count("\n| base | ") == page.count("\n| softmax | ") == 1
    assert page in out
    assert "as it is" in page
    sweep = yaml.safe_load((root / "sweep.yaml").read_text())
    assert sweep["parameters"]["cell"]["values"] == [
        "base-seed1",
        "base-seed2",
        "softmax-seed1",
        "broken-seed1",
    ]

    # Again: what is done is not done twice, and one cell can be asked for alone.
    before = {run: run.stat().st_mtime_ns for run in root.glob("*/1/metrics.csv")}
    assert main(["ladder", str(file), "--cell", "base-seed1", "--cell=softmax-seed1"]) == 0
    assert "done before" in capsys.readouterr().out
    assert {run: run.stat().st_mtime_ns for run in root.glob("*/1/metrics.csv")} == before
    assert main(["ladder", str(file), "--list"]) == 0
    assert capsys.readouterr().out.split() == [
        *("done", "base-seed1", "done", "base-seed2", "done", "softmax-seed1", "to", "do", "broken-seed1")
    ]

    # A cell whose settings were changed in the file is another run.
    content = yaml.safe_load(file.read_text())
    content["rungs"]["base"]["settings"] = {"model.optimizer.lr": 1e-3}
    file.write_text(yaml.safe_dump(content, sort_keys=False))
    ladder = read_ladder(file)
    assert find_run(ladder, ladder.cells[0], root) is None


@pytest.mark.slow
def test_a_cell_that_was_stopped_is_continued_in_its_own_folder(file, tmp_path, monkeypatch, capsys):
    root = tmp_path / "runs/small"
    ladder = read_ladder(file)
    cell = ladder.cells[0]
    monkeypatch.setenv(ladder_cells.RECIPE_VARIABLE, ladder_cells.recipe_digest(ladder, cell))
    assert main(cell.command(root.relative_to(tmp_path))) == 0
    run = Run(root / cell.name / "1")
    assert is_done(run)
    about = run.read("run.json")
    finished = about.pop("finished")  # as if it had been stopped after its last epoch
    run.write("run.json", about | {"minutes": 100.0})
    assert not is_done(run)
    capsys.readouterr()
    assert main(["ladder", str(file), "--cell", cell.name]) == 0  # in a process of its own
    out = capsys.readouterr().out
    assert "done before" not in out
    log = (root / f"{cell.name}.log").read_text()
    assert "".join(f"    {line}" for line in log.splitlines(keepends=True)) in out
    assert [item.name for item in (root / cell.name).iterdir()] == ["1"]
    assert is_done(run)
    about = run.read("run.json")
    assert about["finished"] >= finished
    assert about["continued"] == [["ner-lightning", "fit", "--run", str(run.path.relative_to(tmp_path))]]
    assert about["minutes"] > 100  # those of the part before count


def test_a_recipe_that_changed_is_run_again_and_counts_once(file, one_process, tmp_path, capsys):
    content = yaml.safe_load(file.read_text())
    for folder in ("one", "two"):  # of the same name
        Path(folder).mkdir()
        Path(folder, "rate.yaml").write_text("model: {optimizer: {lr: 0.01}}\n", encoding="utf-8")
    content["rungs"] = {name: {"configs": [f"{name}/rate.yaml"]} for name in ("one", "two")}
    file.write_text(yaml.safe_dump(content, sort_keys=False))
    root = tmp_path / "runs/small"
    assert main(["ladder", str(file)]) == 0
    page = (root / "ladder.md").read_text()
    assert page.count("\n| one | ") == page.count("\n| two | ") == 1
    Path("one/rate.yaml").write_text("model: {optimizer: {lr: 0.02}}\n", encoding="utf-8")
    capsys.readouterr()
    assert main(["ladder", str(file), "--list"]) == 0
    assert capsys.readouterr().out.split() == ["to", "do", "one-seed1", "done", "two-seed1"]
    assert main(["ladder", str(file)]) == 0
    assert capsys.readouterr().out.count("was not made by a ladder: it is run again") == 1
    assert sorted(item.parent.name for item in root.glob("one-seed1/*/metrics.json")) == ["1", "2"]
    assert [row["rung"] for row in read_rows(root / "results.json")] == ["one", "two"]
    assert (root / "ladder.md").read_text().count("\n| one | ") == 1


class Killed(BaseException):
    """A ladder that is killed notes nothing more."""


@pytest.mark.parametrize("edited", [False, True])
def test_what_a_killed_ladder_began_is_of_the_recipe_that_it_had(
    file, one_process, monkeypatch, capsys, edited
):
    words = ["ladder", str(file), "--cell", "base-seed1"]
    run = Run(Path("runs/small/base-seed1/1"))
    in_process = ladder_training._run_logged

    def killed(*args):
        in_process(*args)
        about = run.read("run.json")
        about.pop("finished")
        run.write("run.json", about)
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(ladder_training, "_run_logged", killed)
        with pytest.raises(Killed):
            main(words)
    if edited:
        recipe = yaml.safe_load(Path("recipe.yaml").read_text())
        recipe["model"]["optimizer"] = {"lr": 0.25}
        Path("recipe.yaml").write_text(yaml.safe_dump(recipe))
    capsys.readouterr()
    assert main(words) == 0
    again = "was not made by a ladder: it is run again"
    assert (again in capsys.readouterr().out) == edited
    (done,) = (item for item in map(Run, run.path.parent.iterdir()) if is_done(item))
    assert done.path.name == ("2" if edited else "1")
    # The minutes of a part that was killed are not known, so that all of them are not.
    assert (done.read("run.json")["minutes"] is None) == (not edited)
    used = yaml.safe_load((done.path / "config.yaml").read_text())["model"]["optimizer"]["lr"]
    assert (used == 0.25) == edited


def test_a_run_that_no_ladder_made_is_none_of_its_cells(file, tmp_path, capsys):
    root = tmp_path / "runs/small"
    cell = read_ladder(file).cells[0]
    assert main(cell.command(root.relative_to(tmp_path))) == 0
    capsys.readouterr()
    assert main(["ladder", str(file), "--list", "--cell", cell.name]) == 0
    assert capsys.readouterr().out.split() == ["to", "do", cell.name]


def test_a_comment_in_a_recipe_changes_no_cell(file, one_process, capsys):
    assert main(["ladder", str(file), "--cell", "base-seed1"]) == 0
    with Path("recipe.yaml").open("a") as more:
        more.write("# what it is for\n")
    capsys.readouterr()
    assert main(["ladder", str(file), "--cell", "base-seed1", "--list"]) == 0
    assert capsys.readouterr().out.startswith("done")


def test_a_recipe_that_changes_during_its_training_gives_no_result(file, one_process, monkeypatch, capsys):
    in_process = ladder_training._run_logged

    def edited(*args):
        code = in_process(*args)
        with Path("recipe.yaml").open("a") as more:
            more.write("seed_everything: 3\n")
        return code

    monkeypatch.setattr(ladder_training, "_run_logged", edited)
    assert main(["ladder", str(file), "--cell", "base-seed1"]) == 2
    assert "have changed meanwhile, so its result is not recorded" in capsys.readouterr().out
    assert not Path("runs/small/results.json").exists()


def test_a_cell_is_of_the_files_that_its_settings_name(file, tmp_path):
    content = yaml.safe_load(file.read_text())
    Path("base.yaml").write_text("data: {files: {tag_names: names.txt}}\n", encoding="utf-8")
    content["rungs"] = {
        "weighted": {"settings": {"data.supervision.sentence_weights": "w.jsonl"}},
        "named": {"configs": ["base.yaml"]},
    }
    file.write_text(yaml.safe_dump(content, sort_keys=False))
    found = read_ladder(file)
    digests = []
    for text in ("one", "two"):
        for name in ("w.jsonl", "names.txt"):
            Path(name).write_text(text, encoding="utf-8")
        digests.append([ladder_cells.recipe_digest(found, cell) for cell in found.cells])
    assert all(one != two for one, two in zip(*digests, strict=True))


@pytest.mark.parametrize("changed", ["train.txt", pytest.param("valid.txt", marks=pytest.mark.slow)])
def test_a_cell_whose_data_changed_is_run_again_and_counts_once(
    file, corpus, one_process, tmp_path, capsys, changed
):
    data = tmp_path / "data"
    shutil.copytree(corpus, data)
    content = yaml.safe_load(file.read_text())
    content["settings"] |= {"data.dataset": "data", "data.limits.train": 4}
    content["rungs"] = {"base": {"seeds": [1, 2]}}
    file.write_text(yaml.safe_dump(content, sort_keys=False))
    assert main(["ladder", str(file), "--cell", "base-seed1"]) == 0
    with (data / changed).open("a") as more:
        more.write("\nOslo B-LOC\nwon O\n")
    capsys.readouterr()
    assert main(["ladder", str(file), "--list"]) == 0
    assert capsys.readouterr().out.split() == ["to", "do", "base-seed1", "to", "do", "base-seed2"]
    page = tmp_path / "runs/small/ladder.md"
    assert main(["ladder", str(file), "--cell", "base-seed2"]) == 0
    assert (
        "not in the table, as runs of other recipes or data, or of no ladder: base-seed1\n"
        in capsys.readouterr().out
    )
    assert page.read_text().split("| base | ")[1].split(" | ")[2] == "1", "a mean of one seed"
    assert main(["ladder", str(file)]) == 0
    assert capsys.readouterr().out.count("was not made by a ladder: it is run again") == 1
    assert page.read_text().split("| base | ")[1].split(" | ")[2] == "2"
    rows = read_rows(tmp_path / "runs/small/results.json")
    assert sorted(row["seed"] for row in rows) == [1, 2]
    assert len({row["data"] for row in rows}) == 1
    assert main(["ladder", str(file)]) == 0
    assert capsys.readouterr().out.count("done before") == 2


def test_shards_of_a_run_count_as_its_data(tmp_path):
    for number in range(2):
        (tmp_path / f"train-0000{number}-of-00002.txt").write_text("Oslo B-LOC\n")
    shards = tmp_path / "train-*-of-00002.txt"
    about = {"data": {"train": {"origin": str(shards), "fingerprint": f"sha256:{digest_of(shards)}"}}}
    (tmp_path / "run.json").write_text(json.dumps(about))
    assert not ladder_cells.data_changed(Run(tmp_path))
    (tmp_path / "train-00001-of-00002.txt").write_text("Oslo B-PER\n")
    assert ladder_cells.data_changed(Run(tmp_path))


def test_consent_is_no_part_of_a_cell(file, one_process, tmp_path, capsys):
    words = ["ladder", str(file), "--cell", "base-seed1"]
    assert main([*words, "--trust_remote_code"]) == 0
    assert "--trust_remote_code" in Run(tmp_path / "runs/small/base-seed1/1").read("run.json")["command"]
    assert len(read_rows(tmp_path / "runs/small/results.json")) == 1
    capsys.readouterr()
    for more in ([], ["--trust_remote_code"]):
        assert main([*words, *more]) == 0
        assert "done before" in capsys.readouterr().out
    assert ladder_cells.CONSENT == FLAG


def test_a_seed_counts_once(file, capsys):
    content = yaml.safe_load(file.read_text())
    content["rungs"]["base"]["seeds"] = [1, 2, 1]
    file.write_text(yaml.safe_dump(content, sort_keys=False))
    assert main(["ladder", str(file)]) == 2
    assert "a seed is named twice in [1, 2, 1]" in capsys.readouterr().err


def test_runs_that_cannot_be_made_are_a_mistake(file, tmp_path, capsys):
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs/small").write_text("a file")
    assert main(["ladder", str(file)]) == 2
    assert "--runs runs/small: file exists" in capsys.readouterr().err


def test_what_a_cell_prints_goes_on_and_into_its_log(tmp_path, capfd):
    log = tmp_path / "cell.log"
    script = "import sys; print('one'); print('two', file=sys.stderr, flush=True); sys.exit(3)"
    for count in (1, 2):
        with (tmp_path / "held").open("wb") as held:
            assert ladder_training._run_logged([sys.executable, "-u", "-c", script], log, {}, held) == 3
        assert log.read_text() == "one\ntwo\n" * count
        assert capfd.readouterr() == ("    one\n    two\n", "")


def test_a_cell_is_locked_as_long_as_its_training_runs(tmp_path):
    script = "import os, sys; os.fstat(int(sys.argv[1])); sys.exit(os.environ['MORE'] != 'yes')"
    with (tmp_path / "held").open("wb") as held:
        command = [sys.executable, "-c", script, str(held.fileno())]
        assert ladder_training._run_logged(command, tmp_path / "log", {"MORE": "yes"}, held) == 0


def test_a_cell_that_another_ladder_runs_is_left_to_it(taught, one_process, capsys):
    content = yaml.safe_load(taught.read_text())
    del content["rungs"]["alone-8"]
    taught.write_text(yaml.safe_dump(content, sort_keys=False))
    root = Path("runs/small")
    root.mkdir(parents=True)
    with locked(root / ".alone-4-seed2.lock", "taken"):
        assert main(["ladder", str(taught)]) == 0
    out = capsys.readouterr().out
    assert "[2/3] alone-4-seed2\n    another ladder is running it\n" in out
    assert "[3/3] taught-4-seed1\n    its teacher lacks alone-4-seed2\n" in out
    assert "left to another ladder that is running: alone-4-seed2, taught-4-seed1\n" in out
    assert not (root / "alone-4-seed2").exists()
    assert [row["seed"] for row in read_rows(root / "results.json")] == [1]


def test_a_run_that_another_command_writes_is_not_touched(file, one_process, capsys):
    words = ["ladder", str(file), "--cell", "base-seed1"]
    assert main(words) == 0
    run = Run(Path("runs/small/base-seed1/1"))
    about = run.read("run.json")
    del about["finished"]
    run.write("run.json", about)
    with only_writer(run.path):
        assert main(words) == 2
    assert "another command is writing" in Path("runs/small/base-seed1.log").read_text()
    assert run.read("run.json") == about


ENDS = {
    "early stopping": (
        "--trainer.max_epochs=-1",
        "--trainer.callbacks+=EarlyStopping",
        "--trainer.callbacks.monitor=val/f1",
        "--trainer.callbacks.mode=max",
        "--trainer.callbacks.patience=1",
        "--trainer.callbacks.divergence_threshold=1.1",  # reached at once
    ),
    "steps": ("--trainer.max_steps=1", "--trainer.max_epochs=null"),
    "epochs": (),
}


@pytest.mark.parametrize("end", ENDS)
def test_a_cell_is_done_at_the_regular_end_of_its_run(file, end):
    words = read_ladder(file).cells[0].command(Path("runs"))
    assert (
        main([*words, *ENDS[end], "--model.optimizer.schedule=constant", "--model.optimizer.warmup=0"]) == 0
    )
    assert is_done(Run(Path("runs/base-seed1/1")))


@pytest.mark.slow
def test_a_cell_that_was_told_to_stop_is_not_done(file, monkeypatch):
    words = read_ladder(file).cells[0].command(Path("runs"))
    run = Run(Path("runs/base-seed1/1"))
    with monkeypatch.context() as patch:
        patch.setattr(NERModule, "on_train_epoch_start", lambda self: os.kill(os.getpid(), signal.SIGTERM))
        assert main([*words, "--data.batches.size", "2"]) == 143
    assert not is_done(run)
    assert main(["fit", "--run", str(run.path)]) == 0
    assert is_done(run)
    with monkeypatch.context() as patch:  # resumed for more, and stopped again
        patch.setattr(NERModule, "on_train_epoch_start", lambda self: os.kill(os.getpid(), signal.SIGTERM))
        assert main(["fit", "--run", str(run.path), "--trainer.max_epochs", "3"]) == 143
    assert not is_done(run)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("rungs: {a: {}}", "rung a: `configs` names no recipe"),
        ("configs: [x.yaml]", "`rungs` names no rung"),
        ("configs: [x.yaml]\nrung: {a: {}}", "there is no `rung`; there are configs, settings"),
        ("configs: x.yaml\nrungs: {a: {}}", "`configs` must be a list, not 'x.yaml'"),
        ("configs: [x.yaml]\nrungs: {a/b: {}}", "must be a word that can name a folder"),
        (
            "configs: [x.yaml]\nrungs: {a: {seeds: [one]}}",
            "rung a: a seed is 'one'; it must be a whole number",
        ),
        (
            "configs: [x.yaml]\nrungs: {a: {seeds: [true, 2]}}",
            "rung a: a seed is True; it must be a whole number",
        ),
        (
            "configs: [x.yaml]\nrungs: {a: {seeds: [-1]}}",
            "rung a: a seed is -1; it must be a whole number from 0",
        ),
        ("configs: [x.yaml]\nrungs: {'': {}}", "must be a word that can name a folder"),
        ("configs: [x.yaml]\nrungs: {'.': {}}", "must be a word that can name a folder"),
        ("configs: [x.yaml]\nrungs: {'..': {}}", "must be a word that can name a folder"),
        ("configs: [x.yaml]\nrungs: {'-a': {}}", "and not begin with `-`"),
        ("configs: [x.yaml]\nrungs: {a: {teacher: b}}", "`teacher` is b; it must be a rung before this one"),
        (
            "configs: [x.yaml]\nrungs: {a: {}, b: {teacher: a}}",
            "a rung before this one, with two seeds or more",
        ),
        ("configs: [x.yaml]\nrungs: {a: {text: [t.txt]}}", "`text` is for a rung with a `teacher`"),
        ("configs: [x.yaml]\ncurve: a.b\nrungs: {a: {}}", "`curve` is a.b, of which the rung has no number"),
        (
            "configs: [x.yaml]\ncurve: a\nrungs: {a: {settings: {a: true}}}",
            "`curve` is a, of which the rung has no number",
        ),
        (
            "configs: [x.yaml]\ncurve: a\nrungs: {a: {settings: {a: .nan}}}",
            "`curve` is a, of which the rung has no number",
        ),
        ("rungs: [", "not YAML"),
        (
            "configs: [x.yaml]\nrungs:\n  a: {seeds: [1]}\n  a: {seeds: [2]}",
            "l.yaml:4: rungs.a stands twice, first in line 3",
        ),
        (
            "configs: [x.yaml]\nrungs: {a: {settings: {seed_everything: 7}}}",
            "`settings` has seed_everything, which a ladder sets itself; use `seeds`",
        ),
        ("- a", "expected configs, settings, seeds, rungs"),
    ],
)
def test_a_file_that_makes_no_sense_is_refused(tmp_path, capsys, content, said):
    file = tmp_path / "l.yaml"
    file.write_text(content)
    assert main(["ladder", str(file)]) == 2
    assert said in capsys.readouterr().err
    assert main(["ladder", str(tmp_path / "none.yaml")]) == 2
    assert "cannot be read" in capsys.readouterr().err


@pytest.fixture
def taught(file):
    """A ladder with a rung that learns from another one, and a learning curve."""
    Path("text.txt").write_text("Vera Holt left Lima.\n", encoding="utf-8")
    content = yaml.safe_load(file.read_text())
    content |= {"curve": "data.limits.train", "seeds": [1, 2]}
    content["rungs"] = {
        "alone-4": {"settings": {"data.limits.train": 4}},
        "taught-4": {"settings": {"data.limits.train": 4}, "teacher": "alone-4", "text": ["text.txt"]},
        "alone-8": {"settings": {"data.limits.train": 8}},
    }
    content["rungs"]["taught-4"]["seeds"] = [1]
    file.write_text(yaml.safe_dump(content, sort_keys=False))
    return file


def test_the_points_of_a_learning_curve_are_rungs_of_one_name(taught):
    ladder = read_ladder(taught)
    scores = {"alone-4": [0.5, 0.6], "taught-4": [0.7], "alone-8": [0.8, 0.9], "gone-2": [0.1]}
    cells = {cell.rung: cell for cell in ladder.cells}
    rows = [
        {"ladder": "small", "rung": rung, "seed": seed, "value": value, "config": cell.config}
        | {"overrides": [*cell.changes, "--model.runtime.compile false"]}
        | {"command": "ner-lightning fit --config recipe.yaml"}
        for rung, values in scores.items()
        for seed, value in enumerate(values, start=1)
        for cell in [cells.get(rung, ladder.cells[0])]
    ]
    rows.append(rows[0] | {"ladder": "other", "value": 0.0})
    rows.append(
        rows[0] | {"overrides": ["--model.optimizer.lr 0.1"], "value": 0.0}
    )  # before the file changed
    points = curve_points(ladder, rows)
    assert {name: [at for at, _ in line] for name, line in points.items()} == {"alone": [4, 8], "taught": [4]}
    assert points["alone"][1][1] == pytest.approx([80, 90])
    picture = svg(learning_curve(points, "sentences"))
    assert all(text in picture for text in ("<svg", "alone", "taught", "sentences"))
    assert ladder.cells[2].command(Path("r"))[:2] == ["distill", "r/alone-4-ensemble/1"]


@pytest.mark.parametrize(("ats", "scale"), [((0, 500), "linear"), ((0.5, 2), "log"), ((-1, 1), "linear")])
def test_a_learning_curve_shows_all_of_its_points(ats, scale):
    axes = learning_curve({"text": [(at, [50.0]) for at in ats]}, "sentences").axes[0]
    assert axes.get_xscale() == scale
    left, right = axes.get_xlim()
    assert left <= min(ats) < max(ats) <= right


def test_a_rung_whose_teacher_is_not_trained_waits(taught, capsys):
    assert main(["ladder", str(taught), "--cell", "taught-4-seed1"]) == 2
    assert "its teacher lacks alone-4-seed1, alone-4-seed2" in capsys.readouterr().out


def test_an_ensemble_of_other_runs_teaches_nobody(taught, tmp_path, monkeypatch):
    own = read_ladder(taught)
    (cell,) = [each for each in own.cells if each.teacher]
    runs = {f"alone-4-seed{seed}": Run(tmp_path / f"alone-4-seed{seed}/2") for seed in (1, 2)}
    for run in runs.values():
        run.path.mkdir(parents=True)
        run.write("run.json", {"finished": "now"})
    monkeypatch.setattr(ladder_training, "find", lambda _ladder, cell, _root: runs[cell.name])
    teacher = Run(tmp_path / cell.teacher)
    teacher.path.mkdir(parents=True)
    for number, fits in (
        ("1", pytest.raises(UserError, match="is not the ensemble of")),
        ("2", contextlib.nullcontext()),
    ):
        paths = [str(run.path.with_name(number)) for run in runs.values()]
        teacher.write("run.json", {"members": [{"run": path} for path in paths]})
        with fits:
            ladder_training._put_together(own, cell, tmp_path)


def test_a_cell_that_cannot_begin_stops_no_other(taught, one_process, capsys):
    content = yaml.safe_load(taught.read_text())
    content["rungs"]["taught-4"] |= {"seeds": [1, 2]}
    taught.write_text(yaml.safe_dump(content, sort_keys=False))
    alone = [f"--cell=alone-{rung}" for rung in ("4-seed1", "4-seed2", "8-seed1", "8-seed2")]
    assert main(["ladder", str(taught), *alone]) == 0
    root = Path("runs/small")
    (root / "alone-4-seed2/1/checkpoints/best.ckpt").unlink()  # of a member
    (root / "alone-8-seed1/1/run.json").write_text("{", encoding="utf-8")
    capsys.readouterr()
    assert main(["ladder", str(taught)]) == 2
    out, err = capsys.readouterr()
    assert out.count("alone-4-seed2/1 has no checkpoint `best`") == 2
    assert "alone-8-seed1/1/run.json: not JSON" in out
    assert "3 of 6 cells failed: taught-4-seed1, taught-4-seed2, alone-8-seed1." in err
    assert "[6/6] alone-8-seed2\n    done before" in out
    page = (root / "ladder.md").read_text(encoding="utf-8")
    assert [line.split(" | ")[3] for line in page.splitlines()[2:]] == ["2", "1"]  # without the broken one


@pytest.mark.slow
def test_a_rung_learns_from_the_ensemble_of_another_one(taught, one_process, capsys):
    assert main(["ladder", str(taught), "--cell", "taught-4-seed1"]) == 2
    assert "its teacher lacks alone-4-seed1, alone-4-seed2" in capsys.readouterr().out
    assert main(["ladder", str(taught)]) == 0
    root = Path("runs/small")
    about = Run(root / "taught-4-seed1/1").read("run.json")
    assert about["command"][:3] == ["ner-lightning", "distill", "runs/small/alone-4-ensemble/1"]
    assert about["teacher"]["text_sentences"] == 1
    assert [member["seed"] for member in about["teacher"]["teacher"]["members"]] == [1, 2]
    assert len(list(root.glob("alone-4-ensemble/*"))) == 1
    rows = read_rows(root / "results.json")
    assert len(rows) == 5
    picture = (root / "ladder.svg").read_text()
    assert all(text in picture for text in ("<svg", "alone", "taught", "data.limits.train"))
    assert main(["ladder", str(taught), "--cell", "taught-4-seed1"]) == 0
    assert "done before" in capsys.readouterr().out


def test_settings_are_written_as_on_a_command_line(file):
    content = yaml.safe_load(file.read_text())
    content["settings"] = {
        "model.lora.targets": ["q", "v"],
        "model.optimizer.lr": 0.0003,
        "data.encoding.context": None,
    }
    file.write_text(yaml.safe_dump(content))
    assert read_ladder(file).cells[0].overrides == [
        *("--data.encoding.context null", "--model.lora.targets [q, v]", "--model.optimizer.lr 0.0003")
    ]


def test_the_table_has_means_and_deviations_and_differences():
    rows = [
        {"rung": r, "value": v, "minutes": m, "peak_memory_bytes": 2**30}
        for r, v, m in (("a", 0.80, 1.0), ("a", 0.82, 3.0), ("b", 0.90, None))
    ]
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table(rows, "a").splitlines()[2:]]
    assert lines[0][:7] == ["a", "81.00", "1.41", "2", "+0.00", "2.0", "1.0"]
    assert lines[1][:7] == ["b", "90.00", "-", "1", "+9.00", "-", "1.0"]


def test_nothing_is_compared_with_a_baseline_that_has_no_rows(file, tmp_path):
    ladder = read_ladder(file)
    (other,) = [cell for cell in ladder.cells if cell.rung == "softmax"]
    row = {"ladder": "small", "rung": "softmax", "seed": 1, "value": 0.5, "minutes": 1.0}
    row |= {"peak_memory_bytes": None, "overrides": other.changes, "config": other.config}
    row |= {"command": " ".join(["ner-lightning", *other.command(tmp_path)])}
    for known in (ladder, replace(ladder, cells=(other,))):  # the first rung is to do, or stale
        assert "| softmax | 50.00 | - | 1 | - | 1.0 |" in ladder_table(known, [row])


def test_a_cell_whose_backbone_changed_is_to_do_again(file, llama, one_process, tmp_path, capsys):
    copy = shutil.copytree(llama, tmp_path / "backbone")
    recipe = yaml.safe_load(Path("recipe.yaml").read_text())
    recipe["model"]["backbone"] = "backbone"
    Path("recipe.yaml").write_text(yaml.safe_dump(recipe))
    assert main(["ladder", str(file), "--cell", "base-seed1"]) == 0
    capsys.readouterr()
    assert main(["ladder", str(file), "--cell", "base-seed1", "--list"]) == 0
    assert capsys.readouterr().out.startswith("done")
    weights = copy / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x01")
    assert main(["ladder", str(file), "--cell", "base-seed1", "--list"]) == 0
    assert capsys.readouterr().out.startswith("to do")


def test_rows_of_another_recipe_of_the_same_name_are_not_in_the_table(file, tmp_path):
    ladder = read_ladder(file)
    row = {
        "ladder": "small",
        "rung": "base",
        "seed": 1,
        "overrides": ["--model.runtime.compile false"],
        "config": "recipe",
        "minutes": 1.0,
        "peak_memory_bytes": 2**30,
        "value": 0.5,
        "command": "ner-lightning fit --config recipe.yaml --model.runtime.compile false",
    }
    assert "50.00" in ladder_table(ladder, [row])
    other = row | {"command": row["command"].replace("recipe.yaml", "older/recipe.yaml")}
    assert "50.00" not in ladder_table(ladder, [other])


def test_a_cell_without_scores_stops_no_other(file, one_process, tmp_path, capsys):
    content = yaml.safe_load(file.read_text())
    (tmp_path / "my configs").mkdir()
    (tmp_path / "recipe.yaml").rename(tmp_path / "my configs/recipe.yaml")
    content["configs"] = ["my configs/recipe.yaml"]
    content["rungs"] = {"unscored": {"settings": {"trainer.limit_val_batches": 0}}, "base": {}}
    file.write_text(yaml.safe_dump(content, sort_keys=False))
    assert main(["ladder", str(file), "--results", "new/rows.json"]) == 2
    out, err = capsys.readouterr()
    assert "has no validation scores" in out
    assert "1 of 2 cells failed: unscored-seed1" in err
    assert [row["rung"] for row in read_rows(Path("new/rows.json"))] == ["base"]
    assert "| base |" in (tmp_path / "runs/small/ladder.md").read_text(encoding="utf-8")


ROW = dict.fromkeys(FIELDS, "")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({}, "not a list of rows"),
        ([{"words": ["a"]}], "not a list of measured rows: row 1 lacks config, overrides"),
        ([{"rows": 5}], "not a list of rows"),
        ([{"rows": {"a": 1}}], "not a list of rows"),
        ([{"rows": [5]}], "not a list of rows"),
        ([{"rows": [{"value": 1}]}], "row 1 lacks config"),
        ([ROW, ROW | {"ladder": "small"}], "row 2 lacks rung, minutes, peak_memory_bytes"),
    ],
)
def test_a_file_of_other_json_takes_no_results(file, tmp_path, monkeypatch, capsys, content, said):
    monkeypatch.setattr(ladder_training, "_run_logged", None)  # nothing is trained
    Path("odd.json").write_text(json.dumps(content), encoding="utf-8")
    assert main(["ladder", str(file), "--results", "odd.json"]) == 2
    err = capsys.readouterr().err
    assert "odd.json: not a list of " in err
    assert said in err
    assert json.loads(Path("odd.json").read_text(encoding="utf-8")) == content


@pytest.mark.parametrize("shipped", SHIPPED, ids=lambda each: each.stem)
def test_shipped_ladders_have_passages_that_fit_into_a_window(shipped):
    for cell in read_ladder(shipped).cells:
        context, longest = (cell.settings.get(f"data.encoding.{name}") for name in ("context", "max_length"))
        assert (context or 0) < (longest or DEFAULT), cell.name  # a special token is beside it
