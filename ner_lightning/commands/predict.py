"""`ner-lightning predict`: files of text or words in, entities out."""

import argparse
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from ner_lightning.commands.options.command_line import Parser, check_device, check_selection
from ner_lightning.commands.prediction import predict_checks
from ner_lightning.commands.prediction.predict_outputs import (
    check_written,
    local_place,
    rejects_file,
    staged_output,
)
from ner_lightning.commands.prediction.predict_tagging import block_tagging, calibrated, read_options
from ner_lightning.commands.taggers.several_taggers import predict_several
from ner_lightning.data.readers.read_options import EmptyWords, FormatName
from ner_lightning.data.readers.remote_files import is_remote
from ner_lightning.data.writers import output_formats
from ner_lightning.errors import UserError
from ner_lightning.runs.folder import run_path
from ner_lightning.system.atomic import is_written_through
from ner_lightning.system.progress import printed, stage
from ner_lightning.system.terminal import counted, print_utf8

if TYPE_CHECKING:
    from ner_lightning.data.readers.files import Inputs
    from ner_lightning.data.readers.record import Record
    from ner_lightning.data.readers.remote_files import RemoteInputs, Stamp
    from ner_lightning.inference.io.resumable import Output
    from ner_lightning.inference.io.writers import Writer
    from ner_lightning.inference.ner_tagger import NERTagger


# What the output depends on: a stopped command is only resumed by one that shares these.
_DECISIVE = (
    "text input words_column id_column whole_files empty_words tokenized source_format target_format wide "
    "strict rejects temperature calibrate min_score overlaps most_uncertain engine backbone"
)


def run(subcommand: str, args: Sequence[str]) -> None:
    """Runs the command; raises UserError at a user's mistake."""
    options, default = parser(subcommand).parse_args(args), parser(subcommand).parse_args([])
    predict_checks.check_texts(options.text)
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    if len(options.run) > 1:
        check_selection(options)
        check_device(options)
        predict_several(options, default)
        return
    options.run = next(iter(options.run), None)
    options.upload = staged_output(options)
    predict_checks.check_predict_options(options)
    check_device(options)
    with printed("stderr"):
        if options.input is None and not options.text:
            predict_checks.check_files(options, (), default)
            calibrated(options, show=True)
        else:
            _predict(options, default)


def _predict(options: argparse.Namespace, default: argparse.Namespace) -> None:
    # Here and below: `--help` must not wait for numpy and torch.
    from ner_lightning.data.readers.record import Record, check_usable
    from ner_lightning.data.readers.remote_files import upload
    from ner_lightning.inference.bulk import ReadFraction, blocks, skip, usable, with_documents, write_blocks

    inputs, formats, remote = _inputs(options, default)
    read = ReadFraction.of(list(formats))
    output = _output(options, list(formats), remote)
    before = output.totals.words
    try:
        texts = (Record("--text", number, text) for number, text in enumerate(options.text or (), 1))
        records: Iterator[Record] = with_documents(inputs.read(read.on_open)) if options.input else texts
        skip(records, output.totals)
        remaining = blocks(predict_checks.warned_if_unspaced(options, records))
        first = next(remaining, [])
        if not first and not output.totals.records:
            raise UserError(f"{options.input}:1: no sentence in the file; name a file that has some")
        if options.strict:
            check_usable(first)  # before anything is loaded, if it is near the beginning
        if not output.totals.records:
            predict_checks.check_first(
                options, first, set(formats.values()) or [path for path, _, _ in remote]
            )
        if not formats and len(remote) < 2 and inputs.opened:  # what is not a local file shows it only now
            predict_checks.check_files(options, inputs.opened, default)
        began = time.monotonic()
        with block_tagging(options) as (tag, written, tagger):
            loading = time.monotonic() - began
            stage("Tagging ...")
            everything = chain([first], remaining) if first else iter(())
            if options.most_uncertain is not None and tagger is not None:
                seconds = _write_most_uncertain(options, tagger, everything, written, output)
            else:
                tagged = tag(usable(everything) if options.strict else everything)
                seconds = write_blocks(tagged, output, head=written.head, read=read)
        if output.totals.rejected and not output.totals.texts:
            raise UserError(f"{options.input}: no text could be read of {output.totals.rejected:,}")
        output.finish(written.convert)
    except BaseException:
        output.stop()
        raise
    if options.upload is not None:
        stage(f"Copying {options.output} to {options.upload} ...")
        upload(Path(options.output), options.upload)
    rate = (output.totals.words - before) / max(seconds, 1e-9)
    ready = "loaded and calibrated" if options.calibrate else "loaded"
    _summarize(options, output, f"{rate:,.0f} words/s; {ready} in {loading:.1f} s")


def _inputs(
    options: argparse.Namespace, default: argparse.Namespace
) -> tuple["Inputs | RemoteInputs", dict[Path, str], "list[Stamp]"]:
    """What is read, the formats of its local files, and the stamps of remote ones; checks all options."""
    from ner_lightning.data.readers.files import Inputs
    from ner_lightning.data.readers.remote_files import RemoteInputs

    local = Inputs(options.input or "", read_options(options))
    inputs: Inputs | RemoteInputs = local
    formats, remote = {}, []
    if is_remote(options.input):
        inputs = RemoteInputs(options.input, local.options)
        remote = inputs.stamps()
    elif options.input:
        formats = {file: local.format_of(file) for file in local.files()}
    check_written(options, formats, [path for path, _, _ in remote])
    predict_checks.check_files(options, set(formats.values()), default)
    return inputs, formats, remote


