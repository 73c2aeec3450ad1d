"""What every run does beside training: predictions, run folder, table of epochs, safe interruption."""

import math
import resource
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from types import FrameType
from typing import Any

import lightning.pytorch as pl
import torch
import torch.distributed
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from lightning_utilities.core.rank_zero import rank_zero_only

from ner_lightning.data import conll
from ner_lightning.data.datamodule import CoNLLDataModule
from ner_lightning.data.schemes import spans
from ner_lightning.training.loggers import TableLogger
from ner_lightning.training.module import NERModule, Prediction
from ner_lightning.training.runs import BEST, LAST, Run, provenance, write_text

MONITOR = "val/f1"
KEYS = ("train/loss", "val/loss", "val/precision", "val/recall", "val/f1", "words", "minutes")
COLUMNS = (
    ("loss", 9, 4),
    ("val loss", 9, 4),
    ("P", 8, 4),
    ("R", 8, 4),
    ("F1", 8, 4),
    ("words/s", 9, 0),
    ("minutes", 9, 1),
)
SPLIT = {"val": "valid", "test": "test"}


def checkpoints(run: Run) -> list[Callback]:
    """The checkpoints of a run: `best` by validation F1, and `last` after every epoch."""
    options: dict[str, Any] = {
        "dirpath": run.checkpoints,
        "auto_insert_metric_name": False,
        "enable_version_counter": False,
        "save_on_train_epoch_end": True,  # after the epoch's validation
    }
    return [
        ModelCheckpoint(filename=BEST, monitor=MONITOR, mode="max", save_top_k=1, **options),
        ModelCheckpoint(filename=LAST, every_n_epochs=1, **options),
    ]


