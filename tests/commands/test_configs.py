"""The shipped configs are listed and copied; the completion script completes."""

import subprocess
from pathlib import Path

import pytest

from ner_lightning.commands.completion import SHELLS, option_names
from ner_lightning.commands.configs import about, names
from ner_lightning.commands.main import COMMANDS, main

ROOT = Path(__file__).parents[2]


def test_every_shipped_config_is_listed_with_what_it_is_for(capsys):
    assert main(["configs"]) == 0
    said = capsys.readouterr().out
    files = sorted(str(file.relative_to(ROOT)) for file in (ROOT / "configs").rglob("*.yaml"))
    assert sorted(f"configs/{name}.yaml" for name in names()) == files
    for name in names():
        assert f"configs/{name}.yaml" in said
        assert about(name) in " ".join(said.split())
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
    assert "configs/quickstart.yaml exists; remove it" in capsys.readouterr().err
    assert Path("configs/quickstart.yaml").read_text(encoding="utf-8") == "mine"
    assert main(["configs", "--to", "mine"]) == 2
    assert "--to mine: name what to copy, or all" in capsys.readouterr().err
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
        (["predict", "--out"], ["--output"]),
        (["baseline", "--sho"], ["--shots"]),
        (["compare", "--spl"], ["--split"]),
        (["test", "--ru"], ["--run", "--runs"]),
    ],
)
def test_what_tab_offers(script, typed, offered, tmp_path):
    assert tab(script, tmp_path, typed) == offered


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        (["fit", "--model.attention", ""], ["bidirectional", "causal"]),
        (["fit", "--model.use_crf", ""], ["false", "true"]),
        (["fit", "--trainer.precision", "b"], ["bf16-mixed"]),
        (["fit", "--model.quantization", ""], ["int8", "nf4", "none"]),
        (["predict", "--to", "do"], ["doccano"]),
        (["fit", "--config", "qwen"], ["qwen3_0.6b", "qwen3_1.7b"]),
        (["fit", "--config", "configs/qu"], ["configs/quickstart.yaml"]),
        (["pretrain", "--config", "with/so"], ["with/softmax"]),
        (["fit", "--config", "mi"], ["mine", "mine.yaml"]),
        (["test", ""], ["runs/last", "runs/tiny/1", "runs/tiny/2"]),
        (["export", "--run", "runs/t"], ["runs/tiny/1", "runs/tiny/2"]),
        (["predict", "mine."], ["mine.txt", "mine.yaml"]),
        (["fit", "--ckpt_path", ""], ["best", "last"]),
        (["fit", "--data.dataset", "s"], ["sample"]),
        (["predict", "--input", "mine.t"], ["mine.txt"]),
    ],
)
def test_which_values_tab_offers(script, typed, offered, tmp_path):
    for number in (1, 2):
        (tmp_path / f"runs/tiny/{number}").mkdir(parents=True)
        (tmp_path / f"runs/tiny/{number}/run.json").write_text("{}")
    (tmp_path / "runs/tiny/3").mkdir()  # no run
    (tmp_path / "runs/last").symlink_to("tiny/2")
    (tmp_path / "mine").mkdir()
    for name in ("mine.yaml", "mine.txt"):
        (tmp_path / name).write_text("")
    assert tab(script, tmp_path, typed) == offered


def tab(script, folder, typed):
    """What bash offers for the last of the words that were typed."""
    words = " ".join(["ner-lightning", *(word or "''" for word in typed)])
    code = (
        f"source {script}; COMP_WORDS=({words}); COMP_CWORD={len(typed)}; _shtab_ner_lightning; "
        'printf "%s\\n" "${COMPREPLY[@]}"'
    )
    done = subprocess.run(["bash", "-c", code], cwd=folder, capture_output=True, text=True, check=True)
    assert [line for line in done.stderr.splitlines() if "compopt" not in line] == []
    return sorted(done.stdout.split())


@pytest.mark.parametrize("shell", SHELLS)
def test_every_shell_has_a_script_with_every_command(shell, tmp_path):
    script = written(tmp_path / shell, shell).read_text()
    assert all(command in script for command in COMMANDS)
    assert "model.lora.rank" in script
    assert "model.lora.help" not in script


def test_every_command_has_options_to_complete():
    for command in COMMANDS:
        assert "--help" in option_names(command)
