"""Tasks of annotation tools, with and without scores."""

from ner_lightning.data.readers.record import CharSpan
from ner_lightning.data.writers.annotation_tools import (
    doccano_row,
    label_studio_results,
    label_studio_task,
    prodigy_task,
)

TEXT = "Vera Holt left."
WORDS = [(0, 4), (5, 9), (10, 14), (14, 15)]
ENTITIES = [CharSpan(0, 9, "PER"), CharSpan(5, 9, "LOC")]  # share a word
SCORES = [0.75, 0.125]


def test_doccano():
    row = {"text": TEXT, "label": [[0, 9, "PER"], [5, 9, "LOC"]]}
    assert doccano_row(TEXT, ENTITIES) == row
    assert list(doccano_row(TEXT, ENTITIES, SCORES).items()) == [*row.items(), ("scores", SCORES)]


def test_prodigy():
    spans = [
        {"start": 0, "end": 9, "token_start": 0, "token_end": 1, "label": "PER"},
        {"start": 5, "end": 9, "token_start": 1, "token_end": 1, "label": "LOC"},
    ]
    task = prodigy_task(TEXT, WORDS, ENTITIES)
    assert list(task) == ["text", "tokens", "spans"]
    assert [token["text"] for token in task["tokens"]] == ["Vera", "Holt", "left", "."]
    assert [token["ws"] for token in task["tokens"]] == [True, True, False, False]
    assert task["spans"] == spans
    scored = prodigy_task(TEXT, WORDS, ENTITIES, SCORES)
    assert scored["spans"] == [span | {"score": score} for span, score in zip(spans, SCORES, strict=True)]
    assert scored | {"spans": spans} == task


def test_label_studio():
    first, second = label_studio_results(TEXT, ENTITIES)
    assert first == {
        "value": {"start": 0, "end": 9, "text": "Vera Holt", "labels": ["PER"]},
        "from_name": "label",
        "to_name": "text",
        "type": "labels",
    }
    scored = label_studio_results(TEXT, ENTITIES, SCORES)
    assert scored == [{"id": "entity1", "score": 0.75} | first, {"id": "entity2", "score": 0.125} | second]
    assert label_studio_task(TEXT, {"line": 1}, predictions={"result": scored}) == {
        "data": {"text": TEXT, "line": 1},
        "predictions": [{"result": scored}],
    }
