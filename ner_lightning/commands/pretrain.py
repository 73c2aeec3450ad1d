"""`ner-lightning pretrain`: teaches a recipe's backbone to fill in words, before it becomes a tagger."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ner_lightning.commands.options import Parser
from ner_lightning.errors import UserError

if TYPE_CHECKING:
    from ner_lightning.commands.recipe import RecipeCLI
    from ner_lightning.runs.folder import Run


def run(subcommand: str, args: Sequence[str]) -> None:
    """Runs the command.

    Raises:
        UserError: an option, the data or the backbone is not as it must be.
        Interrupted: a signal stopped it, and it was saved.
    """
    options, rest = parser(subcommand).parse_known_args(args)
    from ner_lightning.system.ranges import OpenUnit, check_options

    check_options(options, hidden=OpenUnit)
    # Here and below: `--help` must not wait for torch and lightning.
    import warnings

    from ner_lightning.commands.preflight import refuse
    from ner_lightning.commands.recipe import RecipeCLI, quiet, recipe_words
    from ner_lightning.commands.start import join_run, run_folder
    from ner_lightning.commands.trainer_options import check_trainer
    from ner_lightning.commands.unused_options import refuse_outside, say_unused
    from ner_lightning.system.console import say
    from ner_lightning.system.progress import shown
    from ner_lightning.training.launch import use_all_ranks

    folder = None if options.run is None else _begun(options)
    example = "configs/smollm2_conll2003.yaml"
    with recipe_words(rest, folder, example) as words, warnings.catch_warnings(), shown("stdout"):
        quiet()
        recipe = RecipeCLI(words)
        refuse_outside(rest, subcommand)
        text = recipe.text()
        if said := use_all_ranks(recipe.config.trainer):
            say(said)
        check_trainer(recipe.config)
        refuse(recipe.config)
        say_unused(rest, recipe.config)
        asked = {"hidden": options.hidden, "text": _add_texts(recipe, options.text)}
        folder = folder or run_folder(Path(options.runs), f"{recipe.config.name}-pretrained")
        join_run(folder)
        _train(folder, recipe, text, asked, ["ner-lightning", subcommand, *args])


def _begun(options: argparse.Namespace) -> "Run":
    """The run to continue; what was asked of it is put into the options."""
    from ner_lightning.commands.recipe import begun_run

    default = parser("pretrain").parse_args([])
    if (options.hidden, options.text) != (default.hidden, default.text):
        raise UserError("--run goes on with the run's own --hidden and --text; leave them out")
    folder, about = begun_run(options.run, "pretrain", "pretraining")
    if "val_loss" in about:
        raise UserError(f"--run {options.run} is done: its model is {folder.path / 'model'}")
    options.hidden, options.text = about["hidden"], [text["from"] for text in about["text"]]
    return folder


def _add_texts(recipe: "RecipeCLI", addresses: Sequence[str]) -> list[dict[str, Any]]:
    """Adds texts to the training data; returns what each held."""
    from ner_lightning.inference.io.inputs import Inputs
    from ner_lightning.inference.io.records import check_taggable, numbered

    held = []
    for address in addresses:
        sentences: list[list[str]] = []
        documents: list[int] = []
        for record, number in numbered(Inputs(address).read()):
            check_taggable([record])
            words = [piece for piece in record.document().words if piece]
            sentences += words
            documents += [number] * len(words)
        if not sentences:
            raise UserError(f"--text {address} holds no words")
        recipe.datamodule.add_text(sentences, documents)
        held.append({"from": address, "sentences": len(sentences), "words": sum(map(len, sentences))})
    return held


def _train(
    folder: "Run", recipe: "RecipeCLI", text: str, asked: dict[str, Any], command: Sequence[str]
) -> None:
    import lightning.pytorch as pl
    from lightning.pytorch.callbacks import TQDMProgressBar

    from ner_lightning.commands.unused_options import PRETRAINER
    from ner_lightning.runs.folder import LAST, remove_empty, short
    from ner_lightning.system.console import say
    from ner_lightning.training import ranks
    from ner_lightning.training.callbacks.checkpoints import CheckpointFiles, LastCheckpoint
    from ner_lightning.training.callbacks.graceful_stop import GracefulStop
    from ner_lightning.training.callbacks.nonfinite import NonFiniteGuard
    from ner_lightning.training.callbacks.throughput import Throughput
    from ner_lightning.training.loggers.metrics_table import TableLogger
    from ner_lightning.training.pretraining import outputs as pretraining_folder
    from ner_lightning.training.pretraining.masked_words import Pretraining

    table, vitals = TableLogger(folder.path), Throughput()
    again = pretraining_folder.AGAIN
    watch = NonFiniteGuard(folder, again)
    bar = sys.stderr.isatty()
    callbacks: list[Any] = [
        watch,
        vitals,
        pretraining_folder.PretrainingFolder(folder, command, text, asked, table, vitals, bar=bar),
        GracefulStop(folder, table, again=again),
        LastCheckpoint(folder),
    ]
    names = [name.removeprefix("trainer.") for name in PRETRAINER]
    settings = {name: recipe.config.trainer[name] for name in names}
    trainer = pl.Trainer(
        callbacks=[*callbacks, *([TQDMProgressBar()] if bar else [])],
        logger=table,
        plugins=[CheckpointFiles(folder, again)],
        default_root_dir=str(folder.path),
        enable_progress_bar=bar,
        **settings,
    )
    module = Pretraining(recipe.model.hparams, asked["hidden"])
    held = folder.checkpoint(LAST)
    try:
        pl.seed_everything(int(recipe.config.seed_everything), verbose=False)
        trainer.fit(module, recipe.datamodule, ckpt_path=str(held) if held.is_file() else None)
    except BaseException as error:
        ranks.end_children(trainer)
        if known := watch.explained(error, recipe.datamodule):
            raise known from error
        raise
    finally:
        remove_empty(folder)
    learned = short(folder.path / pretraining_folder.MODEL)
    say(f"{learned} is a backbone now; next: ner-lightning fit --config FILE --model.backbone {learned}")


def parser(name: str) -> Parser:
    """Its options."""
    parser = Parser(
        prog=f"ner-lightning {name}",
        usage="ner-lightning pretrain --config FILE [--hidden SHARE] [--OPTION VALUE ...]",
        description="Hides words of a recipe's training text and teaches its backbone to fill them in from "
        "both sides. What comes out is a backbone like any other.",
        epilog="Options of `ner-lightning fit`, such as --model.lr, override the recipe.",
    )
    parser.add_argument(
        "--hidden", type=float, default=0.25, metavar="SHARE", help="share of words (default: 0.25)"
    )
    parser.add_argument(
        "--text",
        action="append",
        default=[],
        metavar="FILE",
        help="text to learn from as well: a file or folder as `predict` reads; may be repeated",
    )
    parser.add_argument("--run", metavar="RUN", help="continue one that was stopped, with its settings")
    parser.add_argument("--runs", default="runs", metavar="DIR", help="the folder of run folders")
    return parser
