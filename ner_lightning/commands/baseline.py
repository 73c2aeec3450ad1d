"""`ner-lightning baseline`: tags a split by prompting the backbone, to be compared with training it."""

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ner_lightning.commands.options.command_line import SCORED_SPLITS, Parser
from ner_lightning.commands.options.known_names import parse_beside_recipe
from ner_lightning.errors import UserError
from ner_lightning.system.precision import names_bf16

if TYPE_CHECKING:
    from ner_lightning.commands.lightning_cli.recipe import RecipeCLI
    from ner_lightning.prompting.prompted_run import Settings
    from ner_lightning.runs.folder import Run

EXAMPLE = "configs/quickstart.yaml"
# What is asked of a new run. The parser's own defaults are None, so that it shows which options are given.
DEFAULTS: dict[str, Any] = {
    "shots": 0,
    "split": "test",
    "sentences": None,
    "prompt_seed": 1,
    "max_new_tokens": 96,
    "constrained": False,
}


def run(subcommand: str, args: Sequence[str]) -> None:
    """Runs the command; raises UserError at a user's mistake."""
    options, rest = parse_beside_recipe(parser(subcommand), args)
    from ner_lightning.runs.folder import STAGES
    from ner_lightning.system.ranges import NonNegativeInt, PositiveInt, check_options

    positive = dict.fromkeys(("sentences", "max_new_tokens", "batch_size"), PositiveInt)
    check_options(options, shots=NonNegativeInt, prompt_seed=NonNegativeInt, **positive)
    # Here and below: `--help` must not wait for torch and lightning.
    from ner_lightning.commands.lightning_cli.library_warnings import without_library_notes
    from ner_lightning.commands.lightning_cli.recipe import RecipeCLI, recipe_words
    from ner_lightning.commands.options.refused_options import refuse_unused
    from ner_lightning.prompting.prompted_run import Baseline
    from ner_lightning.runs.folder import create
    from ner_lightning.system.locks import only_writer
    from ner_lightning.system.progress import printed, stage
    from ner_lightning.training.launch import RUN_VARIABLE
    from ner_lightning.training.summary import show

    settings, folder = _settings(options)
    if folder is not None:
        os.environ[RUN_VARIABLE] = str(folder.path)  # for advice, where disk or memory run out
    with recipe_words(rest, folder, EXAMPLE) as words, without_library_notes(), printed("stdout"):
        recipe = RecipeCLI(words, folder)
        refuse_unused(rest, subcommand)
        _check_used(rest, settings)
        if folder is not None:
            _check_unchanged(folder, recipe, settings.split)
        if (quantization := recipe.model.settings.quantization) != "none":
            stage(f"model.quantization {quantization} is not used: the backbone is prompted unquantised.")
        baseline = Baseline(
            settings,
            recipe.model.settings,
            recipe.datamodule,
            bf16=names_bf16(recipe.config.trainer.precision),
            device=options.device,
        )
        if folder is None:
            form = "-constrained" if settings.constrained else ""
            folder = create(Path(options.runs), f"{recipe.config.name}-{settings.shots}shot{form}")
            folder.checkpoints.rmdir()  # nothing is trained
            baseline.begin(folder, ["ner-lightning", subcommand, *args], recipe.text())
            os.environ[RUN_VARIABLE] = str(folder.path)
        with only_writer(folder.path):
            baseline.answer(folder, options.batch_size)
            agreement = baseline.finish(folder)
        show(folder, STAGES[settings.split], baseline.model.device, agreement=agreement)
        _print_unparsed(folder)


