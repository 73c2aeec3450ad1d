"""Request ids: each response has one, and the line of the log that tells its status and time has it too."""

import logging
import re
import sys
import time
from collections.abc import Callable
from uuid import uuid4

from starlette.requests import ClientDisconnect

from ner_lightning.serving.limits import App, Message, Receive, Send, problem

HEADER = b"x-request-id"
SIZES = "ner_sizes"  # where a route puts the numbers of its texts and words, in the request's scope
_GIVEN = re.compile(rb"[\w.:/+=@-]{1,128}")
_LOGGER = logging.getLogger("ner_lightning.requests")


def show_requests(every: bool) -> None:
    """Prints a line on standard error for each request, or only for those with an error of ours (5xx)."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(process)d %(message)s"))
    _LOGGER.handlers[:] = [handler]
    _LOGGER.setLevel(logging.INFO if every else logging.WARNING)
    _LOGGER.propagate = False


class RequestLog:
    """Gives each request an id, logs how it ended, and answers 500 to an error of ours.

    A line has no text, query or header of the request but its id, which has no spaces or control characters.

    Args:
        app: the application.
        on_response: called with the path and the status of each response, before the client has it: what is
            counted here is in the counts that are asked for after the response.
    """

    def __init__(self, app: App, on_response: Callable[[str, int], None]) -> None:
        self.app, self.on_response = app, on_response

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Handles a request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began, status = time.perf_counter(), 0
        name = request_id(scope)

        async def tell(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), (HEADER, name)]
                self.on_response(scope["path"], status)
            await send(message)

        try:
            await self.app(scope, receive, tell)
        except ClientDisconnect:
            pass  # nobody is left to answer
        except Exception:
            _LOGGER.exception("%s failed", name.decode())
            if status == 0:
                answer = problem(
                    500, "internal error; the service's log has the details under its request id"
                )
                await answer(scope, receive, tell)
        finally:
            self._finish(scope, name, status, 1000 * (time.perf_counter() - began))

    def _finish(self, scope: Message, name: bytes, status: int, milliseconds: float) -> None:
        """Logs a request; status 0: the client went away before the response."""
        sizes = "".join(f" {what}={number}" for what, number in scope.get(SIZES, {}).items())
        level = logging.WARNING if status >= 500 else logging.INFO
        said = (name.decode(), scope["method"][:10], _route(scope), status or "gone", milliseconds, sizes)
        _LOGGER.log(level, "%s %s %s %s %.1fms%s", *said)


def request_id(scope: Message) -> bytes:
    """The id that the client gave, if it is short and plain; otherwise a new one."""
    given = next((value for name, value in scope["headers"] if name == HEADER), b"")
    return given if _GIVEN.fullmatch(given) else uuid4().hex.encode()


def _route(scope: Message) -> str:
    """The path as the application has it; a client could put anything into another one."""
    known = {getattr(route, "path", "") for route in scope["app"].routes}
    route = getattr(scope.get("route"), "path", scope["path"])
    return route if route in known else "-"
