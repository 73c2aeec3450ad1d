"""fit, validate and test: LightningCLI, with run folders and checkpoints that know their config."""

import os
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import ArgumentError
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import TQDMProgressBar
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.loggers import WandbLogger

from ner_lightning.commands.parser_errors import explain
from ner_lightning.commands.preflight import refuse
from ner_lightning.commands.recipe import COMMON, add_options, plain, quiet
from ner_lightning.commands.sandbox import keep_profile, sandbox_outputs
from ner_lightning.commands.start import Start, find_start, join_run, run_folder
from ner_lightning.commands.trainer_options import check_monitors, check_trainer, explain_missing
from ner_lightning.commands.unused_options import refuse_outside, say_unused
from ner_lightning.errors import UserError
from ner_lightning.runs import folder as runs
from ner_lightning.runs.folder import Run
from ner_lightning.runs.provenance import now
from ner_lightning.system import console
from ner_lightning.system.progress import shown
from ner_lightning.training import ranks
from ner_lightning.training import summary as report
from ner_lightning.training.callbacks import epoch_table
from ner_lightning.training.callbacks import run_files as callbacks
from ner_lightning.training.callbacks.checkpoints import BestCheckpoint, CheckpointFiles, LastCheckpoint
from ner_lightning.training.callbacks.fill_cache import FillFeatureCache
from ner_lightning.training.callbacks.graceful_stop import GracefulStop
from ner_lightning.training.callbacks.nonfinite import NonFiniteGuard
from ner_lightning.training.callbacks.throughput import Throughput
from ner_lightning.training.datamodule import CoNLLDataModule
from ner_lightning.training.launch import RUN_VARIABLE, use_all_ranks
from ner_lightning.training.loggers.metrics_table import TableLogger, wandb_without_key
from ner_lightning.training.loggers.wandb import SteadyWandbLogger, finish_wandb
from ner_lightning.training.loggers.wandb_dashboard import Dashboard
from ner_lightning.training.module import NERModule
from ner_lightning.training.resuming import check_data, check_settings


