"""The service's application: what it answers, and what it refuses with which reason."""

import asyncio
import json
import re
import shlex
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from html import unescape

import pytest
from services import error, names
from starlette.testclient import TestClient

from ner_lightning.commands.main import main
from ner_lightning.inference.selection import Selection
from ner_lightning.serving.app import RequestLimits, make_app
from ner_lightning.serving.batcher import Batcher, Full
from ner_lightning.serving.limits import BodyLimit
from ner_lightning.serving.request_errors import TAKES
from ner_lightning.serving.schema import NewTagger, Query


def client(work=names, **limits):
    return TestClient(make_app(work, model="small/1", labels=["PER", "LOC"], limits=RequestLimits(**limits)))


def test_texts_are_answered_in_order():
    with client() as http:
        one = http.post("/extract", json={"text": "so said Vera"})
        assert one.status_code == 200
        found = {"text": "Vera", "label": "PER", "start": 8, "end": 12, "score": 0.75}
        assert one.json() == {"results": [{"entities": [found]}]}
        texts = ["Vera", "", "\U0001f600\r\n\x00 שלום Ilse", "none"]
        several = http.post("/extract", json={"texts": texts}).json()["results"]
        assert [[e["text"] for e in result["entities"]] for result in several] == [["Vera"], [], ["Ilse"], []]
        (entity,) = several[2]["entities"]
        assert texts[2][entity["start"] : entity["end"]] == "Ilse"
        assert http.post("/extract", json={"texts": []}).json() == {"results": []}


def test_a_request_says_which_entities_it_wants():
    asked = []

    def work(texts, **options):
        asked.append(options)
        return names(texts, **options)

    with client(work) as http:
        found = http.post("/extract", json={"text": "Vera", "min_score": 0.1, "overlaps": "keep"}).json()
        entities = found["results"][0]["entities"]
        assert [(e["label"], e["score"], e["overlaps"]) for e in entities] == [
            ("PER", 0.75, False),
            ("LOC", 0.123457, True),
        ]
        least = {"PER": 0.5, "*": 1}
        (entity,) = http.post("/extract", json={"text": "Vera", "min_score": least}).json()["results"][0][
            "entities"
        ]
        assert "overlaps" not in entity
        http.post("/extract", json={"text": "Vera", "min_score": None, "overlaps": None})
        assert asked == [{"min_score": 0.1, "overlaps": "keep"}, {"min_score": least}, {}]
        for bad in (
            0,
            1.5,
            -0.1,
            "0.5",
            True,
            [],
            {"PER": 0.5},
            {"*": 0},
            {"\ud800": 0.5, "*": 1},
            {"X": 0.5, "*": 1},
        ):
            response = http.post(
                "/extract", content=json.dumps({"text": "Vera", "min_score": bad}), headers=JSON
            )
            assert response.status_code == 422, bad
            error(response)
        assert "no effect without min_score" in error(
            http.post("/extract", json={"text": "Vera", "overlaps": "keep"})
        )
        assert (
            http.post("/extract", json={"text": "Vera", "min_score": 1, "overlaps": "all"}).status_code == 422
        )
        assert len(asked) == 3, "the tagger sees none of these"


def test_a_service_can_have_a_selection_of_its_own():
    app = make_app(names, model="m", labels=["PER", "LOC"], selected=Selection((0.5, 0.5)))
    with TestClient(app) as http:
        assert http.post("/extract", json={"text": "Vera", "overlaps": "keep"}).status_code == 200


def test_a_service_whose_model_works_past_the_timeout_is_not_ready_until_it_is_done():
    gate = Gate()
    with client(gate, seconds=0.2) as http:
        assert http.get("/ready").status_code == 200
        assert http.post("/extract", json={"text": "Vera"}).status_code == 504
        late = http.get("/ready")
        assert (late.status_code, "longer than a request may take" in late.text) == (503, True)
        assert http.get("/health").status_code == 200
        gate.open.set()
        assert http.post("/extract", json={"text": "Vera"}).status_code == 200
        assert http.get("/ready").status_code == 200


