"""The shipped configs are listed and copied; the completion script completes."""

import os
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from ner_lightning.cli import COMMANDS, main
from ner_lightning.completion_cli import option_names
from ner_lightning.configs_cli import about, names

ROOT = Path(__file__).parent.parent


def test_every_shipped_config_is_listed_with_what_it_is_for(capsys):
    assert main(["configs"]) == 0
    said = capsys.readouterr().out
    files = sorted(str(file.relative_to(ROOT)) for file in (ROOT / "configs").rglob("*.yaml"))
    assert sorted(f"configs/{name}.yaml" for name in names()) == files
    for name in names():
        assert f"configs/{name}.yaml" in said
        assert about(name) in said
        assert len(about(name)) > 20
        assert about(name).endswith(".")  # a sentence that is not cut


def test_configs_are_copied_and_nothing_is_overwritten(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["configs", "quickstart", "configs/with/softmax.yaml"]) == 0
    said = capsys.readouterr().out
    assert "next: edit it, then ner-lightning fit --config configs/quickstart.yaml" in said
    for name in ("quickstart", "with/softmax"):
        file = Path("configs", f"{name}.yaml")
        assert file.read_bytes() == (ROOT / file).read_bytes()
        assert not file.is_symlink()
    Path("configs/quickstart.yaml").write_text("mine", encoding="utf-8")
    assert main(["configs", "causal", "quickstart"]) == 2
    assert "unknown" not in (said := capsys.readouterr().err)
    assert "there is no shipped config causal" in said
    assert main(["configs", "quickstart"]) == 2
    assert "is there already" in capsys.readouterr().err
    assert Path("configs/quickstart.yaml").read_text(encoding="utf-8") == "mine"
    assert main(["configs", "all", "--to", "mine"]) == 0
    assert {str(file.relative_to("mine").with_suffix("")) for file in Path("mine").rglob("*.yaml")} == set(
        names()
    )


def written(file, shell):
    """The script for a shell."""
    with pytest.MonkeyPatch.context() as patch, file.open("w") as out:
        patch.setattr("sys.stdout", out)
        assert main(["completion", shell]) == 0
    return file


@pytest.fixture(scope="module")
def script(tmp_path_factory):
    return written(tmp_path_factory.mktemp("completion") / "bash", "bash")


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        (["f"], ["fit"]),
        (["co"], ["compare", "completion", "configs"]),
        (["fit", "--model.lora.r"], ["--model.lora.rank", "--model.lora.rslora"]),
        (["fit", "--trainer.max_ep"], ["--trainer.max_epochs"]),
        (["fit", "--config", "configs/quick"], ["configs/quickstart.yaml"]),
        (["predict", "--out"], ["--output"]),
        (["baseline", "--sho"], ["--shots"]),
        (["compare", "--spl"], ["--split"]),
        (["configs", "with/soft"], ["with/softmax"]),
        (["test", "--ru"], ["--run", "--runs"]),
    ],
)
def test_what_tab_offers(script, typed, offered, tmp_path):
    words = " ".join(["ner-lightning", *typed])
    code = (
        f"source {script}; COMP_WORDS=({words}); COMP_CWORD={len(typed)}; _ner_lightning; "
        'printf "%s\\n" "${COMPREPLY[@]}"'
    )
    done = subprocess.run(["bash", "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert sorted(done.stdout.split()) == offered
    assert done.stderr == ""


FISH = [
    ("f", ["fit"]),
    ("co", ["compare", "completion", "configs"]),
    ("fit --model.lora.r", ["--model.lora.rank", "--model.lora.rslora"]),
    ("predict --out", ["--output"]),
    ("configs with/soft", ["with/softmax"]),
    ("fit --config configs/quick", ["configs/quickstart.yaml"]),
]


@pytest.fixture(scope="module")
def fish(tmp_path_factory):
    return written(tmp_path_factory.mktemp("completion") / "ner-lightning.fish", "fish")


def test_fish_is_told_every_command_and_every_option(fish):
    lines = [shlex.split(line, comments=True) for line in fish.read_text().splitlines()]
    lines = [line for line in lines if line]
    assert all(line[:3] == ["complete", "-c", "ner-lightning"] for line in lines)
    told = {command: set() for command in COMMANDS}
    for line in lines:
        condition = line[line.index("-n") + 1].split()
        if "-l" in line and condition[0] == "__fish_seen_subcommand_from":
            for command in condition[1:]:
                told[command].add(f"--{line[line.index('-l') + 1]}")
    assert told == {command: set(option_names(command, COMMANDS)) for command in COMMANDS}
    firsts = {line[line.index("-a") + 1]: line[-1] for line in lines if "__fish_use_subcommand" in line}
    assert firsts == {command: what for command, (_, what) in COMMANDS.items()}


@pytest.mark.skipif(shutil.which("fish") is None, reason="fish is not installed")
@pytest.mark.parametrize(("typed", "offered"), FISH)
def test_what_tab_offers_in_fish(fish, typed, offered, tmp_path):
    code = f"source {fish}; complete -C 'ner-lightning {typed}'"
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "LC_ALL": "C.UTF-8"}
    done = subprocess.run(
        ["fish", "--no-config", "-c", code],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert sorted(line.split("\t")[0] for line in done.stdout.splitlines()) == offered
    assert done.stderr == ""


def test_every_command_has_options_to_complete():
    for command in COMMANDS:
        assert "--help" in option_names(command, COMMANDS)


def test_colours_are_left_out_if_asked(monkeypatch):
    import io

    from ner_lightning.terminal import in_colour

    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.delenv("NO_COLOR", raising=False)
    assert in_colour(Terminal())
    assert not in_colour(io.StringIO())
    monkeypatch.setenv("NO_COLOR", "1")
    assert not in_colour(Terminal())
