"""Entities and tokens that state their own text: it shows what offsets count, and what is no type."""

import csv
import json

import pytest
from pyarrow import Table
from pyarrow.parquet import write_table

from ner_lightning.data.readers.read_options import ReadOptions
from ner_lightning.data.readers.sentences import read_sentences
from ner_lightning.data.schemes import spans
from ner_lightning.data.sentence import DataError

TEXT = "Brinda Okafor moved to Tarvo."
HAN = "叶老桂博士来自浙商银行。"
PEOPLE = [("PER", "Brinda Okafor"), ("LOC", "Tarvo")]
FORMS = ("jsonl", "csv", "parquet", "Label Studio")


def write(folder, form, text, entities):
    path = folder / f"x.{form if form != 'Label Studio' else 'json'}"
    if form == "csv":
        with path.open("w", encoding="utf-8", newline="") as file:
            rows = [("text", "entities"), (text, json.dumps(entities, ensure_ascii=False))]
            csv.writer(file).writerows(rows)
    elif form == "parquet":
        write_table(Table.from_pylist([{"text": text, "entities": entities}]), path)
    elif form == "Label Studio":
        result = [{"type": "labels", "value": entity} for entity in entities]
        path.write_text(json.dumps([{"data": {"text": text}, "annotations": [{"result": result}]}]))
    else:
        path.write_text(json.dumps({"text": text, "entities": entities}) + "\n", encoding="utf-8")
    return path


def found(path, **options):
    """The types and words of the entities of a file."""
    return [
        (span.type, " ".join(sentence.words[span.start : span.end]))
        for sentence in read_sentences(path, ReadOptions(**options))
        for span in spans(sentence.tags)
    ]


@pytest.mark.parametrize("form", ["jsonl", "csv"])
@pytest.mark.parametrize(
    "entities",
    [
        [[0, 13, "Brinda Okafor", "PER"], [23, 28, "Tarvo", "LOC"]],
        [[0, 13, "PER", "Brinda Okafor"], [23, 28, "LOC", "Tarvo"]],
        [[0, 12, "PER", "Brinda Okafor"], [23, 27, "LOC", "Tarvo"]],  # the last character is included
        [[0, 13, "PER", 0.9], [23, 28, "LOC", None]],
        [[0.0, 13.0, "PER"], [23.0, 28.0, "LOC"]],  # as tables with gaps hold numbers
    ],
)
def test_of_two_strings_the_one_that_is_in_the_text_is_no_type(tmp_path, form, entities):
    assert found(write(tmp_path, form, TEXT, entities)) == PEOPLE


@pytest.mark.parametrize("form", ["jsonl", "csv"])
def test_of_two_strings_that_are_not_in_the_text_none_is_guessed(tmp_path, form):
    path = write(tmp_path, form, TEXT, [[0, 13, "Brenda", "PER"]])
    with pytest.raises(DataError, match="'Brinda Okafor' from 0 to 13 is labelled 'Brenda' and 'PER'; leave"):
        read_sentences(path)


@pytest.mark.parametrize(
    ("entity", "type_"),
    [
        ({"label": "Brinda Okafor", "type": "PER"}, "PER"),
        ({"label": "Brinda Okafor", "labels": ["PER"]}, "PER"),
        ({"label": "PER", "type": "Tarvo"}, "PER"),
        ({"label": "PER", "name": "PER"}, "PER"),
        ({"label": "PER", "type": "span"}, "PER"),
        ({"label": "PER", "type": "PER"}, "PER"),
        ({"entity_group": "PER", "word": "brinda okafor", "score": 0.9}, "PER"),
        ({"entity": "PER", "value": "Brinda Okafor"}, "PER"),
        ({"type": "PER", "entity": "Brinda Okafor"}, "PER"),
    ],
)
def test_the_type_of_an_object_is_not_its_text(tmp_path, entity, type_):
    path = write(tmp_path, "jsonl", TEXT, [{"start": 0, "end": 13} | entity])
    assert found(path) == [(type_, "Brinda Okafor")]


def test_two_labels_of_which_one_is_elsewhere_in_the_text_are_refused(tmp_path):
    path = write(tmp_path, "jsonl", TEXT, [{"start": 0, "end": 13, "label": "Tarvo", "type": "PER"}])
    with pytest.raises(DataError, match="is labelled 'Tarvo' and 'PER'; leave it its type alone"):
        read_sentences(path)


NAMES = ("text", "value", "word", "surface", "mention", "name", "entity")


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", NAMES)
def test_an_end_that_includes_the_last_character_is_converted_and_that_is_said(tmp_path, caplog, form, name):
    entities = [{"start": 0, "end": 2, "label": "PER", name: "叶老桂"}]
    path = write(tmp_path, form, HAN, entities)
    assert found(path) == [("PER", "叶 老 桂")]
    assert "entities whose offsets count characters, the last one included; they were conv" in caplog.text


@pytest.mark.parametrize("name", NAMES)
def test_a_text_that_is_elsewhere_is_refused(tmp_path, name):
    entity = {"start": 1, "end": 14, "label": "PER", name: "Brinda Okafor"}
    with pytest.raises(DataError, match=r"is stated as 'Brinda Okafor', but the text has .*the end is exclu"):
        read_sentences(write(tmp_path, "jsonl", TEXT, [entity]))


