"""The log of requests: what a client sees after its response was counted before it."""

import asyncio
from types import SimpleNamespace

from starlette.responses import PlainTextResponse

from ner_lightning.serving.request_log import RequestLog


def test_a_response_is_counted_before_the_client_has_it():
    happened = []

    async def send(message):
        happened.append(message["type"])

    log = RequestLog(
        PlainTextResponse("done"), on_response=lambda path, status: happened.append((path, status))
    )
    app = SimpleNamespace(routes=[])
    scope = {"type": "http", "method": "POST", "path": "/extract", "headers": [], "app": app}
    asyncio.run(log(scope, None, send))
    assert happened == [("/extract", 200), "http.response.start", "http.response.body"]
