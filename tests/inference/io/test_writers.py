"""What each writer makes of a text that is hard to write: line ends, joiners, overlaps, names of columns."""

import csv
import io
import json

import label_studio
import pandas
import pytest

from ner_lightning.data.readers.record import Record
from ner_lightning.data.running_text import from_text, from_words
from ner_lightning.data.writers.output_formats import WIDE
from ner_lightning.errors import UserError
from ner_lightning.inference.io.writers import writer
from ner_lightning.inference.result import Entity, Tagged

OVERLAPPING = Tagged(
    from_text("Vera Holt left Lima."),
    ("B-PER", "I-PER", "O", "B-LOC", "O"),
    (Entity("Vera Holt", "PER", 0, 9, 0, 2, 0.75), Entity("Lima", "LOC", 15, 19, 3, 4, 0.5)),
    overlapping=(Entity("Holt", "LOC", 5, 9, 1, 2, 0.125), Entity("Vera Holt", "LOC", 0, 9, 0, 2, 0.0625)),
)
KEPT = [(0, 9, "LOC", 0.0625), (0, 9, "PER", 0.75), (5, 9, "LOC", 0.125), (15, 19, "LOC", 0.5)]


def tagged_as(text, name, label="PER"):
    """A text in which a name is an entity."""
    start = text.index(name)
    return Tagged(from_text(text), (), (Entity(name, label, start, start + len(name), 0, 1, 0.5),))


def row_of(format, tagged, **options):
    record = Record("a.jsonl", 1, tagged.text, id="A7")
    return writer(format, ["PER", "LOC"], **options).row(record, tagged)


@pytest.mark.parametrize("format", ["doccano", "prodigy", "labelstudio"])
def test_annotation_tools_get_entities_that_share_words(format):
    row = json.loads(row_of(format, OVERLAPPING, keeps=True))
    if format == "doccano":
        found = [(*label, score) for label, score in zip(row["label"], row["scores"], strict=True)]
    elif format == "prodigy":
        found = [(span["start"], span["end"], span["label"], span["score"]) for span in row["spans"]]
        for span in row["spans"]:
            assert row["tokens"][span["token_start"]]["start"] == span["start"]
            assert row["tokens"][span["token_end"]]["end"] == span["end"]
    else:
        assert not label_studio.errors_of([row], ["PER", "LOC"])
        (prediction,) = row["predictions"]
        assert prediction["score"] == 0.5
        values = [(each["value"], each["score"]) for each in prediction["result"]]
        found = [(value["start"], value["end"], *value["labels"], score) for value, score in values]
        assert len({each["id"] for each in prediction["result"]}) == len(KEPT)
    assert sorted(found) == KEPT


@pytest.mark.parametrize("wide", [True, False])
def test_a_carriage_return_does_not_end_a_row_of_csv(tmp_path, wide):
    text = "Anna\rRossi left.\rVera stayed."
    made = writer("csv", ["PER"], wide=wide)
    rows = made.row(Record("a.jsonl", 1, text, id="A7"), tagged_as(text, "Anna\rRossi"))
    rows += made.row(Record("a.jsonl", 2, "Vera left.", id="A8"), tagged_as("Vera left.", "Vera"))
    read = list(csv.DictReader(io.StringIO(made.head + rows, newline="")))
    assert [row["id"] for row in read] == ["A7", "A8"]
    assert read[0]["text"] == (text if wide else "Anna\rRossi")
    assert '"' not in rows.splitlines()[-1]
    path = tmp_path / "a.csv"
    path.write_text(made.head + rows, encoding="utf-8", newline="")
    assert pandas.read_csv(path)["text"].tolist() == [row["text"] for row in read]


JOINED = "\u0645\u06cc\u200c\u0631\u0648\u0645 \U0001f469\u200d\U0001f680 Zo\u00eb\u00a0!"


def test_a_file_of_text_has_the_text_as_it_is():
    text = JOINED + "\u200f\x07\ufeff"
    assert row_of("text", tagged_as(text, "\U0001f469\u200d\U0001f680"), terminal=False) == (
        text.replace("\U0001f469\u200d\U0001f680", "[PER \U0001f469\u200d\U0001f680]") + "\n"
    )
    kept = Tagged(
        from_text("a\n\u200cb"), (), (), overlapping=(Entity("a\n\u200cb", "PER", 0, 4, 0, 2, 0.5),)
    )
    assert row_of("text", kept, terminal=False, keeps=True).splitlines()[-1] == (
        "    [PER a\\x0a\u200cb] 0.5000"
    )


def test_a_terminal_gets_joiners_but_no_control_characters():
    shown = row_of("text", tagged_as(JOINED + "\x1b[2J\u202e", "Zo\u00eb"))
    assert shown == JOINED.replace("Zo\u00eb", "[PER Zo\u00eb]") + "\\x1b[2J\\x202e\n"


def test_a_label_with_a_line_break_breaks_no_line():
    text = "Zo\u00eb left"
    tagged = Tagged(from_text(text), (), (Entity("Zo\u00eb", "PER\nX\r", 0, 3, 0, 1, 0.5),))
    for terminal in (True, False):
        assert row_of("text", tagged, terminal=terminal) == "[PER\\x0aX\\x0d Zo\u00eb] left\n"


@pytest.mark.parametrize("format", WIDE)
@pytest.mark.parametrize("name", ["id", "text", "file", "line"])
def test_a_type_named_like_a_column_is_refused_before_anything_is_tagged(format, name):
    with pytest.raises(UserError, match=rf"--wide: the entity type {name} is named like one of the columns"):
        writer(format, ["PER", name], wide=True)
    assert writer(format, ["PER", name])


def test_a_word_that_columns_cannot_hold_is_said_once(caplog):
    tagged = Tagged(from_words(["New York", "-DOCSTART-", "a\tb"]), ("B-LOC", "O", "O"), ())
    record = Record("a.jsonl", 1, ("New York", "-DOCSTART-", "a\tb"))
    assert writer("conll", ["LOC"]).row(record, tagged) == "New_York B-LOC\n_DOCSTART_ O\na_b O\n\n"
    said = "columns cannot hold words such as 'New York', written as 'New_York'; JSONL can."
    assert [line.getMessage() for line in caplog.records] == [said]


def test_a_type_with_a_space_is_written_between_tabs(caplog):
    tagged = Tagged(from_words(["New York"]), ("B-work of art",), ())
    record = Record("a.jsonl", 1, ("New York",), starts_document=True)
    rows = writer("conll", ["work of art"]).row(record, tagged)
    assert rows == "-DOCSTART-\tO\n\nNew York\tB-work of art\n\n"
    assert not caplog.text