class RunFolder(Callback):
    """Writes what a run folder holds beside checkpoints and `metrics.csv`.

    Args:
        run: the folder.
        config: the resolved configuration, also kept in every checkpoint.
        config_text: the same as YAML.
        command: the command line that was typed.
    """

    def __init__(self, run: Run, config: Mapping[str, Any], config_text: str, command: list[str]) -> None:
        self.run = run
        self.config = dict(config)
        self.config_text = config_text
        self.command = command
        self.best_f1 = -math.inf
        self._seen: list[Prediction] = []

    def state_dict(self) -> dict[str, Any]:
        """The best validation F1 so far."""
        return {"best_f1": self.best_f1}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continues from an earlier part of the run."""
        self.best_f1 = state_dict["best_f1"]

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Puts the configuration into the checkpoint, so that it can be used alone."""
        checkpoint["config"] = self.config

    @rank_zero_only
    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Writes what is known before the first step."""
        module, data = _parts(trainer)
        write_text(self.run.path / "config.yaml", self.config_text)
        parameters = list(module.built.parameters())
        before = self.run.read("run.json")
        self.run.write(
            "run.json",
            provenance()
            | {
                "command": self.command,
                "started": before.get("started", _now()),
                "seed": self.config.get("seed_everything"),
                "types": data.types,
                "backbone": {"name": module.hparams["backbone"], "weights": module.weights_id},
                "parameters": sum(p.numel() for p in parameters),
                "trained_parameters": sum(p.numel() for p in parameters if p.requires_grad),
                "data": {name: describe_split(data, name) for name in ("train", "valid")},
                "wandb_id": next(
                    (lg.version for lg in trainer.loggers if not isinstance(lg, TableLogger)), None
                ),
            },
        )
        self.run.write("train_entities.json", data.entity_counts())

    @rank_zero_only
    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Drops table rows that a continued run will write again."""
        for logger in trainer.loggers:
            if isinstance(logger, TableLogger):
                logger.forget_after(trainer.global_step)

    def on_validation_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, *_: Any
    ) -> None:
        """Keeps a batch's predictions until the split is through."""
        self._seen.append(outputs)

    def on_test_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, *_: Any
    ) -> None:
        """Keeps a batch's predictions until the split is through."""
        self._seen.append(outputs)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Writes the predictions of validation if they are the best so far, or were asked for."""
        f1 = float(trainer.callback_metrics[MONITOR])
        if trainer.state.fn != "fit" or f1 > self.best_f1:
            self.best_f1 = max(f1, self.best_f1)
            self._write(trainer, "val")
        self._seen.clear()

    def on_test_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Writes the predictions of the test set."""
        self._write(trainer, "test")
        self._seen.clear()

    def _write(self, trainer: pl.Trainer, stage: str) -> None:
        module, data = _parts(trainer)
        rows = gather([row for p in self._seen for row in prediction_rows(module, data, stage, p)])
        if not trainer.is_global_zero:
            return
        split = SPLIT[stage]
        rows.sort(key=lambda row: int(row["sentence"]))
        base = self.run.path / f"predictions.{split}"
        conll.write_jsonl(base.with_name(base.name + ".jsonl"), rows)
        conll.write_conll(
            base.with_name(base.name + ".conll"),
            [conll.Sentence(tuple(r["words"]), None, r["document"]) for r in rows],
            [r["gold"] for r in rows],
            [r["predicted"] for r in rows],
        )
        metric: Any = module.metrics[stage]
        values = {k: float(v) for k, v in trainer.callback_metrics.items() if k.startswith(stage)}
        self.run.update(
            "metrics.json",
            values
            | {
                f"{stage}/by_type": metric.by_type(),
                f"{stage}/epoch": trainer.current_epoch,
                f"{stage}/step": trainer.global_step,
            },
        )
        if stage == "test":
            self.run.update("run.json", {"test_command": self.command, "tested": _now()})
            described = self.run.read("run.json").get("data", {})
            self.run.update("run.json", {"data": described | {split: describe_split(data, split)}})

    @rank_zero_only
    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Saves the table; from the first whole epoch on, `runs/last` means this run."""
        self.run.update(
            "run.json",
            {
                "epochs": trainer.current_epoch + 1,
                "steps": trainer.global_step,
                "updated": _now(),
                "peak_memory_bytes": peak_memory(),
            },
        )
        self.run.point_last()
        for logger in trainer.loggers:
            logger.save()


class Interruption(Callback):
    """Lets Ctrl-C stop a fit between two steps, after a checkpoint that continues right there.

    During validation the first Ctrl-C waits for its end; a second one stops at once.
    """

    def __init__(self, run: Run) -> None:
        self.run = run
        self._asked = False
        self._before: Any = None

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Takes over Ctrl-C."""
        self._before = signal.signal(signal.SIGINT, self._ask)

    def _ask(self, signum: int, frame: FrameType | None) -> None:
        if self._asked:
            signal.signal(signal.SIGINT, self._before)
            raise KeyboardInterrupt
        self._asked = True
        say("\nStopping after this step (Ctrl-C again: at once) ...")

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any) -> None:
        """Stops here if it was asked to."""
        if self._asked:
            trainer.save_checkpoint(self.run.checkpoint(LAST))
            if trainer.is_global_zero:
                self.run.point_last()
            raise KeyboardInterrupt

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Stops after validation if it was asked to meanwhile; checkpoint callbacks come after."""
        if self._asked:
            trainer.should_stop = True

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Gives Ctrl-C back."""
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)
            self._before = None


