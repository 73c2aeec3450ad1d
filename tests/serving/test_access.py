"""Access and logs: what needs the key, the id of each request, and what is logged of it."""

import asyncio
import logging
import re

import pytest
from services import error, names
from starlette.testclient import TestClient

from ner_lightning.commands.main import main
from ner_lightning.serving.access import VARIABLE, KeyCheck
from ner_lightning.serving.app import make_app

KEY = "k3y-of-th3-s3rvic3"
BODY = {"text": "so said Vera"}


def client(work=names, api_key=None):
    return TestClient(make_app(work, model="small/1", labels=["PER"], api_key=api_key))


@pytest.mark.parametrize("path", ["/extract", "/metrics", "/nowhere", "/extract/", "/health/"])
def test_without_the_key_nothing_is_answered_but_pages_and_probes(path):
    with client(api_key=KEY) as http:
        for headers in (
            {},
            {"authorization": f"Bearer {KEY}x"},
            {"authorization": f"Bearer {KEY[:-1]}"},
            {"authorization": "Bearer "},
            {"authorization": KEY},
            {"authorization": f"Basic {KEY}"},
            {"x-api-key": ""},
            {"x-api-key": f"Bearer {KEY}"},
            {"x-api-key": b"k\xe9y"},
            {"cookie": f"x-api-key={KEY}"},
        ):
            refused = http.post(path, json=BODY, headers=headers)
            assert refused.status_code == 401, headers
            assert "Authorization: Bearer KEY" in error(refused)
            assert KEY not in refused.text
            assert refused.headers["www-authenticate"] == "Bearer"
        for allowed in ("/", "/docs", "/openapi.json", "/health", "/ready"):
            answer = http.get(allowed)
            assert answer.status_code == 200
            assert KEY not in answer.text


@pytest.mark.parametrize(
    "headers", [{"authorization": f"Bearer {KEY}"}, {"authorization": f"bearer  {KEY} "}, {"x-api-key": KEY}]
)
def test_with_the_key_it_is_as_without_one(headers):
    with client(api_key=KEY) as http:
        assert http.post("/extract", json=BODY, headers=headers).json() == {
            "results": [
                {"entities": [{"text": "Vera", "label": "PER", "start": 8, "end": 12, "score": 0.75}]}
            ]
        }
        assert http.get("/nowhere", headers=headers).status_code == 404
        counts = http.get("/metrics", headers=headers).text
        http.post("/extract", json=BODY)
        assert 'ner_requests_total{status="401"} 1.0\n' in http.get("/metrics", headers=headers).text
    assert KEY not in counts


def test_a_body_without_the_key_is_not_read():
    async def unread():
        raise AssertionError("it was read")

    sent = []

    async def send(message):
        sent.append(message)

    asyncio.run(KeyCheck(None, KEY)({"type": "http", "path": "/extract", "headers": []}, unread, send))
    assert sent[0]["status"] == 401


@pytest.mark.parametrize("key", ["", "two words", "new\nline", "schlüssel"])
def test_a_key_that_no_header_can_hold_is_refused_and_not_repeated(key, capsys, monkeypatch):
    assert main(["serve", "nowhere", "--port", "0", f"--api_key={key}"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("ner-lightning: --api_key ")
    assert not key or key not in said
    monkeypatch.setenv(VARIABLE, key)
    assert main(["serve", "nowhere", "--port", "0"]) == 2
    assert f"ner-lightning: {VARIABLE} " in capsys.readouterr().err
    assert main(["serve", "nowhere", "--port", "0", "--api_key", KEY]) == 2  # the option is the stronger one
    assert "no run folder or checkpoint nowhere" in capsys.readouterr().err


def test_each_response_has_an_id_the_clients_own_if_it_is_plain():
    with client() as http:
        new = [http.get("/health").headers["x-request-id"] for _ in range(3)]
        assert len({*new}) == 3
        assert all(re.fullmatch("[0-9a-f]{32}", each) for each in new)
        for given in ("7f-2:a/b.c_d=", "x" * 128):
            for path in ("/health", "/nowhere", "/extract"):
                assert http.get(path, headers={"x-request-id": given}).headers["x-request-id"] == given
        for bad in ("", "x" * 129, "two words", b"\xe9", 'a"b', "<b>"):
            answer = http.get("/health", headers={"x-request-id": bad})
            assert re.fullmatch("[0-9a-f]{32}", answer.headers["x-request-id"])
    with client(api_key=KEY) as http:
        assert http.get("/metrics", headers={"x-request-id": "mine"}).headers["x-request-id"] == "mine"


def test_a_line_has_id_status_time_and_sizes_but_no_text(caplog):
    caplog.set_level(logging.INFO, "ner_lightning.requests")
    with client(api_key=KEY) as http:
        send = {"x-request-id": "mine", "authorization": f"Bearer {KEY}"}
        http.post("/extract", json={"texts": ["so said Vera", "Holt ."]}, headers=send)
        http.post("/extract?text=Secret", json=BODY, headers=send)
        http.post("/extract", json={"text": 1}, headers=send)
        http.get("/Secret%0Ainjected", headers=send)
        http.post("/extract", json=BODY, headers={"x-request-id": "else"})
        http.get("/ready", headers={"x-request-id": "probe"})
    first, *rest = [record.getMessage() for record in caplog.records if "requests" in record.name]
    assert re.fullmatch(r"mine POST /extract 200 \d+\.\dms texts=2 words=5", first)
    assert re.fullmatch(r"mine POST /extract 422 \d+\.\dms texts=\d+", rest.pop(0))
    assert [line.rpartition(" ")[0] for line in rest] == [
        "mine POST /extract 422",
        "mine GET - 404",
        "else POST /extract 401",
        "probe GET /ready 200",
    ]
    for never in (KEY, "Vera", "Holt", "Secret", "injected"):
        assert never not in caplog.text


def test_an_error_of_ours_is_logged_with_its_id_and_counted(caplog):
    def work(texts):
        raise RuntimeError("broken")

    caplog.set_level(logging.WARNING, "ner_lightning.requests")
    with client(work) as http:
        failed = http.post("/extract", json=BODY, headers={"x-request-id": "mine"})
        assert failed.status_code == 500
        assert "log has the details" in error(failed)
        assert failed.headers["x-request-id"] == "mine"
        assert 'ner_requests_total{status="500"} 1.0\n' in http.get("/metrics").text
    trace, line = caplog.records
    assert (trace.getMessage(), str(trace.exc_info[1])) == ("mine failed", "broken")
    assert re.fullmatch(r"mine POST /extract 500 \d+\.\dms texts=1", line.getMessage())


def test_ready_until_it_is_told_to_stop():
    with client() as http:
        assert http.get("/ready").json() == {"status": "ready"}
        http.app.state.stopping = True
        assert http.get("/ready").status_code == 503
        assert error(http.get("/ready")) == "the service is stopping"
        assert http.get("/health").status_code == 200
