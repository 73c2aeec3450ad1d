"""Several ranks: that none waits for one that ended, and what each prints and returns."""

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from ner_lightning.errors import UserError
from ner_lightning.system.atomic import write_text
from ner_lightning.system.first_rank import RANKS, is_first, is_only

# Errors of the communication library by which other ranks learn that a rank has ended.
_LOST = re.compile(r"gloo|NCCL|[Cc]onnection (closed|reset)|[Bb]roken pipe|TCPStore|recvValue|sendBytes")
_PORT_IN_USE = re.compile("EADDRINUSE|address already in use", re.IGNORECASE)
WAITED = 2.0  # seconds between looks for what the first rank writes
GRACE = 10.0  # seconds for a rank to end by itself


def launch_id() -> str:
    """What all ranks of this launch share and an earlier launch does not, from the launcher's variables."""
    keys = ("SLURM_JOB_ID", "SLURM_STEP_ID", "SLURM_RESTART_COUNT", "TORCHELASTIC_RUN_ID", "MASTER_PORT")
    # torchrun on one machine names each launch alike, but each is a process of its own.
    launcher = str(os.getppid()) if os.environ.get("GROUP_WORLD_SIZE") == "1" else ""
    return ",".join([*(os.environ.get(key, "") for key in keys), launcher])


def await_first(file: Path, failure: Path) -> None:
    """Waits until the first rank has written a file.

    Args:
        file: what it writes.
        failure: where `failing_together` writes that it failed.

    Raises:
        UserError: it failed in this launch.
    """
    while not file.is_file():
        if failure.is_file():
            failed, _, reason = failure.read_text(encoding="utf-8").partition("\n")
            if failed == launch_id():
                raise UserError(f"the first rank failed: {reason}")
        time.sleep(WAITED)


@contextmanager
def failing_together(failure: Path) -> Iterator[None]:
    """Tells the ranks that wait in `await_first` if this one, the first, fails within.

    SLURM lets them run on; torchrun would end them.
    """
    failure.unlink(missing_ok=True)
    try:
        yield
    except BaseException as error:
        if is_only():
            raise
        reason = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
        with suppress(OSError):
            failure.parent.mkdir(parents=True, exist_ok=True)
            write_text(failure, f"{launch_id()}\n{reason}")
        raise


def prefix(environment: Mapping[str, str] = os.environ) -> str:
    """The prefix of error messages of all ranks but the first."""
    if is_first(environment):
        return ""
    return f"[rank {next((environment[key] for key in RANKS if key in environment), '?')}] "


def exit_code(stop: BaseException) -> int:
    """The exit code after a signal: 128 and its number, as in shells.

    Other ranks end with 0; otherwise a launcher would take it for a failure and end the first one.
    """
    number: int = getattr(stop, "signal", signal.SIGINT)
    return 128 + number if is_first() else 0


def explain_lost(error: BaseException) -> str | None:
    """What to tell of an error by which ranks learn of each other's end, or do not meet; None of others."""
    named = "distributed" in type(error).__module__ or type(error).__name__.startswith("Dist")
    lost = isinstance(error, RuntimeError) and _LOST.search(str(error)) is not None
    if is_only() or not (named or lost):
        return None
    if _PORT_IN_USE.search(str(error)):
        port = os.environ.get("MASTER_PORT", "of the first rank")
        return f"the port {port} is in use on this machine; set another one for all ranks: MASTER_PORT=NUMBER"
    return "another rank ended; see its message. If it has none, it was killed, as for lack of memory."


def end_with_parent() -> None:
    """Ends this process if its parent is gone; a rank inside a collective would wait forever."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1.0)
        sys.stderr.write(f"ner-lightning: {prefix()}rank 0 is gone; this rank ends too.\n")
        sys.stderr.flush()
        os._exit(1)

    threading.Thread(target=watch, daemon=True, name="end-with-parent").start()


def end_children(trainer: Any) -> None:
    """Ends the ranks that this process started, which may wait for it inside a collective.

    Lightning's observer of them, which would kill this process before it prints its error, is disabled.

    Args:
        trainer: a Lightning trainer, or None.
    """
    for thread in threading.enumerate():
        if thread.name == "child-process-observer":
            thread._run = lambda: True  # type: ignore[attr-defined]
    deadline = time.monotonic() + GRACE
    launcher = getattr(getattr(trainer, "strategy", None), "launcher", None)
    for process in getattr(launcher, "procs", ()):
        try:
            process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
