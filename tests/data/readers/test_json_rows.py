"""Rows of JSON as they are in files, and a text that stands beside words."""

import json

import pytest

from ner_lightning.data.readers.files import Inputs
from ner_lightning.data.readers.read_options import AnnotationRules, ReadOptions
from ner_lightning.data.readers.sentences import read_sentences
from ner_lightning.data.sentence import DataError
from ner_lightning.system.progress import printed


def read(folder, content, **options):
    file = folder / "a.jsonl"
    file.write_text(content, encoding="utf-8")
    with printed("stderr"):
        return list(Inputs(str(file), ReadOptions(tagged=False, **options)).read())


def test_an_item_of_a_list_that_is_nothing_hides_no_other(tmp_path):
    records = read(tmp_path, '[{"text": "a b"}, null, {"text": "c"}]')
    assert [record.content for record in records if not record.reason] == ["a b", "c"]
    assert [record.line for record in records if record.reason] == [2]


@pytest.mark.parametrize("tokens", [["ve", "##ra"], [101, 2003]])
def test_a_text_that_is_named_is_read_whatever_its_tokens_are(tmp_path, tokens):
    row = json.dumps({"text": "Vera Holt left.", "tokens": tokens})
    (record,) = read(tmp_path, row, words_column="text")
    assert (record.content, record.reason) == ("Vera Holt left.", "")


def test_words_that_are_not_those_of_the_text_are_said_once(tmp_path, capsys):
    row = json.dumps({"text": "Vera Holt left.", "tokens": ["ve", "##ra"]})
    records = read(tmp_path, f"{row}\n{row}\n")
    assert [record.content for record in records] == [("ve", "##ra")] * 2
    assert capsys.readouterr().err.count("the words are not those of the text beside them") == 1
    same = json.dumps({"text": "Vera Holt.", "tokens": ["Vera", "Holt", "."]})
    (record,) = read(tmp_path, same)
    assert record.content == ("Vera", "Holt", ".")
    assert record.split().text == "Vera Holt."
    assert "not those of the text" not in capsys.readouterr().err


def test_a_document_begins_after_a_sentence_that_is_left_out(tmp_path):
    file = tmp_path / "a.conll"
    text = "-DOCSTART- O\n\nVera O\n\n-DOCSTART- O\n\n\u200b O\n\nHolt O\n\nleft O\n"
    file.write_text(text, encoding="utf-8")
    records = list(Inputs(str(file), ReadOptions(tagged=False)).read())
    found = {record.content: record.starts_document for record in records if not record.reason}
    assert found == {("Vera",): True, ("Holt",): True, ("left",): False}


def test_an_entity_that_begins_at_a_word_that_is_skipped_begins_at_the_next(tmp_path):
    file = tmp_path / "a.conll"
    file.write_text("A B-PER\n\u200b B-PER\nC I-PER\n\u200b B-PER\nD B-LOC\n", encoding="utf-8")
    rules = AnnotationRules(empty_words="skip")
    (record,) = Inputs(str(file), ReadOptions(rules=rules)).read()
    assert record.content == ("A", "C", "D")
    assert record.tags == ("B-PER", "B-PER", "B-LOC")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"to_name": "title"}, "labels of Label Studio that mark the text 'title', not 'text'"),
        ({"labels": ["LOC", "GPE"]}, "an entity with several labels, LOC, GPE; leave it one"),
    ],
)
def test_labels_that_cannot_be_read_say_why(tmp_path, change, said):
    value = {"start": 8, "end": 12, "labels": change.get("labels", ["LOC"])}
    result = {"type": "labels", "value": value, "to_name": change.get("to_name", "text"), "from_name": "l"}
    row = {"data": {"text": "Anna in Rome", "title": "The Rome guide"}, "annotations": [{"result": [result]}]}
    file = tmp_path / "a.json"
    file.write_text(json.dumps([row]), encoding="utf-8")
    (record,) = Inputs(str(file), ReadOptions()).read()
    assert said in record.reason


@pytest.mark.parametrize(
    "beside",
    [{"label": ""}, {"label": None}, {"label": "news"}, {"label": None, "tokens": [{"text": "Vera"}]}],
)
def test_a_field_beside_the_list_of_entities_hides_none(tmp_path, beside):
    spans = {"spans" if "tokens" in beside else "entities": [{"start": 0, "end": 4, "label": "PER"}]}
    if "tokens" in beside:
        words = [("Vera", 0, 4), ("in", 5, 7), ("Lima", 8, 12)]
        beside = beside | {"tokens": [{"text": t, "start": a, "end": b} for t, a, b in words]}
    file = tmp_path / "a.jsonl"
    file.write_text(json.dumps({"text": "Vera in Lima"} | beside | spans), encoding="utf-8")
    (sentence,) = read_sentences(file)
    assert sentence.tags == ("B-PER", "O", "O")


