"""Checks of the options of `predict` against each other and the files, before anything is loaded."""

import argparse
import os
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from ner_lightning.commands.options.command_line import check_selection
from ner_lightning.data.readers.jsonl import JSON_SUFFIXES
from ner_lightning.data.readers.read_options import ReadOptions
from ner_lightning.data.readers.record import Record
from ner_lightning.data.readers.unspaced_text import UNSPACED, is_unspaced
from ner_lightning.data.sentence import SURROGATE
from ner_lightning.data.writers import output_formats
from ner_lightning.errors import UserError
from ner_lightning.system.atomic import is_written_through
from ner_lightning.system.progress import warn

STANDARD_OUTPUT = "-"
_NAMED = {"conll", "csv", "jsonl", "parquet"}  # formats whose columns or fields can be named
_WORDS = {"conll", "conllu", "conll2012"}


class Case(NamedTuple):
    """What decides which options have an effect."""

    read: set[str]  # formats of the input; `argument` for --text; none where the command only calibrates
    calibrates: bool
    resumable: bool  # whether the output is a file that a stopped command can continue


# Options with an effect in some cases only: which, and the reason in the others.
_USED: dict[str, tuple[Callable[[Case], bool], str]] = {
    **dict.fromkeys(
        ("output", "target_format", "wide", "min_score", "overlaps"),
        (lambda case: bool(case.read), "there is no --input and no --text to tag"),
    ),
    **dict.fromkeys(
        ("source_format", "strict", "rejects", "most_uncertain", "workers", "ray"),
        (lambda case: bool(case.read - {"argument"}), "it is for files: --input FILE"),
    ),
    "words_column": (
        lambda case: (case.calibrates and case.read <= {"argument"}) or bool(case.read & _NAMED),
        "it is for columns, JSONL, CSV and Parquet",
    ),
    "id_column": (lambda case: bool(case.read & _NAMED - {"conll"}), "it is for JSONL, CSV and Parquet"),
    "empty_words": (
        lambda case: case.calibrates or bool(case.read - {"argument", "txt"}),
        "it is for files of words",
    ),
    "whole_files": (lambda case: "txt" in case.read, "it is for files of running text"),
    "tokenized": (lambda case: bool(case.read - _WORDS), "the input holds words, not running text"),
    "restart": (lambda case: case.resumable, "only a file named by --output can be resumed"),
}
_NAMES = {"source_format": "from", "target_format": "to"}


def output_format(options: argparse.Namespace) -> str:
    """One of `output_formats.PREDICTED`.

    Raises:
        UserError: neither --to nor the file's name says which.
    """
    if options.target_format:
        return str(options.target_format)
    if options.output is None:
        return "text"
    if options.output == STANDARD_OUTPUT:
        return "jsonl"
    return output_formats.format_of(options.output, output_formats.PREDICTED)


def check_predict_options(options: argparse.Namespace) -> None:
    """Checks options against each other, and whether the output can be written.

    Raises:
        UserError: they do not go together, or it cannot.
    """
    _check_source(options)
    format = output_format(options)
    if options.wide and format not in output_formats.WIDE:
        raise UserError(f"--wide writes a table: name an --output in .csv or .parquet, not {format}")
    check_selection(options)
    if options.overlaps == "keep" and (options.wide or format in output_formats.TAGGED):
        what = "--wide" if options.wide else format
        raise UserError(
            f"--overlaps keep: {what} cannot show entities that share words; use --overlaps resolve, which "
            "writes the most probable ones, or name an --output in .jsonl, .csv (without --wide) or .parquet"
        )
    _check_output(options.output, format)
    if options.rejects:
        rejects = Path(options.rejects)
        if rejects.suffix.lower() not in JSON_SUFFIXES and not is_written_through(rejects):
            raise UserError(f"--rejects {rejects} is written as JSONL; name it .jsonl")
        _check_writable("rejects", rejects)


def check_texts(texts: Sequence[str] | None) -> None:
    """Checks the texts of `--text`.

    Raises:
        UserError: one cannot be written as UTF-8.
    """
    for text in filter(SURROGATE.search, texts or ()):
        raise UserError(f"--text holds bytes that are not UTF-8: {text!r:.60}")


