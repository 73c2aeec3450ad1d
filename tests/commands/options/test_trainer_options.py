"""Every option of Lightning's Trainer works with our loop, or is refused in a line before anything loads."""

import csv
import inspect
import re
import sys
from pathlib import Path
from typing import Union

import pytest
import tiny
import torch
import yaml
from lightning.pytorch import Trainer

from ner_lightning.commands.lightning_cli import recipe
from ner_lightning.commands.lightning_cli.recipe import parser
from ner_lightning.commands.main import main
from ner_lightning.commands.options.trainer_options import LAUNCHERS, check_trainer
from ner_lightning.errors import UserError
from ner_lightning.runs.checkpoint_file import load_checkpoint
from ner_lightning.training.module import NERModule

ROOT = Path(__file__).parents[3]


@pytest.fixture
def fit(tmp_path, llama, monkeypatch, capsys):
    """Runs a small fit, of six batches an epoch, with more options of the trainer."""
    monkeypatch.chdir(tmp_path)
    tiny.write_corpus(tmp_path / "data", repeat=3)
    config = {
        "trainer": {"accelerator": "cpu", "max_epochs": 2, "log_every_n_steps": 1},
        "model": {"backbone": str(llama), "lora": {"rank": 2}},
        "data": {"dataset": "data", "batches": {"size": 4, "eval_size": 1}},
    }
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")

    def run(trainer, code=0, **sections):
        more = {"trainer": trainer, **sections}
        (tmp_path / "more.yaml").write_text(yaml.safe_dump(more), encoding="utf-8")
        capsys.readouterr()
        assert main(["fit", "--config", "recipe.yaml", "--config", "more.yaml", "--name", "r"]) == code
        captured = capsys.readouterr()
        assert "Traceback" not in captured.out + captured.err
        return captured.err if code else captured.out

    return run


def logged(column):
    """A column of the run's metrics, without empty cells."""
    with Path("runs/r/1/metrics.csv").open(encoding="utf-8") as file:
        return [row[column] for row in csv.DictReader(file) if row.get(column)]


def steps():
    """How many optimizer steps the run took."""
    return load_checkpoint(Path("runs/r/1/checkpoints/last.ckpt"))["global_step"]


def test_limits_intervals_and_accumulation(fit):
    fit(
        {
            "limit_train_batches": 4,
            "accumulate_grad_batches": 2,
            "val_check_interval": 0.5,
            "num_sanity_val_steps": 1,
            "min_epochs": 1,
            "min_steps": 1,
            "max_time": "00:01:00:00",
        }
    )
    assert steps() == 4
    assert len(logged("val/f1")) == 4
    assert main(["test"]) == 0
    tagged = Path("runs/r/1/predictions.test.jsonl").read_text(encoding="utf-8").splitlines()
    assert len(tagged) == 3


def test_half_of_the_batches(fit):
    fit({"limit_train_batches": 0.5, "max_epochs": 1, "max_steps": 100})
    assert steps() == 3


def test_validation_by_number_of_batches(fit):
    fit({"val_check_interval": 4, "check_val_every_n_epoch": None})
    assert len(logged("val/f1")) == 3


@pytest.mark.slow
def test_arithmetic_profiler_and_summary(fit):
    said = fit(
        {
            "precision": "64-true",
            "deterministic": True,
            "detect_anomaly": True,
            "benchmark": False,
            "inference_mode": False,
            "gradient_clip_val": 0.5,
            "gradient_clip_algorithm": "value",
            "enable_model_summary": True,
            "enable_progress_bar": True,
            "enable_autolog_hparams": False,
            "profiler": "simple",
            "max_epochs": 1,
        }
    )
    torch.use_deterministic_algorithms(False)
    assert "Best epoch: 1" in said
    state = load_checkpoint(Path("runs/r/1/checkpoints/best.ckpt"))["state_dict"]
    assert {value.dtype for name, value in state.items() if "lora" in name} <= {torch.float32, torch.float64}
    assert logged("train/loss")
    assert logged("train/grad_norm")  # that before each value is clipped
    assert "run_training_epoch" in Path("runs/r/1/fit-profile.txt").read_text(encoding="utf-8")


