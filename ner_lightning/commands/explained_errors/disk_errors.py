"""Errors of a full or write-protected disk, and of impossible names, in lines that say what to do."""

import errno
import os
import shutil
import sys
import tempfile
from pathlib import Path

from ner_lightning.errors import UserError
from ner_lightning.runs.folder import LAST, RESUME, Run, resume_command
from ner_lightning.training.launch import RUN_VARIABLE

FULL = (errno.ENOSPC, errno.EDQUOT)
ALMOST_NONE = 2**20  # bytes
SHOWN = 60  # characters of a name
LOCKED = (errno.EACCES, errno.EPERM, errno.EROFS)


def explain_disk_error(error: BaseException, command: str) -> UserError | None:
    """Turns what the operating system refused into an error for the user.

    Args:
        error: what was caught.
        command: the command that met it.

    Returns:
        An error whose message has one to three lines; None if it is of another kind.
    """
    if not isinstance(error, OSError):
        return None
    # A failed copy names its source first and its destination second.
    file = error.filename2 or error.filename
    if error.errno in FULL:
        return UserError(f"no space is left for {file or _fullest()}.\n{_advice(command)}")
    if error.errno in LOCKED and file is not None:
        return UserError(
            f"{file}: {(error.strerror or '').lower()}; fix its permissions, or name another file"
        )
    if error.errno == errno.ENAMETOOLONG:  # at which even `Path.exists` raises
        shown = f"{str(file)[:SHOWN]}..."
        return UserError(f"{shown!r} is longer than a name of a file can be; predict takes a text as --text")
    return None


def _fullest() -> str:
    """The full one of the folders that a command writes to; for an error that names no file."""
    from huggingface_hub import constants

    written = [os.environ.get(RUN_VARIABLE, "."), tempfile.gettempdir(), constants.HF_HUB_CACHE]
    if datasets := sys.modules.get("datasets"):  # which writes nothing unless it is imported
        written.append(str(datasets.config.HF_DATASETS_CACHE))
    free = {path: shutil.disk_usage(path).free for path in written if Path(path).exists()}
    path = min(free, key=free.__getitem__)
    return path if free[path] < ALMOST_NONE else "what the command writes"


def _advice(command: str) -> str:
    if resume := how_to_resume(command):
        return f"Free some, then resume with: {resume}"
    return "Free some and run the command again (--runs, TMPDIR and HF_HOME name other disks)."


def how_to_resume(command: str) -> str | None:
    """What resumes the run of this process; None if it has none, or nothing in it to resume."""
    run = Run(Path(os.environ.get(RUN_VARIABLE, "")))
    begun = run.path / "run.json" if command == "baseline" else run.checkpoint(LAST)
    return resume_command(run, command) if command in RESUME and begun.is_file() else None
