"""Work for a request that ends when its client goes away: nobody is left to answer."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from starlette.requests import ClientDisconnect

from ner_lightning.serving.limits import Receive

Result = TypeVar("Result")


async def while_connected(work: Coroutine[Any, Any, Result], receive: Receive) -> Result:
    """The result of some work, which is cancelled if the client goes away first.

    Args:
        work: what the client waits for.
        receive: gives the request's messages; its body must have been read.

    Raises:
        ClientDisconnect: the client has gone away.
    """
    working, gone = asyncio.create_task(work), asyncio.create_task(_disconnect(receive))
    try:
        await asyncio.wait((working, gone), return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ClientDisconnect
        return working.result()
    finally:  # also if this is cancelled itself
        working.cancel()
        gone.cancel()
        await asyncio.gather(working, gone, return_exceptions=True)


async def _disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
