"""A machine-learning backend of Label Studio: a trained tagger pre-annotates the texts of a project.

Run `python label_studio_backend.py RUN`, and add http://localhost:9090 to the project under Settings, Model.
"""

import sys
from threading import Lock
from typing import Any
from xml.etree import ElementTree

import uvicorn
from fastapi import FastAPI

from ner_lightning.data.readers.record import CharSpan
from ner_lightning.data.writers.annotation_tools import label_studio_results
from ner_lightning.inference.ner_tagger import NERTagger


def make_backend(tagger: NERTagger, version: str) -> FastAPI:
    """The backend's application; Label Studio stores the version with each prediction."""
    app, turn = FastAPI(), Lock()

    @app.get("/health")
    def health() -> dict[str, str]:
        return {"status": "UP", "model_class": "NERTagger"}

    @app.post("/setup")
    def setup(project: dict[str, Any]) -> dict[str, str]:
        return {"model_version": version}

    @app.post("/webhook")
    def webhook(event: dict[str, Any]) -> dict[str, str]:
        return {"status": "this backend does not train"}

    @app.post("/predict")
    def predict(request: dict[str, Any]) -> dict[str, Any]:
        config = ElementTree.fromstring(request["label_config"])
        tag = next(config.iter("Labels"))
        fields = {text.get("name"): text.get("value", "").removeprefix("$") for text in config.iter("Text")}
        names = {"from_name": tag.get("name"), "to_name": tag.get("toName")}
        labels = {label.get("value") for label in tag.iter("Label")}
        texts = [str(task["data"].get(fields[names["to_name"]]) or "") for task in request["tasks"]]
        results = []
        with turn:
            tagged = tagger(texts)
        for found in tagged:
            entities = [each for each in found.entities if each.label in labels]
            spans = (CharSpan(each.start, each.end, each.label) for each in entities)
            score = min((each.score for each in entities), default=1.0)
            result = [each | names for each in label_studio_results(found.text, spans)]
            results.append({"model_version": version, "score": round(score, 6), "result": result})
        return {"results": results}

    return app


if __name__ == "__main__":
    backend = make_backend(NERTagger.from_run(sys.argv[1]), sys.argv[1])
    uvicorn.run(backend, host="127.0.0.1", port=9090)
