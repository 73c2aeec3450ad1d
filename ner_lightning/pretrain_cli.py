"""`ner-lightning pretrain`: teaches a recipe's backbone to fill in words, before it becomes a tagger."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ner_lightning.errors import UserError

if TYPE_CHECKING:
    from ner_lightning.recipe import Recipe
    from ner_lightning.runs import Run

RECIPE = "recipe.yaml"
# What of a recipe's trainer is used; its loggers and callbacks are about taggers.
TRAINER = (
    "accelerator",
    "strategy",
    "devices",
    "num_nodes",
    "precision",
    "max_epochs",
    "accumulate_grad_batches",
    "gradient_clip_val",
    "gradient_clip_algorithm",
    "deterministic",
    "log_every_n_steps",
    "use_distributed_sampler",
    "num_sanity_val_steps",
    "enable_model_summary",
)


def run(subcommand: str, args: Sequence[str]) -> None:
    """Runs the command.

    Raises:
        UserError: an option, the data or the backbone is not as it must be.
        Interrupted: a signal stopped it, and it was saved.
    """
    options, rest = parser(subcommand).parse_known_args(args)
    if not 0 < options.hidden < 1:
        raise UserError(f"--hidden is {options.hidden}; it must be above 0 and below 1")
    # Here and below: `--help` must not wait for torch and lightning.
    import warnings

    from ner_lightning.options import config_files, named, shipped
    from ner_lightning.preflight import check_config, refuse
    from ner_lightning.progress import shown
    from ner_lightning.recipe import Recipe, quiet

    words = [shipped(word) for word in rest]
    folder = None if options.run is None else _begun(options)
    if folder is not None:
        words = ["--config", str(folder.path / RECIPE), *words]
    elif not config_files(words):
        raise UserError(
            "name a recipe, whose backbone and data are used: --config configs/smollm2_conll2003.yaml"
        )
    for file in config_files(words):
        check_config(file)
    with warnings.catch_warnings(), shown("stdout"):
        quiet()
        recipe = Recipe(named(words))
        refuse(recipe.config)
        folder = folder or _create(Path(options.runs), f"{recipe.config.name}-pretrained")
        asked = {"hidden": options.hidden, "text": _add_texts(recipe, options.text)}
        _train(folder, recipe, asked, ["ner-lightning", subcommand, *args])


def _begun(options: argparse.Namespace) -> "Run":
    """The run to continue; what was asked of it is put into the options."""
    from ner_lightning.runs import Run

    folder = Run(Path(options.run).expanduser().resolve())
    about = folder.read("run.json").get("pretraining")
    if about is None:
        raise UserError(
            f"--run {options.run} is no run of `ner-lightning pretrain`; leave it out for a new one"
        )
    if "val_loss" in about:
        raise UserError(f"--run {options.run} is done: its model is {folder.path / 'model'}")
    options.hidden, options.text = about["hidden"], [text["from"] for text in about["text"]]
    return folder


def _add_texts(recipe: "Recipe", addresses: Sequence[str]) -> list[dict[str, Any]]:
    """Adds texts to the training data; returns what each held."""
    from ner_lightning.inference.bulk import check, numbered
    from ner_lightning.inference.readers import Inputs

    held = []
    for address in addresses:
        sentences: list[list[str]] = []
        documents: list[int] = []
        for record, number in numbered(Inputs(address).read()):
            check([record])
            words = [piece for piece in record.document().words if piece]
            sentences += words
            documents += [number] * len(words)
        if not sentences:
            raise UserError(f"--text {address} holds no words")
        recipe.datamodule.add_text(sentences, documents)
        held.append({"from": address, "sentences": len(sentences), "words": sum(map(len, sentences))})
    return held


def _create(root: Path, name: str) -> "Run":
    """A new run folder; of several ranks the first one makes it, and tells those that it starts."""
    import os
    import tempfile

    from ner_lightning import runs
    from ner_lightning.training import ranks

    if ranks.is_first():
        folder = runs.create(root, name)
    else:
        told = os.environ.get(runs.RUN_VARIABLE)
        folder = runs.Run(Path(told or Path(tempfile.gettempdir(), "ner-lightning-rank")))
    os.environ[runs.RUN_VARIABLE] = str(folder.path)
    return folder


def _train(folder: "Run", recipe: "Recipe", asked: dict[str, Any], command: Sequence[str]) -> None:
    import sys

    import lightning.pytorch as pl
    from lightning.pytorch.callbacks import TQDMProgressBar

    from ner_lightning.runs import LAST, remove_empty, short
    from ner_lightning.training import pretraining_folder, ranks
    from ner_lightning.training.checkpoints import CheckpointFiles, RunCheckpoint
    from ner_lightning.training.console import say
    from ner_lightning.training.faults import BatchWatch
    from ner_lightning.training.loggers import TableLogger
    from ner_lightning.training.pretraining import Pretraining
    from ner_lightning.training.safepoints import SafePoints
    from ner_lightning.training.vitals import Vitals

    table, vitals = TableLogger(folder.path), Vitals()
    again = pretraining_folder.AGAIN
    watch = BatchWatch(folder, again)
    bar = sys.stderr.isatty()
    callbacks: list[Any] = [
        watch,
        vitals,
        SafePoints(folder, table, again=again),
        pretraining_folder.PretrainingFolder(folder, command, recipe.text(), asked, table, vitals, bar=bar),
        RunCheckpoint(
            dirpath=folder.checkpoints,
            filename=LAST,
            save_on_train_epoch_end=True,
            enable_version_counter=False,
        ),
    ]
    settings = {name: recipe.config.trainer[name] for name in TRAINER}
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


def parser(name: str) -> argparse.ArgumentParser:
    """Its options."""
    parser = argparse.ArgumentParser(
        prog=f"ner-lightning {name}",
        usage="ner-lightning pretrain --config FILE [--hidden SHARE] [--OPTION VALUE ...]",
        description="Hides words of a recipe's training text and teaches its backbone to fill them in from "
        "both sides. What comes out is a backbone like any other.",
        epilog="Options of `ner-lightning fit`, such as --model.lr, override the recipe.",
        allow_abbrev=False,
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
