"""The server stops in bounded time, whatever the model does."""

import subprocess
import sys
import time

import pytest

# A request whose work never ends, then SIGTERM.
HANGS = """
import os, signal, socket, sys, threading, time
from ner_lightning.serving import server
from ner_lightning.serving.app import make_app

begun = threading.Event()

def work(texts):
    begun.set()
    time.sleep(100)

def ask():
    body = b'{"text": "a"}'
    head = "POST /extract HTTP/1.1\\r\\nHost: a\\r\\nContent-Type: application/json\\r\\n"
    head += f"Content-Length: {len(body)}\\r\\n\\r\\n"
    with socket.create_connection(listener.getsockname()) as client:
        client.sendall(head.encode() + body)
        begun.wait()
        os.kill(os.getpid(), signal.SIGTERM)
        client.recv(1000)
        time.sleep(100)

server.SLACK = 0.5
listener = socket.create_server(("127.0.0.1", 0))
asking = threading.Thread(target=ask, daemon=True)
server.GracefulServer(make_app(work, model="m", labels=[]), 1, 0, asking.start).run(sockets=[listener])
"""


@pytest.mark.slow
def test_a_model_that_hangs_does_not_keep_the_process():
    began = time.monotonic()
    done = subprocess.run([sys.executable, "-c", HANGS], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1, done.stderr
    assert "timeout graceful shutdown exceeded" in done.stderr
    assert time.monotonic() - began < 40
