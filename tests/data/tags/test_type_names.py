"""Entity types are renamed, merged and left out as data are read, by every reader and in every command."""

import json

import pytest
from shared import json_rows

from ner_lightning.commands.main import main
from ner_lightning.data.corpus_settings import Files
from ner_lightning.data.readers.sentences import read_sentences
from ner_lightning.data.schemes import Span, spans
from ner_lightning.data.sources import Source
from ner_lightning.data.tags.type_names import read_renames, renamed_tags, renamed_types
from ner_lightning.errors import UserError

TEXT = "Vera B-person\nHolt I-person\nOslo B-city\nLima B-land\nMonday B-DATE\ncame O\n"


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "a.conll"
    path.write_text(TEXT * 1, encoding="utf-8")
    return path


def test_types_are_renamed_merged_and_left_out(file):
    options = Files(rename_types="person=PER, city=LOC,land=LOC,DATE=").options()
    (sentence,) = read_sentences(file, options)
    assert spans(sentence.tags) == [Span("PER", 0, 2), Span("LOC", 2, 3), Span("LOC", 3, 4)]
    assert renamed_tags(("?", "O", "B-DATE"), {"DATE": ""}) == ("?", "O", "O")
    assert renamed_types(("a", "b", "c", "d"), {"b": "a", "c": ""}) == ("a", "d")


def test_two_names_exchange():
    assert renamed_tags(("B-A", "I-A", "B-B"), {"A": "B", "B": "A"}) == ("B-B", "I-B", "B-A")


def test_a_type_that_is_not_there_is_said(file, caplog):
    read_sentences(file, Files(rename_types="persn=PER").options())
    assert f"data.files.rename_types: {file} has no entity of persn." in caplog.text


@pytest.mark.parametrize(
    ("given", "said"),
    [("person", "is malformed"), ("=PER", "is malformed"), ("a=B,a=C", "a stands twice"), ("a=B-", None)],
)
def test_what_is_malformed_is_refused(given, said):
    if said is None:
        assert read_renames(given) == {"a": "B-"}
        return
    with pytest.raises(UserError, match=said):
        Files(rename_types=given).options()


def test_another_naming_is_another_data_set(file):
    plain, renamed = (
        Source("sample", {"test": str(file)}, Files(rename_types=names)).read("test").fingerprint
        for names in (None, "DATE=")
    )
    assert plain != renamed
    assert renamed.startswith(plain)


def test_data_are_converted_with_new_names(file, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = ["data", "convert", str(file), "--output", "b.jsonl", "--rename_types", "person=PER,DATE="]
    assert main(words) == 0
    (row,) = json_rows("b.jsonl")
    assert "PER" in json.dumps(row)
    assert "DATE" not in json.dumps(row)