def test_a_mistaken_field_is_named_with_what_it_takes():
    told = {
        "min_score: a number, or an object of numbers": [
            {"text": "a", "min_score": bad} for bad in ("0.5", [], True, {"PER": "x"})
        ],
        "text: a text": [{"text": 1}],
        "texts: a list of texts": [{"texts": "a"}],
        "texts.1: a text": [{"texts": ["a", 1]}],
        "overlaps: resolve or keep": [{"text": "a", "overlaps": "x"}],
        "foo: there is no such field": [{"text": "a", "foo": 1}],
        "give either text or texts": [{}, {"text": "a", "texts": ["b"]}],
        "the body is no JSON object": [[], "x"],
    }
    with client() as http:
        for reason, bodies in told.items():
            for body in bodies:
                response = http.post("/extract", json=body)
                assert (response.status_code, error(response)) == (422, reason), body


def test_requests_with_other_options_are_another_batch():
    gate = Gate()

    def work(texts, **options):
        return [(text, options) for text in gate(texts)]

    async def story():
        batcher = Batcher(work, waiting=10, characters=100)
        first = asyncio.create_task(batcher.submit(["first"]))
        await asyncio.to_thread(gate.begun.wait, 5)
        others = [
            asyncio.create_task(batcher.submit([name], **options))
            for name, options in (("a", {"x": 1}), ("b", {}), ("c", {"x": 1}), ("d", {"x": 2}))
        ]
        await asyncio.sleep(0.05)
        gate.open.set()
        results = await asyncio.gather(first, *others)
        await batcher.close()
        return results

    results = asyncio.run(story())
    assert gate.batches == [["first"], ["a", "c"], ["b"], ["d"]]
    assert [options for ((_, options),) in results] == [{}, {"x": 1}, {}, {"x": 1}, {"x": 2}]


JSON = {"content-type": "application/json"}
MALFORMED = {
    "no JSON": b"{",
    "nothing": b"",
    "Latin-1": b'{"text": "Jos\xe9"}',
    "a list": b"[]",
    "another field": b'{"text": "a", "model": "b"}',
    "both": b'{"text": "a", "texts": ["b"]}',
    "neither": b"{}",
    "a number": b'{"text": 1}',
    "null": b'{"text": null}',
    "half a character": b'{"text": "\\ud800"}',
    "half a character as a name": b'{"\\ud800": 1}',
    "texts with a number": b'{"texts": ["a", 2]}',
    "too deep": b"[" * 100_000,
    "not finite": b'{"text": NaN}',
}


@pytest.mark.parametrize("case", MALFORMED)
def test_malformed_bodies_get_a_reason(case):
    with client() as http:
        response = http.post(
            "/extract", content=MALFORMED[case], headers={"content-type": "application/json"}
        )
        assert response.status_code in {400, 422}
        error(response)
        assert http.post("/extract", json={"text": "Vera"}).status_code == 200


def test_other_methods_and_places_get_a_reason():
    with client() as http:
        assert http.get("/extract").status_code == 405
        assert error(http.get("/nowhere"))
        plain = http.post("/extract", content=b'{"text": "a"}', headers={"content-type": "text/plain"})
        assert plain.status_code == 415
        assert "add the header content-type: application/json" in error(plain)
        packed = http.post("/extract", content=b"x", headers=JSON | {"content-encoding": "gzip"})
        assert packed.status_code == 415
        assert "has a content-encoding, which is not supported" in error(packed)
        assert error(http.post("/extract", headers=JSON)) == "the body is empty; send JSON"
        latin = http.post("/extract", content=MALFORMED["Latin-1"], headers=JSON)
        assert error(latin).startswith("the body is not JSON in UTF-8")


@pytest.mark.parametrize(
    ("coding", "status"), [("gzip", 415), ("identity, br", 415), ("Identity", 200), ("", 200)]
)
def test_a_coding_is_refused_whatever_the_body_is(coding, status):
    with client() as http:
        sent = http.post("/extract", content=b'{"text": "Vera"}', headers=JSON | {"content-encoding": coding})
        assert sent.status_code == status


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("?Tagger=a", "there is no query parameter Tagger; there is tagger"),
        ("?min_score=0.9", "min_score is no query parameter; put it in the body"),
        ("?tagger=a&tagger=b", "tagger is given several times; name one"),
    ],
)
def test_query_parameters_that_nothing_reads_are_refused(query, said):
    with client() as http:
        response = http.post(f"/extract{query}", json={"text": "Vera"})
        assert response.status_code == 422
        assert error(response) == said


