"""Access: the API key that requests need, but for pages and probes; pages of other origins."""

import hmac
import re
from collections.abc import Sequence

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware

from ner_lightning.errors import UserError
from ner_lightning.serving.limits import App, Message, Receive, Send, problem

VARIABLE = "NER_LIGHTNING_API_KEY"
# A browser cannot send a key with a page, and the page asks for it; probes of a load balancer have none.
OPEN = frozenset({"/", "/docs", "/openapi.json", "/health", "/ready"})
_KEY = re.compile(r"[!-~]+")  # what fits into a header


def checked_key(key: str, origin: str) -> str:
    """A key that a header can hold.

    Args:
        key: the key, which the message does not repeat.
        origin: where it is from, for the message.

    Raises:
        UserError: it is empty, or has a character that no header can hold.
    """
    if not _KEY.fullmatch(key):
        wrong = "has other characters than visible ASCII" if key else "is empty"
        raise UserError(f"{origin} {wrong}; give a long random key, for example of `openssl rand -hex 32`")
    return key


def allow_origins(app: FastAPI, origins: Sequence[str]) -> None:
    """Lets pages of other origins ask the service; their requests have no cookies. Without any, nothing."""
    if not origins:
        return
    app.add_middleware(
        CORSMiddleware,
        allow_origins=origins,
        allow_methods=("GET", "POST", "DELETE"),
        allow_headers=("authorization", "content-type", "x-api-key", "x-request-id"),
        expose_headers=("retry-after", "x-request-id"),
    )


class KeyCheck:
    """Answers 401 to requests without the key, before their body is read.

    Args:
        app: the application.
        key: the key that requests name as `Authorization: Bearer KEY` or `X-API-Key: KEY`.
    """

    def __init__(self, app: App, key: str) -> None:
        self.app, self._key = app, key.encode()

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Handles a request."""
        if scope["type"] == "lifespan" or scope["path"] in OPEN or self._has_key(scope):
            await self.app(scope, receive, send)
            return
        reason = "this service needs its API key, as Authorization: Bearer KEY or X-API-Key: KEY"
        await problem(401, reason, **{"www-authenticate": "Bearer"})(scope, receive, send)

    def _has_key(self, scope: Message) -> bool:
        found = False
        for name, value in scope["headers"]:
            scheme, _, token = value.partition(b" ")
            if name == b"authorization" and scheme.lower() == b"bearer":
                found |= hmac.compare_digest(token.strip(), self._key)
            elif name == b"x-api-key":
                found |= hmac.compare_digest(value, self._key)
        return found