class NERCLI(LightningCLI):
    """LightningCLI for one model and one data module.

    Args:
        start: where it starts.
        command: the words after the program's name, as they were typed.
    """

    def __init__(self, start: Start, command: Sequence[str]) -> None:
        self.start = start
        self.run_folder = start.folder
        self.words = [command[0], *start.words]
        self.command = ["ner-lightning", *command]
        self.given: Any = None  # the options as they were, before folders in them were made absolute
        self.watch: NonFiniteGuard | None = None
        self.files: callbacks.RunFiles | None = None
        try:
            super().__init__(
                NERModule,
                CoNLLDataModule,
                args=self.words,
                **COMMON,
            )
        except BaseException as error:
            ranks.end_children(getattr(self, "trainer", None))
            known = explain_missing(error, self.given and self.given.trainer) or (
                self.watch and self.watch.explained(error, self.datamodule)
            )
            if known:
                raise known from error
            raise

    @staticmethod
    def subcommands() -> dict[str, set[str]]:
        """fit, validate and test; predict is a command of our own."""
        known = LightningCLI.subcommands()
        return {name: known[name] for name in ("fit", "validate", "test")}

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Links model and data, so that backbone and entity types are named once."""
        add_options(parser)

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Parses the words; what is wrong with them is said in a line or two.

        Raises:
            UserError: an option does not exist, or its value is not of its type.
        """
        try:
            super().parse_arguments(parser, args)
        except ArgumentError as error:
            subparser = self._subcommand_parsers.get(self.words[0], parser)
            keys = [action.dest for action in subparser._actions]
            raise UserError(explain(str(error), keys)) from None
        self.config = plain(self.config)

    def _parse_ckpt_path(self) -> None:
        """Nothing: a checkpoint's settings were already given before the user's own, which win."""

    def before_instantiate_classes(self) -> None:
        """Makes the run folder, and refuses what cannot work before anything is loaded."""
        config = self.config[self.subcommand]
        self.given = config.clone()
        if said := use_all_ranks(config.trainer):
            console.say(said)
        check_trainer(config, fits=self.subcommand == "fit")
        refuse(config)
        if self.subcommand == "fit":
            say_unused(self.words, config)
        else:
            refuse_outside(self.words, str(self.subcommand))
        if self.run_folder is None:
            self.run_folder = run_folder(Path(config.runs), config.name)
        join_run(self.run_folder)
        sandbox_outputs(config.trainer, self.run_folder.path)
        logger = config.trainer.logger
        for one in _listed(logger):
            if not isinstance(one, bool):
                self._prepare_wandb(one)
        for callback in _listed(config.trainer.callbacks):
            # Else it looks at scores where an epoch ends without a validation, too.
            if callback.class_path.endswith("EarlyStopping") and callback.init_args.monitor.startswith(
                "val/"
            ):
                callback.init_args.check_on_train_epoch_end = False

    def _prepare_wandb(self, logger: Any) -> None:
        if logger.class_path.rpartition(".")[2] not in (WandbLogger.__name__, SteadyWandbLogger.__name__):
            return
        logger.class_path = f"{SteadyWandbLogger.__module__}.{SteadyWandbLogger.__name__}"
        assert self.run_folder is not None
        arguments = logger.init_args
        arguments.id = arguments.id or self.run_folder.read("run.json").get("wandb_id")
        # Seeds of a recipe form a group, each with a name of its own.
        recipe, number = self.run_folder.path.parts[-2:]
        if arguments.name is None:
            arguments.name = f"{recipe}/{number} seed {self.config[self.subcommand].seed_everything}"
        arguments.group = arguments.group or recipe
        if wandb_without_key():
            os.environ["WANDB_MODE"] = "offline"
            console.say(
                "W&B has no key, so it logs offline; `wandb login`, then "
                f"`wandb sync {self.run_folder.path}/wandb/*run-*` uploads it later."
            )

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """A trainer with the callbacks and the table that every run has."""
        assert self.run_folder is not None
        parts = [part.name for part in self.model.settings.loss.parts or ()]
        check_monitors(self.config[self.subcommand], self.datamodule.types, parts)
        config, text = self._resolved()
        self._check_start(config)
        trainer = self.config_init[self.subcommand].trainer
        loggers = [one for one in _listed(trainer.logger) if not isinstance(one, bool)]
        bar = sys.stderr.isatty() and trainer.enable_progress_bar is not False
        live = bar and self.subcommand == "fit" and sys.stdout.isatty()  # a fit's own moving view
        table, vitals = TableLogger(self.run_folder.path), Throughput()
        self.watch = NonFiniteGuard(self.run_folder)
        every = self.config[self.subcommand].checkpoint_every_n_steps
        best = BestCheckpoint(self.run_folder)
        self.files = callbacks.RunFiles(self.run_folder, config, text, self.command, table, best)
        always = [
            self.watch,
            self.files,
            vitals,  # this and the next before what saves within an epoch
            epoch_table.EpochTable(self.run_folder, vitals, bar=bar, live=live),
            GracefulStop(self.run_folder, table, every),
            Dashboard(self.run_folder, best),
            FillFeatureCache(),
            best,  # these after all others
            LastCheckpoint(self.run_folder),
        ]
        if bar and not live:
            always.append(TQDMProgressBar())
        else:
            kwargs["enable_progress_bar"] = False
        made = super().instantiate_trainer(
            callbacks=[*_listed(trainer.callbacks), *always],
            logger=[table, *loggers],
            plugins=[*_listed(trainer.plugins), CheckpointFiles(self.run_folder)],
            default_root_dir=str(self.run_folder.path),
            enable_checkpointing=True,
            **kwargs,
        )
        keep_profile(made, self.run_folder.path)
        return made

    def _check_start(self, config: dict[str, Any]) -> None:
        """Compares settings and data with those of the checkpoint, before the backbone is loaded."""
        if self.start.checkpoint is None:
            return
        training = self.subcommand == "fit"
        check_settings(self.start.held, config, training=training)
        if training and (said := check_data(self.start.held, self.datamodule)):
            console.say(said)

    def _resolved(self) -> tuple[dict[str, Any], str]:
        """The whole configuration, entity types included, as plain values and as YAML."""
        parser = self._parser(self.subcommand)
        text: str = parser.dump(self.given, skip_none=False, skip_validation=True)
        config = yaml.safe_load(text)
        config["data"]["types"] = self.datamodule.types
        config["data"]["encoding"]["max_length"] = self.datamodule.corpus.max_length
        config.pop("config", None)
        config.pop("ckpt_path", None)
        return config, yaml.safe_dump(config, sort_keys=False)

    def _prepare_subcommand_kwargs(self, subcommand: str) -> dict[str, Any]:
        kwargs = super()._prepare_subcommand_kwargs(subcommand)
        if subcommand != "fit":
            kwargs["verbose"] = False  # the result table is our own
        return kwargs | {"ckpt_path": self.start.checkpoint and str(self.start.checkpoint)}


def run(subcommand: str, args: Sequence[str]) -> None:
    """Runs fit, validate or test.

    Args:
        subcommand: one of the three.
        args: its options.

    Raises:
        UserError: an option, a file or a setting is not as it must be.
        Interrupted: a signal stopped a fit, which was saved.
    """
    with find_start(subcommand, args) as start:
        try:
            with warnings.catch_warnings(), shown("stdout"):
                quiet()
                cli = NERCLI(start, [subcommand, *args])
        except (MisconfigurationException, ValueError) as error:
            if isinstance(error, ValueError) and not str(error).startswith(" `val_check_interval` ("):
                raise
            raise UserError(" ".join(str(error).split())) from None
        except SystemExit as stop:
            if stop.code == 1:  # Lightning's way out after Ctrl-C
                raise KeyboardInterrupt from None
            sys.stdout.flush()
            raise
        finally:
            finish_wandb(os.environ.get(RUN_VARIABLE))
            if RUN_VARIABLE in os.environ and ranks.is_first():
                runs.remove_empty(Run(Path(os.environ[RUN_VARIABLE])))
    if cli.trainer.is_global_zero and cli.run_folder is not None:
        if subcommand == "fit":
            folder = cli.run_folder
            console.best_effort(
                folder.path / "run.json", lambda: folder.update("run.json", {"finished": now()})
            )
        stage = "test" if subcommand == "test" else "val"
        agreement = cli.files.agreement if cli.files else None
        report.show(cli.run_folder, stage, fitted=subcommand == "fit", agreement=agreement)


def _listed(given: Any) -> list[Any]:
    return [] if given is None else given if isinstance(given, list) else [given]
