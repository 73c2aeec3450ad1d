"""`ner-lightning export`: a trained tagger as a folder that others can load."""

import argparse
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from ner_lightning.commands.options.command_line import Parser, check_folder
from ner_lightning.errors import UserError
from ner_lightning.system.progress import printed, stage
from ner_lightning.system.user_paths import expanded


def run(subcommand: str, args: Sequence[str]) -> None:
    """Runs the command; raises UserError at a user's mistake."""
    options = parser(subcommand).parse_args(args)
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    _check(options)
    with printed("stderr"):
        if _is_only_pushed(options):
            _push(options, expanded(options.run))
            return
        folder = _export(options)
        for file in sorted(file for file in folder.rglob("*") if file.is_file()):
            sys.stdout.write(f"{file}  {file.stat().st_size / 1e6:,.1f} MB\n")
        if options.push:
            sys.stdout.flush()
            _push(options, folder)
            return
    sys.stderr.write(f"next: ner-lightning predict {shlex.quote(str(folder))} --text '...'\n")


def _check(options: argparse.Namespace) -> None:
    from ner_lightning.system.ranges import PositiveFloat, check_options

    check_options(options, temperature=PositiveFloat)
    if options.output is not None:
        check_folder("--output", options.output)
    elif options.push is None:
        raise UserError("name the folder to write: --output DIR; or where to upload it: --push org/name")
    if options.private and options.push is None:
        raise UserError("--private is for --push; leave it out, or add that")
    if options.push is None:
        return
    from ner_lightning.export.upload import check_target

    check_target(options.push)  # before anything is computed
    if _is_only_pushed(options):
        for option in ("format", "dtype", "backbone"):
            if getattr(options, option) not in (None, "auto"):
                raise UserError(
                    f"--{option} has no effect on {options.run}, which is exported; add --output DIR"
                )


def _is_only_pushed(options: argparse.Namespace) -> bool:
    """Whether RUN is an exported folder, to be uploaded as it is."""
    from ner_lightning.inference.loading import is_exported

    return bool(options.push and options.run and not options.output and is_exported(expanded(options.run)))


def _export(options: argparse.Namespace) -> Path:
    # Here and below, not above: `--help` must not wait for torch.
    from ner_lightning.export.exported_folder import export

    return export(
        options.run,
        expanded(options.output or options.push.rpartition("/")[2]),
        format=options.format or "merged",
        dtype=options.dtype,
        temperature=options.temperature,
        root=Path(options.runs),
        backbone=options.backbone,
        trust=options.trust_remote_code,
    )


def _push(options: argparse.Namespace, folder: Path) -> None:
    from ner_lightning.export.upload import upload_folder

    stage(f"Uploading to {options.push} ...")
    temperature = options.temperature if _is_only_pushed(options) else None  # otherwise it is exported
    address = upload_folder(folder, options.push, private=options.private, temperature=temperature)
    sys.stdout.write(f"{address}\n")
    sys.stderr.write(f'next, in Python: NERTagger.from_pretrained("{options.push}")\n')


def parser(name: str = "export") -> Parser:
    """The command's options."""
    parser = Parser(name, "Writes a trained tagger as a folder: weights, tokenizer, labels, model card.")
    parser.add_run()
    add = parser.add_argument
    add(
        "--output",
        metavar="DIR",
        help="the folder to write, missing or empty (with --push: NAME, here; an exported RUN is uploaded "
        "as it is)",
    )
    add("--push", metavar="ORG/NAME", help="upload the folder to this repository on the Hugging Face Hub")
    add("--private", action="store_true", help="make the repository private, if it is new")
    add(
        "--format",
        choices=("merged", "adapter", "onnx", "openvino"),
        help="merged: the whole model (default); adapter: only what was trained; openvino: merged, and a "
        "graph that is faster on CPUs; onnx: a graph in fp32, for other programs",
    )
    add(
        "--dtype",
        choices=("auto", "float32", "bfloat16"),
        default="auto",
        help="of a merged model (default: what it was trained to run in)",
    )
    add("--temperature", type=float, metavar="T", help="divide scores by it; `predict --calibrate` finds it")
    parser.add_backbone()
    parser.add_trust()
    return parser
