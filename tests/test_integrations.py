"""The examples for other tools, checked by these tools' own libraries: Presidio, Label Studio."""

import re
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from label_studio import errors_of
from services import names
from starlette.testclient import TestClient
from untrained import write_checkpoint

EXAMPLES = Path(__file__).parent.parent / "examples"
PAGE = EXAMPLES.parent / "docs/serve.md"
CONFIG = """<View><Header value="Names"/><Text name="page" value="$body"/>
<Labels name="kind" toName="page"><Label value="PER"/><Label value="ORG"/></Labels></View>"""


@pytest.fixture
def tagger(monkeypatch):
    """A tagger that takes capitalised words for persons, and the examples on the path."""
    monkeypatch.syspath_prepend(str(EXAMPLES))

    def call(texts):
        return names(texts) if isinstance(texts, list) else names([texts])[0]

    call.labels = SimpleNamespace(types=("PER", "MISC"))
    yield call
    for module in ("presidio_recognizer", "label_studio_backend"):
        sys.modules.pop(module, None)


def test_presidio_reports_what_the_tagger_finds_beside_its_own_patterns(tagger):
    from presidio_recognizer import TrainedRecognizer, analyzer

    recognizer = TrainedRecognizer(tagger)
    assert recognizer.get_supported_entities() == ["PERSON", "MISC"]
    engine = analyzer(tagger)
    text = "so wrote Vera from 192.168.0.1 to Holt"
    found = {(r.entity_type, text[r.start : r.end], r.score) for r in engine.analyze(text, "en")}
    assert {("PERSON", "Vera", 0.75), ("PERSON", "Holt", 0.75)} <= found
    assert ("IP_ADDRESS", "192.168.0.1") in {each[:2] for each in found}
    assert {each.entity_type for each in engine.analyze(text, "en", entities=["PERSON"])} == {"PERSON"}
    assert engine.analyze(text, "en", entities=["MISC"]) == []
    assert engine.analyze(text, "en", entities=["PERSON"], score_threshold=0.8) == []


@pytest.mark.usefixtures("tagger")
def test_the_lines_of_the_docs_make_an_analyzer(tmp_path, llama):
    (code,) = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), flags=re.S | re.M)
    names_of = {}
    exec(code.replace("my-tagger", str(write_checkpoint(tmp_path, llama))), names_of)
    found = names_of["engine"].analyze("Vera Holt left Lima for 192.168.0.1.", language="en")
    assert "IP_ADDRESS" in {each.entity_type for each in found}
    assert {"PERSON", "LOCATION"} <= {*names_of["engine"].get_supported_entities("en")}


def test_label_studio_gets_predictions_in_the_form_of_its_project(tagger):
    from label_studio_backend import make_backend

    with TestClient(make_backend(tagger, "runs/demo/1")) as http:
        assert http.get("/health").json()["status"] == "UP"
        asked = {"project": "1.5", "schema": CONFIG, "hostname": "", "access_token": ""}
        assert http.post("/setup", json=asked).json() == {"model_version": "runs/demo/1"}
        texts = ["so said Vera to Holt .", "", None, "\U0001f600 Ilse"]
        tasks = [{"id": i, "data": {"body": text}} for i, text in enumerate(texts)] + [{"id": 9, "data": {}}]
        answer = http.post("/predict", json={"tasks": tasks, "project": "1.5", "label_config": CONFIG})
        predictions = answer.json()["results"]
        other = CONFIG.replace('"PER"', '"LOC"')
        none = http.post("/predict", json={"tasks": tasks[:1], "label_config": other}).json()["results"]
    found = [[result["value"]["text"] for result in each["result"]] for each in predictions]
    assert found == [["Vera", "Holt"], [], [], ["Ilse"], []]
    first = predictions[0]["result"][0]
    assert first["value"] == {"start": 8, "end": 12, "text": "Vera", "labels": ["PER"]}
    assert (first["from_name"], first["to_name"], first["type"]) == ("kind", "page", "labels")
    assert predictions[0]["score"] == 0.75
    assert none == [{"model_version": "runs/demo/1", "score": 1.0, "result": []}]
    tasks = [{"data": {"text": ""}, "predictions": [each]} for each in predictions]
    assert errors_of(tasks, [], CONFIG) == []
    first["from_name"] = "label"
    assert len(errors_of(tasks, [], CONFIG)) == 1
