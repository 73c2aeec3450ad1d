"""The output of `predict`: a stream, or a file that grows block by block and can be resumed after a stop."""

import json
import os
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, astuple, dataclass
from operator import add
from pathlib import Path
from typing import Any, Protocol, TextIO

from ner_lightning.errors import UserError
from ner_lightning.inference.io.overwriting import check_rejects, say_first
from ner_lightning.inference.io.partial_file import append, check_sizes, read_state
from ner_lightning.system.atomic import is_written_through, replacing
from ner_lightning.system.locks import locked
from ner_lightning.system.progress import stage


@dataclass(frozen=True)
class Totals:
    """Counts of what is done.

    Attributes:
        records: read, tagged or not.
        texts: tagged.
        words: in these.
        entities: predicted in these.
        rejected: records that could not be tagged.
        checksum: the sum of those of the records, by which a resumed command knows its input again.
    """

    records: int = 0
    texts: int = 0
    words: int = 0
    entities: int = 0
    rejected: int = 0
    checksum: int = 0

    def __add__(self, other: "Totals") -> "Totals":
        return Totals(*map(add, astuple(self), astuple(other)))


class Output(Protocol):
    """Takes lines, block by block."""

    totals: Totals

    def add(self, lines: str, rejects: str, totals: Totals) -> None:
        """Adds the lines of a block, and those about its rejected records; `totals` include the block."""

    def finish(self, convert: Callable[[Path, Path], None] | None) -> None:
        """Ends the output when all blocks are added; `convert` makes the file from its lines."""

    def stop(self) -> None:
        """Ends the output before all blocks are added."""


class DirectOutput:
    """Lines that go straight to standard output, or through a link, a pipe or a device.

    Args:
        path: None for standard output.
        rejects: the file for rejected records; None reports them on standard error.
    """

    def __init__(self, path: Path | None, rejects: Path | None) -> None:
        self.totals = Totals()
        self._path, self._rejects = path, rejects
        self._opened: TextIO | None = None
        if rejects is not None:
            check_rejects(rejects)

    @property
    def _file(self) -> TextIO:
        """Opened with the first lines; until then an existing file stays."""
        if self._path is None:
            return sys.stdout
        if self._opened is None:
            self._opened = self._path.open("w", encoding="utf-8", newline="\n")
        return self._opened

    def add(self, lines: str, rejects: str, totals: Totals) -> None:
        """See `Output`."""
        self._file.write(lines)
        self._file.flush()
        if self._rejects is not None and not self.totals.records and not is_written_through(self._rejects):
            self._rejects.unlink(missing_ok=True)  # of an earlier command
        if rejects and self._rejects is None:
            for row in map(json.loads, rejects.splitlines()):
                stage(f"{row['file']}:{row['line']}: left out: {row['reason']}")
        elif rejects and self._rejects is not None:
            if not self.totals.rejected:
                say_first(rejects, self._rejects)
            with self._rejects.open("a", encoding="utf-8", newline="\n") as file:
                file.write(rejects)
        self.totals = totals

    def finish(self, convert: Callable[[Path, Path], None] | None) -> None:
        """See `Output`."""
        self._file.flush()
        self.stop()

    def stop(self) -> None:
        """See `Output`."""
        if self._opened is not None:
            self._opened.close()


