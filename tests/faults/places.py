"""Runs of the command in a folder of their own, and whether two of them ended alike."""

import csv
import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import torch
import yaml

from ner_lightning.training.callbacks.throughput import MEASURED

HERE = Path(__file__).parent
CLI = [sys.executable, "-m", "ner_lightning"]
# Continues a run whose callbacks are not of a package, without them.
OWN_AGAIN = ("--trust_remote_code", "--trainer.callbacks", "null")


@dataclass
class Done:
    """A command that has ended."""

    code: int
    said: str
    seconds: float


class Place:
    """A folder with a recipe and a way to run commands there."""

    def __init__(self, folder: Path, llama: Path, data: Path) -> None:
        self.folder = folder
        config = {
            "seed_everything": 3,
            "trainer": {"accelerator": "cpu", "max_epochs": 3, "log_every_n_steps": 1},
            "model": {
                "backbone": str(llama),
                "lora": {"rank": 4},
                "optimizer": {"lr": 0.01},
                "architecture": {"dropout": 0.2},
            },
            "data": {"dataset": str(data), "batches": {"size": 4, "eval_size": 2}},
        }
        (folder / "recipe.yaml").write_text(yaml.safe_dump(config))

    def run(self, *words: str, launcher: list[str] = CLI, **environment: str) -> Done:
        begun = time.monotonic()
        with self.start(*words, launcher=launcher, **environment) as process:
            said, _ = process.communicate(timeout=280)
        return Done(process.returncode, said, time.monotonic() - begun)

    def start(self, *words: str, launcher: list[str] = CLI, **environment: str) -> subprocess.Popen[str]:
        held = {k: v for k, v in os.environ.items() if not k.startswith(("WANDB_", "NER_", "SLURM_", "PL_"))}
        paths = os.pathsep.join([str(HERE), held.get("PYTHONPATH", "")])
        held |= {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1", "NETRC": str(self.folder / "netrc")}
        return subprocess.Popen(
            [*launcher, *words],
            cwd=self.folder,
            env=held | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def fit(self, *hooks: dict[str, object], options: tuple[str, ...] = (), **how) -> Done:
        """Trains with callbacks that make something go wrong."""
        return self.run("fit", "--config", "recipe.yaml", *self.with_hooks(*hooks), *options, **how)

    def with_hooks(self, *hooks: dict[str, object]) -> list[str]:
        callbacks = [
            {
                "class_path": f"hooks.{hook['name']}",
                "init_args": {k: v for k, v in hook.items() if k != "name"},
            }
            for hook in hooks
        ]
        (self.folder / "hooks.yaml").write_text(yaml.safe_dump({"trainer": {"callbacks": callbacks}}))
        return ["--config", "hooks.yaml", "--name", "recipe"] if hooks else []

    @property
    def first(self) -> Path:
        return self.folder / "runs/recipe/1"


def table(run: Path) -> list[dict[str, str]]:
    with (run / "metrics.csv").open(newline="") as file:
        return [{k: v for k, v in row.items() if k not in MEASURED} for row in csv.DictReader(file)]


def same(one: Path, other: Path) -> None:
    """Two runs ended alike, bit by bit."""
    assert table(one) == table(other)
    assert json.loads((one / "metrics.json").read_text()) == json.loads((other / "metrics.json").read_text())
    for name in ("best", "last"):
        held = [torch.load(run / f"checkpoints/{name}.ckpt", weights_only=True) for run in (one, other)]
        assert held[0]["global_step"] == held[1]["global_step"]
        weights = [content["state_dict"] for content in held]
        assert weights[0].keys() == weights[1].keys()
        assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0])
