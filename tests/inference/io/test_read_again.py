"""What `predict` writes is read again: the same sentences and documents, words, offsets and entities."""

import json
from pathlib import Path

import pandas
import pyarrow.parquet as pq
import pytest
from shared import json_rows

from ner_lightning.commands.main import main
from ner_lightning.commands.taggers import tagger_loading
from ner_lightning.data.readers.files import Inputs
from ner_lightning.data.readers.read_options import AnnotationRules, ReadOptions
from ner_lightning.data.readers.record import numbered
from ner_lightning.data.readers.sentences import read_sentences
from ner_lightning.data.schemes import spans
from ner_lightning.data.sentence import DataError

SENTENCES = [
    ["Okoro", "left", "Lima", ".", "Vera", "Holt", "stayed", "in", "Oslo", "."],
    ["The", "Baltic", "Open", "ended", ".", "Nobody", "came", "."],
    ["Vera", "answered", "."],
]
DOCUMENTS = ["a", "a", 7]


@pytest.fixture
def predict(tagger, tmp_path, monkeypatch):
    """Runs the command in an empty folder with a random tagger; returns the rows of JSON that it writes."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tagger_loading, "read_tagger", lambda *args, **kwargs: tagger)

    def call(source, name):
        assert main(["predict", "--input", source, "--output", name]) == 0
        return json_rows(name)

    return call


def write(name, rows):
    Path(name).write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def given(**more):
    """Rows of words, with fields made of each."""
    return [
        {"tokens": words, "document": document} | {key: make(words) for key, make in more.items()}
        for words, document in zip(SENTENCES, DOCUMENTS, strict=True)
    ]


def found(rows):
    return [
        [(e["label"], e["word_start"], e["word_end"], e["score"]) for e in row["entities"]] for row in rows
    ]


def records_in(name):
    return list(Inputs(name, ReadOptions(tagged=False)).read())


@pytest.mark.parametrize("join", [" ".join, "  ".join, lambda words: " " + "".join(words)])
def test_a_text_beside_words_gives_offsets_alone(predict, join):
    write("words.jsonl", given())
    write("both.jsonl", given(text=join, ner_tags=lambda words: ["O"] * len(words)))
    alone, both = predict("words.jsonl", "a.jsonl"), predict("both.jsonl", "b.jsonl")
    assert found(both) == found(alone)
    assert any(found(both))
    assert [row["text"] for row in both] == list(map(join, SENTENCES))
    for row in both:
        assert all(row["text"][e["start"] : e["end"]] == e["text"] for e in row["entities"])
        assert [*row][2] == "document"
    assert [row["document"] for row in both] == DOCUMENTS
    records = records_in("both.jsonl")
    assert [len(record.split().sentences) for record in records] == [1, 1, 1]
    assert [number for _, number in numbered(records)] == [1, 1, 2]


def test_words_of_a_text_that_are_skipped_take_their_offsets_with_them(tmp_path):
    write(tmp_path / "a.jsonl", [{"words": ["Vera", "\u200b", "Holt"], "text": "Vera  \u200b Holt"}])
    options = ReadOptions(tagged=False, rules=AnnotationRules(empty_words="skip"))
    (record,) = Inputs(str(tmp_path / "a.jsonl"), options).read()
    assert record.split().words == [["Vera", "Holt"]]
    assert record.split().text == "Vera  \u200b Holt"


SOURCES = {
    "words.jsonl": "".join(json.dumps(row) + "\n" for row in given()),
    "plain.jsonl": "".join(json.dumps({"words": words}) + "\n" for words in SENTENCES),
    "a.conll": "-DOCSTART- O\n\nOkoro O\nleft O\n\nLima O\n. O\n\n-DOCSTART- O\n\nVera O\n. O\nHolt O\n",
    "a.conllu": "# newdoc\n# sent_id = 1\n1\tOkoro" + "\t_" * 8 + "\n\n# newdoc\n1\tLima" + "\t_" * 8 + "\n",
    "mixed.jsonl": '{"text": "Vera left."}\n{"words": ["Holt", "."]}\n{"words": ["Oslo"]}\n{"text": ""}\n',
}


@pytest.mark.parametrize("output", ["out.jsonl", "out.parquet"])
@pytest.mark.parametrize("name", SOURCES)
def test_the_output_is_tagged_again_alike(predict, name, output):
    Path(name).write_text(SOURCES[name], encoding="utf-8")
    first = predict(name, "first.jsonl")
    if output == "out.parquet":
        assert main(["predict", "--input", name, "--output", output]) == 0
        assert pq.read_table(output).num_rows == len(first)
    else:
        write(output, first)
    assert found(predict(output, "second.jsonl")) == found(first)
    ways = [[(r.split().words, number) for r, number in numbered(records_in(n))] for n in (name, output)]
    assert ways[0] == ways[1]


@pytest.mark.parametrize("output", ["out.jsonl", "out.parquet"])
@pytest.mark.parametrize("name", ["words.jsonl", "mixed.jsonl"])
def test_the_output_is_annotated_data(predict, name, output):
    Path(name).write_text(SOURCES[name], encoding="utf-8")
    rows = predict(name, "first.jsonl")
    assert main(["predict", "--input", name, "--output", output]) == 0
    sentences = read_sentences(output)
    tags = [list(spans(each.tags)) for each in sentences]
    expected = [[tuple(e[:3]) for e in row] for row in found(rows) if rows]
    assert [[(s.type, s.start, s.end) for s in row] for row in tags] == [
        row for row, given in zip(expected, rows, strict=True) if given["text"]
    ]
    assert any(tags)
    assert [each.document for each in sentences] == ([0, 0, 1] if name == "words.jsonl" else [0, 1, 1])


def test_documents_of_one_name_in_two_files_stay_two(predict):
    Path("in").mkdir()
    for name in ("a", "b"):
        write(f"in/{name}.jsonl", [{"words": ["Vera", "."], "document": 1}] * 2)
    assert [row["document"] for row in predict("in", "out.jsonl")] == [1, 1, 2, 2]


@pytest.mark.parametrize("tagged", [True, False])
@pytest.mark.parametrize("words", [(), ("--min_score", "0.1", "--overlaps", "keep"), ("--wide",)])
def test_a_table_that_cannot_be_read_as_annotation_says_what_can(predict, words, tagged):
    write("in.jsonl", [{"text": " ".join(SENTENCES[0])}])
    assert main(["predict", "--input", "in.jsonl", "--output", "out.csv", *words]) == 0
    options = ReadOptions(tagged=tagged)
    if "--wide" in words and not tagged:
        (record,) = Inputs("out.csv", options).read()
        assert record.content == " ".join(SENTENCES[0])
        return
    with pytest.raises(DataError, match=r"^out.csv:1: this table has .* as predict .*;\nlet predict write"):
        list(Inputs("out.csv", options).read())
    named = ReadOptions(tagged=False, words_column="text")
    assert not any(record.reason for record in Inputs("out.csv", named).read())


def test_a_bare_carriage_return_is_part_of_a_cell(predict):
    texts = ["Vera Holt\rleft Lima.", "\rOkoro", "Vera\r\rLima", 'said "\r,', "a\nb\r\nc\rd", "Oslo"]
    pandas.DataFrame({"id": range(len(texts)), "text": texts}).to_csv("in.csv", index=False)
    assert b"Holt\rleft" in Path("in.csv").read_bytes()
    assert [row["text"] for row in predict("in.csv", "out.jsonl")] == texts
    assert not Path("out.jsonl.rejects.jsonl").exists()
    Path("in.csv").write_bytes(Path("in.csv").read_bytes().replace(b"\n", b"\r\n"))
    assert [row["id"] for row in predict("in.csv", "out.jsonl")] == list("012345")
