"""`ner-lightning predict`: files of text or words in, entities out."""

import argparse
import os
import sys
import time
from collections.abc import Iterator, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING

from ner_lightning.commands.options import Parser, add_run, add_trust
from ner_lightning.commands.predict_checks import (
    STANDARD_OUTPUT,
    check,
    check_files,
    check_first,
    output_format,
)
from ner_lightning.data.sentence import is_written_through
from ner_lightning.errors import UserError
from ner_lightning.inference.io import formats
from ner_lightning.system.progress import shown, stage, warn

if TYPE_CHECKING:
    from ner_lightning.inference.io.resumable import Output
    from ner_lightning.inference.ner_tagger import NERTagger


# What the outcome depends on, so that a stopped command is only gone on with by the same one.
_DECISIVE = (
    "text input field id_field word_column whole_files tokenized source_format target_format wide strict "
    "rejects temperature calibrate"
)


def run(subcommand: str, args: Sequence[str]) -> None:
    """Runs the command.

    Raises:
        UserError: an option, the input, the output or the run is not as it must be.
    """
    options = parser(subcommand).parse_args(args)
    check(options)
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    if options.device is not None:
        from ner_lightning.model.devices import chosen_device

        chosen_device(options.device)
    with shown("stderr"):
        if options.input is None and not options.text:
            check_files(options, [], parser(subcommand).parse_args([]))
            _calibrated(options, show=True)
        else:
            _predict(options)


def _predict(options: argparse.Namespace) -> None:
    # Here and below: `--help` must not wait for numpy and torch.
    from ner_lightning.inference.bulk import Share, blocks, tag_blocks
    from ner_lightning.inference.bulk import check as check_block
    from ner_lightning.inference.io.readers import Inputs
    from ner_lightning.inference.io.records import Record

    how = ("source_format", "field", "id_field", "word_column", "whole_files")
    inputs = Inputs(options.input or "", *(getattr(options, name) for name in how))
    files = inputs.files() if options.input else []
    check_files(options, files, parser("predict").parse_args([]))
    share = Share.of(files)
    output = _output(options, files)
    before = output.done.words
    try:
        given = (Record("--text", number, text) for number, text in enumerate(options.text or (), 1))
        records: Iterator[Record] = inputs.read(share.opened) if options.input else given
        found = blocks(islice(records, output.done.records, None))
        first = next(found, [])
        if not first and not output.done.records:
            raise UserError(f"{options.input}:1: no sentence in the file; name a file that has some")
        if options.strict:
            check_block(first)  # before anything is loaded, if it is near the beginning
        check_first(options, first)
        began = time.monotonic()
        tagger = _calibrated(options)
        loading = time.monotonic() - began
        from ner_lightning.inference.io.writers import writer

        made = writer(output_format(options), tagger.labels.types, wide=options.wide, color=_colored(options))
        stage("Tagging ...")
        seconds = tag_blocks(
            tagger,
            chain([first], found) if first else iter(()),
            made,
            output,
            strict=options.strict,
            tokenized=options.tokenized,
            share=share,
        )
        if output.done.rejected and not output.done.texts:
            raise UserError(f"{options.input}: no text could be read of {output.done.rejected:,}")
        output.finish(made.finish)
    except BaseException:
        output.leave()
        raise
    rate = (output.done.words - before) / max(seconds, 1e-9)
    ready = "loaded and calibrated" if options.calibrate else "loaded"
    _say(options, output, f"{rate:,.0f} words/s; {ready} in {loading:.1f} s")


def _calibrated(options: argparse.Namespace, show: bool = False) -> "NERTagger":
    """The tagger, at the temperature that was asked for."""
    from ner_lightning.data.readers.by_suffix import read_sentences
    from ner_lightning.inference.ner_tagger import NERTagger

    sentences = (
        read_sentences(options.calibrate, word_column=options.word_column) if options.calibrate else []
    )
    tagger = NERTagger.from_run(
        options.run,
        root=options.runs,
        device=options.device,
        trust_remote_code=options.trust_remote_code,
    )
    if options.temperature is not None:
        tagger.temperature = options.temperature
    if not options.calibrate:
        return tagger
    from ner_lightning.data.sentence import unknown_entities, unknown_types
    from ner_lightning.inference.calibration import calibrate

    types = tagger.labels.types
    if unknown := unknown_entities(sentences, types):
        warn(unknown_types(options.calibrate, unknown, types))
    stage("Calibrating ...")
    found = calibrate(tagger, sentences)
    said = (
        f"temperature {found.temperature:.3f}: calibration error {found.before:.4f} before, "
        f"{found.after:.4f} after, on {found.entities:,} predicted entities"
    )
    if show:
        sys.stdout.write(said + "\n")
    else:
        stage(said)
    return tagger


