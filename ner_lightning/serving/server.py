"""The server: it stops gracefully, and on request tells a load balancer so before it closes its port."""

import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from types import FrameType

import uvicorn
from fastapi import FastAPI

SLACK = 5  # seconds beyond the time of a request: for its response, and then for the end of the process


class GracefulServer(uvicorn.Server):
    """Answers until SIGTERM or SIGINT; then finishes the requests in flight.

    Args:
        app: the application; its `state.stopping` is set when the server is told to stop.
        seconds: how long requests in flight may take after the port is closed.
        drain: seconds between SIGTERM and closing the port, in which /ready answers 503.
        on_start: called once the server accepts requests.
    """

    def __init__(self, app: FastAPI, seconds: int, drain: float, on_start: Callable[[], None]) -> None:
        self._grace = seconds + SLACK
        super().__init__(
            uvicorn.Config(app, log_level="warning", access_log=False, timeout_graceful_shutdown=self._grace)
        )
        self._app, self._drain, self._on_start = app, drain, on_start
        self._closes: float | None = None  # when the port closes
        # From here on, not only while the server runs: a signal must not be lost, nor end the process later.
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self.handle_exit)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Starts, and tells so."""
        await super().startup(sockets)
        self._on_start()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stops; a model that hangs is not waited for."""
        last = threading.Timer(self._grace + SLACK, os._exit, [1])
        last.daemon = True
        last.start()
        await super().shutdown(sockets)
        last.cancel()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stops: at SIGTERM after the time to drain, at Ctrl-C or a second signal at once."""
        self._app.state.stopping = True
        if self._drain and sig == signal.SIGTERM and self._closes is None:
            self._closes = time.monotonic() + self._drain
        else:
            super().handle_exit(sig, frame)

    async def on_tick(self, counter: int) -> bool:
        """Whether to stop; the server asks ten times a second."""
        if self._closes is not None and time.monotonic() >= self._closes:
            self.should_exit = True
        return await super().on_tick(counter)
