"""The command as a process: it stops gracefully, restarts after a kill, and its page works in a browser."""

import http.client
import json
import os
import re
import signal
import socket
import threading
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import tiny
from browser import chromium
from services import ask, curl, curl_lines, metrics, served
from untrained import write_checkpoint

from ner_lightning.commands.main import main

TEXT = "Vera Holt left Lima. " * 20


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory, llama):
    return write_checkpoint(tmp_path_factory.mktemp("serve"), llama)


def test_an_address_that_is_taken_is_explained_before_anything_is_loaded(capsys):
    with socket.socket() as door:
        door.bind(("127.0.0.1", 0))
        door.listen()
        port = door.getsockname()[1]
        assert main(["serve", "nowhere", "--port", str(port)]) == 2
    assert f"--port {port} cannot be listened on: address already in use" in capsys.readouterr().err
    for words, said in (
        (["--port", "70000"], "--port is 70000; it must be a whole number from 0 to 65535"),
        (["--host", "192.0.2.1"], "cannot be listened on"),
        (["--queue", "0"], "--queue is 0; it must be a whole number of at least 1"),
        (["--workers", "0"], "--workers is 0; it must be a whole number of at least 1"),
        (["--drain", "-1"], "--drain is -1; it must be a whole number of at least 0"),
        (["--temperature", "0"], "--temperature is 0.0; it must be a number above 0"),
        (["nowhere", "--port", "0"], "no run folder or checkpoint nowhere"),
    ):
        assert main(["serve", *words]) == 2
        assert said in capsys.readouterr().err


@pytest.mark.slow
def test_sigterm_finishes_what_is_queued_and_ends_well(checkpoint):
    with served(checkpoint) as (process, address), ThreadPoolExecutor(24) as pool:
        assert ask(address, None, "/health")["status"] == "ok"
        calls = [pool.submit(ask, address, {"text": TEXT * 8}) for _ in range(24)]
        while not re.search(r"ner_waiting_requests [1-9]", metrics(address)):
            assert not all(call.done() for call in calls)
        process.send_signal(signal.SIGTERM)
        answers = [call.result() for call in calls]
        assert process.wait(timeout=30) == 0
        assert all(answer == answers[0] for answer in answers)
        assert answers[0]["results"][0]["entities"]
        with pytest.raises(urllib.error.URLError, match="refused"):
            ask(address, None, "/health")


@pytest.mark.slow
def test_killed_while_it_works_it_starts_again_at_the_same_address(checkpoint):
    with served(checkpoint) as (process, address):
        port = int(address.rpartition(":")[2])
        failed = threading.Event()

        def lost():
            with pytest.raises((ConnectionError, http.client.HTTPException, urllib.error.URLError)):
                ask(address, {"texts": [TEXT * 100] * 8})
            failed.set()

        waiting = [threading.Thread(target=lost) for _ in range(4)]
        for thread in waiting:
            thread.start()
        time.sleep(0.3)
        process.kill()
        for thread in waiting:
            thread.join()
        assert failed.is_set()
    with served(checkpoint, port=port) as (process, again):
        assert again == address
        assert ask(again, {"text": TEXT})["results"][0]["entities"]
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=30) == 0


def visit(page, address):
    """Loads the page to try the service."""
    page("Page.navigate", url=address + "/")
    while not any(e.get("method") == "Page.loadEventFired" for e in page.events):
        page.events.append(page._read())


def find(page, text):
    """Enters a text into the page; what the page says then."""
    page.run(f"document.getElementById('text').value = {json.dumps(text)}")
    page.run("document.getElementById('go').click()")
    return wait_for_status(page)


def wait_for_status(page):
    """What the page says once it has its answer."""
    for _ in range(200):
        if page.run("!document.getElementById('go').disabled"):
            return page.run("document.getElementById('status').textContent")
        time.sleep(0.05)
    raise AssertionError("no answer")


@pytest.mark.slow
def test_the_page_in_a_browser(checkpoint, tmp_path):
    hostile = "<img src=x onerror=document.title='owned'> \U0001f600 Vera Holt & <b>Lima</b> " + " ".join(
        tiny.words_text()[:3]
    )
    with served(checkpoint, "--text_limit", "2000") as (_, address), chromium() as page:
        page.resize(1100, 900)
        visit(page, address)
        found = ask(address, {"text": hostile})["results"][0]["entities"]
        assert found

        assert find(page, hostile) == f"{len(found)} entities"
        marks = "[...document.querySelectorAll('#result mark')]"
        shown = page.run(f"{marks}.map(m => [m.firstChild.data, ...[...m.children].map(c => c.textContent)])")
        assert shown == [[e["text"], e["label"], f"{e['score']:.3f}"] for e in found]
        assert page.run(f"{marks}.forEach(m => m.replaceWith(m.firstChild));"
                        "document.getElementById('result').textContent") == hostile  # fmt: skip
        assert page.run("document.title") == "Find entities"
        assert page.run("document.querySelectorAll('#result img, #result b').length") == 0
        find(page, hostile)
        page.picture(tmp_path / "page.png", whole=True)
        for width in (320, 768):
            page.resize(width, 800, phone=True)
            assert page.run("document.documentElement.scrollWidth") <= width
        elsewhere = [c for c in page.complaints() if not str(c).startswith(address)]
        assert elsewhere == []
        # A refusal is told, and leaves no result of another text.
        assert "more than 2,000" in find(page, "x" * 3000)
        hidden = "[document.getElementById('result').hidden, document.getElementById('found').hidden]"
        assert page.run(hidden) == [True, True]
        assert page.run("document.getElementById('status').className") == "error"
        assert find(page, " ") == "Type a text first."
        assert page.run(hidden) == [True, True]