class ResumableOutput:
    """Lines that are collected in FILE.partial, which becomes FILE at the end.

    After each block, FILE.partial.json is written with the totals and the sizes of the files, so that the
    same command resumes there. FILE.partial is locked until the output is finished or stopped.

    Args:
        path: the file.
        rejects: the file for rejected records; it is created with the first one.
        request: what the output depends on, in plain values; a different request cannot resume it.
        restart: start again, whatever is there.

    Raises:
        UserError: another command is writing them, they belong to a different request, or were not written
            by such a command.
    """

    def __init__(
        self, path: Path, rejects: Path, request: Mapping[str, Any], *, restart: bool = False
    ) -> None:
        self.path = path
        self.totals = Totals()
        self._request = json.loads(json.dumps(request))
        self._lines = path.with_name(path.name + ".partial")
        self._state = path.with_name(path.name + ".partial.json")
        self._rejects = rejects
        if is_written_through(rejects):
            raise UserError(
                f"--rejects {rejects}: beside an --output that can be resumed it must be a plain file"
            )
        if is_written_through(self._lines):
            raise self._foreign(self._lines)
        busy = f"another predict is writing {self._lines}; wait until it ends, or name another --output"
        self._lock = locked(self._lines, busy)
        try:
            sizes = self._resume(restart)
            if rejects.name not in sizes:
                check_rejects(rejects)
            self._started = bool(self.totals.records)
            if self._started:
                self._truncate(sizes)
                stage(f"Resuming after {self.totals.records:,} texts in {self._lines} ...")
        except BaseException:
            self._unlock()
            raise

    def add(self, lines: str, rejects: str, totals: Totals) -> None:
        """See `Output`."""
        try:
            self._start()
            if rejects and not self.totals.rejected:
                say_first(rejects, self._rejects)
            sizes = {self._lines.name: append(self._lines, lines)}
            if rejects or self._rejects.exists():
                sizes[self._rejects.name] = append(self._rejects, rejects)
            self.totals = totals
            self._write_state(sizes)
        except OSError as error:
            error.filename = error.filename or str(self.path)
            raise

    def finish(self, convert: Callable[[Path, Path], None] | None) -> None:
        """See `Output`."""
        self._start()
        if convert is None:
            self._lines.replace(self.path)
        else:
            convert(self._lines, self.path)
            _remove(self._lines)
        _remove(self._state)
        self._lock.close()

    def stop(self) -> None:
        """See `Output`."""
        if self.totals.texts:
            stage(f"{self._lines} holds {self.totals.records:,} texts; the same command resumes after them")
        elif self._started:
            _remove(self._state, self._lines)
            if not self.totals.records:  # otherwise it says why nothing could be tagged
                self._rejects.unlink(missing_ok=True)
        self._unlock()

    def _start(self) -> None:
        """Removes what an earlier command left, which stays until now, and writes the request."""
        if not self._started:
            self._started = True
            self._truncate({})
            self._write_state({})

    def _truncate(self, sizes: Mapping[str, int]) -> None:
        """Removes what was written after the last block in the state file."""
        os.truncate(self._lines, sizes.get(self._lines.name, 0))  # it stays, since it is locked
        if self._rejects.name in sizes:
            os.truncate(self._rejects, sizes[self._rejects.name])
        else:
            self._rejects.unlink(missing_ok=True)

    def _write_state(self, sizes: Mapping[str, int]) -> None:
        state = {"request": self._request, "totals": asdict(self.totals), "sizes": sizes}
        with replacing(self._state) as file:
            file.write(json.dumps(state).encode())

    def _resume(self, restart: bool) -> dict[str, int]:
        """Reads the totals of an earlier command; returns the sizes of its files, empty if there is none."""
        state = read_state(self._state, asdict(self.totals))
        is_empty = not self._lines.stat().st_size
        if state is None and (self._state.exists() or not is_empty):
            raise self._foreign(self._state if self._state.exists() else self._lines)
        if state is None or restart or is_empty:
            return {}
        if state["request"] != self._request:
            changed = [name for name, value in self._request.items() if state["request"].get(name) != value]
            raise UserError(
                f"{self._lines} was started with different options or files ({', '.join(changed)}).\n"
                "Give the same command to resume it, or --restart to start again"
            )
        sizes: dict[str, int] = state["sizes"]
        check_sizes((self._lines, self._rejects), sizes)
        self.totals = Totals(**state["totals"])
        return sizes

    def _unlock(self) -> None:
        """Lets other commands write the output; the file that was created to be locked is removed."""
        with suppress(OSError):
            if not self._lock.closed and not self._lines.stat().st_size:
                self._lines.unlink()
        self._lock.close()

    @staticmethod
    def _foreign(file: Path) -> UserError:
        return UserError(
            f"{file} exists, and was not written by a command that can be resumed; "
            "remove it, or name another --output"
        )


def _remove(*files: Path) -> None:
    for file in files:
        with suppress(OSError):
            file.unlink(missing_ok=True)
