"""Limits the size of request bodies, and the time that they may take to arrive."""

import asyncio
import json
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from starlette.responses import Response

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]


def problem(status: int, reason: str, **headers: str) -> Response:
    """An error as JSON in ASCII, so that no text that was sent can break it."""
    return Response(json.dumps({"error": reason}), status, headers, "application/json")


class BodyLimit:
    """Reads the body before the application does, and answers 413 or 408 itself.

    Args:
        app: the application.
        limit: the largest body, in bytes.
        seconds: how long a body may take to arrive.
    """

    def __init__(self, app: App, limit: int, seconds: float) -> None:
        self.app, self.limit, self.seconds = app, limit, seconds

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Handles a request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        try:
            async with asyncio.timeout(self.seconds):
                body = await self._read(receive)
        except TimeoutError:
            await problem(408, "the body did not arrive in time")(scope, receive, send)
            return
        if body is None:
            return
        if len(body) > self.limit:
            reason = f"the body is longer than {self.limit:,} bytes; send less at a time"
            await problem(413, reason, connection="close")(scope, receive, send)
            return
        passed_on = False

        async def replay() -> Message:
            nonlocal passed_on
            if passed_on:
                return await receive()
            passed_on = True
            return {"type": "http.request", "body": body, "more_body": False}

        await self.app(scope, replay, send)

    async def _read(self, receive: Receive) -> bytes | None:
        """The body, or its beginning if it is too long; None if the client has disconnected."""
        parts, size, more = [], 0, True
        while more and size <= self.limit:
            message = await receive()
            if message["type"] == "http.disconnect":
                return None
            parts.append(message.get("body", b""))
            size += len(parts[-1])
            more = message.get("more_body", False)
        return b"".join(parts)