@pytest.mark.parametrize("batches", [2, 0.5])
def test_overfit_batches(fit, monkeypatch, batches):
    seen = []
    step = NERModule.training_step

    def noted(self, batch):
        seen.append(batch.index.tolist())
        return step(self, batch)

    monkeypatch.setattr(NERModule, "training_step", noted)
    fit({"overfit_batches": batches, "max_epochs": 3})
    count = 2 if batches == 2 else 3
    assert len(seen) == 3 * count
    assert seen[:count] == seen[count : 2 * count] == seen[2 * count :]
    assert len(logged("val/f1")) == 3


def test_loggers_and_callbacks_by_class_path(fit):
    scheduler = {"class_path": "GradientAccumulationScheduler", "init_args": {"scheduling": {0: 1, 1: 3}}}
    fit(
        {
            "logger": [{"class_path": "CSVLogger", "init_args": {"save_dir": ".", "name": "more"}}],
            "callbacks": [
                scheduler,
                {"class_path": "LearningRateMonitor"},
                {"class_path": "Timer", "init_args": {"duration": "00:00:10:00"}},
            ],
            "plugins": {"class_path": "lightning.pytorch.plugins.environments.LightningEnvironment"},
        }
    )
    assert steps() == 6 + 2
    last = load_checkpoint(Path("runs/r/1/checkpoints/last.ckpt"))
    assert set(last["lr_schedulers"][0]["_last_lr"]) == {0.0}  # the schedule knows of it, too
    assert list(Path("runs/r/1/more").rglob("metrics.csv"))
    assert logged("lr/backbone") or logged("lr-AdamW")


def test_a_callback_alone_and_no_logger(fit):
    stopper = {"class_path": "EarlyStopping", "init_args": {"monitor": "train/ce", "mode": "min"}}
    fit({"callbacks": stopper, "logger": False, "max_epochs": 1})
    assert len(logged("val/f1")) == 1


LOSS = {"loss": {"parts": [{"class_path": "own_loss.Focal"}]}}


def stopper(monitor, mode):
    return {"callbacks": {"class_path": "EarlyStopping", "init_args": {"monitor": monitor, "mode": mode}}}


@pytest.mark.slow
def test_monitors_of_what_a_project_adds(fit, monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "examples"))
    monkeypatch.delitem(sys.modules, "own_loss", raising=False)
    fit(stopper("train/focal", "min") | {"max_epochs": 1}, model=LOSS)
    said = fit(stopper("train/focal", "max"), code=2, model=LOSS)
    assert "a lower train/focal is better; set mode: min" in said
    assert "'train/vocal', which is never logged; did you mean train/focal?" in fit(
        stopper("train/vocal", "min"), code=2, model=LOSS
    )
    assert "'train/focal', which is never logged" in fit(stopper("train/focal", "min"), code=2)


@pytest.mark.parametrize("mode", ["min", "max"])
def test_of_the_gradient_norm_neither_direction_is_better(fit, mode):
    said = fit(stopper("train/grad_norm", mode) | {"max_epochs": 1, "limit_train_batches": 1})
    assert "is better" not in said


def named(name, **arguments):
    return {"class_path": name, "init_args": arguments}


