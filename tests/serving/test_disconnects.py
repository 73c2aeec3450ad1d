"""A client that goes away, with the real server: what it asked for is not worked on while it only waits."""

import asyncio
import json
import logging
import re
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import uvicorn
from services import ask, names
from starlette.requests import ClientDisconnect

from ner_lightning.serving.app import RequestLimits, make_app
from ner_lightning.serving.disconnects import while_connected


class Service:
    """The server in a thread, with a tagger that works only once it is let."""

    def __init__(self):
        self.open, self.begun, self.batches = threading.Event(), threading.Event(), []
        self.app = make_app(self, model="m", labels=["PER", "LOC"], limits=RequestLimits(seconds=20))
        self.server = uvicorn.Server(uvicorn.Config(self.app, port=0, log_config=None))
        self.thread = threading.Thread(target=self.server.run, daemon=True)

    def __call__(self, texts):
        self.batches.append(list(texts))
        self.begun.set()
        assert self.open.wait(20)
        return names(texts)

    def __enter__(self):
        self.thread.start()
        until(lambda: self.server.started)
        self.port = self.server.servers[0].sockets[0].getsockname()[1]
        return self

    def __exit__(self, *_):
        self.open.set()
        self.server.should_exit = True
        self.thread.join(20)

    def sent(self, text):
        """A connection on which a request was sent."""
        body = json.dumps({"text": text}).encode()
        head = "POST /extract HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
        connection = socket.create_connection(("127.0.0.1", self.port))
        connection.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        return connection

    def waits(self, number):
        until(lambda: self.app.state.batcher.waiting == number)


def until(holds):
    for _ in range(1000):
        if holds():
            return
        time.sleep(0.01)
    raise AssertionError("it took more than 10 seconds")


def test_a_request_whose_client_goes_away_while_it_waits_is_not_processed(caplog):
    caplog.set_level(logging.INFO, "ner_lightning.requests")
    with Service() as service, ThreadPoolExecutor(2) as pool:
        address = f"http://127.0.0.1:{service.port}"
        first = pool.submit(ask, address, {"text": "First"})
        assert service.begun.wait(10)
        gone = service.sent("Abandoned")
        stays = pool.submit(ask, address, {"text": "Vera stays"})
        service.waits(2)
        gone.close()
        service.waits(1)
        service.open.set()
        assert [each.result()["results"][0]["entities"][0]["text"] for each in (first, stays)] == [
            "First",
            "Vera",
        ]
    assert service.batches == [["First"], ["Vera stays"]]
    ends = [re.search(r"POST /extract (\w+) ", line)[1] for line in caplog.messages if "/extract" in line]
    assert sorted(ends) == ["200", "200", "gone"]
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


def test_a_client_that_goes_away_while_the_model_works_disturbs_nobody(caplog):
    with Service() as service:
        gone = service.sent("Abandoned")
        assert service.begun.wait(10)
        gone.close()
        service.open.set()
        answer = ask(f"http://127.0.0.1:{service.port}", {"text": "Vera"})
    assert answer["results"][0]["entities"][0]["text"] == "Vera"
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


@pytest.mark.parametrize("ends", ["result", "error", "timeout", "gone"])
def test_nothing_runs_on_after_it(ends):
    async def story():
        left, stuck = asyncio.Event(), asyncio.Event()

        async def receive():
            await left.wait()
            return {"type": "http.disconnect"}

        async def work():
            if ends == "result":
                return "done"
            if ends == "error":
                raise KeyError(ends)
            if ends == "gone":
                left.set()
            return await stuck.wait()

        try:
            async with asyncio.timeout(0.05 if ends == "timeout" else 10):
                return await while_connected(work(), receive)
        except (KeyError, TimeoutError, ClientDisconnect) as error:
            return type(error)
        finally:
            assert asyncio.all_tasks() == {asyncio.current_task()}

    expected = {"result": "done", "error": KeyError, "timeout": TimeoutError, "gone": ClientDisconnect}
    assert asyncio.run(story()) == expected[ends]
