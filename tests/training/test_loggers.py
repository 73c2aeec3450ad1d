"""Other loggers of Lightning get the same metrics, by one line of a config."""

import json
from importlib.util import find_spec

import pytest
import yaml

from ner_lightning.commands.main import main

pytestmark = [pytest.mark.filterwarnings("ignore::DeprecationWarning:tensorboard")]


@pytest.fixture
def fit(tmp_path, llama, corpus, monkeypatch):
    """Trains an epoch with a logger; returns the run folder."""
    config = {
        "trainer": {"accelerator": "cpu", "max_epochs": 1, "log_every_n_steps": 1},
        "model": {"backbone": str(llama), "optimizer": {"lr": 0.01, "head_lr": 0.03}},
        "data": {"dataset": str(corpus), "batches": {"size": 5}},
    }
    monkeypatch.chdir(tmp_path)

    def run(logger):
        text = yaml.safe_dump(config).replace("trainer:\n", f"trainer:\n  logger: {logger}\n")
        (tmp_path / "recipe.yaml").write_text(text, encoding="utf-8")
        assert main(["fit", "--config", "recipe.yaml"]) == 0
        return tmp_path / "runs/recipe/1"

    return run


LOGGERS = "lightning.pytorch.loggers"
TENSORBOARD = f"{{class_path: {LOGGERS}.TensorBoardLogger, init_args: {{save_dir: .}}}}"
MLFLOW = f"{{class_path: {LOGGERS}.MLFlowLogger, init_args: {{tracking_uri: 'sqlite:///mlflow.db'}}}}"


def wanted(run):
    """The scores of the best validation, and the columns of metrics.csv."""
    scores = json.loads((run / "metrics.json").read_text())
    columns = (run / "metrics.csv").read_text().split("\n", 1)[0].split(",")
    return {name: scores[name] for name in ("val/f1", "val/recall/PER", "val/loss")}, set(columns) - {"step"}


def test_tensorboard(fit):
    from tensorboard.backend.event_processing import event_accumulator

    run = fit(TENSORBOARD)
    scores, columns = wanted(run)
    (file,) = run.rglob("events.out.tfevents.*")
    events = event_accumulator.EventAccumulator(str(file.parent)).Reload()
    assert columns <= set(events.Tags()["scalars"])
    for name, value in scores.items():
        assert events.Scalars(name)[-1].value == pytest.approx(value, abs=1e-6)
    assert yaml.safe_load((file.parent / "hparams.yaml").read_text())["model"]["optimizer"]["lr"] == 0.01
    assert json.loads((run / "run.json").read_text())["wandb_id"] is None


def test_tensorboard_goes_on_where_a_run_is_resumed(fit):
    from tensorboard.backend.event_processing import event_accumulator

    run = fit(TENSORBOARD)
    assert main(["validate"]) == 0  # a place of its own, since its step is not one of the curve
    assert main(["fit", "--ckpt_path", "last", "--trainer.max_epochs", "2"]) == 0
    files = sorted(run.rglob("events.out.tfevents.*"))
    assert [file.parent.name for file in files] == ["version_0", "version_0", "version_1"]
    events = event_accumulator.EventAccumulator(str(files[0].parent)).Reload()
    steps = [event.step for event in events.Scalars("val/f1")]
    assert len(steps) == 2
    assert steps[0] < steps[1]


if find_spec("mlflow"):  # which is large, and not among the development packages

    def test_mlflow(fit, tmp_path):
        import mlflow

        scores, columns = wanted(fit(MLFLOW))
        client = mlflow.MlflowClient(f"sqlite:///{tmp_path / 'mlflow.db'}")
        (run,) = client.search_runs([client.get_experiment_by_name("lightning_logs").experiment_id])
        assert columns <= set(run.data.metrics)
        for name, value in scores.items():
            assert run.data.metrics[name] == pytest.approx(value, abs=1e-6)
        assert run.data.params["model/optimizer/lr"] == "0.01"