def test_probes_may_ask_by_head():
    with client() as http:
        for path in ("/", "/health", "/ready", "/metrics"):
            assert http.head(path).status_code == 200
        assert http.head("/extract").status_code == 405


def test_long_bodies_and_texts_are_refused():
    with client(body=1000, characters=20) as http:
        assert "1,000 bytes" in error(http.post("/extract", content=b" " * 1001))

        def endless():
            for _ in range(100):
                yield b" " * 100

        assert http.post("/extract", content=endless()).status_code == 413
        response = http.post("/extract", json={"texts": ["x" * 15, "y" * 15]})
        assert response.status_code == 413
        assert "30 characters are more than 20" in error(response)
        assert http.post("/extract", json={"text": "x" * 20}).status_code == 200
        assert http.post("/extract", json={"texts": ["x"]}).status_code == 200


def test_more_texts_than_fit_are_refused_however_short():
    with client(characters=100) as http:
        assert len(http.post("/extract", json={"texts": [""] * 6}).json()["results"]) == 6
        response = http.post("/extract", json={"texts": [""] * 7})
        assert response.status_code == 413
        assert "7 texts are more than 6; send less at a time" in error(response)
    with client(characters=5) as http:  # one text always may come
        assert http.post("/extract", json={"text": "abcde"}).status_code == 200
    with client() as http:
        assert "240,000 texts are more than 6,250" in error(
            http.post("/extract", json={"texts": [""] * 240_000})
        )


class Gate:
    """A tagger that works only once it is let."""

    def __init__(self):
        self.open, self.begun, self.batches = threading.Event(), threading.Event(), []

    def __call__(self, texts):
        self.batches.append(list(texts))
        self.begun.set()
        assert self.open.wait(20)
        return names(texts)


def test_requests_that_wait_become_one_batch_and_one_too_many_is_refused():
    gate = Gate()
    with client(gate, waiting=6) as http, ThreadPoolExecutor(16) as pool:
        first = pool.submit(http.post, "/extract", json={"text": "First"})
        assert gate.begun.wait(10)
        rest = [pool.submit(http.post, "/extract", json={"texts": [f"Name{i}", "x"]}) for i in range(6)]
        while "ner_waiting_requests 6.0\n" not in http.get("/metrics").text:
            time.sleep(0.01)
        refused = http.post("/extract", json={"text": "Late"})
        assert refused.status_code == 429
        assert refused.headers["retry-after"] == "1"
        assert error(refused)
        gate.open.set()
        assert first.result().status_code == 200
        for number, answer in enumerate(rest):
            results = answer.result().json()["results"]
            assert [[e["text"] for e in r["entities"]] for r in results] == [[f"Name{number}"], []]
        assert [len(batch) for batch in gate.batches] == [1, 12]
        said = http.get("/metrics").text
    assert 'ner_requests_total{status="200"} 7.0\n' in said
    assert 'ner_requests_total{status="429"} 1.0\n' in said
    assert 'ner_entities_total{label="PER"} 7.0\n' in said
    assert "ner_batches_total 2.0\n" in said
    assert "ner_batched_requests_total 7.0\n" in said
    assert 'ner_request_seconds_bucket{le="+Inf"} 7.0\n' in said
    assert all(
        re.fullmatch(r'# (HELP|TYPE) .+|\w+(\{\w+="[^"]*"\})? [\d.e+-]+', line) for line in said.splitlines()
    )


def test_batches_are_no_longer_than_allowed():
    gate = Gate()
    with client(gate, batch=30) as http, ThreadPoolExecutor(16) as pool:
        calls = [pool.submit(http.post, "/extract", json={"text": "First"})]
        assert gate.begun.wait(10)
        calls += [
            pool.submit(http.post, "/extract", json={"text": "Abcdefghij"}) for _ in range(5)
        ]  # all alike
        calls.append(pool.submit(http.post, "/extract", json={"text": "Z" * 50}))
        while "ner_waiting_requests 6.0\n" not in http.get("/metrics").text:
            time.sleep(0.01)
        gate.open.set()
        assert {call.result().status_code for call in calls} == {200}
    assert max(sum(map(len, batch)) for batch in gate.batches if len(batch) > 1) <= 30
    assert max(map(len, gate.batches)) == 2


