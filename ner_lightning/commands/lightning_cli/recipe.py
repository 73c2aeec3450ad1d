"""Recipes: options beside Lightning's own, and RecipeCLI, which reads a recipe without running it."""

import argparse
import typing
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from enum import Enum
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import Namespace
from lightning.pytorch import Trainer
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI

from ner_lightning.commands.options.command_line import RUNS
from ner_lightning.commands.options.config_files import config_files, find_configs, with_run_name
from ner_lightning.commands.options.consent import stored_options, take_consent
from ner_lightning.commands.options.found_paths import explaining_paths, settings_of
from ner_lightning.commands.options.given_options import given
from ner_lightning.commands.options.parser_errors import user_errors
from ner_lightning.errors import UserError
from ner_lightning.model.pinning import pin
from ner_lightning.runs.folder import RECIPE, Run, run_path, short
from ner_lightning.system.ranges import PositiveInt, Seed, check_setting
from ner_lightning.system.user_paths import without_tilde
from ner_lightning.training.datamodule import CoNLLDataModule
from ner_lightning.training.launch import drawn_seed
from ner_lightning.training.loggers.logged_text import LogText
from ner_lightning.training.module import NERModule

TRAINER_DEFAULTS = {
    "use_distributed_sampler": False,  # ours deals batches of like length out to ranks
    "num_sanity_val_steps": 0,
    "gradient_clip_val": 1.0,
    "enable_model_summary": False,
    "log_every_n_steps": 10,
    "max_epochs": 10,
}
# What every use of LightningCLI here has in common.
COMMON: dict[str, Any] = {
    "save_config_callback": None,  # the run folder keeps it
    "trainer_defaults": TRAINER_DEFAULTS,
    "seed_everything_default": 42,
    "auto_configure_optimizers": False,
    "load_from_checkpoint_support": False,  # modules save their own settings
    "parser_kwargs": {"exit_on_error": False, "allow_abbrev": False},
}


class RecipeCLI(LightningCLI):
    """A recipe that is read and not run: `config`, and the data module that it describes.

    Args:
        words: options as of `fit`.
        resumed: the run that is resumed, whose backbone is that of its beginning.

    Raises:
        UserError: an option does not exist, or its value is not of its type.
    """

    def __init__(self, words: Sequence[str], resumed: Run | None = None) -> None:
        self.resumed = resumed
        super().__init__(NERModule, CoNLLDataModule, args=list(words), run=False, **COMMON)

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Those of `fit`."""
        add_options(parser)

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Parses the words."""
        with user_errors(parser):
            super().parse_arguments(parser, args)
        self.config = without_enums(self.config)
        settle(self.config)
        self.given = self.config.clone()
        if self.resumed is not None:
            stored = settings_of(self.resumed, RECIPE)
            pin(self.config, stored.get("model") or {}, self.resumed.read("run.json").get("backbone", {}))

    def instantiate_classes(self) -> None:
        """Makes the data module and the settings of the model, but no trainer."""
        made = self.parser.instantiate_classes(self.config)
        self.datamodule, self.model = made.data, made.model

    def text(self) -> str:
        """All its settings as YAML."""
        dumped: str = self.parser.dump(self.given, skip_none=False, skip_validation=True)
        settings = yaml.safe_load(dumped)
        settings.pop("config", None)
        return yaml.safe_dump(settings, sort_keys=False)


@contextmanager
def recipe_words(rest: Sequence[str], resumed: Run | None, example: str) -> Iterator[list[str]]:
    """Options as of `fit` for a command that reads a recipe, or resumes a run with its own recipe.

    Args:
        rest: the words that are not the command's own.
        resumed: the run that is resumed.
        example: a recipe to name to a user who named none.

    Raises:
        UserError: no recipe is named, one cannot be read, the run names foreign code without consent, or a
            name is given to a run that has one.
    """
    if resumed is not None and "name" in given(rest):
        raise UserError(f"--name has no effect here: the run is {short(resumed.path)}; leave it out")
    words = find_configs(rest)
    consent = take_consent(words)
    if resumed is None and not config_files(words):
        raise UserError(f"name a recipe, whose backbone and data are used: --config {example}")
    if resumed is None:
        yield with_run_name(words)
        return
    file, recipe = resumed.path / RECIPE, settings_of(resumed, RECIPE)
    with stored_options(recipe, file, consent=consent) as stored, explaining_paths(recipe, resumed):
        yield with_run_name([*stored, *words])


def find_resumed(options: argparse.Namespace, command: str, kind: str) -> tuple[Run, dict[str, Any]]:
    """A run to resume, and what was asked of it.

    Args:
        options: its folder as `run`, and `runs`.
        command: the command that made it.
        kind: the key of run.json under which that command stores what was asked.

    Raises:
        UserError: it is not a run of that command, or `--runs` is given, too.
    """
    if options.runs != RUNS:
        raise UserError(f"--runs has no effect here: the run is {options.run}; leave it out")
    run = Run(run_path(options.run, Path()).resolve())
    asked = run.read("run.json").get(kind)
    if asked is None:
        raise UserError(
            f"--run {options.run} is not a run of `ner-lightning {command}`; leave it out for a new one"
        )
    return run, asked