def _output(options: argparse.Namespace, files: list[Path]) -> "Output":
    from ner_lightning.inference.io.overwriting import check_overwriting
    from ner_lightning.inference.io.resumable import DirectOutput, ResumableOutput

    rejects = Path(options.rejects) if options.rejects else None
    path = None if options.output in (None, STANDARD_OUTPUT) else Path(options.output)
    check_overwriting(path, rejects, [Path(options.calibrate)] if options.calibrate else [])
    if path is None:
        return DirectOutput(None, rejects)
    if is_written_through(path):
        return DirectOutput(path, rejects)
    from ner_lightning.inference.bulk import request

    model = Path(options.run).expanduser() if options.run else Path(options.runs) / "last"
    wanted = {name: getattr(options, name) for name in _DECISIVE.split()} | request(files, model.resolve())
    beside = path.with_name(path.name + ".rejects.jsonl")
    return ResumableOutput(path, rejects or beside, wanted, restart=options.restart)


def _colored(options: argparse.Namespace) -> bool:
    on_terminal = options.output in (None, STANDARD_OUTPUT) and sys.stdout.isatty()
    return on_terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def _say(options: argparse.Namespace, output: "Output", speed: str) -> None:
    """Says what was done, unless it can be seen."""
    done = output.done
    if options.output is None and not done.rejected:
        return
    parts = [
        _count(done.texts, "text"),
        _count(done.words, "word"),
        _count(done.entities, "entity", "entities"),
    ]
    rejected = f"; {done.rejected:,} left out" if done.rejected else ""
    where = "standard output" if options.output in (None, STANDARD_OUTPUT) else options.output
    stage(f"{', '.join(parts)}{rejected}: {where} ({speed})")


def _count(number: int, one: str, several: str | None = None) -> str:
    return f"{number:,} {one if number == 1 else several or one + 's'}"


def parser(name: str) -> Parser:
    """Its options."""
    parser = Parser(
        prog=f"ner-lightning {name}",
        description="Finds entities in text. A stopped command goes on when it is given again.",
    )
    add_run(parser)
    add = parser.add_argument
    add("--text", action="append", help="a text; may be repeated")
    add(
        "--input",
        metavar="FILE",
        help=f"{', '.join(formats.READ)}; a folder of such files; - for standard input",
    )
    add(
        "--output", metavar="FILE", help=f"{', '.join(formats.WRITTEN)}; - for JSONL (default: show the text)"
    )
    add("--from", dest="source_format", choices=formats.INPUTS, help="the input's format, whatever its name")
    add("--to", dest="target_format", choices=formats.OUTPUTS, help="the output's format, whatever its name")
    add("--field", default="text", help="field or column with the text, or with a list of words (text)")
    add("--id_field", default="id", metavar="FIELD", help="field or column that is handed on (id)")
    add("--word_column", type=int, metavar="N", help="column of the words in CoNLL files, from 0 (the first)")
    add("--whole_files", action="store_true", help="a .txt file is one text (default: each line is one)")
    add("--tokenized", action="store_true", help="words of texts are parted by spaces, signs as well")
    add("--wide", action="store_true", help="CSV, Parquet: a row a text, a column a type")
    add("--strict", action="store_true", help="stop at what cannot be read (default: note it, and go on)")
    add("--rejects", metavar="FILE", help="where that is noted (default: OUTPUT.rejects.jsonl)")
    add("--restart", action="store_true", help="begin again, though an earlier command was stopped")
    add("--calibrate", metavar="FILE", help="tagged sentences, not trained on, to make scores fit to")
    add("--temperature", type=float, metavar="T", help="what scores are divided by first (1)")
    add("--device", help="cpu, cuda, cuda:N or mps (default: a CUDA GPU if there is one)")
    add_trust(parser)
    return parser