def test_a_request_that_takes_too_long_is_given_up():
    gate = Gate()
    with client(gate, seconds=0.2) as http:
        late = http.post("/extract", json={"text": "Vera"})
        assert late.status_code == 504
        assert "0.2 seconds" in error(late)
        waited = http.post("/extract", json={"text": "Ilse"})  # it never left the queue
        assert waited.status_code == 504
        gate.open.set()
        assert http.post("/extract", json={"text": "Holt"}).status_code == 200
    assert gate.batches == [["Vera"], ["Holt"]], "what nobody waits for is not worked on"


def test_an_error_of_ours_hits_its_own_request_alone():
    gate = Gate()

    def work(texts):
        found = gate(texts)
        if "poison" in texts:
            raise RuntimeError("poison")
        return found

    app = make_app(work, model="m", labels=["PER"])
    with TestClient(app, raise_server_exceptions=False) as http, ThreadPoolExecutor(8) as pool:
        first = pool.submit(http.post, "/extract", json={"text": "First"})
        assert gate.begun.wait(10)
        calls = [pool.submit(http.post, "/extract", json={"text": t}) for t in ("Vera", "poison", "Holt")]
        while "ner_waiting_requests 3.0\n" not in http.get("/metrics").text:
            time.sleep(0.01)
        gate.open.set()
        assert [c.result().status_code for c in (first, *calls)] == [200, 200, 500, 200]
        assert error(calls[1].result())
        assert http.post("/extract", json={"text": "Vera"}).status_code == 200


def test_stopping_finishes_what_waits_and_takes_nothing_new():
    gate = Gate()

    async def story():
        batcher = Batcher(gate, waiting=10, characters=100)
        jobs = [asyncio.create_task(batcher.submit([text])) for text in ("Vera", "Holt", "Lima")]
        while not gate.begun.is_set():
            await asyncio.sleep(0.01)
        closing = asyncio.create_task(batcher.close())
        await asyncio.sleep(0.05)
        with pytest.raises(Full):
            await batcher.submit(["late"])
        assert not closing.done()
        gate.open.set()
        await closing
        assert all(job.done() for job in jobs)
        return [job.result()[0].entities[0].text for job in jobs]

    assert asyncio.run(story()) == ["Vera", "Holt", "Lima"]


def test_pages_run_nothing_but_their_own():
    hostile = "</li><script>alert(1)</script>"
    app = make_app(names, model=hostile, labels=["PER", hostile])
    with TestClient(app) as http:
        for path in ("/", "/docs"):
            page = http.get(path)
            assert page.status_code == 200
            assert not re.search(r"(src|href)=.?(https?:)?//", page.text)
            assert "default-src 'none'" in page.headers["content-security-policy"]
            assert "alert(1)</script>" not in page.text
        described = http.get("/openapi.json").json()
        assert http.get("/docs").text.count("<h2><code>") == 4
    assert set(described["paths"]) == {"/extract", "/health", "/ready", "/metrics"}
    assert {"200", "413", "422", "429", "504"} <= set(described["paths"]["/extract"]["post"]["responses"])


def test_the_api_page_has_a_request_and_an_answer_for_each_route():
    (tagged,) = names(['Did Vera\'s "club" win?'])
    app = make_app(names, model="small/1", labels=["PER", "LOC"], api_key="k", example=tagged)
    with TestClient(app, base_url="http://host:8000") as http:
        page = unescape(http.get("/docs").text)
        described = http.get("/openapi.json").json()["paths"]
    assert page.count("<h3>Request</h3>") == page.count("<h3>Answer</h3>") == len(described) == 4
    command = re.search(r"curl -s http://host:8000/extract .*?(?=</pre>)", page)[0]
    words = shlex.split(command)
    assert words[2:5] == ["http://host:8000/extract", "-H", "Authorization: Bearer $NER_LIGHTNING_API_KEY"]
    assert json.loads(words[-1]) == {"text": tagged.text}
    assert "curl -s http://host:8000/ready</pre>" in page, "which needs no key"
    answer = described["/extract"]["post"]["responses"]["200"]["content"]["application/json"]["example"]
    assert [entity["text"] for entity in answer["results"][0]["entities"]] == ["Did", "Vera"]
    shown = re.search(r"<h3>Answer</h3><pre tabindex=\"0\">(.*?)</pre>", page, re.S)[1]
    assert json.loads(shown) == answer


