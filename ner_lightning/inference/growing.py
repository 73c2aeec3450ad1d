"""An output file that grows block by block, and is gone on with after a stop."""

import json
import os
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

from ner_lightning.errors import UserError
from ner_lightning.files import replacing
from ner_lightning.progress import stage


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


class Direct:
    """Lines that go straight to standard output, or through a link, a pipe or a device.

    Args:
        path: None for standard output.
        rejects: the file for what is left out; None tells it on standard error.
    """

    def __init__(self, path: Path | None, rejects: Path | None) -> None:
        self.done = Done()
        self._file = sys.stdout if path is None else path.open("w", encoding="utf-8", newline="\n")
        self._rejects = rejects
        if rejects is not None:
            rejects.unlink(missing_ok=True)

    def add(self, lines: str, rejects: str, done: Done) -> None:
        """See `Output`."""
        self._file.write(lines)
        self._file.flush()
        if rejects and self._rejects is None:
            for row in map(json.loads, rejects.splitlines()):
                stage(f"{row['file']}:{row['line']}: left out: {row['reason']}")
        elif rejects and self._rejects is not None:
            with self._rejects.open("a", encoding="utf-8", newline="\n") as file:
                file.write(rejects)
        self.done = done

    def finish(self, make: Callable[[Path, Path], None] | None) -> None:
        """See `Output`."""
        self.leave()

    def leave(self) -> None:
        """See `Output`."""
        if self._file is not sys.stdout:
            self._file.close()


class Growing:
    """Lines that are gathered in FILE.partial, which becomes FILE at the end.

    After each block FILE.partial.json says how far it is, so that the same command goes on from there.

    Args:
        path: the file.
        rejects: the file for what is left out; it is there from the first such line on.
        request: what is asked for, in plain values: another one cannot be gone on with.
        restart: begin again, whatever is there.

    Raises:
        UserError: what is there was begun with another request.
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
        sizes = {} if restart else self._begun()
        for file in (self._lines, rejects):
            if sizes.get(file.name):
                os.truncate(file, sizes[file.name])
            else:
                file.unlink(missing_ok=True)
        if self.done.records:
            stage(f"Going on after {self.done.records:,} texts that {self._lines} holds ...")

    def add(self, lines: str, rejects: str, done: Done) -> None:
        """See `Output`."""
        try:
            sizes = {file.name: _append(file, text) for file, text in self._parts(lines, rejects)}
            state = {"request": self._request, "done": asdict(done), "sizes": sizes}
            with replacing(self._state) as file:
                file.write(json.dumps(state).encode())
        except OSError as error:
            error.filename = str(self.path)
            raise
        self.done = done

    def finish(self, make: Callable[[Path, Path], None] | None) -> None:
        """See `Output`."""
        if make is None:
            self._lines.replace(self.path)
        else:
            make(self._lines, self.path)
        self._remove()

    def leave(self) -> None:
        """See `Output`."""
        if self.done.texts:
            stage(f"{self._lines} holds {self.done.records:,} texts; the same command goes on from there")
        else:
            self._remove()
            if not self.done.records:  # else it tells why nothing could be tagged
                self._rejects.unlink(missing_ok=True)

    def _parts(self, lines: str, rejects: str) -> list[tuple[Path, str]]:
        parts = [(self._lines, lines)]
        return [*parts, (self._rejects, rejects)] if rejects or self._rejects.exists() else parts

    def _begun(self) -> dict[str, int]:
        """Reads how far an earlier command came: the sizes of its files."""
        if not self._state.exists() or not self._lines.exists():
            return {}
        state = json.loads(self._state.read_text(encoding="utf-8"))
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


def _append(path: Path, text: str) -> int:
    """Adds to a file, down to the disk; returns its size."""
    with path.open("ab") as file:
        file.write(text.encode("utf-8"))
        file.flush()
        os.fsync(file.fileno())
        return file.tell()