class EpochTable(Callback):
    """Prints a line an epoch: losses, validation scores, words per second, time."""

    def __init__(self) -> None:
        self._began = 0.0
        self._trained = 0.0
        self._words = 0
        self._headed = False

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Starts the clock."""
        self._began = time.perf_counter()
        self._trained = 0.0
        self._words = 0

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, *_: Any
    ) -> None:
        """Counts words; `mask` is on the device, so this is left for the epoch's end on a GPU."""
        self._trained = time.perf_counter() - self._began
        if batch.mask.device.type == "cpu":
            self._words += int(batch.mask.sum())

    @rank_zero_only
    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Prints the epoch's line."""
        seen = {name: float(value) for name, value in trainer.callback_metrics.items()}
        if not self._headed:
            self._headed = True
            say(f"{'epoch':>9}" + "".join(f"{name:>{width}}" for name, width, _ in COLUMNS))
        seen["words"] = self._words / max(self._trained, 1e-9)
        seen["minutes"] = (time.perf_counter() - self._began) / 60
        cells = (
            f"{seen[key]:>{width}.{digits}f}" for key, (_, width, digits) in zip(KEYS, COLUMNS, strict=True)
        )
        say(f"{trainer.current_epoch + 1:>4}/{trainer.max_epochs:<4}" + "".join(cells))


def prediction_rows(
    module: NERModule, data: CoNLLDataModule, stage: str, prediction: Prediction
) -> Iterator[dict[str, Any]]:
    """One row for each sentence of a batch: words, gold, predicted, and each entity's probability."""
    sentences = data.split(SPLIT[stage]).sentences
    mask, emissions = prediction.batch.mask.cpu(), prediction.emissions.float().cpu()
    lengths = mask.sum(1).tolist()
    tags = [
        module.labels.decode(ids[:length])
        for ids, length in zip(prediction.tags.tolist(), lengths, strict=True)
    ]
    found = [(row, span) for row, names in enumerate(tags) for span in spans(names)]
    kinds = {name: number for number, name in enumerate(module.labels.types)}
    places = torch.tensor(
        [(row, s.start, s.end, kinds[s.type]) for row, s in found], dtype=torch.long
    ).reshape(-1, 4)
    tagger = module.built
    device = module.device
    chances = tagger.span_probabilities(
        emissions.to(device), mask.to(device), *places.to(device).unbind(1)
    ).tolist()
    name = "marginal" if tagger.crf is not None else "softmax_product"
    entities: list[list[dict[str, Any]]] = [[] for _ in tags]
    for (row, span), chance in zip(found, chances, strict=True):
        entities[row].append(
            {"type": span.type, "start": span.start, "end": span.end, name: round(chance, 6)}
        )
    for row, index in enumerate(prediction.batch.index.tolist()):
        sentence = sentences[index]
        yield {
            "sentence": index,
            "document": sentence.document,
            "words": list(sentence.words),
            "gold": list(sentence.tags or ()),
            "predicted": tags[row],
            "entities": entities[row],
        }


def gather(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """All ranks' rows on rank 0; on others, and without ranks, their own."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return rows
    first = torch.distributed.get_rank() == 0
    parts: list[Any] | None = [None] * torch.distributed.get_world_size() if first else None
    torch.distributed.gather_object(rows, parts)
    return [row for part in parts for row in part] if parts is not None else rows


def describe_split(data: CoNLLDataModule, name: str) -> dict[str, Any]:
    """Origin, fingerprint and sizes of a split."""
    split = data.split(name)
    counts = dict.fromkeys(data.types, 0)
    for sentence in split.sentences:
        for span in spans(sentence.tags or ()):
            counts[span.type] = counts.get(span.type, 0) + 1
    return {
        "origin": split.origin,
        "fingerprint": split.fingerprint,
        "sentences": len(split.sentences),
        "words": sum(len(sentence.words) for sentence in split.sentences),
        "entities": counts,
    }


def peak_memory() -> int:
    """Bytes: the most GPU memory allocated, or without a GPU the most resident memory."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def say(line: str) -> None:
    """Prints a line for the person at the terminal."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def _parts(trainer: pl.Trainer) -> tuple[NERModule, CoNLLDataModule]:
    module, data = trainer.lightning_module, getattr(trainer, "datamodule", None)
    assert isinstance(module, NERModule)
    assert isinstance(data, CoNLLDataModule)
    return module, data


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
