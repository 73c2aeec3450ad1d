"""fit, validate and test: LightningCLI, with run folders and checkpoints that know their config."""

import logging
import os
import sys
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import ArgumentError
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import TQDMProgressBar
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.loggers import WandbLogger

from ner_lightning import runs
from ner_lightning.data.datamodule import CoNLLDataModule
from ner_lightning.errors import UserError
from ner_lightning.options import config_files, named, peek, shipped, take
from ner_lightning.preflight import check_config, explain, refuse, refuse_types
from ner_lightning.progress import shown
from ner_lightning.runs import BEST, LAST, RUN_VARIABLE, Run
from ner_lightning.training import callbacks, console, report
from ner_lightning.training.checkpoint_io import WholeFileIO
from ner_lightning.training.dashboard import Dashboard
from ner_lightning.training.loggers import TableLogger, wandb_without_key
from ner_lightning.training.module import NERModule
from ner_lightning.training.states import HiddenStateCache
from ner_lightning.training.vitals import Vitals

TRAINER_DEFAULTS = {
    "use_distributed_sampler": False,  # ours deals batches of like length out to ranks
    "num_sanity_val_steps": 0,
    "gradient_clip_val": 1.0,
    "enable_model_summary": False,
    "log_every_n_steps": 10,
    "max_epochs": 10,
}