@pytest.mark.slow
def test_an_example_is_one_click_away_and_a_phone_shows_whole_words(checkpoint, tmp_path):
    with served(checkpoint) as (_, address), chromium() as page:
        page.resize(390, 800, phone=True)
        visit(page, address)
        assert page.run("getComputedStyle(document.getElementById('result')).display") == "none"
        assert page.run("document.getElementById('go').textContent") == "Find entities"
        page.run("document.getElementById('example').click()")
        text = page.run("document.getElementById('text').value")
        assert re.fullmatch(r"\d+ entities|1 entity", wait_for_status(page))
        assert page.run("document.getElementById('result').textContent").startswith(text.split()[0])
        # No cell of type, characters or score has more than one line.
        cells = "[...document.querySelectorAll('#table td, #table thead th')]"
        assert set(page.run(f"{cells}.map(cell => getComputedStyle(cell).whiteSpace)")) == {"nowrap"}
        assert page.run("document.documentElement.scrollWidth") <= 390
        scores = page.run("[...document.querySelectorAll('#table td:nth-child(3)')].map(c => c.textContent)")
        assert all(re.fullmatch(r"\d\.\d{3}", score) for score in scores)
        light = page.run("getComputedStyle(document.documentElement).backgroundColor")
        page(
            "Emulation.setEmulatedMedia",
            media="screen",
            features=[{"name": "prefers-color-scheme", "value": "dark"}],
        )
        assert light == "rgb(255, 255, 255)"
        assert page.run("getComputedStyle(document.documentElement).backgroundColor") == "rgb(17, 24, 32)"
        page.picture(tmp_path / "dark.png", whole=True)


@pytest.mark.slow
def test_the_page_asks_for_the_key(checkpoint):
    with served(checkpoint, "--api_key", "k3y") as (_, address), chromium() as page:
        visit(page, address)
        shown = "!document.getElementById('access').hidden"
        assert not page.run(shown)
        assert find(page, TEXT) == "This service needs its API key."
        assert page.run(shown)
        assert page.run("document.activeElement.id") == "key"
        page.run("document.getElementById('key').value = 'another'")
        assert find(page, TEXT) == "This is not the key of this service."
        page.run("document.getElementById('key').value = 'k3y'")
        assert re.fullmatch(r"\d+ entities", find(page, TEXT))


@pytest.mark.slow
def test_a_service_has_a_threshold_and_a_request_another(checkpoint):
    with served(checkpoint, "--min_score", "0.02", "--overlaps", "keep") as (_, address):
        (found,) = ask(address, {"text": TEXT})["results"]
        assert min(entity["score"] for entity in found["entities"]) >= 0.02
        assert {entity["overlaps"] for entity in found["entities"]} == {True, False}
        (less,) = ask(address, {"text": TEXT, "min_score": 0.2, "overlaps": "resolve"})["results"]
        assert all(entity["score"] >= 0.2 and "overlaps" not in entity for entity in less["entities"])
        one, several, health, metrics = (curl(line, address) for line in curl_lines(with_key=False))
        assert [len(json.loads(answer)["results"]) for answer in (one, several)] == [1, 2]
        assert json.loads(health)["status"] == "ok"
        assert "ner_requests_total" in metrics


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--min_score", "2"], "--min_score is 2; it must be a number above 0 and at most 1"),
        (["--overlaps", "keep"], "--overlaps has no effect here: it is for --min_score"),
        (["--min_score", "0.5", "--min_score", "PERSON=0.5"], "min_score names PERSON; the entity types are"),
    ],
)
def test_a_threshold_that_cannot_be_is_refused(checkpoint, capsys, words, said):
    assert main(["serve", str(checkpoint), "--port", "0", *words]) == 2
    assert said in capsys.readouterr().err


def refused_with(status, address, body, path="/extract"):
    with pytest.raises(urllib.error.HTTPError) as refused:
        ask(address, body, path)
    with refused.value:
        assert refused.value.code == status


@pytest.mark.slow
def test_a_service_with_a_key_logs_requests_and_drains_before_it_stops(checkpoint):
    key = "k3y-of-the-s3rvice"
    env = os.environ | {"NER_LIGHTNING_API_KEY": key}
    with served(checkpoint, "--log_requests", "--drain", "3", env=env) as (process, address):
        refused_with(401, address, {"text": TEXT})
        (line,) = curl_lines(with_key=True)
        assert "results" in json.loads(curl(line, address, key))
        assert "error" in json.loads(curl(line, address, "another"))
        assert ask(address, None, "/ready") == {"status": "ready"}
        process.send_signal(signal.SIGTERM)
        time.sleep(0.5)
        refused_with(503, address, None, "/ready")
        assert ask(address, None, "/health")["status"] == "ok"
        assert ask(address, {"text": TEXT}, headers={"X-API-Key": key})["results"][0]["entities"]
        command = Path(f"/proc/{process.pid}/cmdline")
        assert not command.exists() or key not in command.read_text()
        assert process.wait(timeout=30) == 0
        with pytest.raises(urllib.error.URLError, match="refused"):
            ask(address, None, "/health")
    process.reader.join(timeout=30)
    said = "".join(process.said)
    assert re.search(r"[0-9a-f]{32} POST /extract 401 [\d.]+ms\n", said)
    assert re.search(r"[0-9a-f]{32} POST /extract 200 [\d.]+ms texts=1 words=100\n", said)
    assert "Vera" not in said
    assert key not in said
