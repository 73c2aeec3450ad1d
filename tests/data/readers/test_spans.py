"""Texts with entities as character spans, as annotation tools write them."""

import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ner_lightning.data.corpus_settings import Files
from ner_lightning.data.invisible import is_invisible
from ner_lightning.data.readers.char_spans import tagged_sentences
from ner_lightning.data.readers.files import Inputs
from ner_lightning.data.readers.read_options import AnnotationRules, ReadOptions
from ner_lightning.data.readers.record import CharSpan
from ner_lightning.data.readers.sentences import read_sentences
from ner_lightning.data.running_text import from_text
from ner_lightning.data.schemes import spans, to_bio2
from ner_lightning.data.sentence import DataError
from ner_lightning.errors import UserError

TEXT = "Brinda Okafor moved to Tarvo."
MOVED = ("Brinda", "Okafor", "moved", "to", "Tarvo", ".")


def write(path, *rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def found(sentences):
    """The words and entities of each sentence."""
    return [(s.words, [tuple(span) for span in spans(s.tags)]) for s in sentences]


SPANS = [[0, 13, "PER"], [23, 28, "LOC"]]
OBJECTS = [{"start": a, "end": b, "label": type_} for a, b, type_ in SPANS]
OFFSETS = [{"id": 7, "start_offset": a, "end_offset": b, "label": type_} for a, b, type_ in SPANS]
RESULT = [
    {"type": "labels", "value": {"start": a, "end": b, "text": TEXT[a:b], "labels": [type_]}}
    for a, b, type_ in SPANS
]
TASK = {"id": 3, "data": {"text": TEXT}, "annotations": [{"result": RESULT, "was_cancelled": False}]}
SHAPES = {
    "doccano": {"id": 1, "text": TEXT, "label": SPANS},
    "doccano, labels": {"id": 1, "text": TEXT, "labels": SPANS},
    "doccano, old": {"id": 1, "data": TEXT, "label": SPANS},
    "doccano with relations": {"text": TEXT, "entities": OFFSETS, "relations": []},
    "Label Studio": TASK,
    "Label Studio, JSON-MIN": {"id": 3, "text": TEXT, "label": [each["value"] for each in RESULT]},
    "Label Studio, JSON-MIN, a control of another name": {
        "text": TEXT,
        "ner": [each["value"] for each in RESULT],
        "annotation_id": 3,
    },
    "Label Studio, JSON-MIN, a control that is called tokens": {
        "text": TEXT,
        "tokens": [each["value"] for each in RESULT],
        "annotation_id": 3,
    },
    "Label Studio, the ground truth": TASK
    | {"annotations": [{"result": []}, {"result": RESULT, "ground_truth": True}]},
    "displaCy": {"text": TEXT, "ents": OBJECTS, "title": None},
    "spaCy's Doc.to_json": {
        "text": TEXT,
        "ents": OBJECTS,
        "sents": [{"start": 0, "end": 29}],
        "tokens": [
            {"id": i, "start": a, "end": b}
            for i, (a, b) in enumerate([(0, 6), (7, 13), (14, 19), (20, 22), (23, 28), (28, 29)])
        ],
    },
    "Label Studio, another field": TASK | {"data": {"body": TEXT, "page": 4}},
    "Label Studio, the first of two annotators cancelled": TASK
    | {"annotations": [{"result": [], "was_cancelled": True}, {"result": RESULT}]},
    "Prodigy, spans alone": {"text": TEXT, "spans": OBJECTS, "answer": "accept"},
    "spaCy's pairs": [TEXT, {"entities": SPANS}],
    "GLiNER": {"tokenized_text": list(MOVED), "ner": [[0, 1, "PER"], [4, 4, "LOC"]]},
}


@pytest.mark.parametrize("as_list", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_what_annotation_tools_write(tmp_path, shape, as_list):
    path = tmp_path / "x.json"
    row = SHAPES[shape]
    if as_list:
        path.write_text(json.dumps([row, row], indent=1), encoding="utf-8")
    else:
        write(path, row, row)
    sentences = read_sentences(path)
    assert found(sentences) == [(MOVED, [("PER", 0, 2), ("LOC", 4, 5)])] * 2
    assert [sentence.document for sentence in sentences] == [0, 1]
    assert read_sentences(path, ReadOptions(tagged=False))[0].words == MOVED


@pytest.mark.parametrize(
    ("text", "start", "end", "stated", "entity"),
    [
        ("\U0001f4a9\U0001f4a9 a b c d", 7, 8, "b", ("b",)),  # an emoji counts as two
        ("\U0001f4a9 x Anna Bell met", 5, 14, "Anna Bell", ("Anna", "Bell")),
        ("Hi\r\nAnna met Bob Stone", 12, 21, "Bob Stone", ("Bob", "Stone")),  # a line break as one
        ("New\nYork won", 0, 8, "New\\nYork", ("New", "York")),  # and is written as two characters
    ],
)
@pytest.mark.parametrize("task", [True, False])
def test_offsets_that_count_otherwise_are_those_of_the_stated_text(
    tmp_path, text, start, end, stated, entity, task
):
    value = {"start": start, "end": end, "text": stated, "labels": ["PER"]}
    row = {"text": text, "label": [value]}
    if task:
        row = {"data": {"text": text}, "annotations": [{"result": [{"type": "labels", "value": value}]}]}
    sentences = read_sentences(write(tmp_path / "x.jsonl", row))
    marked = [w for s in sentences for w, tag in zip(s.words, s.tags, strict=True) if tag != "O"]
    assert tuple(marked) == entity


def test_an_entity_that_states_another_text_is_refused(tmp_path):
    spans = [
        {"start": 0, "end": 4, "label": "PER", "text": "Vera"},
        {"start": 5, "end": 8, "label": "PER", "text": "Holt"},
    ]
    path = write(tmp_path / "x.jsonl", {"text": "Vera Holt left", "label": spans})
    with pytest.raises(
        DataError, match=r"x\.jsonl:1: the entity PER from 5 to 8 is stated as .Holt., but the text"
    ):
        read_sentences(path)


def test_the_words_of_prodigy_are_kept(tmp_path):
    cells = [("Brinda", 0, 6), (" ", 6, 7), ("moved to", 7, 15), ("Tarvo.", 16, 22)]
    tokens = [{"text": text, "start": a, "end": b, "id": i} for i, (text, a, b) in enumerate(cells)]
    row = {"text": "Brinda moved to Tarvo.", "tokens": tokens, "spans": OBJECTS[:1]}
    row["spans"] = [{"start": 0, "end": 6, "token_start": 0, "token_end": 0, "label": "PER"}]
    path = write(tmp_path / "x.jsonl", row, row | {"spans": []})
    words = ("Brinda", "moved to", "Tarvo.")
    assert found(read_sentences(path)) == [(words, [("PER", 0, 1)]), (words, [])]


@pytest.mark.parametrize(
    ("row", "field", "text"),
    [
        ({"text": "Ask Vera.", "annotations": []}, None, "Ask Vera."),
        ({"text": "Ask Vera.", "annotations": [{"text": "Vera", "label": "PER"}]}, None, "Ask Vera."),
        ({"text": "Ask Vera.", "data": {"source": "web"}}, None, "Ask Vera."),
        ({"text": "Ask Vera.", "data": {"source": "web"}}, "text", "Ask Vera."),
        ({"data": {"text": "web", "body": "Ask Vera."}}, "body", "Ask Vera."),
        ({"data": {"title": "web", "body": "Ask Vera."}, "annotations": []}, "body", "Ask Vera."),
        ({"body": "Ask Vera.", "tokenized_text": ["web"]}, "body", "Ask Vera."),
        ({"text": "Ask Vera.", "words": None}, None, "Ask Vera."),
        ({"text": "Ask Vera.", "tokens": 512}, None, "Ask Vera."),
        ({"text": "Ask Vera.", "tokens": []}, None, "Ask Vera."),
    ],
)
def test_fields_beside_a_text_do_not_take_its_place(tmp_path, row, field, text):
    path = write(tmp_path / "x.jsonl", row, row)
    records = list(Inputs(str(path), ReadOptions(words_column=field, tagged=False)).read())
    assert [(each.content, each.reason) for each in records] == [(text, "")] * 2


def test_a_field_of_annotations_holds_the_entities_of_a_text(tmp_path):
    row = {"text": "Ask Vera.", "annotations": [{"start_offset": 4, "end_offset": 8, "label": "PER"}]}
    path = write(tmp_path / "x.jsonl", row, row | {"annotations": []})
    assert found(read_sentences(path)) == [
        (("Ask", "Vera", "."), [("PER", 1, 2)]),
        (("Ask", "Vera", "."), []),
    ]


def test_entities_in_two_fields_are_not_guessed(tmp_path):
    row = {"text": "Ask Vera Holt now.", "label": [], "entities": [[4, 13, "PER"]]}
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps(row) + "\n", encoding="utf-8")
    with pytest.raises(DataError, match="fields label and entities may both hold the entities; name one"):
        read_sentences(path)
    (sentence,) = read_sentences(path, ReadOptions(tags_column="entities"))
    assert sentence.tags == ("O", "B-PER", "I-PER", "O", "O")
    row["label"] = row["entities"]  # the same twice
    path.write_text(json.dumps(row) + "\n", encoding="utf-8")
    assert read_sentences(path)[0].tags == sentence.tags


def test_rejected_rows_are_left_out_and_counted(tmp_path, caplog):
    good = SHAPES["Prodigy, spans alone"]
    cancelled = TASK | {"annotations": [{"result": RESULT, "was_cancelled": True}]}
    rows = [good, good | {"answer": "reject"}, good | {"answer": "ignore"}, cancelled]
    assert len(read_sentences(write(tmp_path / "x.jsonl", *rows))) == 1
    assert "3 rows are left out: not annotated, or rejected, ignored or cancelled" in caplog.text


def test_of_several_annotations_the_first_or_the_ground_truth_is_read_and_that_is_said(tmp_path, caplog):
    task = TASK | {"annotations": [{"result": RESULT}, {"result": []}]}
    assert found(read_sentences(write(tmp_path / "x.jsonl", task)))[0][1] == [("PER", 0, 2), ("LOC", 4, 5)]
    assert "1 tasks have several annotations; the first of each is read, or its ground truth" in caplog.text


MIN = {"id": 0, "text": TEXT, "annotator": 1, "annotation_id": 1}
PER, LOC = ([each["value"]] for each in RESULT)


def test_the_entities_of_all_controls_of_json_min_are_read_and_that_is_said(tmp_path, caplog):
    path = write(tmp_path / "x.jsonl", MIN | {"label": PER, "ner": LOC}, MIN | {"ner": LOC}, MIN)
    assert [entities for _, entities in found(read_sentences(path))] == [
        [("PER", 0, 2), ("LOC", 4, 5)],
        [("LOC", 4, 5)],
        [],
    ]
    assert "the entities in the fields label and ner are all read" in caplog.text
    asked = found(read_sentences(path, ReadOptions(tags_column="label")))
    assert [entities for _, entities in asked] == [[("PER", 0, 2)], [], []]
    with pytest.raises(DataError, match=r"x\.jsonl:1: no row has the field 'nre', which is to hold the ent"):
        read_sentences(path, ReadOptions(tags_column="nre"))


def task(*results, **row):
    """A task whose results are `(from_name, entity)`, with the fields of `row` instead of a type."""
    result = [row | {"from_name": name, "to_name": "text", "value": value} for name, value in results]
    return {"id": 1, "data": {"text": TEXT}, "annotations": [{"result": result}]}


def test_the_labels_of_one_control_are_read_if_it_is_named(tmp_path, caplog):
    (per,), (loc,) = PER, LOC
    both = task(("ner", per), ("geo", loc), type="labels")
    path = write(tmp_path / "x.jsonl", both, task(("ner", per), type="labels"))
    assert [entities for _, entities in found(read_sentences(path))] == [
        [("PER", 0, 2), ("LOC", 4, 5)],
        [("PER", 0, 2)],
    ]
    assert (
        "the entities in the controls ner and geo are all read; to read one of them alone, nam" in caplog.text
    )
    caplog.clear()
    asked = found(read_sentences(path, ReadOptions(tags_column="geo")))
    assert [entities for _, entities in asked] == [[("LOC", 4, 5)], []]
    assert "are all read" not in caplog.text
    with pytest.raises(
        DataError, match=r"x\.jsonl:1: no label is of the control 'pos' \(controls: ner, geo\)"
    ):
        read_sentences(path, ReadOptions(tags_column="pos"))


@pytest.mark.parametrize("type_", [{}, {"type": None}, {"type": "Labels"}, {"type": "label"}])
def test_a_result_that_labels_text_is_read_whatever_its_type_is_called(tmp_path, caplog, type_):
    path = write(tmp_path / "x.jsonl", task(("ner", PER[0]), **type_))
    assert found(read_sentences(path))[0][1] == [("PER", 0, 2)]
    assert "mark no text" not in caplog.text


def test_results_that_label_no_text_are_left_out_and_counted(tmp_path, caplog):
    choice = {"start": 0, "end": 6, "text": "Brinda", "choices": ["sure"]}
    path = write(tmp_path / "x.jsonl", task(("sure", choice), type="choices"))
    assert found(read_sentences(path))[0][1] == []
    assert "1 results that mark no text" in caplog.text


def in_page(text, start, end):
    place = {"start": "/p[1]/text()[1]", "end": "/p[1]/text()[1]", "startOffset": 0, "endOffset": 13}
    return place | {"text": text, "hypertextlabels": ["PER"], "globalOffsets": {"start": start, "end": end}}


@pytest.mark.parametrize("name", ["data", "row"])
def test_labels_of_pages_are_read_where_their_text_proves_them(tmp_path, name):
    def row(value):
        tool = task(("ner", value), type="hypertextlabels")
        return tool if name == "data" else MIN | {"ner": [value]}

    path = write(tmp_path / "x.jsonl", row(in_page("Brinda Okafor", 0, 13)))
    assert found(read_sentences(path))[0][1] == [("PER", 0, 2)]
    without = {key: value for key, value in in_page("Brinda", 0, 6).items() if key != "globalOffsets"}
    for value in (in_page("Brinda Okafor", 3, 16), without):
        path = write(tmp_path / "x.jsonl", row(value))
        with pytest.raises(
            DataError, match=r"x\.jsonl:1: a label of Label Studio in a web page \(HyperText\)"
        ):
            read_sentences(path)


@pytest.mark.parametrize("labels", [{"labels": []}, {"labels": None}, {}])
def test_a_region_without_a_label_is_called_that(tmp_path, labels):
    value = {"start": 0, "end": 6, "text": "Brinda"} | labels
    path = write(tmp_path / "x.jsonl", task(("ner", value), type="labels"))
    with pytest.raises(DataError, match=r"an entity without a label, .*; label it, as label, or remove it"):
        read_sentences(path)


def test_regions_beside_other_entities_are_not_guessed(tmp_path):
    path = write(tmp_path / "x.jsonl", MIN | {"ner": LOC, "entities": SPANS})
    with pytest.raises(DataError, match="the fields ner and entities may both hold the entities"):
        read_sentences(path)


@pytest.mark.parametrize(
    "row",
    [
        {"data": {"text": TEXT}, "annotations": [{"result": ["REGION"]}]},
        {"data": {"talk": [{"author": "a", "text": TEXT}]}, "annotations": [{"result": ["REGION"]}]},
        MIN | {"talk": ["REGION"]},
    ],
)
def test_labels_of_paragraphs_are_refused(tmp_path, row):
    value = {"start": "0", "end": "0", "startOffset": 0, "endOffset": 13, "paragraphlabels": ["PER"]}
    result = value if "text" in row else {"type": "paragraphlabels", "to_name": "talk", "value": value}
    path = tmp_path / "x.json"
    path.write_text(json.dumps([row]).replace('"REGION"', json.dumps(result)), encoding="utf-8")
    with pytest.raises(DataError, match=r"x\.json:1: labels of Label Studio that mark paragraphs of a dial"):
        read_sentences(path)


def test_tokens_without_entities_are_no_annotation(tmp_path):
    row = {"text": "Vera", "tokens": [{"id": 0, "start": 0, "end": 4}]}  # spaCy: no entities were set
    with pytest.raises(DataError, match="a text in field 'text' but no entities"):
        read_sentences(write(tmp_path / "x.jsonl", row))
    (sentence,) = read_sentences(write(tmp_path / "x.jsonl", row | {"answer": "accept"}))  # Prodigy
    assert sentence.tags == ("O",)


def test_the_tokens_of_ubiai_are_entities(tmp_path):
    tokens = [{"text": TEXT[a:b], "start": a, "end": b, "entityLabel": type_} for a, b, type_ in SPANS]
    row = {"documentName": "a.txt", "document": TEXT, "tokens": tokens, "relations": []}
    path = write(tmp_path / "x.jsonl", row)
    with pytest.raises(DataError, match="field 'tokens' is a list of objects, not of words, without a text"):
        read_sentences(path)
    options = ReadOptions(words_column="document", tags_column="tokens")
    assert found(read_sentences(path, options)) == [(MOVED, [("PER", 0, 2), ("LOC", 4, 5)])]
    predicted = read_sentences(path, ReadOptions(words_column="document", tagged=False))
    assert [sentence.words for sentence in predicted] == [MOVED]


def labelled(*labels, text="Vera Holt, Anna Bell left Lima."):
    """A row whose labels are at the words in order; an empty one labels nothing."""
    offsets = [(0, 4), (5, 9), (11, 15), (16, 20), (21, 25), (26, 30)]
    label = [[a, b, type_] for (a, b), type_ in zip(offsets, labels, strict=True) if type_]
    return {"text": text, "label": label}


@pytest.mark.parametrize(
    ("labels", "entities"),
    [
        (("B-PER", "I-PER", "I-PER", "B-PER", "O", "B-LOC"), [(0, 2), (3, 4), (4, 5), (6, 7)]),
        (("B-PER", "L-PER", "B-PER", "E-PER", "", "U-LOC"), [(0, 2), (3, 5), (6, 7)]),
        (("B-PER", "I-PER", "S-PER", "I-PER", "", "S-LOC"), [(0, 2), (3, 4), (4, 5), (6, 7)]),
        (("B-PER", "", "I-PER", "", "", "B-LOC"), [(0, 1), (3, 4), (6, 7)]),
    ],
)
def test_labels_that_are_tags_are_read_as_tags_and_that_is_said(tmp_path, caplog, labels, entities):
    row = labelled(*labels)
    row["label"].reverse()
    (sentence,) = read_sentences(write(tmp_path / "x.jsonl", row))
    read = spans(sentence.tags)
    assert [(span.start, span.end) for span in read] == entities
    assert [span.type for span in read] == ["PER"] * (len(entities) - 1) + ["LOC"]
    assert "are read as tags: B-PER and an I-PER after it are one entity PER" in caplog.text


@pytest.mark.parametrize(
    ("labels", "listed"),
    [(("B-PER", "I-PER", "", "", "", "LOC"), "B-PER, I-PER"), (("PER", "", "", "", "O", "LOC"), "O")],
)
def test_labels_that_are_tags_in_part_are_refused(tmp_path, labels, listed):
    path = write(tmp_path / "x.jsonl", SHAPES["doccano"], labelled(*labels))
    with pytest.raises(DataError) as caught:
        read_sentences(path)
    assert str(caught.value).startswith(f"{path}:2: the labels of entities are tags in part ({listed});\n")


def test_labels_that_are_tags_may_not_overlap(tmp_path):
    row = {"text": "Vera Holt", "label": [[0, 9, "B-PER"], [5, 9, "I-PER"]]}
    with pytest.raises(DataError, match="overlap"):
        read_sentences(write(tmp_path / "x.jsonl", row))


@pytest.mark.parametrize("others", [(), ("T-cell",), ("B-lymphocyte",)])
def test_a_type_may_look_like_a_tag(tmp_path, caplog, others):
    types = ["B-cell", *others]
    row = labelled(*types, *[""] * (6 - len(types)))
    (sentence,) = read_sentences(write(tmp_path / "x.jsonl", row))
    assert [span.type for span in spans(sentence.tags)] == types
    assert "labels such as B-cell look like tags; they are read as types of entities" in caplog.text


def test_sentences_of_a_text_are_one_document_unless_a_field_says_otherwise(tmp_path):
    text = "Vera left. Holt stayed at home."
    row = {"text": text, "label": []}
    path = write(tmp_path / "x.jsonl", row, row | {"letter": "a"}, row | {"letter": "a"})
    assert [s.document for s in read_sentences(path)] == [0, 0, 1, 1, 2, 2]
    assert [s.document for s in read_sentences(path, ReadOptions(document_column="letter"))] == [
        0,
        0,
        1,
        1,
        1,
        1,
    ]


def test_no_sentence_ends_within_an_entity(tmp_path):
    text = "He read Who Left? Nobody Did. Then he slept."
    path = write(tmp_path / "x.jsonl", {"text": text, "label": [[8, 28, "WORK"]]})
    first, second = found(read_sentences(path))
    assert first == (("He", "read", "Who", "Left", "?", "Nobody", "Did", "."), [("WORK", 2, 7)])
    assert second[0] == ("Then", "he", "slept", ".")


@pytest.mark.parametrize(
    ("rule", "words", "entities", "kind"),
    [
        ("split", ("anti", "-Okafor", "mood"), [("PER", 1, 2)], "which was split"),
        ("expand", ("anti-Okafor", "mood"), [("PER", 0, 1)], "were expanded to it"),
        ("drop", ("anti-Okafor", "mood"), [], "were dropped"),
    ],
)
def test_an_entity_that_ends_inside_a_word(tmp_path, caplog, rule, words, entities, kind):
    path = write(tmp_path / "x.jsonl", *[{"text": "anti-Okafor mood", "label": [[4, 11, "PER"]]}] * 5)
    assert (
        found(read_sentences(path, ReadOptions(rules=AnnotationRules(misaligned=rule))))
        == [(words, entities)] * 5
    )
    assert "x.jsonl: 5 entities begin or end inside a word" in caplog.text
    assert kind in caplog.text
    assert "'-Okafor' (1), '-Okafor' (2), '-Okafor' (3), ..." in caplog.text


@pytest.mark.parametrize(("text", "entity"), [("\u200bVera", (1, 5)), ("Vera\u200b", (0, 4))])
def test_a_word_is_not_split_where_a_part_would_be_invisible(text, entity):
    made = tagged_sentences(
        text, [CharSpan(*entity, "PER")], AnnotationRules(misaligned="split"), lambda *_: None, [(0, 5)]
    )
    assert list(made) == [(((0, 5),), ("B-PER",))]


@pytest.mark.parametrize(("rule", "entities"), [("longest", [("ORG", 0, 3)]), ("first", [("LOC", 2, 3)])])
def test_entities_that_overlap(tmp_path, caplog, rule, entities):
    path = write(tmp_path / "x.jsonl", {"text": "Bank of Tarvo", "label": [[8, 13, "LOC"], [0, 13, "ORG"]]})
    with pytest.raises(DataError, match=r"x.jsonl:1: the entities 'Tarvo' \(LOC\) and 'Bank of Tarvo'"):
        read_sentences(path)
    assert found(read_sentences(path, ReadOptions(rules=AnnotationRules(overlapping=rule))))[0][1] == entities
    assert "1 entities overlap another one, which was kept" in caplog.text


def test_of_overlapping_entities_of_one_length_the_first_in_the_text_is_kept(tmp_path):
    path = write(tmp_path / "x.jsonl", {"text": "Bank of Tarvo", "label": [[5, 13, "LOC"], [0, 7, "ORG"]]})
    for rule, kept in (("longest", [("ORG", 0, 2)]), ("first", [("LOC", 1, 3)])):
        assert found(read_sentences(path, ReadOptions(rules=AnnotationRules(overlapping=rule))))[0][1] == kept


def test_white_space_at_a_border_and_an_entity_marked_twice_are_no_fault(tmp_path, caplog):
    path = write(
        tmp_path / "x.jsonl", {"text": TEXT, "label": [[0, 14, " PER "], [0, 13, "PER"], [22, 28, "LOC"]]}
    )
    assert found(read_sentences(path)) == [(MOVED, [("PER", 0, 2), ("LOC", 4, 5)])]
    assert not caplog.text


@pytest.mark.parametrize(
    ("label", "what"),
    [
        ([[0, 99, "PER"]], "the entity PER from 0 to 99 does not lie in the text, which has 29 characters"),
        ([[-1, 3, "PER"]], "does not lie in the text"),
        ([[4, 4, "PER"]], "does not lie in the text"),
        ([[6, 7, "PER"]], "has no visible character"),
        ([[0, 6, " "]], "has no type"),
        ([[0, 6]], "is malformed; write [start, end"),
        ([[0, 6.5, "PER"]], "is malformed: 6.5 is no offset"),
        ([[True, 6, "PER"]], "is malformed"),
        ([["PER", 0, 6]], "is malformed: 'PER' is no offset; write [start, end"),
        ([[0, 6, 1]], "the type of the entity [0, 6, 1] is a number, 1; write its name"),
        ([{"start": 0, "label": "PER"}], "an entity has no field end (its fields: start, label);"),
        (
            [{"start_idx": 0, "end_idx": 5, "type": "PER"}],
            "no field start or end (its fields: start_idx, end",
        ),
        ([{"label": ["PER"], "points": [{}]}], "no field start or end (its fields: label, points);"),
        ([{"offset": 0, "length": 6, "category": "PER"}], "no field start or end or label (its fields: off"),
        ([{"start": 0, "end": 6, "labels": []}], "an entity without a label"),
        ([{"start": 0, "end": 6, "labels": ["A", "B"]}], "several labels, A, B; leave it one"),
        (["PER"], "is malformed"),
        ("PER", "which is not a list"),
    ],
)
def test_malformed_entities_say_where(tmp_path, label, what):
    path = write(tmp_path / "x.jsonl", SHAPES["doccano"], {"text": TEXT, "label": label})
    with pytest.raises(DataError) as caught:
        read_sentences(path)
    assert str(caught.value).startswith(f"{path}:2: ")
    assert what in str(caught.value)


@pytest.mark.parametrize(
    ("row", "what"),
    [
        ({"text": "a \ud83d", "label": []}, r"field 'text' contains 'a \ud83d', which is not text"),
        ({"data": {"text": "\ud83d"}, "annotations": [{}]}, "half a character"),
        ({"text": "a", "label": [[0, 1, "\ud83d"]]}, r"the type '\ud83d' is not text"),
        ({"tokenized_text": ["\ud83d"], "ner": []}, "must be a list of words"),
        ({"data": {"text": TEXT}}, "a task of Label Studio without annotations"),
        (
            {"data": {"a": "x", "b": "y"}, "annotations": [{}]},
            "no text 'text' in data; name one as data.files",
        ),
        ({"tokenized_text": ["a", ""], "ner": []}, "must be a list of words"),
        ({"tokenized_text": ["a"], "ner": [[0, 1, "X"]]}, "from word 0 to 1 does not lie in the sentence"),
        (
            {"text": "a b", "tokens": [{"start": 0, "end": 9}]},
            "the token {'start': 0, 'end': 9} does not lie",
        ),
        ({"text": "a", "tokens": [{"text": "a"}], "spans": []}, "the token {'text': 'a'} does not lie"),
        ({"text": "a", "tokens": "a", "spans": []}, "field 'tokens' is 'a', which is not a list"),
    ],
)
def test_malformed_rows_of_a_tool_say_where(tmp_path, row, what):
    with pytest.raises(DataError) as caught:
        read_sentences(write(tmp_path / "x.jsonl", row))
    assert str(caught.value).startswith(f"{tmp_path / 'x.jsonl'}:1: ")
    assert what in str(caught.value)


def test_numbered_tags_need_their_names(tmp_path):
    path = write(
        tmp_path / "x.jsonl", {"tokens": ["Brinda", "moved", "to", "Tarvo"], "ner_tags": [1, 0, 0, 3]}
    )
    names = tmp_path / "names.txt"
    names.write_text("O\nB-PER\nI-PER\nB-LOC\nI-LOC\n", encoding="utf-8")
    for given_names in ("O,B-PER,I-PER,B-LOC,I-LOC", str(names)):
        rules = Files(tag_names=given_names).options().rules
        assert found(read_sentences(path, ReadOptions(rules=rules)))[0][1] == [("PER", 0, 1), ("LOC", 3, 4)]
    with pytest.raises(
        DataError, match=r"the tag 3 has no name: data\.files\.tag_names has 2 names, for 0 to 1"
    ):
        read_sentences(path, ReadOptions(rules=AnnotationRules(tag_names=("O", "B-PER"))))
    many = ["O", *(f"B-a-type-of-entity-{number}" for number in range(300))]  # longer than a path may be
    assert Files(tag_names=",".join(many)).options().rules.tag_names == tuple(many)
    with pytest.raises(UserError, match="'B-' is not a tag"):
        Files(tag_names="O,B-").options()


@st.composite
def annotated_texts(draw):
    """A text of odd characters with any spans."""
    text = draw(st.text(st.sampled_from("aB1 .,-'\n\u200b\u0301🙂京\u00a0?"), min_size=1, max_size=30))
    places = st.integers(0, len(text))
    pairs = draw(st.lists(st.tuples(places, places, st.sampled_from(["X", "Y y"])), max_size=4))
    return text, [CharSpan(min(a, b), max(a, b), type_) for a, b, type_ in pairs if a != b]


@given(annotated_texts(), st.sampled_from(["split", "expand", "drop"]), st.sampled_from(["longest", "first"]))
def test_no_character_and_no_entity_is_lost_without_a_word(given_text, misaligned, overlapping):
    text, entities = given_text
    entities = [each for each in entities if not is_invisible(text[each.start : each.end])]
    changes = []
    rules = AnnotationRules(misaligned, overlapping)
    read = tagged_sentences(text, entities, rules, lambda kind, text: changes.append(kind))
    sentences = [([text[a:b] for a, b in offsets], tags) for offsets, tags in read]
    written = "".join("".join(words) for words, _ in sentences)
    assert written == "".join(text[a:b] for a, b in from_text(text).offsets)
    kept = sum(len(spans(tags)) for _, tags in sentences)
    lost = sum("dropped" in kind or "overlap" in kind for kind in changes)
    assert kept + lost <= len(set(entities))
    if not changes:
        trimmed = {(text[e.start : e.end].strip(), e.start, e.type) for e in entities}
        assert kept <= len(trimmed)
    for words, tags in sentences:
        assert not any(map(is_invisible, words))
        assert list(tags) == to_bio2(spans(tags), len(words))


def test_spans_of_whole_words_come_back(tmp_path):
    draw = random.Random(1)
    for _ in range(200):
        text = " ".join(draw.choices(["Vera", "left", "the", "U.S.", "in", "2:29.34", "京都", "."], k=12))
        offsets = from_text(text).offsets
        first = draw.randrange(len(offsets))
        last = draw.randrange(first, min(first + 4, len(offsets)))
        entity = CharSpan(offsets[first][0], offsets[last][1], "X")
        tags = [
            tag
            for _, tags in tagged_sentences(text, [entity], AnnotationRules(), pytest.fail)
            for tag in tags
        ]
        assert [tuple(span) for span in spans(tags)] == [("X", first, last + 1)]


def test_all_rows_that_cannot_be_used_are_named_at_once(tmp_path):
    good = {"text": "Ask Vera.", "label": [[4, 8, "PER"]]}
    beyond = {"text": "Ask Vera.", "label": [[4, 99, "PER"]]}
    path = write(tmp_path / "x.jsonl", good, *[beyond] * 8, good)
    with pytest.raises(DataError) as caught:
        read_sentences(path)
    first, others = str(caught.value).split("\n")
    assert first.startswith(f"{path}:2: ")
    assert others == f"7 more cannot be used: {', '.join(f'{path}:{n}' for n in range(3, 8))}, ..."
    path.write_text('{"text": "a", "label": []}\nno\n[]\n', encoding="utf-8")
    with pytest.raises(DataError, match=r"x\.jsonl:2: not JSON.*\n1 more cannot be used: .*x\.jsonl:3$"):
        read_sentences(path)


def test_examples_are_in_the_script_of_their_text(tmp_path, caplog):
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "서울에서 왔다.", "label": [[0, 2, "LOC"]]}\n', encoding="utf-8")
    read_sentences(path)
    assert "'서울' (1)" in caplog.text


