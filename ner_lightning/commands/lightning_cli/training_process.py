"""Commands that run a training in a process of its own, which saves before it ends."""

import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

STOPPED = {130: signal.SIGINT, 143: signal.SIGTERM}  # exit codes of a fit that was stopped, and saved


@contextmanager
def started(command: Sequence[str], **options: Any) -> Iterator["subprocess.Popen[str]"]:
    """Starts a command and hands signals on to it, so that a fit saves, and its end is waited for.

    It has a session of its own: Ctrl-C in a terminal would reach it directly as well, and of two signals a
    fit takes the second for "at once". A terminal that is closed stops it as SIGTERM does.

    Args:
        command: the command.
        **options: of `subprocess.Popen`.
    """
    with subprocess.Popen(command, start_new_session=True, text=True, **options) as process:
        passed = {signal.SIGINT: signal.SIGINT, signal.SIGTERM: signal.SIGTERM, signal.SIGHUP: signal.SIGTERM}
        # `nohup` ignores a terminal that is closed.
        heard = [number for number in passed if signal.getsignal(number) is not signal.SIG_IGN]
        before = {
            number: signal.signal(number, lambda got, _: process.send_signal(passed[signal.Signals(got)]))
            for number in heard
        }
        try:
            yield process
            process.wait()
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
