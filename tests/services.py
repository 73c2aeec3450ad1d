"""What tests of the service share: a tagger that takes capitalised words, the command as a process."""

import json
import os
import re
import subprocess
import sys
import threading
import urllib.request
from contextlib import contextmanager
from pathlib import Path

from ner_lightning.data.running_text import from_text
from ner_lightning.inference.result import Entity, Tagged

PAGE = Path(__file__).parent.parent / "docs/serve.md"
NAME = re.compile(r"\b[A-Z]\w+")


def names(texts, min_score=None, overlaps=None):
    """A tagger that takes every capitalised word for a person, and each for a place as well if asked."""
    found = [[(m[0], "PER", m.start(), m.end(), 0, 1, 0.75) for m in NAME.finditer(text)] for text in texts]
    return [
        Tagged(
            from_text(text),
            (),
            tuple(Entity(*each) for each in entities),
            overlapping=tuple(Entity(each[0], "LOC", *each[2:6], 0.1234567) for each in entities)
            if overlaps == "keep"
            else None,
        )
        for text, entities in zip(texts, found, strict=True)
    ]


def error(response):
    """The reason in a refusal of the service's own form."""
    assert response.headers["content-type"] == "application/json"
    (reason,) = response.json().values()
    assert reason
    assert len(reason) < 200
    return reason


@contextmanager
def served(checkpoint, *words, port=0, env=None):
    """The service's process and address; what it prints is in the process's `said`.

    `checkpoint` may be a list of several.
    """
    runs = checkpoint if isinstance(checkpoint, list) else [str(checkpoint)]
    command = [sys.executable, "-m", "ner_lightning", "serve", *runs, "--port", str(port), *words]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=env)
    process.said = []
    try:
        for line in process.stderr:
            process.said.append(line)
            if found := re.search(r"http://[\d.]+:\d+", line):
                break
        else:
            raise AssertionError("".join(process.said))
        reader = threading.Thread(target=lambda: process.said.extend(process.stderr), daemon=True)
        reader.start()
        process.reader = reader
        yield process, found[0]
    finally:
        process.kill()
        process.wait()
        if hasattr(process, "reader"):
            process.reader.join(timeout=30)
        process.stderr.close()


def ask(address, body, path="/extract", headers=None):
    """The answer to a POST of a body, or to a GET without one."""
    data = json.dumps(body).encode() if body else None
    request = urllib.request.Request(
        address + path, data, {"content-type": "application/json"} | (headers or {})
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)


def metrics(address):
    with urllib.request.urlopen(address + "/metrics", timeout=60) as answer:
        return answer.read().decode()


def curl_lines(with_key, several=False):
    """The commands of the docs that ask a service, with a key or without one; of one tagger or several."""
    lines = PAGE.read_text(encoding="utf-8").replace("\\\n", " ").splitlines()
    found = [line for line in lines if line.startswith("curl ") and ("API_KEY" in line) == with_key]
    return [line for line in found if ("tagger" in line) == several]


def curl(line, address, key=""):
    """What a command of the docs prints."""
    env = os.environ | {"NER_LIGHTNING_API_KEY": key}
    words = ["bash", "-c", line.replace("http://127.0.0.1:8000", address)]
    return subprocess.run(words, env=env, capture_output=True, text=True, check=True).stdout
