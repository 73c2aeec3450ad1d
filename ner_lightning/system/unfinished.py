"""Unfinished folders: one that is written over minutes has another name until it is complete."""

import os
import shutil
import socket
from pathlib import Path

from ner_lightning.system.atomic import is_alive

_SUFFIX = ".part"


def unfinished(folder: Path) -> Path:
    """Where this process writes a folder before it is complete."""
    return folder.with_name(f".{folder.name}.{socket.gethostname()}.{os.getpid()}{_SUFFIX}")


def complete(part: Path, folder: Path, proof: str) -> None:
    """Gives a folder its name, unless another process has completed the same one meanwhile.

    Args:
        part: as `unfinished` names it.
        folder: its name.
        proof: a file that a complete folder has.

    Raises:
        OSError: it cannot be renamed for another reason.
    """
    try:
        part.rename(folder)
    except OSError:
        if (folder / proof).is_file():
            shutil.rmtree(part, ignore_errors=True)
        elif folder.is_dir():  # what is there is incomplete
            shutil.rmtree(folder)
            part.rename(folder)
        else:
            raise


def remove_abandoned(parent: Path) -> None:
    """Removes what killed processes of this machine left unfinished in a folder."""
    for part in parent.glob(f".*.{socket.gethostname()}.*{_SUFFIX}"):
        process = part.name.removesuffix(_SUFFIX).rpartition(".")[2]
        if process.isdecimal() and not is_alive(int(process)):
            shutil.rmtree(part, ignore_errors=True)