def _settings(options: argparse.Namespace) -> tuple["Settings", "Run | None"]:
    """What is asked, and the run to resume, whose settings are its own."""
    from ner_lightning.commands.lightning_cli.recipe import find_resumed
    from ner_lightning.prompting.prompted_run import Settings

    given = {name: value for name in DEFAULTS if (value := getattr(options, name)) is not None}
    if options.run is None:
        settings = Settings(**(DEFAULTS | given))
        if "prompt_seed" in given and not settings.shots and settings.sentences is None:
            raise UserError(
                "--prompt_seed has no effect here: it is for --shots N and --sentences N; leave it out, "
                "or add one of them"
            )
        return settings, None
    for name in given:
        raise UserError(f"--run resumes with the run's own --{name}; leave it out")
    folder, asked = find_resumed(options, "baseline", "prompting")
    return Settings(**{name: asked[name] for name in DEFAULTS}), folder


def _check_used(words: Sequence[str], settings: "Settings") -> None:
    """Refuses options of splits from which nothing is taken."""
    from ner_lightning.commands.options.given_options import given, is_of

    unused = ["data.test"] if settings.split == "valid" else ["data.valid", "data.limits.valid"]
    for option in given(words):
        if is_of(option, unused):
            raise UserError(f"--{option} has no effect here: --split is {settings.split}; leave it out")
        if option == "data.limits.train" and not settings.shots:
            raise UserError(f"--{option} has no effect here: --shots is 0; leave it out")


def _check_unchanged(folder: "Run", recipe: "RecipeCLI", split: str) -> None:
    """Checks that a resumed run's further answers are to the same prompts, and by the same backbone.

    Raises:
        UserError: the recipe, the examples' or the split's data, or the backbone's weights are others.
    """
    from ner_lightning.commands.lightning_cli.recipe import check_same_recipe, check_same_split
    from ner_lightning.data.pretrained import locate
    from ner_lightning.model.backbone import fingerprint

    check_same_recipe(folder, recipe)
    for name in ("train", split):
        check_same_split(folder, recipe.datamodule, name)
    model = recipe.model.settings
    weights = fingerprint(locate(model.backbone, model.revision))
    if folder.read("run.json").get("backbone", {}).get("weights", weights) != weights:
        raise UserError(
            f"the weights of model.backbone ({model.backbone}) are not those that {folder.path} was begun "
            "with: their fingerprint differs.\nRestore them to resume it, or start a new run, without --run."
        )


def _print_unparsed(folder: "Run") -> None:
    """Prints which answers could not be parsed, and what to do next."""
    from ner_lightning.runs.folder import short
    from ner_lightning.system.console import say

    counts = folder.read("run.json")["prompting"]
    say(
        f"{counts['failed']:,} of {counts['answers']:,} answers could not be parsed; "
        f"{counts['unread_lines']:,} lines are of another form, {counts['absent']:,} entities are not in "
        f"their sentence, {counts['cut']:,} answers were cut at {counts['max_new_tokens']} tokens"
    )
    say(f"next, beside a trained run: ner-lightning compare RUN {short(folder.path)}")


def parser(name: str) -> Parser:
    """Its options."""
    parser = Parser(
        name,
        "Tags a split by prompting a recipe's backbone, to be compared with training it.",
        usage="ner-lightning baseline --config FILE [--OPTION VALUE ...]",
        epilog="Options of `ner-lightning fit`, such as --model.backbone, override the recipe.",
    )
    add = parser.add_argument
    add("--shots", type=int, help=f"examples from the training data (default: {DEFAULTS['shots']})")
    add("--split", choices=SCORED_SPLITS, help=f"what to tag (default: {DEFAULTS['split']})")
    add("--sentences", type=int, metavar="N", help="tag N of its sentences, drawn at random")
    text = f"seed of examples and of that draw (default: {DEFAULTS['prompt_seed']})"
    add("--prompt_seed", type=int, help=text)
    text = f"length limit of an answer (default: {DEFAULTS['max_new_tokens']})"
    add("--max_new_tokens", type=int, help=text)
    text = "allow only lines with a type and words of the sentence"
    add("--constrained", action="store_true", default=None, help=text)
    add("--batch_size", type=int, default=16, help="prompts answered together (default: 16)")
    parser.add_resumed_run()
    parser.add_device()
    return parser
