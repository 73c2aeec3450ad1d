"""`ner-lightning memory`: how much memory a training needs, computed from its recipe before it is run."""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ner_lightning.commands.options.command_line import Parser
from ner_lightning.commands.options.known_names import parse_beside_recipe
from ner_lightning.system.terminal import counted

if TYPE_CHECKING:
    from ner_lightning.analysis.render.blocks import Block
    from ner_lightning.commands.lightning_cli.memory_recipe import MemoryRequest
    from ner_lightning.model.allocation import BatchShape
    from ner_lightning.model.memory_need import MemoryNeed

ROWS, LENGTHS = (1, 4, 8, 16, 32), (64, 128, 256, 512)  # of the second table
NAMES = {
    "frozen": "frozen weights",
    "trained": "trained weights",
    "gradients": "gradients",
    "optimizer": "AdamW's states",
    "average": "average of weights",
    "activations": "activations",
    "temporary": "temporary tensors",
}
NOT_IN_IT = (
    "Computed, not measured. Not in it: the CUDA context (about 0.5 GiB), fragmentation, the workspaces of "
    "CUDA kernels, and DistributedDataParallel's copy of the gradients."
)


@dataclass(frozen=True)
class MemoryReport:
    """Bytes: of the training by part, of the training by rows and lengths, of the prediction."""

    need: "MemoryNeed"
    rows: tuple[int, ...]
    lengths: tuple[int, ...]
    table: list[list[int]]
    prediction_weights: int
    prediction_temporary: int


def run(subcommand: str, args: Sequence[str]) -> None:
    """Runs the command; raises UserError at a user's mistake."""
    options, rest = parse_beside_recipe(parser(subcommand), args)
    # Here and below: `--help` must not wait for torch and lightning.
    from jsonargparse import ActionConfigFile

    from ner_lightning.analysis.render.terminal_text import terminal
    from ner_lightning.commands.lightning_cli import recipe
    from ner_lightning.commands.lightning_cli.library_warnings import without_library_notes
    from ner_lightning.commands.lightning_cli.memory_recipe import memory_request
    from ner_lightning.commands.options.parser_errors import user_errors

    keys = recipe.parser()
    keys.add_argument("-c", "--config", action=ActionConfigFile)
    with recipe.recipe_words(rest, None, "configs/quickstart.yaml") as words, without_library_notes():
        with user_errors(keys):
            config = keys.parse_args(words)
        asked = memory_request(config, options.device)
        computed = compute(asked)
        shown = dumped(asked, computed) if options.json else terminal(blocks(asked, computed))
    sys.stdout.write(shown)


def compute(asked: "MemoryRequest") -> MemoryReport:
    """Computes what is printed.

    Raises:
        UserError: the backbone cannot be made what the settings say, or not be run without weights.
    """
    from ner_lightning.model.memory_need import MemoryOutline

    given: Any = {"bf16": asked.bf16, "device_type": asked.device_type}
    outline = MemoryOutline(asked.settings, asked.pretrained, asked.labels, **given)
    need = outline.training(asked.training, averaged=asked.averaged)
    lengths = tuple(each for each in LENGTHS if each <= asked.training.length) or (asked.training.length,)
    packed = asked.training.packed
    table = outline.training_table(ROWS, lengths, averaged=asked.averaged, packed=packed)
    settings = asked.settings
    if settings.quantization == "none":  # adapters are folded, and all is in the backbone's own precision
        architecture = replace(settings.architecture, unfreeze_top=0)
        settings = replace(settings, freeze_backbone=True, peft="none", architecture=architecture)
    tagger = MemoryOutline(settings, asked.pretrained, asked.labels, **given)
    return MemoryReport(need, ROWS, lengths, table, sum(tagger.weights), tagger.prediction(asked.prediction))


