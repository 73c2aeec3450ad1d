"""`ner-lightning baseline`: tags a split by prompting the backbone, to be compared with training it."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ner_lightning.commands.options import Parser
from ner_lightning.errors import UserError
from ner_lightning.runs.folder import STAGES

if TYPE_CHECKING:
    from ner_lightning.runs.folder import Run


# What a run continues with.
KEPT = ("shots", "split", "sentences", "prompt_seed", "max_new_tokens", "constrained")


def run(subcommand: str, args: Sequence[str]) -> None:
    """Runs the command.

    Raises:
        UserError: an option, the data or the backbone is not as it must be.
    """
    options, rest = parser(subcommand).parse_known_args(args)
    from ner_lightning.system.ranges import NonNegativeInt, PositiveInt, check_options

    check_options(
        options,
        shots=NonNegativeInt,
        sentences=PositiveInt,
        prompt_seed=NonNegativeInt,
        max_new_tokens=PositiveInt,
        batch_size=PositiveInt,
    )
    # Here and below: `--help` must not wait for torch and lightning.
    from ner_lightning.commands.recipe import RecipeCLI, quiet, recipe_words
    from ner_lightning.commands.unused_options import refuse_outside
    from ner_lightning.prompting.prompted_run import Baseline, Settings
    from ner_lightning.system.progress import shown
    from ner_lightning.training import summary as report

    folder = None if options.run is None else _begun(options)
    example = "configs/quickstart.yaml"
    settings = Settings(**{name: getattr(options, name) for name in KEPT})
    with recipe_words(rest, folder, example) as words, quiet(), shown("stdout"):
        recipe = RecipeCLI(words)
        refuse_outside(rest, subcommand)
        baseline = Baseline(
            settings,
            recipe.model.hparams,
            recipe.datamodule,
            bf16="bf16" in str(recipe.config.trainer.precision),
            device=options.device,
        )
        if folder is None:
            form = "-constrained" if settings.constrained else ""
            folder = _create(Path(options.runs), f"{recipe.config.name}-{settings.shots}shot{form}")
            baseline.begin(folder, ["ner-lightning", subcommand, *args], recipe.text())
        baseline.answer(folder, options.batch_size)
        agreement = baseline.finish(folder)
        report.show(folder, STAGES[settings.split], agreement=agreement)
        _say_rest(folder)


def _begun(options: argparse.Namespace) -> "Run":
    """The run to continue; what was asked of it is put into the options."""
    from ner_lightning.commands.recipe import begun_run

    default = parser("baseline").parse_args([])
    for name in KEPT:
        if getattr(options, name) != getattr(default, name):
            raise UserError(f"--run goes on with the run's own --{name}; leave it out")
    folder, kept = begun_run(options.run, "baseline", "prompting")
    asked = {"constrained": False} | kept  # older runs do not name it
    vars(options).update({name: asked[name] for name in KEPT})
    return folder


def _create(root: Path, name: str) -> "Run":
    from ner_lightning.runs import folder as runs

    folder = runs.create(root, name)
    folder.checkpoints.rmdir()  # nothing is trained
    return folder


def _say_rest(folder: "Run") -> None:
    """What could not be read, and what to do next."""
    from ner_lightning.runs.folder import short
    from ner_lightning.system.console import say

    said = folder.read("run.json")["prompting"]
    say(
        f"{said['failed']:,} of {said['answers']:,} answers could not be read; "
        f"{said['unread_lines']:,} lines are of another form, {said['absent']:,} entities are not in their "
        f"sentence, {said['cut']:,} answers were cut at {said['max_new_tokens']} tokens"
    )
    say(f"next, beside a trained run: ner-lightning compare RUN {short(folder.path)}")


def parser(name: str) -> Parser:
    """Its options."""
    parser = Parser(
        prog=f"ner-lightning {name}",
        usage="ner-lightning baseline --config FILE [--shots N] [--split SPLIT] [--OPTION VALUE ...]",
        description="Tags a split by prompting a recipe's backbone, to be compared with training it.",
        epilog="Options of `ner-lightning fit`, such as --model.backbone, override the recipe.",
    )
    parser.add_argument("--shots", type=int, default=0, help="examples from the training data (default: 0)")
    parser.add_argument("--split", choices=STAGES, default="test", help="what to tag (default: test)")
    parser.add_argument("--sentences", type=int, metavar="N", help="tag N of its sentences, drawn at random")
    parser.add_argument("--prompt_seed", type=int, default=1, help="of examples and that draw (default: 1)")
    parser.add_argument("--max_new_tokens", type=int, default=96, help="the longest answer (default: 96)")
    parser.add_argument(
        "--constrained", action="store_true", help="allow only lines with a type and words of the sentence"
    )
    parser.add_argument("--batch_size", type=int, default=16, help="prompts answered together (default: 16)")
    parser.add_argument("--run", metavar="RUN", help="continue one that was stopped, with its settings")
    parser.add_argument("--runs", default="runs", metavar="DIR", help="the folder of run folders")
    parser.add_argument("--device", help="cpu, cuda, cuda:N or mps (default: a CUDA GPU if there is one)")
    return parser