def _write_most_uncertain(
    options: argparse.Namespace,
    tagger: "NERTagger",
    blocks: Iterator[list["Record"]],
    written: "Writer",
    output: "Output",
) -> float:
    """Writes the most uncertain texts; returns the seconds that it took."""
    from ner_lightning.inference.bulk import checksum
    from ner_lightning.inference.uncertainty_sampling import most_uncertain

    sums = []

    def noted() -> Iterator[list["Record"]]:
        for block in blocks:
            sums.append(checksum(block))
            yield block

    began = time.monotonic()
    chosen, rejects, totals = most_uncertain(
        tagger, noted(), options.most_uncertain, tokenized=options.tokenized, strict=options.strict
    )
    totals = replace(totals, checksum=sum(sums))
    rows = "".join(written.row(each.record, each.tagged) for each in chosen)
    if totals.records:  # otherwise a stopped command has added them already
        output.add(written.head + rows, rejects, totals)
    return time.monotonic() - began


def _output(options: argparse.Namespace, files: list[Path], remote: "list[Stamp]") -> "Output":
    from ner_lightning.data.readers.files import Inputs
    from ner_lightning.inference.io.overwriting import check_overwriting
    from ner_lightning.inference.io.resumable import DirectOutput, ResumableOutput

    rejects = rejects_file(options)
    path = None if options.output in (None, predict_checks.STANDARD_OUTPUT) else Path(options.output)
    calibration = []
    if options.calibrate:
        calibration = Inputs(options.calibrate, read_options(options, tagged=True)).files()
    check_overwriting(local_place(options.upload) if options.upload else path, rejects, calibration)
    if path is None and (options.output or predict_checks.output_format(options) != "text"):
        print_utf8()
    if path is None or is_written_through(path):
        return DirectOutput(path, rejects)
    if options.calibrate == predict_checks.STANDARD_OUTPUT:  # the same sign stands for standard input
        raise UserError(
            f"--calibrate - reads standard input, so a stopped command could not be resumed with the same "
            f"temperature; name a file, or write --output - > {path}"
        )
    from ner_lightning.inference.bulk import input_stamps

    model = run_path(options.run, Path(options.runs))
    wanted = {name: getattr(options, name) for name in _DECISIVE.split()} | input_stamps(
        files, model.resolve(), remote, calibration
    )
    assert rejects is not None, "an output that can be resumed has its rejects beside it"
    return ResumableOutput(path, rejects, wanted, restart=options.restart)


def _summarize(options: argparse.Namespace, output: "Output", speed: str) -> None:
    """Prints what was done, unless the output shows it."""
    done = output.totals
    if options.output is None and not done.rejected:
        return
    counts = f"{counted(done.texts, 'text')}, {counted(done.words, 'word')}, "
    counts += counted(done.entities, "entity", "entities")
    rejected = f"; {done.rejected:,} left out" if done.rejected else ""
    local = "standard output" if options.output in (None, predict_checks.STANDARD_OUTPUT) else options.output
    where = options.upload or local
    stage(f"{counts}{rejected}: {where} ({speed})")


def parser(name: str) -> Parser:
    """Its options."""
    parser = Parser(name, "Finds entities in text. A stopped command resumes when it is given again.")
    parser.add_run(nargs="*", text="run, checkpoint or exported folder (default: the last run); or several")
    add = parser.add_argument
    add("--text", action="append", help="a text; may be repeated")
    add("--input", metavar="FILE", help="a file in any format, a folder of files; - for standard input")
    add(
        "--output",
        metavar="FILE",
        help=f"{', '.join(output_formats.BY_SUFFIX)}; - for JSONL (default: show the text)",
    )
    text, formats = "input's format (recognised): %(choices)s", get_args(FormatName)
    add("--from", dest="source_format", choices=formats, metavar="FORMAT", help=text)
    text, formats = "format of the output: %(choices)s", output_formats.PREDICTED
    add("--to", dest="target_format", choices=formats, metavar="FORMAT", help=text)
    add("--words_column", metavar="NAME", help="column or field of the words or text; a number from 0")
    add("--id_column", default="id", metavar="NAME", help="column or field to copy to the output (id)")
    add("--empty_words", default="refuse", choices=get_args(EmptyWords), help="skip: leave out empty words")
    add("--whole_files", action="store_true", help="a .txt file is one text (default: each line is one)")
    add("--tokenized", action="store_true", help="words and punctuation are separated by spaces already")
    add("--wide", action="store_true", help="CSV, Parquet: a row a text, a column a type")
    add("--most_uncertain", type=int, metavar="N", help="only the N texts to annotate next, in this order")
    add("--strict", action="store_true", help="stop at the first unreadable text (default: skip and log it)")
    add("--rejects", metavar="FILE", help="log of skipped texts (default: OUTPUT.rejects.jsonl)")
    add("--restart", action="store_true", help="start anew instead of resuming a stopped command")
    add("--workers", type=int, metavar="N", help="processes, each with a model of its own (1)")
    add("--ray", metavar="ADDRESS", help="tag on a Ray cluster: auto, HOST:PORT, or local to start one")
    add("--calibrate", metavar="FILE", help="tagged sentences, not trained on, to find the temperature by")
    add("--temperature", type=float, metavar="T", help="divide scores by it (1)")
    parser.add_selection()
    parser.add_backbone()
    parser.add_device()
    parser.add_engine("one sentence, with --input for full batches")
    parser.add_trust()
    return parser