def test_examples_are_the_services_own_requests_and_answers():
    with client() as http:
        for path, methods in http.get("/openapi.json").json()["paths"].items():
            for method, operation in methods.items():
                sent = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
                response = http.request(method, path, json=sent.get("example"))
                assert response.status_code == 200
                (content,) = operation["responses"]["200"]["content"].values()
                if isinstance(content["example"], str):
                    known = {line.split()[0] for line in response.text.splitlines() if line[:1] != "#"}
                    assert {line.split()[0] for line in content["example"].splitlines()} <= known
                else:
                    assert content["example"].keys() == response.json().keys()


def test_the_page_offers_an_example_only_if_there_is_one():
    (tagged,) = names(['"><script>Vera</script>'])
    for example in (tagged, None):
        app = make_app(names, model="m", labels=["PER"], example=example)
        with TestClient(app) as http:
            page = http.get("/").text
        assert ('id="example"' in page) == (example is not None)
        assert "<script>Vera" not in page


ORIGIN = "https://app.example"
ASKS = {"origin": ORIGIN, "access-control-request-method": "POST"}
ALLOWED = "access-control-allow-origin"


@pytest.mark.parametrize(
    ("origins", "headers", "status", "allowed"),
    [
        ((ORIGIN,), ASKS | {"access-control-request-headers": "content-type, x-api-key"}, 200, ORIGIN),
        ((ORIGIN,), ASKS | {"access-control-request-headers": "authorization"}, 200, ORIGIN),
        (("*",), ASKS, 200, "*"),
        (("https://other.example",), ASKS, 400, None),
        ((), ASKS, 401, None),
    ],
)
def test_a_browser_may_ask_from_other_origins_if_told_so(origins, headers, status, allowed):
    app = make_app(names, model="m", labels=["PER"], limits=RequestLimits(origins=origins), api_key="k")
    with TestClient(app) as http:
        preflight = http.options("/extract", headers=headers)
        assert preflight.status_code == status
        assert preflight.headers.get(ALLOWED) == allowed
        assert preflight.headers["x-request-id"]
        response = http.post("/extract", json={"text": "Vera"}, headers={"origin": ORIGIN, "x-api-key": "k"})
        assert response.status_code == 200
        assert response.headers.get(ALLOWED) == allowed
        refused = http.post("/extract", json={"text": "Vera"}, headers={"origin": ORIGIN})
        assert refused.status_code == 401, "an origin is no key"
        assert refused.headers.get(ALLOWED) == allowed, "so that the page can read why"
        if allowed == ORIGIN:
            assert preflight.headers["access-control-allow-headers"].lower().count("x-api-key") == 1
            assert "x-request-id" in response.headers["access-control-expose-headers"].lower()


@pytest.mark.parametrize("origin", ["app.example", "https://app.example/path", "runs/quickstart/1", "null"])
def test_what_is_no_origin_is_refused(origin, capsys):
    assert main(["serve", "--cors", ORIGIN, origin]) == 2
    assert f"--cors {origin} is not an origin" in capsys.readouterr().err


def test_health_says_what_is_served():
    with client() as http:
        assert http.get("/health").json() == {"status": "ok", "model": "small/1", "labels": ["PER", "LOC"]}


def test_a_body_that_does_not_come_in_is_given_up():
    sent = []

    async def never():
        await asyncio.sleep(60)

    async def gone():
        return {"type": "http.disconnect"}

    async def send(message):
        sent.append(message)

    async def inner(*_):
        raise AssertionError("the application shall not see it")

    limit = BodyLimit(inner, limit=10, seconds=0.05)
    asyncio.run(limit({"type": "http"}, never, send))
    assert sent[0]["status"] == 408
    assert json.loads(sent[1]["body"])["error"]
    sent.clear()
    asyncio.run(limit({"type": "http"}, gone, send))
    assert sent == []


def test_each_field_of_a_request_says_what_it_takes():
    assert TAKES.keys() == {*Query.model_fields, *NewTagger.model_fields}