@pytest.mark.parametrize("end", [" ", "\u200b", "\ufeff", "\u00ad"], ids=ascii)
def test_what_is_invisible_at_the_ends_of_a_type_is_left_out(end):
    entities = [CharSpan(4, 8, f"PER{end}"), CharSpan(9, 13, f"{end}PER")]
    (sentence,) = tagged_sentences("Hi, Vera Holt", entities, AnnotationRules(), print)
    assert sentence[1] == ("O", "O", "B-PER", "B-PER")


@pytest.mark.parametrize(
    ("moved", "how"),
    [
        (lambda start, end: (start, end - 1), "if the end were inclusive"),
        (lambda start, end: (start + 1, end + 1), "if characters were counted from 1"),
        (lambda start, end: (start + 1, end), "if characters were counted from 1 and the end were inclusive"),
        (lambda start, end: (start - 1, end - 1), "if each offset were one higher"),
        (lambda start, end: (start + 2, end + 2), "if offsets counted UTF-16 code units"),
    ],
)
def test_offsets_that_were_counted_otherwise_are_told(tmp_path, caplog, moved, how):
    text = "\U0001f600\U0001f600 Brinda Okafor moved to Tarvo today."
    spans_ = [[*moved(3, 16), "PER"], [*moved(26, 31), "LOC"]]
    read_sentences(write(tmp_path / "x.jsonl", *[{"text": text, "label": spans_}] * 18))
    what = "entities begin or end inside a word, which was split, as predict cannot"
    assert f"36 {what}; they would be whole words {how}: " in caplog.text
    caplog.clear()
    read_sentences(write(tmp_path / "x.jsonl", {"text": text, "label": [[3, 12, "PER"]]}))
    assert "1 entities begin or end inside a word, which was split, as predict cannot: " in caplog.text


