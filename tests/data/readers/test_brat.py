"""brat's standoff annotation: a text, and the .ann file beside it."""

import random

import pytest
from data.readers.mutations import check, damaged, read

from ner_lightning.data.readers.brat import annotation_beside, read_brat
from ner_lightning.data.readers.read_options import ReadOptions
from ner_lightning.data.readers.record import CharSpan
from ner_lightning.data.readers.sentences import read_sentences

TEXT = "Brinda Okafor moved to Tarvo."
ANN = "T1\tPER 0 13\tBrinda Okafor\nT2\tLOC 23 28\tTarvo\n"
ENTITIES = (CharSpan(0, 13, "PER"), CharSpan(23, 28, "LOC"))


@pytest.fixture
def beside(tmp_path):
    """Writes an .ann file, and reads the text that it is beside."""

    def read_text(text, ann=ANN, **options):
        path = tmp_path / "letter.txt"
        (tmp_path / "letter.ann").write_bytes(ann if isinstance(ann, bytes) else ann.encode())
        return read(read_brat, text if isinstance(text, bytes) else text.encode(), path, **options)

    return read_text


def test_a_text_with_its_entities(beside, caplog):
    (record,) = beside(TEXT)
    assert record.content == TEXT
    assert record.entities == ENTITIES
    assert record.starts_document
    assert record.tokens is None
    assert not record.reason
    assert not caplog.text


def test_an_empty_annotation_has_no_entities(beside):
    assert beside(TEXT, "")[0].entities == ()


def test_the_ann_file_is_found_by_the_stem(tmp_path):
    path = tmp_path / "a.b.txt"
    assert annotation_beside(path) is None
    (tmp_path / "a.b.ann").touch()
    assert annotation_beside(path) == tmp_path / "a.b.ann"
    assert annotation_beside(tmp_path / "a.b.ann") is None


def test_without_tags_no_ann_file_is_needed(tmp_path, beside):
    (record,) = read(read_brat, TEXT.encode(), tmp_path / "alone.txt", tagged=False)
    assert record.content == TEXT
    assert record.entities is None
    assert not beside(TEXT, "nonsense", tagged=False)[0].reason


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_offsets_count_characters_with_line_breaks_and_emoji(beside, newline):
    text = f"\U0001f600 Hello,{newline}Brinda{newline}Okafor left."
    start = text.index("Brinda")
    end = text.index(" left")
    # brat writes the line breaks of an entity as spaces.
    stated = text[start:end].replace("\r", " ").replace("\n", " ")
    ann = f"T1\tPER {start} {end}\t{stated}\r\n"
    (record,) = beside(text, ann)
    assert record.content == text
    assert record.entities == (CharSpan(start, end, "PER"),)


def test_an_entity_over_a_line_break_is_not_discontinuous(beside, caplog):
    (record,) = beside("Brinda\nOkafor left.", "T1\tPER 0 6;7 13\tBrinda Okafor\n")
    assert record.entities == (CharSpan(0, 13, "PER"),)
    assert not caplog.text


def test_discontinuous_entities_are_read_as_their_extent_and_counted(beside, caplog):
    (record,) = beside(
        "North and South Tarvo", "T1\tLOC 0 5;16 21\tNorth Tarvo\nT2\tLOC 10 21\tSouth Tarvo\n"
    )
    assert record.entities == (CharSpan(0, 21, "LOC"), CharSpan(10, 21, "LOC"))
    assert "letter.ann: 1 entities are discontinuous" in caplog.text
    assert "'North and South Tarvo' (line 1)" in caplog.text


def test_everything_but_entities_is_left_out_and_counted(beside, caplog):
    lines = [
        "R1\tLives-In Arg1:T1 Arg2:T2",
        "*\tEquiv T1 T2",
        "E1\tMove:T3 Who:T1",
        "A1\tNegated E1",
        "M1\tNegated E1",
        "N1\tReference T2 Wikipedia:5\tTarvo",
        "#1\tAnnotatorNotes T1\tsure?",
    ]
    (record,) = beside(TEXT, ANN + "\n".join(lines))
    assert record.entities == ENTITIES
    for said in ("2 relations", "1 events", "2 attributes", "1 references to knowledge bases", "1 notes"):
        assert f"letter.ann: {said}" in caplog.text
    assert "(line 3)" in caplog.text


def test_overlapping_entities_are_passed_on(beside):
    (record,) = beside(TEXT, "T1\tPER 0 13\tBrinda Okafor\nT2\tNAME 0 6\tBrinda\n")
    assert record.entities == (CharSpan(0, 13, "PER"), CharSpan(0, 6, "NAME"))