REFUSED = {
    "more epochs than there are": (
        {"min_epochs": 5, "max_epochs": 2},
        "min_epochs is 5, but trainer.max_epochs",
    ),
    "more steps than there are": ({"min_steps": 5, "max_steps": 2}, "min_steps is 5, but trainer.max_steps"),
    "two limits": (
        {"overfit_batches": 2, "limit_train_batches": 3},
        "limit_train_batches is 3, but trainer.overfit_batches decides on the batches",
    ),
    "two accumulations": (
        {
            "accumulate_grad_batches": 2,
            "callbacks": [named("GradientAccumulationScheduler", scheduling={0: 4})],
        },
        "trainer.accumulate_grad_batches: GradientAccumulationScheduler decides on it; leave it out",
    ),
    "no epochs between": ({"check_val_every_n_epoch": 0}, "check_val_every_n_epoch is 0; it must be a whole"),
    "negative clipping": ({"gradient_clip_val": -1}, "gradient_clip_val is -1; it must be a number of at"),
    "no such sanity": ({"num_sanity_val_steps": -5}, "num_sanity_val_steps is -5; it must be"),
    "negative epochs": ({"max_epochs": -2}, "max_epochs is -2; it must be"),
    "negative steps": ({"max_steps": -2}, "max_steps is -2; it must be"),
    "negative least epochs": ({"min_epochs": -1}, "min_epochs is -1; it must be"),
    "negative least steps": ({"min_steps": -1}, "min_steps is -1; it must be"),
    "no reloading": ({"reload_dataloaders_every_n_epochs": -1}, "reload_dataloaders_every_n_epochs is -1"),
    "negative interval of logs": ({"log_every_n_steps": -1}, "log_every_n_steps is -1; it must be"),
    "no machine": ({"num_nodes": 0}, "num_nodes is 0; it must be"),
    "machines that nobody names": ({"num_nodes": 2}, "no launcher names the machines"),
    "nothing to train": (
        {"limit_train_batches": 0},
        "limit_train_batches is 0, so there is nothing to train",
    ),
    "an interval of zero": ({"val_check_interval": 0}, "val_check_interval is 0; it must be"),
    "half precision by a plugin": ({"plugins": named("HalfPrecision")}, "set trainer.precision instead"),
    "checkpoints by a plugin": ({"plugins": [named("AsyncCheckpointIO")]}, "writes its own checkpoints"),
    "no checkpoints": ({"enable_checkpointing": False}, "a run needs checkpoints; leave it out"),
    "another folder": ({"default_root_dir": "x"}, "set runs and name instead"),
    "bare bones": ({"barebones": True}, "barebones switches off checkpoints and logging"),
    "a registry": ({"model_registry": "x"}, "checkpoints stay in the run's folder"),
    "another bar": ({"callbacks": named("RichProgressBar")}, "RichProgressBar cannot be used: a run shows"),
    "another average": (
        {"callbacks": named("StochasticWeightAveraging", swa_lrs=0.01)},
        "would average nothing; set model.optimizer.averaging",
    ),
    "an average by Lightning": ({"callbacks": named("EMAWeightAveraging")}, "set model.optimizer.averaging"),
    "a search for a rate": ({"callbacks": named("LearningRateFinder")}, "LearningRateFinder cannot be used"),
    "no epochs": ({"max_epochs": 0}, "max_epochs is 0, so there is nothing to train"),
    "no steps": ({"max_steps": 0}, "max_steps is 0, so there is nothing to train"),
    "some batches of validation": ({"limit_val_batches": 0.5}, "be theirs alone;\nset data.limits.valid"),
    "a batch of validation": ({"limit_val_batches": 1}, "be theirs alone;\nset data.limits.valid"),
    "some batches of the test": ({"limit_test_batches": 2}, "be theirs alone;\nset data.test"),
    "a logger that there is": ({"logger": True}, "logger has no effect here: a run writes its own"),
    "another sampler": ({"use_distributed_sampler": True}, "use_distributed_sampler has no effect here"),
    "batches of a prediction": ({"limit_predict_batches": 1}, "predict` does not use the trainer"),
    "statistics of batches": ({"sync_batchnorm": True}, "sync_batchnorm has no effect here"),
    "data that are loaded again": (
        {"reload_dataloaders_every_n_epochs": 1},
        "reload_dataloaders_every_n_epochs has no effect here",
    ),
    "layers by a callback": ({"callbacks": named("BackboneFinetuning")}, "decide what is trained"),
}
REFUSED_BY_THE_COMMAND = {
    "no accumulation": ({"accumulate_grad_batches": 0}, "accumulate_grad_batches is 0; it must be a whole"),
    "clipping by what": ({"gradient_clip_algorithm": "foo"}, "Allowed algorithms: ['value', 'norm']"),
    "less than a batch": ({"limit_train_batches": 0.01}, "You requested to check 0.01 of the"),
    "a share above 1": ({"limit_train_batches": 1.5}, "invalid value 1.5 for limit_train_batches"),
    "negative overfitting": ({"overfit_batches": -1}, "invalid value -1 for overfit_batches"),
    "negative trial": ({"fast_dev_run": -1}, "fast_dev_run=-1 is not a valid configuration"),
    "a longer interval": ({"val_check_interval": 99}, "`val_check_interval` (99) must be less than"),
    "no process": ({"devices": -1}, "devices is -1; on a CPU it must be auto or a number of processes"),
    "devices that are none": ({"devices": "x"}, "devices is x; on a CPU it must be auto or a number"),
    "half precision": ({"precision": "16-mixed"}, "precision 16-mixed is not supported"),
    "no time": ({"max_time": "long"}, "not a valid duration"),
    "no such profiler": ({"profiler": "nope"}, "['simple', 'advanced', 'pytorch', 'xla']"),
    "MLflow": (
        {"logger": [named("MLFlowLogger")]},
        "MLFlowLogger needs a package that is not installed.\nInstall it: pip install 'mlflow>=1.0.0'\n",
    ),
}


