"""What `predict` may write over: its own files, never one that is read, nor another's without a word."""

import json
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from ner_lightning.errors import UserError
from ner_lightning.system.atomic import is_written_through
from ner_lightning.system.progress import stage

REJECT = {"file", "line", "reason", "text"}  # what a line about a text that was left out holds


def check_overwriting(output: Path | None, rejects: Path | None, read: Iterable[Path]) -> None:
    """Checks that no file is read and written, and says which file will be replaced.

    Files of the input are looked at with the options, before this.

    Args:
        output: where predictions go; None for standard output.
        rejects: where it is noted what was left out.
        read: other files that are read.

    Raises:
        UserError: one is read and written.
    """
    sources = {file.resolve() for file in read}
    for option, file in (("--output", output), ("--rejects", rejects)):
        if file is not None and file.resolve() in sources:
            raise UserError(f"{option} {file} is a file that is read; name another one")
    if output is not None and output.is_file() and output.stat().st_size:
        stage(f"{output} is there already; it is replaced once all is tagged")


def check_rejects(file: Path) -> None:
    """Checks that a file may take what is left out: none is there, or one of an earlier command.

    Raises:
        UserError: there is another file, which would be lost.
    """
    if is_written_through(file) or not file.exists():
        return
    with file.open("rb") as stream:
        first = stream.readline()
    if not first or (first.startswith(b'{"file": ') and not first.endswith(b"\n")):  # cut by a stop
        return
    with suppress(ValueError, AttributeError):
        if json.loads(first).keys() == REJECT:
            return
    raise UserError(
        f"--rejects {file} is there already and holds something else; remove it, or name another file"
    )