def check_files(options: argparse.Namespace, formats: Collection[str], default: argparse.Namespace) -> None:
    """Checks that every option has an effect.

    Args:
        options: those of the command.
        formats: those of the files that it reads; none where they are not known yet.
        default: the options of a command that names none.

    Raises:
        UserError: an option would do nothing.
    """
    output = options.output
    read = set(formats)
    if options.text:
        read = {"argument"}
    elif options.input and not formats:
        read = {options.source_format} if options.source_format else {"txt", *_NAMED}
    resumable = output not in (None, STANDARD_OUTPUT) and not is_written_through(output)
    case = Case(read, bool(options.calibrate), resumable)
    for name, (has_effect, reason) in _USED.items():
        if getattr(options, name) != getattr(default, name) and not has_effect(case):
            raise UserError(f"--{_NAMES.get(name, name)} has no effect here: {reason}; leave it out")


def check_first(options: argparse.Namespace, first: Sequence[Record], formats: Collection[str]) -> None:
    """Checks options against the first records.

    Args:
        options: those of the command.
        first: the first records.
        formats: those of the input, as far as they are known.

    Raises:
        UserError: `--tokenized` where all of them are words already, or `--id_column` where none has an id.
    """
    readable = [record for record in first if not record.reason]
    has_text = len(formats) > 1 or any(isinstance(record.content, str) for record in readable)
    if options.tokenized and readable and not has_text:
        raise UserError(f"--tokenized has no effect here: {_USED['tokenized'][1]}; leave it out")
    # In a folder of several formats, only some files may have the column.
    has_ids = options.id_column == ReadOptions.id_column or any(record.id is not None for record in readable)
    if readable and not has_ids and len(formats) < 2:
        raise UserError(
            f"--id_column {options.id_column}: the input begins with records without this column or field;\n"
            "name another one, or leave it out"
        )


def _check_source(options: argparse.Namespace) -> None:
    if options.text and options.input:
        raise UserError("name the input once: --input or --text, not both")
    if options.text and not any(text.split() for text in options.text):
        raise UserError("--text holds no words")
    if not (options.input or options.text or options.calibrate):
        raise UserError("name the input: --input FILE, or --text 'a text'")
    from ner_lightning.system.ranges import PositiveFloat, PositiveInt, check_options

    check_options(options, temperature=PositiveFloat, most_uncertain=PositiveInt, workers=PositiveInt)
    if (options.workers or 1) > 1 or options.ray is not None:
        _check_processes(options)
    if options.temperature is not None and options.calibrate:
        raise UserError("--calibrate finds the temperature: leave out --temperature")


def _check_processes(options: argparse.Namespace) -> None:
    name = "--workers" if options.ray is None else "--ray"
    if options.calibrate == "-":
        raise UserError(f"--calibrate - reads standard input, which is that of one process; leave out {name}")
    if options.most_uncertain is not None:
        raise UserError(f"--most_uncertain compares all texts, in one process; leave out {name}")
    if options.ray is not None:
        from ner_lightning.inference.ray_actors import check_ray

        check_ray()
        if options.calibrate:
            raise UserError(
                "--calibrate works in one process; find the temperature first, without --ray and --input, "
                "then name it: --temperature T"
            )
        if options.device not in (None, "cpu", "cuda"):
            raise UserError(f"--device {options.device}: Ray gives each actor its device; leave it out")


def _check_output(name: str | None, format: str) -> None:
    if name in (None, STANDARD_OUTPUT):
        if format in output_formats.CONVERTED:
            raise UserError(f"{format} needs a file: --output FILE")
        return
    file = Path(name or "")
    _check_writable("output", file)
    if is_written_through(file) and format in output_formats.CONVERTED:
        raise UserError(f"--output {file}: {format} needs a file, not a link, a pipe or a device")


def _check_writable(option: str, file: Path) -> None:
    if not file.parent.is_dir():
        raise UserError(f"--{option} {file}: there is no folder {file.parent}")
    if file.is_dir() or not os.access(file if is_written_through(file) else file.parent, os.W_OK):
        raise UserError(f"--{option} {file}: no file can be written there")


def warned_if_unspaced(options: argparse.Namespace, records: Iterator[Record]) -> Iterator[Record]:
    """The records; at the first one of a script without spaces, whose words would be phrases, a warning."""
    for record in records:
        text = record.content if record.tokens is None and not options.tokenized else ()
        unspaced = isinstance(text, str) and is_unspaced(text)
        if unspaced:
            warn(f"{record.source}:{record.line}: {UNSPACED}")
        yield record
        if unspaced:
            break
    yield from records
