"""`ner-lightning export`: a trained tagger as a folder that others can load."""

import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from ner_lightning.commands.options import Parser, check_folder
from ner_lightning.errors import UserError
from ner_lightning.system.progress import shown


def run(subcommand: str, args: Sequence[str]) -> None:
    """Runs the command; raises UserError at a user's mistake."""
    options = parser(subcommand).parse_args(args)
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    from ner_lightning.system.ranges import PositiveFloat, check_options

    check_options(options, temperature=PositiveFloat)
    check_folder("--output", options.output)
    if options.dtype != "auto" and options.format != "merged":
        raise UserError(f"--dtype is for --format merged; {options.format} keeps fp32")
    # Here, not above: `--help` must not wait for torch.
    from ner_lightning.export.exported import export

    with shown("stderr"):
        folder = export(
            options.run,
            Path(options.output).expanduser(),
            form=options.format,
            dtype=options.dtype,
            temperature=options.temperature,
            root=Path(options.runs),
            trust=options.trust_remote_code,
        )
    for file in sorted(file for file in folder.rglob("*") if file.is_file()):
        sys.stdout.write(f"{file}  {file.stat().st_size / 1e6:,.1f} MB\n")
    sys.stderr.write(f"next: ner-lightning predict {shlex.quote(str(folder))} --text '...'\n")


def parser(name: str = "export") -> Parser:
    """The command's options."""
    parser = Parser(name, "Writes a trained tagger as a folder: weights, tokenizer, labels, model card.")
    parser.add_run()
    add = parser.add_argument
    add("--output", metavar="DIR", required=True, help="the folder to write; it must not exist")
    add(
        "--format",
        choices=("merged", "adapter", "onnx"),
        default="merged",
        help="merged: the whole model; adapter: only what was trained; onnx: a graph for CPUs",
    )
    add(
        "--dtype",
        choices=("auto", "float32", "bfloat16"),
        default="auto",
        help="of a merged model (default: what it was trained to run in)",
    )
    add("--temperature", type=float, metavar="T", help="divide scores by it; `predict --calibrate` finds it")
    parser.add_trust()
    return parser