def blocks(asked: "MemoryRequest", computed: MemoryReport) -> list["Block"]:
    """The tables that the terminal shows."""
    from ner_lightning.analysis.render.blocks import Table, Text

    batch, predicted = asked.training, asked.prediction
    packed = ", the rows packed into one" if batch.packed else ""
    need, weights, temporary = computed.need, computed.prediction_weights, computed.prediction_temporary
    parts = [[name, gib(getattr(need, key))] for key, name in NAMES.items()]
    grid = [[str(rows), *map(gib, line)] for rows, line in zip(computed.rows, computed.table, strict=True)]
    return [
        Table(
            f"Training {described(asked)}, {shape(batch)}, GiB:",
            ("", "GiB"),
            [*parts, ["sum", gib(need.total)]],
        ),
        Table(
            f"The sum by rows in a batch (down) and sub-tokens in a row (across){packed}, GiB:",
            ("rows", *map(str, computed.lengths)),
            grid,
        ),
        Text(
            f"Prediction, {shape(predicted)}: {gib(weights)} GiB of weights + {gib(temporary)} = "
            f"{gib(weights + temporary)} GiB"
        ),
        Text(NOT_IN_IT),
        *(Text(remark) for remark in asked.remarks),
    ]


def described(asked: "MemoryRequest") -> str:
    """Backbone, what is trained of it, and its precision."""
    settings, top = asked.settings, asked.settings.architecture.unfreeze_top
    trained = [f"the {top} layers on top"] * (top > 0) + ["LoRA adapters"] * (settings.peft == "lora")
    if not settings.freeze_backbone:
        trained = ["all weights"]
    return ", ".join(
        [
            f"{' and '.join(trained) or 'the head alone'} of {asked.pretrained.label}",
            *([settings.quantization] if settings.quantization != "none" else []),
            "bf16" if asked.bf16 else "fp32",
            *(["gradient checkpointing"] if settings.runtime.gradient_checkpointing else []),
            f"on {asked.device_type}",
        ]
    )


def shape(batch: "BatchShape") -> str:
    """A batch in words."""
    packed = " packed into one" if batch.packed else ""
    return f"{counted(batch.rows, 'row')} of {batch.length} sub-tokens{packed}"


def gib(count: int) -> str:
    """Bytes as GiB, with two significant digits."""
    value = count / 2**30
    if value >= 10:
        return f"{value:.0f}"
    return "0" if value == 0 else "< 0.001" if value < 0.001 else f"{value:#.2g}"


def dumped(asked: "MemoryRequest", computed: MemoryReport) -> str:
    """The same as JSON, in bytes."""
    found = {
        "backbone": asked.settings.backbone,
        "device": asked.device_type,
        "bf16": asked.bf16,
        "quantization": asked.settings.quantization,
        "batch": asked.training._asdict(),
        "training": vars(computed.need) | {"total": computed.need.total},
        "by_rows_and_lengths": [
            {"rows": rows, "length": length, "total": total}
            for rows, line in zip(computed.rows, computed.table, strict=True)
            for length, total in zip(computed.lengths, line, strict=True)
        ],
        "prediction": {
            **asked.prediction._asdict(),
            "weights": computed.prediction_weights,
            "temporary": computed.prediction_temporary,
            "total": computed.prediction_weights + computed.prediction_temporary,
        },
        "unit": "bytes",
    }
    return json.dumps(found, indent=2) + "\n"


def parser(name: str) -> Parser:
    """Its options."""
    parser = Parser(
        name,
        "Computes how much memory a training needs, from its recipe and the backbone's configuration alone.",
        usage="ner-lightning memory --config FILE [--OPTION VALUE ...]",
        epilog="Options of `ner-lightning fit`, such as --model.quantization, override the recipe.",
    )
    parser.add_argument(
        "--device",
        choices=("cpu", "cuda"),
        help="where it will run (default: a GPU, or what the recipe names)",
    )
    parser.add_argument("--json", action="store_true", help="print JSON, in bytes")
    return parser
