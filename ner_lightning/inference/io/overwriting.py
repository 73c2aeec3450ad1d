"""Checks what `predict` overwrites: its own files, never an input, and no other file unannounced."""

import json
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from ner_lightning.errors import UserError
from ner_lightning.system.atomic import is_written_through
from ner_lightning.system.output_checks import check_not_an_input
from ner_lightning.system.progress import stage

REJECT = {"file", "line", "reason", "text"}  # the keys of a line about a rejected record


def check_overwriting(output: Path | None, rejects: Path | None, read: Iterable[Path]) -> None:
    """Checks that no file is both read and written, and announces a file that will be replaced.

    The files of the input are checked with the options, before this.

    Args:
        output: the file of predictions; None for standard output.
        rejects: the file for rejected records.
        read: other files that are read.

    Raises:
        UserError: a file is both read and written.
    """
    sources = list(read)
    for option, file in (("--output", output), ("--rejects", rejects)):
        if file is not None:
            check_not_an_input(file, sources, f"{option} {file}")
    if output is not None and output.is_file() and output.stat().st_size:
        stage(f"{output} exists; it is replaced when everything is tagged")


def check_rejects(file: Path) -> None:
    """Checks that the file for rejected records is new, or was written by an earlier command.

    Raises:
        UserError: it is another file, which would be lost.
    """
    if is_written_through(file) or not file.exists():
        return
    with file.open("rb") as stream:
        first = stream.readline()
    if not first or (first.startswith(b'{"file": ') and not first.endswith(b"\n")):  # truncated by a stop
        return
    with suppress(ValueError, AttributeError):
        if json.loads(first).keys() == REJECT:
            return
    raise UserError(f"--rejects {file} exists and holds something else; remove it, or name another file")


def say_first(rejects: str, file: Path) -> None:
    """Says why the first record is left out, and where the reasons of all are."""
    row = json.loads(rejects.partition("\n")[0])
    stage(f"{row['file']}:{row['line']}: left out: {row['reason']}\n(this one and any others: {file})")
