"""Several taggers in one service: chosen by name, added and removed while it runs."""

import json

import pytest
from services import ask, curl, curl_lines, error, served
from starlette.testclient import TestClient
from untrained import write_different

from ner_lightning.commands.main import main
from ner_lightning.inference.ner_tagger import NERTagger
from ner_lightning.inference.tagger_group import TaggerGroup
from ner_lightning.serving.app import make_app
from ner_lightning.serving.taggers import NO_KEY, ServedTaggers

TEXTS = ["Vera Holt left Lima.", "Nobody in Oslo answered.", ""]


@pytest.fixture
def runs(llama, tmp_path):
    """Checkpoints of three taggers, by name."""
    return write_different(tmp_path, llama, ("people", "places", "late"))


@pytest.fixture
def service(runs):
    def made(fixed=None, **options):
        group = TaggerGroup({name: runs[name] for name in ("people", "places")})
        taggers = ServedTaggers(group, fixed)
        app = make_app(taggers.group.tag, model="people", labels=["PER", "LOC"], taggers=taggers, **options)
        return TestClient(app)

    return made


def spans(answer):
    return [
        [(e["start"], e["end"], e["label"]) for e in each["entities"]] for each in answer.json()["results"]
    ]


def alone(run):
    return [[(e.start, e.end, e.label) for e in tagged.entities] for tagged in NERTagger.from_run(run)(TEXTS)]


def test_a_request_names_its_tagger(service, runs):
    with service() as http:
        body = {"texts": TEXTS}
        for name in ("people", "places"):
            assert spans(http.post("/extract", params={"tagger": name}, json=body)) == alone(runs[name])
        assert alone(runs["people"]) != alone(runs["places"])
        assert spans(http.post("/extract", json=body)) == alone(runs["people"])
        unknown = http.post("/extract", params={"tagger": "x"}, json=body)
        assert unknown.status_code == 404
        assert error(unknown) == "there is no such tagger; there are people, places"
        listed = http.get("/taggers").json()
        assert listed["default"] == "people"
        assert [each["name"] for each in listed["taggers"]] == ["people", "places"]
        wrong = http.post("/extract", json={"text": "a", "min_score": {"X": 0.5, "*": 1}})
        assert wrong.status_code == 422
        assert error(wrong).startswith("min_score names X; the entity types are ")
        many = http.post("/extract", json={"text": "a", "min_score": {"X" * 10_000: 0.5, "*": 1}})
        assert len(many.json()["error"]) == 300


def test_taggers_come_and_go(service, runs):
    with service() as http:
        late = {"name": "late", "run": runs["late"]}
        added = http.post("/taggers", json=late)
        assert (added.status_code, added.json()) == (201, {"name": "late", "labels": ["PER", "LOC"]})
        found = http.post("/extract", params={"tagger": "late"}, json={"texts": TEXTS})
        assert spans(found) == alone(runs["late"])
        again = http.post("/taggers", json=late)
        assert again.status_code == 422
        assert "two taggers are named late" in error(again)
        missing = http.post("/taggers", json={"name": "x", "run": "nowhere"})
        assert missing.status_code == 422
        assert http.delete("/taggers/places").status_code == 204
        assert http.post("/extract", params={"tagger": "places"}, json={"text": "a"}).status_code == 404
        assert spans(http.post("/extract", json={"texts": TEXTS})) == alone(runs["people"])
        assert http.delete("/taggers/places").status_code == 404
        assert http.delete("/taggers/people").status_code == 409
        assert [each["name"] for each in http.get("/taggers").json()["taggers"]] == ["people", "late"]


@pytest.mark.slow
def test_without_a_key_nothing_changes(service, runs):
    with service(fixed=NO_KEY) as http:
        refused = http.post("/taggers", json={"name": "late", "run": runs["late"]})
        assert refused.status_code == 403
        assert "start it with NER_LIGHTNING_API_KEY" in error(refused)
        assert http.delete("/taggers/places").status_code == 403
    with service(api_key="k") as http:
        assert http.post("/taggers", json={"name": "late", "run": runs["late"]}).status_code == 401
        assert http.delete("/taggers/places").status_code == 401


def test_options_for_one_run_are_refused(runs, capsys):
    assert main(["serve", runs["people"], runs["places"], "--port", "0", "--temperature", "2"]) == 2
    assert "--temperature is for one RUN" in capsys.readouterr().err
    assert main(["serve", runs["people"], runs["places"], "--port", "0", "--backbone", "x"]) == 2
    assert "--backbone is for one RUN" in capsys.readouterr().err


@pytest.mark.slow
def test_the_command_serves_several(runs):
    named = [f"{name}={runs[name]}" for name in ("people", "places")]
    with served(named, "--api_key", "secret") as (_, address):
        key = {"authorization": "Bearer secret"}
        body = {"texts": TEXTS}
        found = ask(address, body, "/extract?tagger=places", key)["results"]
        assert [[(e["start"], e["end"], e["label"]) for e in each["entities"]] for each in found] == (
            alone(runs["places"])
        )
        lines = curl_lines(with_key=True, several=True)
        added, removed = (curl(line.replace("runs/law/1", runs["late"]), address, "secret") for line in lines)
        assert json.loads(added) == {"name": "law", "labels": ["PER", "LOC"]}
        assert removed == ""
        assert len(ask(address, None, "/taggers", key)["taggers"]) == 2
    with served([f"people={runs['people']}", f"drugs={runs['places']}"]) as (_, address):
        answer, listed = (curl(line, address) for line in curl_lines(with_key=False, several=True))
        assert len(json.loads(answer)["results"]) == 1
        assert json.loads(listed)["default"] == "people"
