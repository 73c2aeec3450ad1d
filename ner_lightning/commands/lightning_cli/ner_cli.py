"""NERCLI: LightningCLI for one model and one data module, with run folders that hold everything."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import EarlyStopping
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI

from ner_lightning.commands.lightning_cli.preflight import check_config, check_split_files
from ner_lightning.commands.lightning_cli.recipe import COMMON, add_options, settle, without_enums
from ner_lightning.commands.lightning_cli.run_folder import join_run
from ner_lightning.commands.lightning_cli.sandbox import keep_profile, sandbox_outputs
from ner_lightning.commands.lightning_cli.start import Start
from ner_lightning.commands.lightning_cli.unused_by_data import report_unused_by_data
from ner_lightning.commands.options.config_files import config_files
from ner_lightning.commands.options.monitors import check_early, check_monitors
from ner_lightning.commands.options.parser_errors import user_errors
from ner_lightning.commands.options.refused_options import refuse_unused
from ner_lightning.commands.options.trainer_options import (
    check_trainer,
    class_of,
    class_specs,
    explain_missing,
)
from ner_lightning.commands.options.unused_options import report_unused
from ner_lightning.model.pinning import pin
from ner_lightning.system.console import say
from ner_lightning.system.terminal import redraws
from ner_lightning.training import ranks
from ner_lightning.training.callbacks.checkpoints import BestCheckpoint, CheckpointFiles, LastCheckpoint
from ner_lightning.training.callbacks.epoch_table import EpochTable
from ner_lightning.training.callbacks.graceful_stop import GracefulStop
from ner_lightning.training.callbacks.nonfinite import NonFiniteGuard
from ner_lightning.training.callbacks.run_files import RunFiles
from ner_lightning.training.callbacks.throughput import Throughput
from ner_lightning.training.callbacks.transient_bar import TransientProgressBar
from ner_lightning.training.datamodule import CoNLLDataModule
from ner_lightning.training.launch import check_processes, use_all_ranks
from ner_lightning.training.loggers.logged_text import may_log_text
from ner_lightning.training.loggers.metrics_table import TableLogger
from ner_lightning.training.loggers.wandb import prepare_wandb
from ner_lightning.training.loggers.wandb_dashboard import Dashboard
from ner_lightning.training.module import NERModule
from ner_lightning.training.resuming import (
    check_data,
    check_settings,
    check_tested,
    check_trained_parts,
    check_validated,
)

END = "check_on_train_epoch_end"  # of EarlyStopping


class NERCLI(LightningCLI):
    """Fits, validates or tests while it is constructed, as every LightningCLI does.

    Args:
        start: where the command starts.
        command: the words after the program's name.
        typed: as they were typed, if that was for another command.

    Attributes:
        run_folder: the run's folder, once the options are parsed.
        agreement: what seqeval says of the scores.
    """

    def __init__(self, start: Start, command: Sequence[str], typed: Sequence[str] | None = None) -> None:
        self.start = start
        self.run_folder = start.run
        self.words = [command[0], *start.words]
        self.command = ["ner-lightning", *(typed or command)]
        self.given: Any = None  # the options as they were, before folders in them were made absolute
        self.text = False  # whether loggers get text of the data
        self.guard: NonFiniteGuard | None = None
        self.files: RunFiles | None = None
        try:
            super().__init__(NERModule, CoNLLDataModule, args=self.words, **COMMON)
        except BaseException as error:
            ranks.end_children(getattr(self, "trainer", None))
            known = explain_missing(error, self.given and self.given.trainer) or (
                self.guard and self.guard.explained(error, self.datamodule)
            )
            if known:
                raise known from error
            raise

    @property
    def agreement(self) -> str | None:
        """What seqeval says of the scores; None if it was not asked."""
        return self.files.agreement if self.files else None

    def subcommands(self) -> dict[str, set[str]]:  # type: ignore[override]  # a static method there
        """The one that runs, fit, validate or test; the parsers of the others would cost time."""
        return {self.words[0]: LightningCLI.subcommands()[self.words[0]]}

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Links model and data, so that backbone and entity types are named once."""
        add_options(parser)

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Parses the words; raises UserError at an option that does not exist or is not of its type."""
        with user_errors(self._subcommand_parsers[self.words[0]]):
            super().parse_arguments(parser, args)
        self.config = without_enums(self.config)
        settle(self.config[self.words[0]])

    def _parse_ckpt_path(self) -> None:
        """Nothing: a checkpoint's settings were already given before the user's own, which win."""

    def before_instantiate_classes(self) -> None:
        """Makes the run folder, and refuses what cannot work before anything is loaded."""
        config = self.config[self.subcommand]
        self.given = config.clone()
        if change := use_all_ranks(config.trainer):
            say(change)
        if self.subcommand != "fit" and config.trainer.limit_val_batches == 0:
            config.trainer.limit_val_batches = None  # it was for the fit alone
        check_trainer(config, fits=self.subcommand == "fit")
        check_early(config)
        if trained := self.start.trained:
            pin(config, trained["config"].get("model") or {}, trained["backbone"])
        check_config(config)
        if self.subcommand == "fit":
            check_split_files(config.data)
            report_unused(self.words, config)
        else:
            refuse_unused(self.words, str(self.subcommand))
        start, root = self.start, Path(config.runs)
        run_lock = start.run_lock if self.subcommand == "fit" else None
        self.run_folder = join_run(self.run_folder, root, config.name, run_lock, start.checkpoints)
        sandbox_outputs(config.trainer, self.run_folder.path, fits=self.subcommand == "fit")
        self.text = may_log_text(config.log_text, config.data)
        overlays = config_files(self.words)[1:]
        for logger in class_specs(config.trainer.logger):
            prepare_wandb(logger, self.run_folder, config, self.command, overlays, text=self.text)
        for callback in class_specs(config.trainer.callbacks):
            # Otherwise it also looks at scores where an epoch ends without a validation.
            arguments = callback.get("init_args") or {}
            monitor = arguments.get("monitor") or ""
            adjustable = issubclass(class_of(callback), EarlyStopping) and END in arguments
            if adjustable and monitor.startswith("val/"):
                arguments[END] = False

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """A trainer with the callbacks and the table that every run has."""
        assert self.run_folder is not None
        folder, trainer = self.run_folder.path, self.config_init[self.subcommand].trainer
        # `RunFiles` logs the whole configuration, once.
        self.model._log_hyperparams = self.datamodule._log_hyperparams = False
        loss_parts = [part.name for part in self.model.settings.loss.own]
        check_monitors(self.config[self.subcommand], self.datamodule.types, loss_parts)
        config, text = self._resolved()
        self._check_checkpoint(config)
        if self.subcommand == "fit":
            report_unused_by_data(self.config[self.subcommand], self.datamodule)
        bar = redraws(sys.stderr) and trainer.enable_progress_bar is not False
        live = bar and self.subcommand == "fit" and redraws(sys.stdout)  # a fit's own moving view
        table = TableLogger(folder, fits=self.subcommand == "fit")
        callbacks = [*_as_list(trainer.callbacks), *self._callbacks(table, config, text, bar=bar, live=live)]
        if bar and not live:
            callbacks.append(TransientProgressBar())
        else:
            kwargs["enable_progress_bar"] = False
        made = super().instantiate_trainer(
            callbacks=callbacks,
            logger=[table, *(one for one in _as_list(trainer.logger) if not isinstance(one, bool))],
            plugins=[*_as_list(trainer.plugins), CheckpointFiles(self.run_folder)],
            default_root_dir=str(folder),
            enable_checkpointing=True,
            **kwargs,
        )
        check_processes(made)
        keep_profile(made, folder)
        return made

    def _callbacks(
        self, table: TableLogger, config: dict[str, Any], text: str, *, bar: bool, live: bool
    ) -> list[Any]:
        """What every run has, in the order in which it must come."""
        assert self.run_folder is not None
        run, throughput, best = self.run_folder, Throughput(), BestCheckpoint(self.run_folder)
        stop, every = GracefulStop(run), self.config[self.subcommand].checkpoint_every_n_steps
        self.guard = NonFiniteGuard(run)
        self.files = RunFiles(run, config, text, self.command, table, best)
        return [
            self.guard,
            self.files,
            throughput,  # this and the next before what saves within an epoch
            EpochTable(run, throughput, bar=bar, live=live),
            stop,
            Dashboard(run, best, text=self.text),
            best,  # these after all others
            LastCheckpoint(run, stop, table, every),
        ]

    def _check_checkpoint(self, config: dict[str, Any]) -> None:
        """Compares settings and data with those of the checkpoint, before the backbone is loaded."""
        if self.start.checkpoint is None:
            return
        training = self.subcommand == "fit"
        check_settings(self.start.trained, config, training=training)
        if training:
            check_trained_parts(self.start.trained, config)
        if training and (warning := check_data(self.start.trained, self.datamodule)):
            say(warning)
        warning = None
        if self.subcommand == "validate" and self.start.run is not None:
            warning = check_validated(self.start.trained, self.datamodule)
        elif self.subcommand == "test":
            warning = check_tested(self.start.trained, self.datamodule)
        if warning:
            say(warning)

    def _resolved(self) -> tuple[dict[str, Any], str]:
        """The whole configuration, entity types included, as plain values and as YAML."""
        parser = self._parser(self.subcommand)
        text: str = parser.dump(self.given, skip_none=False, skip_validation=True)
        config = yaml.safe_load(text)
        config["data"]["types"] = self.datamodule.types
        config["data"]["encoding"]["max_length"] = self.datamodule.corpus.max_length
        for name in ("config", "ckpt_path", "weights_only"):  # where it came from, not what it is
            config.pop(name, None)
        return config, yaml.safe_dump(config, sort_keys=False)

    def _prepare_subcommand_kwargs(self, subcommand: str) -> dict[str, Any]:
        kwargs = super()._prepare_subcommand_kwargs(subcommand)
        if subcommand != "fit":
            kwargs["verbose"] = False  # the result table is our own
        return kwargs | {"ckpt_path": self.start.checkpoint and str(self.start.checkpoint)}


def _as_list(value: Any) -> list[Any]:
    return [] if value is None else value if isinstance(value, list) else [value]
