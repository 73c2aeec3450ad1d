"""An output file that grows block by block, and is gone on with after a stop."""

import json
import os
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol, TextIO

from ner_lightning.errors import UserError
from ner_lightning.inference.io.overwriting import check_rejects
from ner_lightning.system.atomic import is_written_through, replacing
from ner_lightning.system.progress import stage


@dataclass(frozen=True)
class Done:
    """What is behind us.

    Attributes:
        records: read, be they tagged or not.
        texts: tagged.
        words: in these.
        entities: found in these.
        rejected: could not be tagged.
    """

    records: int = 0
    texts: int = 0
    words: int = 0
    entities: int = 0
    rejected: int = 0


class Output(Protocol):
    """Where lines go."""

    done: Done

    def add(self, lines: str, rejects: str, done: Done) -> None:
        """Adds the lines of a block, and those about what it had to leave out."""

    def finish(self, make: Callable[[Path, Path], None] | None) -> None:
        """Says that all is added; `make` makes the file of its lines."""

    def leave(self) -> None:
        """Says that no more will be added, although there is more."""


class DirectOutput:
    """Lines that go straight to standard output, or through a link, a pipe or a device.

    Args:
        path: None for standard output.
        rejects: the file for what is left out; None tells it on standard error.
    """

    def __init__(self, path: Path | None, rejects: Path | None) -> None:
        self.done = Done()
        self._path, self._rejects = path, rejects
        self._opened: TextIO | None = None
        if rejects is not None:
            check_rejects(rejects)

    @property
    def _file(self) -> TextIO:
        """Opened with the first lines: until then what is there stays."""
        if self._path is None:
            return sys.stdout
        if self._opened is None:
            self._opened = self._path.open("w", encoding="utf-8", newline="\n")
        return self._opened

    def add(self, lines: str, rejects: str, done: Done) -> None:
        """See `Output`."""
        self._file.write(lines)
        self._file.flush()
        if self._rejects is not None and not self.done.records and not is_written_through(self._rejects):
            self._rejects.unlink(missing_ok=True)  # of an earlier command
        if rejects and self._rejects is None:
            for row in map(json.loads, rejects.splitlines()):
                stage(f"{row['file']}:{row['line']}: left out: {row['reason']}")
        elif rejects and self._rejects is not None:
            with self._rejects.open("a", encoding="utf-8", newline="\n") as file:
                file.write(rejects)
        self.done = done

    def finish(self, make: Callable[[Path, Path], None] | None) -> None:
        """See `Output`."""
        self._file.flush()
        self.leave()

    def leave(self) -> None:
        """See `Output`."""
        if self._opened is not None:
            self._opened.close()


class ResumableOutput:
    """Lines that are gathered in FILE.partial, which becomes FILE at the end.

    After each block FILE.partial.json says how far it is, so that the same command goes on from there.

    Args:
        path: the file.
        rejects: the file for what is left out; it is there from the first such line on.
        request: what is asked for, in plain values: another one cannot be gone on with.
        restart: begin again, whatever is there.

    Raises:
        UserError: what is there was begun with another request, or by no such command.
    """

    def __init__(
        self, path: Path, rejects: Path, request: Mapping[str, Any], *, restart: bool = False
    ) -> None:
        self.path = path
        self.done = Done()
        self._request = json.loads(json.dumps(request))
        self._lines = path.with_name(path.name + ".partial")
        self._state = path.with_name(path.name + ".partial.json")
        self._rejects = rejects
        if is_written_through(rejects):
            raise UserError(
                f"--rejects {rejects}: beside an --output that can be resumed it must be a plain file"
            )
        sizes = self._begun(restart)
        if rejects.name not in sizes:
            check_rejects(rejects)
        self._started = bool(self.done.records)
        if self._started:
            self._cut(sizes)
        if self.done.records:
            stage(f"Going on after {self.done.records:,} texts that {self._lines} holds ...")

    def add(self, lines: str, rejects: str, done: Done) -> None:
        """See `Output`."""
        try:
            self._start()
            sizes = {file.name: _append(file, text) for file, text in self._parts(lines, rejects)}
            self.done = done
            self._keep(sizes)
        except OSError as error:
            error.filename = str(self.path)
            raise

    def finish(self, make: Callable[[Path, Path], None] | None) -> None:
        """See `Output`."""
        self._start()
        if make is None:
            self._lines.replace(self.path)
        else:
            make(self._lines, self.path)
        self._remove()

    def leave(self) -> None:
        """See `Output`."""
        if self.done.texts:
            stage(f"{self._lines} holds {self.done.records:,} texts; the same command goes on from there")
        elif self._started:
            self._remove()
            if not self.done.records:  # else it tells why nothing could be tagged
                self._rejects.unlink(missing_ok=True)

    def _start(self) -> None:
        """Removes what an earlier command left, which is kept until now, and says whose lines come."""
        if not self._started:
            self._started = True
            self._cut({})
            self._keep({})

    def _cut(self, sizes: Mapping[str, int]) -> None:
        """Takes away what was written after the last block that was noted."""
        for file in (self._lines, self._rejects):
            if file.name in sizes:
                os.truncate(file, sizes[file.name])
            else:
                file.unlink(missing_ok=True)

    def _keep(self, sizes: Mapping[str, int]) -> None:
        state = {"request": self._request, "done": asdict(self.done), "sizes": sizes}
        with replacing(self._state) as file:
            file.write(json.dumps(state).encode())

    def _parts(self, lines: str, rejects: str) -> list[tuple[Path, str]]:
        parts = [(self._lines, lines)]
        return [*parts, (self._rejects, rejects)] if rejects or self._rejects.exists() else parts

    def _begun(self, restart: bool) -> dict[str, int]:
        """Reads how far an earlier command came: the sizes of its files."""
        state = _state_of(self._state)
        if state is None:
            foreign = [file for file in (self._state, self._lines) if file.exists()]
            if foreign:
                raise UserError(
                    f"{foreign[0]} is there, and is not of a command that can be resumed; "
                    "remove it, or name another --output"
                )
            return {}
        if restart or not self._lines.exists():
            return {}
        if state["request"] != self._request:
            other = [name for name, value in self._request.items() if state["request"].get(name) != value]
            raise UserError(
                f"{self._lines} was begun with something else ({', '.join(other)}).\n"
                "Give the same command to go on with it, or --restart to begin again"
            )
        self.done = Done(**state["done"])
        sizes: dict[str, int] = state["sizes"]
        return sizes

    def _remove(self) -> None:
        for file in (self._lines, self._state):
            with suppress(OSError):
                file.unlink(missing_ok=True)


def _state_of(file: Path) -> dict[str, Any] | None:
    """What an earlier command wrote of itself; None if there is no such file, or it is another one."""
    try:
        state: Any = json.loads(file.read_text(encoding="utf-8"))
        known = {"request", "done", "sizes"} == state.keys() and set(state["done"]) == set(asdict(Done()))
    except (OSError, ValueError, AttributeError, TypeError):
        return None
    return dict(state) if known else None


def _append(path: Path, text: str) -> int:
    """Adds to a file, down to the disk; returns its size."""
    with path.open("ab") as file:
        file.write(text.encode("utf-8"))
        file.flush()
        os.fsync(file.fileno())
        return file.tell()
