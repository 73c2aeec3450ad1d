"""`~` in options, which a shell leaves alone after `=`: the home directory, wherever a path may stand."""

from pathlib import Path

import pytest
import yaml
from jsonargparse import Namespace

from ner_lightning.commands.lightning_cli.recipe import settle
from ner_lightning.commands.lightning_cli.start import find_start
from ner_lightning.commands.main import main
from ner_lightning.commands.options.command_line import Parser
from ner_lightning.commands.options.config_files import find_configs
from ner_lightning.commands.options.consent import _is_file
from ner_lightning.runs.ladder_cells import recipe_digest
from ner_lightning.runs.ladder_file import read_ladder


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "home").mkdir()
    return tmp_path / "home"


def test_commands_of_our_own(home):
    parser = Parser("predict", "")
    parser.add_run(nargs="*")
    parser.add_argument("--input", metavar="FILE")
    parser.add_argument("--text", action="append", metavar="FILE")
    parser.add_argument("--key", metavar="KEY")
    words = ["--runs=~/r", "--run=~/a/1", "--input=~/i", "--text=~/t", "--text=s3://b/t", "--key=~/k"]
    options = parser.parse_args(words)
    assert (options.runs, options.run, options.input) == (f"{home}/r", [f"{home}/a/1"], f"{home}/i")
    assert options.text == [f"{home}/t", "s3://b/t"]
    assert options.key == "~/k"


def test_recipes_and_the_folder_of_runs(home, capsys):
    (home / "r.yaml").write_text("trainer: {}\n")
    words = find_configs(["--config=~/r.yaml", "-c", "~/r.yaml"])
    assert words == [f"--config={home}/r.yaml"] * 2
    config = Namespace(runs="~/runs", seed_everything=1)
    settle(config)
    assert config.runs == f"{home}/runs"
    assert main(["test", "--runs=~/runs"]) == 2
    assert f"there is no last run in {home}/runs;" in capsys.readouterr().err


def test_the_run_to_resume(home):
    run = home / "runs/tiny/1"
    run.mkdir(parents=True)
    (run / "config.yaml").write_text("name: tiny\n")
    (home / "runs/last").symlink_to("tiny/1")
    with find_start("fit", ["--run=~/runs/last"]) as start:
        assert start.run.path == run


def test_files_that_a_ladder_names(home):
    for name in ("r.yaml", "t.txt", "w.txt"):
        (home / name).write_text("trainer: {}\n")
    Path("l.yaml").write_text(
        yaml.safe_dump(
            {
                "configs": ["~/r.yaml"],
                "settings": {"data.supervision.weights": "~/w.txt"},
                "rungs": {"a": {"seeds": [1, 2]}, "b": {"teacher": "a", "text": ["~/t.txt"]}},
            }
        )
    )
    ladder = read_ladder(Path("l.yaml"))
    cell = ladder.cells[-1]
    assert (cell.configs, cell.text) == ((f"{home}/r.yaml",), (f"{home}/t.txt",))
    digests = {recipe_digest(ladder, cell)}
    for name in ("r.yaml", "t.txt", "w.txt"):
        (home / name).write_text("trainer: {max_epochs: 1}\n")
        digests.add(recipe_digest(ladder, cell))
    assert len(digests) == 4


def test_consent_is_asked_for_a_file_in_the_home_directory(home):
    (home / "evil.yaml").touch()
    assert _is_file("~/evil.yaml")
    assert not _is_file("~nobody-of-this-name/evil.yaml")
