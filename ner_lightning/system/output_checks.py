"""Checks before a command writes: no input and no file of somebody else is replaced; errors of writing."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from ner_lightning.errors import UserError

REMEDY = "name another file, or move it away"


def check_new(path: Path, named: str, *, marks: Sequence[bytes] = (), remedy: str = REMEDY) -> None:
    """Checks that a file to be written is missing, or was written by the same command earlier.

    Args:
        path: the file.
        named: how the message names it: the option and the path, as in `--output page.html`.
        marks: what only this command writes; a file that has one of them may be replaced.
        remedy: what to do about a file that is there.

    Raises:
        UserError: it is somebody else's, or a folder.
    """
    if not path.exists():
        return
    if not marks:
        raise UserError(f"{named} exists; {remedy}")
    content = path.read_bytes() if path.is_file() else b""
    if not any(mark in content for mark in marks):
        raise UserError(f"{named} exists and was not written by this command; {remedy}")


def check_not_an_input(path: Path, inputs: Iterable[Path], named: str) -> None:
    """Checks that a file to be written is none of those that are read.

    Args:
        path: the file.
        inputs: what is read.
        named: as for `check_new`.

    Raises:
        UserError: it is one of them, perhaps by another name.
    """
    for source in inputs:
        exist = path.exists() and source.exists()
        if path.resolve() == source.resolve() or (exist and path.samefile(source)):
            raise UserError(f"{named} is what is read; name another one")


@contextmanager
def writing(named: str) -> Iterator[None]:
    """Turns an error of writing within into a user's mistake.

    Args:
        named: as for `check_new`.

    Raises:
        UserError: something could not be written.
    """
    try:
        yield
    except OSError as error:
        raise UserError(f"{named}: {(error.strerror or 'cannot be written').lower()}") from None