def test_another_name_of_an_entity_is_told_of(tmp_path, caplog):
    entity = {"start": 0, "end": 13, "label": "PER", "name": "B. Okafor"}
    assert found(write(tmp_path, "jsonl", TEXT, [entity])) == PEOPLE[:1]
    assert "1 entities state a text that does not occur in that of their row" in caplog.text


def test_ends_are_not_moved_where_an_entity_states_no_text(tmp_path):
    entities = [[0, 2, "PER"], [7, 10, "ORG", "浙商银行"]]
    with pytest.raises(DataError, match="'浙商银' from 7 to 10 is labelled 'ORG' and '浙商银行'"):
        read_sentences(write(tmp_path, "jsonl", HAN, entities))


def test_offsets_by_type_and_text_are_read(tmp_path):
    entities = {"name": {"叶老桂": [[0, 2]]}, "company": {"浙商银行": [[7, 10]]}}
    path = write(tmp_path, "jsonl", HAN, entities)
    assert found(path) == [("name", "叶 老 桂"), ("company", "浙 商 银 行")]


def test_bytes_are_converted(tmp_path, caplog):
    path = write(tmp_path, "jsonl", "é Brinda", [{"start": 3, "end": 9, "label": "PER", "text": "Brinda"}])
    assert found(path) == [("PER", "Brinda")]
    assert "entities whose offsets count bytes of UTF-8" in caplog.text


def test_the_entities_of_gliner_may_state_their_text(tmp_path):
    path = tmp_path / "x.jsonl"
    row = {"tokenized_text": TEXT[:-1].split(), "ner": [[0, 1, "Brinda Okafor", "PER"], [4, 4, "LOC"]]}
    path.write_text(json.dumps(row))
    assert found(path) == PEOPLE
    path.write_text(
        json.dumps(row | {"ner": [{"start": 0, "end": 2, "label": "PER", "text": "Brinda Okafor"}]})
    )
    with pytest.raises(DataError, match="words count from 0, the last one is included"):
        read_sentences(path)


def test_the_field_of_the_entities_of_gliner_is_the_one_that_is_asked_for(tmp_path):
    path = tmp_path / "x.jsonl"
    row = {"tokenized_text": TEXT[:-1].split(), "gold": [[0, 1, "PER"], [4, 4, "LOC"]]}
    path.write_text(json.dumps(row | {"ner": []}))
    assert found(path, tags_column="gold") == PEOPLE
    path.write_text(json.dumps(row))
    for asked, named in ((None, "ner"), ("nosuch", "nosuch")):
        with pytest.raises(DataError, match=rf"no field '{named}' with .* \(fields: tokenized_text, gold\)"):
            read_sentences(path, ReadOptions(tags_column=asked))


def with_tokens(folder, text, tokens, **row):
    path = folder / "x.jsonl"
    cells = [{"text": word, "start": start, "end": end} for word, start, end in tokens]
    path.write_text(json.dumps({"text": text, "tokens": cells, "spans": []} | row) + "\n")
    return path


EMOJI = [("\U0001f600", 0, 2), ("Hi", 3, 5), ("Brinda", 6, 12), ("!", 12, 13)]


def test_what_the_offsets_of_tokens_count_is_also_what_those_of_entities_count(tmp_path, caplog):
    path = with_tokens(
        tmp_path, "\U0001f600 Hi Brinda!", EMOJI, spans=[{"start": 6, "end": 12, "label": "PER"}]
    )
    (sentence,) = read_sentences(path)
    assert sentence.words == ("\U0001f600", "Hi", "Brinda", "!")
    assert sentence.tags == ("O", "O", "B-PER", "O")
    assert "UTF-16 code units" in caplog.text


def test_a_token_that_states_another_text_is_refused(tmp_path):
    path = with_tokens(tmp_path, "Brinda left", [("Zzz", 0, 6), ("left", 7, 11)])
    with pytest.raises(
        DataError, match="the token from 0 to 6 is stated as 'Zzz', but the text has 'Brinda'"
    ):
        read_sentences(path)


@pytest.mark.parametrize("tagged", [True, False])
def test_text_that_no_token_covers_is_told_of(tmp_path, caplog, tagged):
    path = with_tokens(tmp_path, TEXT, [("Brinda", 0, 6), ("moved", 14, 19)])
    (sentence,) = read_sentences(path, ReadOptions(tagged=tagged))
    assert sentence.words == ("Brinda", "moved")
    assert (
        "2 parts of texts are covered by no token and were left out: 'Okafor' (line 1), 'to Tarvo.' (line 1)"
    ) in caplog.text


@pytest.mark.parametrize(("last", "fits"), [(1, True), (2, True), (0, False), (7, False)])
def test_the_tokens_that_an_entity_names_are_those_of_its_characters(tmp_path, last, fits):
    tokens = [("Brinda", 0, 6), ("Okafor", 7, 13), ("left", 14, 18)]
    span = {"start": 0, "end": 13, "label": "PER", "token_start": 0, "token_end": last}
    path = with_tokens(tmp_path, "Brinda Okafor left", tokens, spans=[span])
    if fits:  # the last one is included, as Prodigy does, or not
        assert found(path) == PEOPLE[:1]
        return
    with pytest.raises(
        DataError, match=f"the text has 'Brinda Okafor' there; it names the tokens 0 to {last}"
    ):
        read_sentences(path)