def check_same_recipe(run: Run, recipe: RecipeCLI) -> None:
    """Raises UserError where model, data or precision differ from those of a run that is resumed."""
    stored, now = settings_of(run, RECIPE), yaml.safe_load(recipe.text())
    for key, old, new in _changed(stored, now):
        part, _, name = key.partition(".")
        # Consent to foreign code is given anew each time.
        if (
            part in ("model", "data") and not name.endswith("trust_remote_code")
        ) or key == "trainer.precision":
            raise UserError(
                f"{key} is {new}, but {run.path} was begun with {old}: what it has already would not fit to "
                "the rest.\nLeave that option out, or start a new run, without --run."
            )


def _changed(old: Any, new: Any, key: str = "") -> Iterator[tuple[str, Any, Any]]:
    """The settings that differ, by key, with both values; those of another version are left out."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for name in old:
            if name in new:
                yield from _changed(old[name], new[name], f"{key}.{name}" if key else name)
    elif old != new:
        yield key, old, new


def same_split(run: Run, data: CoNLLDataModule, name: str) -> bool:
    """Whether a split is, as far as is known, the one that a run was begun with."""
    known = run.read("run.json").get("data", {}).get(name, {}).get("fingerprint")
    return known is None or known == data.corpus.split(name).fingerprint


def check_same_split(run: Run, data: CoNLLDataModule, name: str) -> None:
    """Raises UserError where a split is not the one that a run was begun with."""
    if not same_split(run, data, name):
        raise UserError(
            f"the {name} split ({data.corpus.split(name).origin}) is not the one that {run.path} was begun "
            "with: its fingerprint differs.\nRestore it to resume the run, or start a new one, without --run."
        )


def add_options(parser: LightningArgumentParser) -> None:
    """Adds what Lightning lacks, and links model and data: backbone and types are named once."""
    parser.add_argument("--runs", default=RUNS, help="the folder of run folders")
    parser.add_argument("--name", default="run", help="the run's name: it goes to RUNS/NAME/1, 2, ...")
    parser.add_argument(
        "--checkpoint_every_n_steps",
        type=PositiveInt | None,
        default=None,
        help="save `last` within an epoch, too, each time so many steps are done",
    )
    parser.add_argument(
        "--log_text",
        type=LogText,
        default="bundled",
        help="whether W&B gets sentences of the data: `never`, `always`, or of the `bundled` sample alone",
    )
    parser.link_arguments("model.backbone", "data.backbone")
    parser.link_arguments("model.revision", "data.backbone_revision")
    parser.link_arguments("model.runtime.trust_remote_code", "data.trust_remote_code")
    parser.link_arguments("seed_everything", "data.seed", compute_fn=_data_seed)
    parser.link_arguments("data.types", "model.types", apply_on="instantiate")
    _try_whole_numbers_first(parser)


def without_enums(config: Any) -> Any:
    """A copy of parsed options that can be written: an enumeration, some callbacks' default, by value."""
    if isinstance(config, Namespace):
        return Namespace(**{key: without_enums(value) for key, value in vars(config).items()})
    if isinstance(config, list):
        return [without_enums(value) for value in config]
    return config.value if isinstance(config, Enum) else config


def _try_whole_numbers_first(parser: LightningArgumentParser) -> None:
    """Keeps `1`, a number of batches, from being read as `1.0`, all of them.

    A union's types are tried in their order. typing keeps unions that it has made, and takes those of the
    same types for equal: where spaCy was imported before, the Trainer's `int | float` is `float | int`.
    """
    for action in parser._actions:
        kinds = typing.get_args(getattr(action, "_typehint", None))
        if int in kinds and float in kinds and kinds.index(float) < kinds.index(int):
            ordered: Any = typing.Union
            action._typehint = ordered[tuple(sorted(kinds, key=lambda kind: kind is not int))]


def settle(config: Any) -> None:
    """Replaces `seed_everything: true` by a number that is drawn, and `~` in the folder of runs."""
    config.runs = without_tilde(config.runs)
    if config.seed_everything is True:
        config.seed_everything = config.data.seed = drawn_seed()


def _data_seed(seed: bool | int) -> int:
    check_setting("seed_everything", Seed, int(seed))
    return int(seed)


def parser() -> LightningArgumentParser:
    """A parser of all options of a recipe, to list them."""
    made = LightningArgumentParser(exit_on_error=False, allow_abbrev=False)
    made.add_argument("--seed_everything", type=bool | int, default=42)  # others are linked to it
    made.add_lightning_class_args(Trainer, "trainer")
    made.add_lightning_class_args(NERModule, "model")
    made.add_lightning_class_args(CoNLLDataModule, "data")
    add_options(made)
    return made