class NERCLI(LightningCLI):
    """LightningCLI for one model and one data module.

    Args:
        args: the words after the program's name.
        checkpoint: to continue, validate or test from.
        run: the folder to write to; None makes a new one.
    """

    def __init__(self, args: Sequence[str], checkpoint: Path | None, run: Run | None) -> None:
        self.checkpoint = checkpoint
        self.run_folder = run
        self.words = list(args)
        super().__init__(
            NERModule,
            CoNLLDataModule,
            args=self.words,
            save_config_callback=None,  # the run folder keeps it
            trainer_defaults=TRAINER_DEFAULTS,
            seed_everything_default=42,
            auto_configure_optimizers=False,
            parser_kwargs={"exit_on_error": False},
        )

    @staticmethod
    def subcommands() -> dict[str, set[str]]:
        """fit, validate and test; predict is a command of our own."""
        known = LightningCLI.subcommands()
        return {name: known[name] for name in ("fit", "validate", "test")}

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Links model and data, so that backbone and entity types are named once."""
        parser.add_argument("--runs", default="runs", help="the folder of run folders")
        parser.add_argument("--name", default="run", help="the run's name: it goes to RUNS/NAME/1, 2, ...")
        parser.link_arguments("model.backbone", "data.backbone")
        parser.link_arguments("model.revision", "data.backbone_revision")
        parser.link_arguments("model.trust_remote_code", "data.trust_remote_code")
        parser.link_arguments("seed_everything", "data.seed", compute_fn=_data_seed)
        parser.link_arguments("data.types", "model.types", apply_on="instantiate")

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

    def _parse_ckpt_path(self) -> None:
        """Nothing: a checkpoint's settings were already given before the user's own, which win."""

    def before_instantiate_classes(self) -> None:
        """Makes the run folder, and refuses what cannot work before anything is loaded."""
        config = self.config[self.subcommand]
        refuse(config)
        if self.run_folder is None:
            # Ranks started by Lightning are told of rank 0's folder; those of torchrun never write.
            told = os.environ.get(RUN_VARIABLE)
            number = int(os.environ.get("RANK", os.environ.get("LOCAL_RANK", "0")))
            if told is not None and number > 0:
                self.run_folder = Run(Path(told))
            elif number > 0:
                self.run_folder = Run(Path(tempfile.mkdtemp()))
            else:
                self.run_folder = runs.create(Path(config.runs), config.name)
        runs.check_writable(self.run_folder)
        os.environ[RUN_VARIABLE] = str(self.run_folder.path)
        logger = config.trainer.logger
        for one in _listed(logger):
            if not isinstance(one, bool):
                self._prepare_wandb(one)

    def _prepare_wandb(self, logger: Any) -> None:
        if logger.class_path.rpartition(".")[2] != WandbLogger.__name__:
            return
        assert self.run_folder is not None
        arguments = logger.init_args
        if arguments.save_dir in (None, "."):
            arguments.save_dir = str(self.run_folder.path)
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
        refuse_types(self.config[self.subcommand], self.datamodule.types)
        trainer = self.config_init[self.subcommand].trainer
        loggers = [one for one in _listed(trainer.logger) if not isinstance(one, bool)]
        bar = sys.stderr.isatty() and trainer.enable_progress_bar is not False
        live = bar and self.subcommand == "fit" and sys.stdout.isatty()  # a fit's own moving view
        vitals = Vitals()
        always = [
            callbacks.RunFolder(self.run_folder, *self._resolved(), ["ner-lightning", *self.words]),
            console.Interruption(self.run_folder),
            vitals,
            console.EpochTable(self.run_folder, vitals, bar=bar, live=live),
            Dashboard(self.run_folder),
            *callbacks.checkpoints(self.run_folder),
            HiddenStateCache(),
        ]
        if bar and not live:
            always.append(TQDMProgressBar())
        else:
            kwargs["enable_progress_bar"] = False
        return super().instantiate_trainer(
            callbacks=[*(trainer.callbacks or []), *always],
            logger=[TableLogger(self.run_folder.path), *loggers],
            plugins=[*_listed(trainer.plugins), WholeFileIO()],
            default_root_dir=str(self.run_folder.path),
            enable_checkpointing=True,
            **kwargs,
        )

    def _resolved(self) -> tuple[dict[str, Any], str]:
        """The whole configuration, entity types included, as plain values and as YAML."""
        parser = self._parser(self.subcommand)
        text: str = parser.dump(self.config[self.subcommand], skip_none=False, skip_validation=True)
        config = yaml.safe_load(text)
        config["data"]["types"] = self.datamodule.types
        config.pop("config", None)
        config.pop("ckpt_path", None)
        return config, yaml.safe_dump(config, sort_keys=False)

    def _prepare_subcommand_kwargs(self, subcommand: str) -> dict[str, Any]:
        kwargs = super()._prepare_subcommand_kwargs(subcommand)
        if subcommand != "fit":
            kwargs["verbose"] = False  # the result table is our own
        return kwargs | {"ckpt_path": None if self.checkpoint is None else str(self.checkpoint)}


def run(subcommand: str, args: Sequence[str]) -> None:
    """Runs fit, validate or test.

    Args:
        subcommand: one of the three.
        args: its options.

    Raises:
        UserError: an option, a file or a setting is not as it must be.
    """
    words = list(args)
    words = [shipped(word) for word in words]
    for file in config_files(words):
        check_config(file)
    configured = bool(config_files(words))
    asked = take(words, "--run"), take(words, "--ckpt_path")
    checkpoint = folder = None
    if "--help" in words or "-h" in words:
        pass
    elif subcommand != "fit" or asked != (None, None):
        checkpoint = _find(subcommand, *asked, Path(peek(words, "--runs") or "runs"))
        folder = None if subcommand == "fit" and configured else runs.run_of(checkpoint)
    with _stored_config(checkpoint if subcommand != "fit" or not configured else None) as stored:
        full = [subcommand, *stored, *named(words)]
        try:
            with warnings.catch_warnings(), shown("stdout"):
                _quiet()
                cli = NERCLI(full, checkpoint, folder)
        except MisconfigurationException as error:
            raise UserError(" ".join(str(error).split())) from None
        except SystemExit as stop:
            if stop.code == 1:  # Lightning's way out after Ctrl-C
                raise KeyboardInterrupt from None
            raise
        finally:
            if "wandb" in sys.modules:
                sys.modules["wandb"].finish()
            if RUN_VARIABLE in os.environ:
                runs.remove_empty(Run(Path(os.environ[RUN_VARIABLE])))
    if cli.trainer.is_global_zero and cli.run_folder is not None:
        stage = "test" if subcommand == "test" else "val"
        report.show(cli.run_folder, stage, fitted=subcommand == "fit")


def _listed(given: Any) -> list[Any]:
    return [] if given is None else given if isinstance(given, list) else [given]


def _find(subcommand: str, address: str | None, which: str | None, root: Path) -> Path:
    if which is not None and which not in (BEST, LAST):
        return runs.resolve(which, BEST, root)
    return runs.resolve(address, which or (LAST if subcommand == "fit" else BEST), root)


@contextmanager
def _stored_config(checkpoint: Path | None) -> Iterator[list[str]]:
    """The option that brings a checkpoint's own configuration in, before the user's options."""
    if checkpoint is None:
        yield []
        return
    config = runs.load_checkpoint(checkpoint)["config"]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "config.yaml"
        file.write_text(yaml.safe_dump(config), encoding="utf-8")
        yield ["--config", str(file)]


def _data_seed(seed: bool | int) -> int:
    return int(seed)


def _quiet() -> None:
    """Silences warnings of libraries about their own insides, each by its words."""
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)  # their tips and notes on hardware
    for words in (
        ".*LightningCLI's args parameter.*",
        ".*does not have many workers.*",
        ".*isinstance.treespec, LeafSpec.*",
        ".*Checkpoint directory .* exists and is not empty.*",
        ".*is not resumable.*",
        ".*litlogger.*",
        ".*smaller than the logging interval.*",  # each epoch has its line whatever the interval
        ".*Found .* module.* in eval mode.*",
        ".*anonymous setting.*",
        ".*recommended to use .self.log.*sync_dist.*",  # the metrics are summed over ranks already
        "The dirpath has changed from .*",
        r"The \.grad attribute of a Tensor that is not a leaf.*",  # torch.compile looking around
    ):
        warnings.filterwarnings("ignore", message=words)