ROWS = [{"text": "Vera left", "label": [[0, 4, "PER"]]}, {"text": "Holt came", "label": []}]
TABLE = {"schema": {"fields": [{"name": "text", "type": "string"}]}, "data": ROWS}


@pytest.mark.parametrize("indent", [None, 1])
@pytest.mark.parametrize(
    ("value", "within"),
    [({"version": 1, "data": ROWS}, "data"), ({"train": ROWS, "valid": []}, "train"), (TABLE, "data")],
)
def test_an_object_with_one_list_of_rows_is_its_rows(tmp_path, capsys, value, within, indent):
    records = read(tmp_path, json.dumps(value, indent=indent) + "\n")
    assert [(record.content, record.line) for record in records] == [("Vera left", 1), ("Holt came", 2)]
    assert f"JSON with texts, listed in '{within}'" in capsys.readouterr().err
    assert [sentence.tags for sentence in read_sentences(tmp_path / "a.jsonl")] == [
        ("B-PER", "O"),
        ("O", "O"),
    ]


@pytest.mark.parametrize(
    "row",
    [
        {"source": "Vera left", "entities": [{"text": "Vera", "type": "PER"}]},
        {"source": "Vera left", "mentions": [{"text": "Vera", "type": "PER"}]},
        {"source": "Vera left", "mentions": [{"text": "she", "start": 0, "end": 4}]},
    ],
)
def test_a_list_within_a_row_holds_no_rows(tmp_path, row):
    (record,) = read(tmp_path, json.dumps(row), words_column="source")
    assert (record.content, record.reason) == ("Vera left", "")


@pytest.mark.parametrize("indent", [None, 1])
@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ([], "an empty JSON list, which holds no rows"),
        ({"train": ROWS, "test": ROWS}, "an object with several lists, train and test; write the rows of"),
        ({"text": {"0": "Vera left"}, "label": {"0": []}}, 'df.to_json(FILE, orient="records", lines=True)'),
        ({"tokens": {"0": ["Vera"]}, "ner_tags": {"0": ["O"]}}, "pandas wrote all rows as one object"),
        ({"0": {"text": "Vera left"}, "1": {"text": "Holt came"}}, "pandas wrote all rows as one object"),
        ({"columns": ["text"], "index": [0], "data": [["Vera"]]}, "pandas wrote all rows as one object"),
        ({"text": ["Vera", "left"], "labels": ["O", "O"]}, "field 'text' is a list; if it is one of words"),
    ],
)
def test_what_is_no_row_says_why(tmp_path, value, reason, indent):
    (record,) = read(tmp_path, json.dumps(value, indent=indent))
    assert reason in record.reason


def test_a_long_line_may_list_rows(tmp_path):
    (record,) = read(tmp_path, json.dumps({"data": ROWS * 100_000}))
    assert record.reason == "longer than 8 MB; split it into several texts, or write one row per line"


def test_a_chat_is_no_list_of_texts(tmp_path):
    (record,) = read(tmp_path, json.dumps({"messages": [{"role": "user", "content": "Vera left"}]}))
    assert record.reason.startswith("neither a list of words nor a text")


def test_each_line_that_lists_rows_is_refused(tmp_path):
    line = json.dumps({"messages": ROWS})
    records = read(tmp_path, f"{line}\n{line}\n")
    assert [record.line for record in records if record.reason] == [1, 2]


def test_a_list_of_words_under_text_is_read_if_it_is_named(tmp_path):
    file = tmp_path / "a.jsonl"
    file.write_text('{"text": ["Vera", "left"], "labels": ["B-PER", "O"]}\n', encoding="utf-8")
    (sentence,) = read_sentences(file, ReadOptions(words_column="text"))
    assert (sentence.words, sentence.tags) == (("Vera", "left"), ("B-PER", "O"))


BESIDE = {"text": "Vera in Lima.", "tokens": ["Vera", "in", "Lima", "."]}


