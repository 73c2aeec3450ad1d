"""`ner-lightning pretrain`: trains a recipe's backbone to predict masked words of text."""

import argparse
import hashlib
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ner_lightning.commands.options.command_line import Parser
from ner_lightning.commands.options.known_names import parse_beside_recipe
from ner_lightning.errors import UserError
from ner_lightning.system.terminal import redraws

if TYPE_CHECKING:
    from lightning.pytorch import Callback, Trainer

    from ner_lightning.commands.lightning_cli.recipe import RecipeCLI
    from ner_lightning.data.untagged_text import UntaggedText
    from ner_lightning.runs.folder import Run

MASK_RATIO = 0.25  # of a new run; the parser's own default is None, so that it shows whether one is given


def run(subcommand: str, args: Sequence[str]) -> None:
    """Runs the command; raises UserError at a user's mistake."""
    options, rest = parse_beside_recipe(parser(subcommand), args)
    from ner_lightning.system.ranges import OpenUnit, PositiveInt, check_options, check_setting

    check_options(options, mask_ratio=OpenUnit)
    # Here and below: `--help` must not wait for torch and lightning.
    from ner_lightning.commands.lightning_cli.library_warnings import without_library_notes
    from ner_lightning.commands.lightning_cli.preflight import check_config
    from ner_lightning.commands.lightning_cli.recipe import RecipeCLI, recipe_words
    from ner_lightning.commands.lightning_cli.run_folder import own_run
    from ner_lightning.commands.options.refused_options import refuse_unused
    from ner_lightning.commands.options.trainer_options import check_trainer
    from ner_lightning.commands.options.unused_options import report_unused, report_unused_of_recipe
    from ner_lightning.system.console import say
    from ner_lightning.system.progress import printed
    from ner_lightning.training.launch import use_all_ranks

    folder = None if options.run is None else _resumed(options)
    example = "configs/smollm2_conll2003.yaml"
    with recipe_words(rest, folder, example) as words, without_library_notes(), printed("stdout"):
        recipe = RecipeCLI(words, folder)
        refuse_unused(rest, subcommand)
        text = recipe.text()
        if change := use_all_ranks(recipe.config.trainer):
            say(change)
        check_trainer(recipe.config)
        check_setting("trainer.max_epochs", PositiveInt, recipe.config.trainer.max_epochs)
        check_config(recipe.config)
        report_unused(rest, recipe.config)
        report_unused_of_recipe(recipe.config)
        if recipe.config.data.encoding.repeats:
            raise UserError(
                "data.encoding.repeats writes a text several times, so that masked words could be copied;\n"
                "leave it out of a pretraining: --data.encoding.repeats 0"
            )
        if recipe.config.data.supervision.teacher is not None:
            raise UserError(
                "data.supervision.teacher has probabilities of tags, which a pretraining does not learn;\n"
                "leave it out: --data.supervision.teacher null"
            )
        if folder is not None:
            _check_same(folder, recipe)
        ratio = MASK_RATIO if options.mask_ratio is None else options.mask_ratio
        asked = {"mask_ratio": ratio, "text": _add_texts(recipe, options.text or (), folder)}
        with own_run(folder, Path(options.runs), f"{recipe.config.name}-pretrained") as folder:
            _train(folder, recipe, text, asked, ["ner-lightning", subcommand, *args])


def _resumed(options: argparse.Namespace) -> "Run":
    """The run to resume, whose settings replace those of the options."""
    from ner_lightning.commands.lightning_cli.recipe import find_resumed
    from ner_lightning.commands.options.found_paths import found_path

    if options.mask_ratio is not None or options.text is not None:
        raise UserError("--run resumes with the run's own --mask_ratio and --text; leave them out")
    folder, about = find_resumed(options, "pretrain", "pretraining")
    if "val_loss" in about:
        raise UserError(f"--run {options.run} is done: its model is {folder.path / 'model'}")
    options.mask_ratio = about["mask_ratio"]
    options.text = [found_path(text["from"], folder) for text in about["text"]]
    return folder


def _check_same(folder: "Run", recipe: "RecipeCLI") -> None:
    """Refuses other settings or training data than those of a resumed run; tells of other validation data."""
    import yaml

    from ner_lightning.commands.lightning_cli.recipe import check_same_split, same_split
    from ner_lightning.commands.options.found_paths import settings_of
    from ner_lightning.runs.folder import RECIPE
    from ner_lightning.system.console import say
    from ner_lightning.training.resuming import check_settings

    begun, now = settings_of(folder, RECIPE), yaml.safe_load(recipe.text())
    anew = "`ner-lightning pretrain --config FILE` without --run"
    check_settings({"config": begun}, now, training=True, anew=anew)
    check_same_split(folder, recipe.datamodule, "train")
    if not same_split(folder, recipe.datamodule, "valid"):
        say(
            f"The validation data ({recipe.datamodule.corpus.split('valid').origin}) are not those of the "
            "epochs before. Validation losses before and after are not comparable."
        )


