"""The folder of a run: a new or a resumed one, which all ranks know, and one training at a time writes."""

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from ner_lightning.errors import UserError
from ner_lightning.runs.folder import Run, check_writable, create, remove_empty
from ner_lightning.system.first_rank import is_first
from ner_lightning.system.locks import only_writer
from ner_lightning.training import ranks
from ner_lightning.training.launch import RUN_VARIABLE


def join_run(
    run: Run | None,
    root: Path,
    name: str,
    run_lock: ExitStack | None,
    checkpoints: Mapping[str, int] | None = None,
) -> Run:
    """The run to write to, such as a new one `root/name/NUMBER`; it is named to ranks that are started.

    Only the first rank makes a folder and writes to it; a rank that it started ends with it.

    Args:
        run: one that is resumed or scored; None for a new one.
        root: the folder of runs.
        name: of a new run.
        run_lock: of a training: no other one gets its folder until this is closed; None for others.
        checkpoints: those of the run when the training decided where to start; None if it does not matter.

    Raises:
        UserError: the folder cannot be written, another training is writing it, or has meanwhile.
    """
    if is_first():
        joined = run or create(root, name)
        try:
            _own(joined, run_lock, checkpoints)
        except UserError:
            if run is None:
                remove_empty(joined)
            raise
    else:
        known = os.environ.get(RUN_VARIABLE)
        joined = run or Run(Path(known or Path(tempfile.gettempdir(), "ner-lightning-rank")))
        if known and "LOCAL_RANK" in os.environ:
            ranks.end_with_parent()
    os.environ[RUN_VARIABLE] = str(joined.path)
    return joined


def _own(run: Run, run_lock: ExitStack | None, checkpoints: Mapping[str, int] | None) -> None:
    check_writable(run)
    if run_lock is None:
        return
    run_lock.enter_context(only_writer(run.path))
    if checkpoints is not None and checkpoint_times(run) != checkpoints:
        run_lock.close()
        raise UserError(
            f"another command has trained {run.path} meanwhile; the same command goes on from there"
        )


def checkpoint_times(run: Run) -> dict[str, int]:
    """The checkpoints of a run by name, with the times in nanoseconds at which they were written."""
    return {file.name: file.stat().st_mtime_ns for file in run.checkpoints.glob("*.ckpt")}


@contextmanager
def own_run(run: Run | None, root: Path, name: str) -> Iterator[Run]:
    """The run of a training, as `join_run` finds it; it goes if nothing is written to it."""
    run_lock = ExitStack()
    joined = join_run(run, root, name, run_lock)
    try:
        with run_lock:
            yield joined
    finally:
        remove_empty(joined)