@pytest.mark.parametrize("field", ["entities", "spans", "label", "labels"])
@pytest.mark.parametrize("words", ["tokens", "words"])
def test_a_text_with_offsets_is_read_whatever_words_are_beside_it(tmp_path, caplog, field, words):
    row = {"text": BESIDE["text"], words: ["Vera in", "Lima", "."], field: [[8, 12, "LOC"]]}
    file = tmp_path / "a.jsonl"
    file.write_text(json.dumps(row), encoding="utf-8")
    (sentence,) = read_sentences(file)
    assert (sentence.words, sentence.tags) == (("Vera in", "Lima", "."), ("O", "B-LOC", "O"))
    file.write_text(json.dumps(row | {words: ["ve", "##ra"]}), encoding="utf-8")
    (sentence,) = read_sentences(file)
    assert (sentence.words, sentence.tags) == (("Vera", "in", "Lima", "."), ("O", "O", "B-LOC", "O"))
    assert "1 texts have other words than those beside them, and were split anew" in caplog.text


def test_tags_are_read_whatever_offsets_are_beside_them(tmp_path):
    file = tmp_path / "a.jsonl"
    tags = ["B-PER", "O", "B-LOC", "O"]
    file.write_text(json.dumps(BESIDE | {"ner_tags": tags, "entities": [[0, 4, "PER"]]}), encoding="utf-8")
    assert read_sentences(file)[0].tags == tuple(tags)
    (sentence,) = read_sentences(file, ReadOptions(tags_column="entities"))
    assert sentence.tags == ("B-PER", "O", "O", "O")
    file.write_text(json.dumps(BESIDE | {"entities": []}), encoding="utf-8")
    assert read_sentences(file)[0].tags == ("O",) * 4
    file.write_text(json.dumps(BESIDE | {"labels": []}), encoding="utf-8")  # of tags, perhaps
    with pytest.raises(DataError, match="4 words"):
        read_sentences(file)


@pytest.mark.parametrize("asked", [None, "entities"])
def test_offsets_are_no_tags(tmp_path, asked):
    file = tmp_path / "a.jsonl"
    file.write_text(json.dumps(BESIDE | {"entities": [[0, 4, "PER"]]}), encoding="utf-8")
    with pytest.raises(DataError, match="field 'entities' holds entities with offsets, not a tag for each"):
        read_sentences(file, ReadOptions(words_column="tokens", tags_column=asked))


@pytest.mark.parametrize("tagged", [True, False])
def test_words_in_two_fields_are_not_guessed(tmp_path, tagged):
    file = tmp_path / "a.jsonl"
    row = {"tokens": ["ve", "ra"], "words": ["Vera", "left"], "ner_tags": ["B-PER", "O"]}
    file.write_text(json.dumps(row), encoding="utf-8")
    with pytest.raises(DataError, match="the fields tokens and words may both hold the words; name one as"):
        read_sentences(file, ReadOptions(tagged=tagged))
    (sentence,) = read_sentences(file, ReadOptions(words_column="words", tagged=tagged))
    assert sentence.words == ("Vera", "left")
    file.write_text(json.dumps(row | {"tokens": row["words"]}), encoding="utf-8")
    assert read_sentences(file, ReadOptions(tagged=tagged))[0].words == ("Vera", "left")


@pytest.mark.parametrize(("tag", "said"), [(-100, "masks sub-tokens in a loss"), (-1, "published without")])
def test_numbers_that_stand_for_no_tag_say_what_they_are(tmp_path, tag, said):
    file = tmp_path / "a.jsonl"
    file.write_text(json.dumps({"tokens": ["Ve", "ra"], "ner_tags": [1, tag]}), encoding="utf-8")
    with pytest.raises(DataError, match=f"tag {tag} .*{said}"):
        read_sentences(file, ReadOptions(rules=AnnotationRules(tag_names=("O", "B-PER"))))


def test_objects_over_several_lines_are_read(tmp_path):
    content = "\n".join(json.dumps(row, indent=2) for row in ROWS) + "\n"
    records = read(tmp_path, content)
    assert [(record.content, record.line) for record in records] == [("Vera left", 1), ("Holt came", 2)]
    broken = read(tmp_path, content + "{\n")
    assert not [record for record in broken if not record.reason]


def test_a_comma_at_the_end_of_a_line_is_called_that(tmp_path):
    (record,) = read(tmp_path, json.dumps(ROWS[0]) + ",\n")
    assert record.reason == "a comma after the object; remove the commas at the ends of lines"