def _add_texts(recipe: "RecipeCLI", addresses: Sequence[str], resumed: "Run | None") -> list[dict[str, Any]]:
    """Adds texts to the training data; returns what each held.

    Raises:
        UserError: a text cannot be read, or is not the one that a resumed run has learned from.
    """
    from ner_lightning.data.untagged_text import read_text

    texts = [read_text(address) for address in addresses]
    described = [text.described() | {"fingerprint": _fingerprint(text)} for text in texts]
    before = [] if resumed is None else resumed.read("run.json")["pretraining"]["text"]
    for old, new in zip(before, described, strict=False):
        if old | {"from": new["from"]} != new:  # it may be read from another folder
            raise UserError(
                f"the text {new['from']} is not the one that this run was begun with: it has changed.\n"
                "Restore it to resume the run, or start a new run, without --run."
            )
    for text in texts:
        recipe.datamodule.corpus.add_text(text.sentences, text.documents)
    return described


def _fingerprint(text: "UntaggedText") -> str:
    content = json.dumps([text.sentences, text.documents])
    return hashlib.sha256(content.encode()).hexdigest()


def _train(
    folder: "Run", recipe: "RecipeCLI", text: str, asked: dict[str, Any], command: Sequence[str]
) -> None:
    import lightning.pytorch as pl

    from ner_lightning.runs.folder import LAST, short
    from ner_lightning.system.console import say
    from ner_lightning.training import ranks
    from ner_lightning.training.callbacks.nonfinite import NonFiniteGuard
    from ner_lightning.training.callbacks.throughput import Throughput
    from ner_lightning.training.loggers.metrics_table import TableLogger
    from ner_lightning.training.pretraining.masked_words import Pretraining
    from ner_lightning.training.pretraining.outputs import MODEL, PretrainingFolder

    table, throughput, bar = TableLogger(folder.path), Throughput(), redraws(sys.stderr)
    guard = NonFiniteGuard(folder, "pretrain")
    outputs = PretrainingFolder(folder, command, text, asked, table, throughput, bar=bar)
    trainer = _trainer(folder, recipe.config, table, [guard, throughput, outputs], bar=bar)
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
    model = short(folder.path / MODEL)
    say(f"{model} is a backbone now; next: ner-lightning fit --config FILE --model.backbone {model}")


def _trainer(
    folder: "Run", config: Any, table: Any, callbacks: Sequence["Callback"], *, bar: bool
) -> "Trainer":
    """A trainer with those of a recipe's options that apply here."""
    from lightning.pytorch import Trainer

    from ner_lightning.commands.options.refused_options import PRETRAINER
    from ner_lightning.training.callbacks.checkpoints import CheckpointFiles, LastCheckpoint
    from ner_lightning.training.callbacks.graceful_stop import GracefulStop
    from ner_lightning.training.callbacks.transient_bar import TransientProgressBar
    from ner_lightning.training.launch import check_processes

    stop = GracefulStop(folder, command="pretrain")
    saving = [stop, LastCheckpoint(folder, stop, table, config.checkpoint_every_n_steps)]
    names = [name.removeprefix("trainer.") for name in PRETRAINER]
    trainer = Trainer(
        callbacks=[*callbacks, *saving, *([TransientProgressBar()] if bar else [])],
        logger=table,
        plugins=[CheckpointFiles(folder, "pretrain")],
        default_root_dir=str(folder.path),
        enable_progress_bar=bar,
        **{name: config.trainer[name] for name in names},
    )
    check_processes(trainer)
    return trainer


def parser(name: str) -> Parser:
    """Its options."""
    parser = Parser(
        name,
        "Masks words of a recipe's training text and trains its backbone to predict them from both sides. "
        "The result is a backbone like any other.",
        usage="ner-lightning pretrain --config FILE [--OPTION VALUE ...]",
        epilog="Options of `ner-lightning fit`, such as --model.optimizer.lr, override the recipe.",
    )
    add = parser.add_argument
    add(
        "--mask_ratio",
        type=float,
        metavar="SHARE",
        help=f"of the words (default: {MASK_RATIO})",
    )
    add(
        "--text",
        action="append",
        metavar="FILE",
        help="further text: a file or folder as `predict` reads; may be repeated",
    )
    parser.add_resumed_run()
    return parser