@pytest.fixture(scope="module")
def options():
    made = parser()
    made.set_defaults({f"trainer.{name}": value for name, value in recipe.TRAINER_DEFAULTS.items()})
    return made


def test_one_batch_is_not_all_batches_whatever_was_imported_before():
    """typing keeps unions, and takes spaCy's `float | int` for the Trainer's `int | float`."""
    made = parser()
    for action in made._actions:
        if action.dest == "trainer.limit_train_batches":
            action._typehint = Union[float, int, None]  # noqa: UP007
    recipe._try_whole_numbers_first(made)
    found = made.parse_object({"trainer": {"limit_train_batches": 1}}).trainer.limit_train_batches
    assert repr(found) == "1"


def test_a_cluster_alone_is_no_launcher(options, monkeypatch):
    for name in LAUNCHERS:
        monkeypatch.delenv(name, raising=False)
    for name in ("KUBERNETES_PORT", "LSB_JOBID"):  # set in every pod, and in every job of LSF
        monkeypatch.setenv(name, "1")
    given = options.parse_object({"trainer": {"num_nodes": 2}})
    with pytest.raises(UserError, match="no launcher names the machines"):
        check_trainer(given)
    monkeypatch.setenv("MASTER_ADDR", "10.0.0.1")
    check_trainer(given)


@pytest.mark.parametrize("case", REFUSED)
def test_refused(options, case):
    trainer, expected = REFUSED[case]
    with pytest.raises(UserError, match=re.escape(expected)) as caught:
        check_trainer(options.parse_object({"trainer": trainer}))
    assert str(caught.value).startswith("trainer.")
    assert len(str(caught.value).split("\n")) <= 2


@pytest.mark.parametrize("case", REFUSED_BY_THE_COMMAND)
def test_refused_by_the_command(fit, case):
    trainer, expected = REFUSED_BY_THE_COMMAND[case]
    said = fit(trainer, code=2)
    assert said.startswith("ner-lightning: ")
    assert len(said.strip().split("\n")) <= 3
    assert expected in said
    assert not Path("runs").exists() or not list(Path("runs").rglob("*.ckpt"))


def test_python_s_own_error_names_the_package(fit, monkeypatch):
    Path("own_callback.py").write_text(
        "from lightning.pytorch import Callback\n\n\n"
        "class Own(Callback):\n    def __init__(self):\n        import absent_package.part\n",
        encoding="utf-8",
    )
    monkeypatch.syspath_prepend(".")
    said = fit({"callbacks": [named("own_callback.Own")]}, code=2)
    assert said.endswith(
        "Own needs a package that is not installed.\nInstall it: pip install absent_package\n"
    )


TABLE = re.compile(r"^\| `(\w+)` \| (works|refused)[^|]*\| (.+) \|$", flags=re.M)


def test_the_table_of_options_is_complete_and_names_tests_that_are_there():
    page = (ROOT / "docs/reliability.md").read_text(encoding="utf-8")
    rows = TABLE.findall(page)
    options = [name for name in inspect.signature(Trainer.__init__).parameters if name != "self"]
    assert [name for name, _, _ in rows] == options
    for name, _, seen in rows:
        cited = re.findall(r"`(?:(test\w+)\.py: )?(test_\w+)(?:\[([^\]]+)\])?`", seen)
        assert cited, name
        for file, test, case in cited:
            text = next(ROOT.glob(f"tests/**/{file or 'test_trainer_options'}.py")).read_text(
                encoding="utf-8"
            )
            assert f"def {test}(" in text, (name, test)
            assert f'"{case}"' in text or not case, (name, case)
    listed = re.findall(r"`trainer\.(\w+)`", (ROOT / "docs/reference/config.md").read_text(encoding="utf-8"))
    assert set(listed) <= set(options)
