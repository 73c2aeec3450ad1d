"""`ner-lightning pretrain`: trains a recipe's backbone to predict masked words of text."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ner_lightning.commands.known_names import parse_beside_recipe
from ner_lightning.commands.options import Parser
from ner_lightning.errors import UserError

if TYPE_CHECKING:
    from lightning.pytorch import Callback, Trainer

    from ner_lightning.commands.recipe import RecipeCLI
    from ner_lightning.runs.folder import Run


def run(subcommand: str, args: Sequence[str]) -> None:
    """Runs the command; raises UserError at a user's mistake."""
    options, rest = parse_beside_recipe(parser(subcommand), args)
    from ner_lightning.system.ranges import OpenUnit, check_options

    check_options(options, mask_ratio=OpenUnit)
    # Here and below: `--help` must not wait for torch and lightning.
    from ner_lightning.commands.preflight import check_config
    from ner_lightning.commands.recipe import RecipeCLI, quiet, recipe_words
    from ner_lightning.commands.start import join_run
    from ner_lightning.commands.trainer_options import check_trainer
    from ner_lightning.commands.unused_options import refuse_unused, report_unused
    from ner_lightning.system.console import say
    from ner_lightning.system.progress import shown
    from ner_lightning.training.launch import use_all_ranks

    folder = None if options.run is None else _resumed(options)
    example = "configs/smollm2_conll2003.yaml"
    with recipe_words(rest, folder, example) as words, quiet(), shown("stdout"):
        recipe = RecipeCLI(words)
        refuse_unused(rest, subcommand)
        text = recipe.text()
        if change := use_all_ranks(recipe.config.trainer):
            say(change)
        check_trainer(recipe.config)
        check_config(recipe.config)
        report_unused(rest, recipe.config)
        asked = {"mask_ratio": options.mask_ratio, "text": _add_texts(recipe, options.text)}
        folder = join_run(folder, Path(options.runs), f"{recipe.config.name}-pretrained")
        _train(folder, recipe, text, asked, ["ner-lightning", subcommand, *args])


def _resumed(options: argparse.Namespace) -> "Run":
    """The run to resume, whose settings replace those of the options."""
    from ner_lightning.commands.recipe import find_resumed

    default = parser("pretrain").parse_args([])
    if (options.mask_ratio, options.text) != (default.mask_ratio, default.text):
        raise UserError("--run resumes with the run's own --mask_ratio and --text; leave them out")
    folder, about = find_resumed(options.run, "pretrain", "pretraining")
    if "val_loss" in about:
        raise UserError(f"--run {options.run} is done: its model is {folder.path / 'model'}")
    options.mask_ratio, options.text = about["mask_ratio"], [text["from"] for text in about["text"]]
    return folder


def _add_texts(recipe: "RecipeCLI", addresses: Sequence[str]) -> list[dict[str, Any]]:
    """Adds texts to the training data; returns what each held."""
    from ner_lightning.data.untagged_text import read_text

    texts = [read_text(address) for address in addresses]
    for text in texts:
        recipe.datamodule.corpus.add_text(text.sentences, text.documents)
    return [text.described() for text in texts]


def _train(
    folder: "Run", recipe: "RecipeCLI", text: str, asked: dict[str, Any], command: Sequence[str]
) -> None:
    import lightning.pytorch as pl

    from ner_lightning.runs.folder import LAST, remove_empty, short
    from ner_lightning.system.console import say
    from ner_lightning.training import ranks
    from ner_lightning.training.callbacks.nonfinite import NonFiniteGuard
    from ner_lightning.training.callbacks.throughput import Throughput
    from ner_lightning.training.loggers.metrics_table import TableLogger
    from ner_lightning.training.pretraining.masked_words import Pretraining
    from ner_lightning.training.pretraining.outputs import MODEL, PretrainingFolder

    table, throughput, bar = TableLogger(folder.path), Throughput(), sys.stderr.isatty()
    guard = NonFiniteGuard(folder, "pretrain")
    outputs = PretrainingFolder(folder, command, text, asked, table, throughput, bar=bar)
    trainer = _trainer(folder, recipe.config.trainer, table, [guard, throughput, outputs], bar=bar)
    module = Pretraining(recipe.model.settings, recipe.model.optimizer_settings, asked["mask_ratio"])
    last = folder.checkpoint(LAST)
    try:
        pl.seed_everything(int(recipe.config.seed_everything), verbose=False)
        trainer.fit(module, recipe.datamodule, ckpt_path=str(last) if last.is_file() else None)
    except BaseException as error:
        ranks.end_children(trainer)
        if known := guard.explained(error, recipe.datamodule):
            raise known from error
        raise
    finally:
        remove_empty(folder)
    model = short(folder.path / MODEL)
    say(f"{model} is a backbone now; next: ner-lightning fit --config FILE --model.backbone {model}")


def _trainer(
    folder: "Run", options: Any, table: Any, callbacks: Sequence["Callback"], *, bar: bool
) -> "Trainer":
    """A trainer with those of a recipe's options that apply here."""
    from lightning.pytorch import Trainer

    from ner_lightning.commands.unused_options import PRETRAINER
    from ner_lightning.training.callbacks.checkpoints import CheckpointFiles, LastCheckpoint
    from ner_lightning.training.callbacks.graceful_stop import GracefulStop
    from ner_lightning.training.callbacks.passing_bar import PassingBar

    saving = [GracefulStop(folder, table, command="pretrain"), LastCheckpoint(folder)]
    names = [name.removeprefix("trainer.") for name in PRETRAINER]
    return Trainer(
        callbacks=[*callbacks, *saving, *([PassingBar()] if bar else [])],
        logger=table,
        plugins=[CheckpointFiles(folder, "pretrain")],
        default_root_dir=str(folder.path),
        enable_progress_bar=bar,
        **{name: options[name] for name in names},
    )


def parser(name: str) -> Parser:
    """Its options."""
    parser = Parser(
        name,
        "Masks words of a recipe's training text and trains its backbone to predict them from both sides. "
        "The result is a backbone like any other.",
        usage="ner-lightning pretrain --config FILE [--mask_ratio SHARE] [--OPTION VALUE ...]",
        epilog="Options of `ner-lightning fit`, such as --model.optimizer.lr, override the recipe.",
    )
    add = parser.add_argument
    add(
        "--mask_ratio",
        type=float,
        default=0.25,
        metavar="SHARE",
        help="of the words (default: 0.25)",
    )
    add(
        "--text",
        action="append",
        default=[],
        metavar="FILE",
        help="further text: a file or folder as `predict` reads; may be repeated",
    )
    parser.add_resumed_run()
    return parser