ENDING = "\U0001f600 Brinda Okafor moved to Tarvo"


@pytest.mark.parametrize(
    ("text", "moved", "how"),
    [
        (ENDING, (26, 31), "UTF-16 code units"),
        ("Naïve Brinda moved to Tarvo", (23, 28), "bytes of UTF-8"),
        ("Brinda moved to Tarvo", (17, 22), "if characters were counted from 1"),
        ("Tarvo moved", (-1, 4), "if each offset were one higher"),
    ],
)
def test_offsets_beyond_the_text_tell_how_all_were_counted(tmp_path, text, moved, how):
    rows = [{"text": text, "label": [[*moved, "LOC"]]}, {"text": "Oh.", "label": []}]
    with pytest.raises(DataError) as caught:
        read_sentences(write(tmp_path / "x.jsonl", *rows))
    first, cause = str(caught.value).split("\n")
    assert "does not lie in the text" in first
    assert cause.startswith("1 of 1 entities are no whole words of their text; 1 would be if ")
    assert cause.endswith(how)


def test_a_single_wrong_offset_says_nothing_of_the_others(tmp_path):
    good = {"text": "Ask Tarvo", "label": [[4, 9, "PER"]]}
    with pytest.raises(DataError) as caught:
        read_sentences(write(tmp_path / "x.jsonl", *[good] * 9, good | {"label": [[5, 10, "PER"]]}))
    assert "would be" not in str(caught.value)


@pytest.mark.parametrize("ids", [("1", "1", "2"), ("1", "2", "3"), None])
def test_a_table_with_an_entity_per_row_has_each_text_once(tmp_path, ids):
    rows = ["Ask Vera Holt in Lima.,4,13,PER", "Ask Vera Holt in Lima.,17.0,21.0,LOC", "Nobody came.,,,"]
    lines = rows if ids is None else [f"{own},{row}" for own, row in zip(ids, rows, strict=True)]
    header = "text,start,end,label" if ids is None else "id,text,start,end,label"
    path = tmp_path / "x.csv"
    path.write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
    tags = [sentence.tags for sentence in read_sentences(path)]
    assert tags == [("O", "B-PER", "I-PER", "O", "B-LOC", "O"), ("O", "O", "O")]


def test_a_row_with_half_an_entity_is_named(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text("text,start,end,label\nAsk Vera.,4,8,PER\nAsk Vera.,4,,PER\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"x\.csv:3: start '4' and end '' of PER are not both whole numbers"):
        read_sentences(path)