@pytest.mark.parametrize(
    ("text", "ann", "said"),
    [
        ("\U0001f600 Brinda left.", "T1\tPER 3 9\tBrinda\n", "UTF-16 code units"),
        ("Hello,\r\nBrinda left.", "T1\tPER 7 13\tBrinda\n", "line breaks of two characters as one"),
        ("é Brinda left.", "T1\tPER 3 9\tBrinda\n", "bytes of UTF-8"),
        ("O Brinda left.", "T1\tPER 2 7\tBrinda\n", "characters, the last one included"),
        ("\ufeffé Brinda.", "T1\tPER 6 12\tBrinda\n", "bytes of UTF-8, after a byte order mark"),
        ("\ufeffBrinda left.", "T1\tPER 1 7\tBrinda\n", "characters, after a byte order mark"),
        ("\ufeffBrinda left.", "T1\tPER 0 6\tBrinda\n", ""),
    ],
)
def test_other_offsets_that_the_stated_texts_prove_are_converted(beside, caplog, text, ann, said):
    (record,) = beside(text, ann)
    ((start, end, _),) = record.entities
    assert record.content[start:end] == "Brinda"
    assert said in caplog.text
    assert bool(said) == bool(caplog.text)


@pytest.mark.parametrize(
    ("ann", "line", "reason"),
    [
        ("T1\tPER 0 6\tBrenda\n", 1, "is stated as 'Brenda', but the text has 'Brinda' there"),
        ("\nT1\tPER 20 99\tTarvo\n", 2, "from 20 to 99 does not lie in the text, which has 29 characters"),
        ("T1\tPER 20 99\n", 1, "does not lie in the text"),
        ("T1 PER 0 6 Brinda\n", 1, "is malformed; write T1, a tab, TYPE START END, a tab"),
        ("T1\tPER 0\tBrinda\n", 1, "is malformed"),
        ("T1\tPER 6 0\tBrinda\n", 1, "empty or overlap; each start must be before its end"),
        ("T1\tPER 0 6;3 9\tBrinda\n", 1, "empty or overlap"),
        (f"T1\tPER 0 {'9' * 5000}\tBrinda\n", 1, "offsets that are no numbers"),
        ("nonsense\n", 1, "'nonsense' is no line of brat's standoff format"),
        (b"T1\tPER 0 6\tBrinda\nT2\tLOC 23 28\tT\xe4rvo\n", 2, "byte 0xe4 is not UTF-8"),
    ],
)
def test_a_malformed_annotation_rejects_the_text_and_names_its_line(beside, ann, line, reason):
    (record,) = beside(TEXT, ann)
    assert reason in record.reason
    assert (record.source, record.line) == ("letter.ann", line)


def test_a_text_without_annotation_is_rejected(tmp_path):
    (record,) = read(read_brat, TEXT.encode(), tmp_path / "alone.txt")
    assert record.reason == "no annotation beside this text; brat writes it to alone.ann"
    (record,) = read(read_brat, TEXT.encode())
    assert "no annotation beside this text" in record.reason


def test_a_text_that_is_not_utf8_is_rejected(beside):
    assert "byte 0xe4 in line 1 is not UTF-8" in beside(b"T\xe4rvo")[0].reason


def test_damaged_files_give_records_or_reasons(beside):
    text = "\U0001f600 Brinda\r\nOkafor moved to Tarvo.\n"
    ann = "T1\tPER 2 8;10 16\tBrinda Okafor\nT2\tLOC 26 31\tTarvo\nR1\tLives Arg1:T1 Arg2:T2\n"
    assert not beside(text, ann)[0].reason
    rng = random.Random(5)
    reasons = 0
    for _ in range(400):
        both = (
            damaged(text.encode(), rng) if rng.random() < 0.3 else text.encode(),
            damaged(ann.encode(), rng),
        )
        for record in beside(*both):
            check(record)
            reasons += bool(record.reason)
    assert 100 < reasons < 400


@pytest.mark.parametrize("form", [None, "brat"])
def test_a_folder_is_read_whether_its_format_is_named_or_not(tmp_path, form):
    (tmp_path / "x.txt").write_text(TEXT, encoding="utf-8")
    (tmp_path / "x.ann").write_text(ANN, encoding="utf-8")
    (tmp_path / "annotation.conf").write_text("[entities]\nPER\n", encoding="utf-8")
    (found,) = read_sentences(tmp_path, ReadOptions(format=form))
    assert found.tags == ("B-PER", "I-PER", "O", "O", "B-LOC", "O")
