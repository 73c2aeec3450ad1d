"""WebAnno TSV 3.x, as WebAnno and INCEpTION export it."""

import pytest
from data.readers.mutations import check, read, survives

from ner_lightning.data.readers.record import CharSpan
from ner_lightning.data.readers.webanno import read_webanno
from ner_lightning.data.readers.webanno_columns import is_webanno, stacked_values
from ner_lightning.data.sentence import DataError

NER = "de.tudarmstadt.ukp.dkpro.core.api.ner.type.NamedEntity"
POS = "de.tudarmstadt.ukp.dkpro.core.api.lexmorph.type.pos.POS"
HEAD = f"#FORMAT=WebAnno TSV 3.3\n#T_SP={NER}|identifier|value\n\n\n"
MOVED = HEAD + (
    "#Text=Brinda Okafor moved to Tarvo .\n"
    "1-1\t0-6\tBrinda\thttp://x.example/Q1[1]\tPER[1]\t\n"
    "1-2\t7-13\tOkafor\thttp://x.example/Q1[1]\tPER[1]\t\n"
    "1-3\t14-19\tmoved\t_\t_\t\n"
    "1-4\t20-22\tto\t_\t_\t\n"
    "1-5\t23-28\tTarvo\t*\tLOC\t\n"
    "1-6\t29-30\t.\t_\t_\t\n"
    "\n"
    "#Sentence.id=second\n"
    "#Text=Vera left .\n"
    "2-1\t31-35\tVera\t*\tPER\t\n"
    "2-2\t36-40\tleft\t_\t_\t\n"
    "2-3\t41-42\t.\t_\t_\t\n"
)
ONE = "#FORMAT=WebAnno TSV 3.2\n#T_SP=webanno.custom.Place|kind\n\n\n"


def rows(*cells, start=0):
    """Rows of words with one cell each, with a space between the words."""
    lines = []
    for number, (word, cell) in enumerate(cells, start=1):
        end = start + len(word.encode("utf-16-le")) // 2
        lines.append(f"1-{number}\t{start}-{end}\t{word}\t{cell}\t\n")
        start = end + 1
    return "".join(lines)


def of(text, **options):
    return read(read_webanno, text.encode(), **options)


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_sentences_of_words_with_tags(newline):
    first, second = of(MOVED.replace("\n", newline))
    assert first.content == ("Brinda", "Okafor", "moved", "to", "Tarvo", ".")
    assert first.tags == ("B-PER", "I-PER", "O", "O", "B-LOC", "O")
    assert first.lines == (6, 7, 8, 9, 10, 11)
    assert (first.line, first.id, first.starts_document) == (6, None, True)
    assert (second.content, second.tags) == (("Vera", "left", "."), ("B-PER", "O", "O"))
    assert (second.line, second.id, second.starts_document) == (15, "second", False)


def test_what_other_columns_have_is_counted(caplog):
    of(MOVED)
    assert (
        "entities are read from NamedEntity|value; left out: NamedEntity|identifier (4 cells, " in caplog.text
    )
    assert "the first in line 6)" in caplog.text


def test_words_alone():
    first, _ = of(MOVED, tagged=False)
    assert first.content[:2] == ("Brinda", "Okafor")
    assert first.tags is None


def test_rows_without_a_tab_at_the_end():
    assert of(MOVED.replace("\t\n", "\n")) == of(MOVED)


def test_stacked_entities_give_a_text():
    text = (
        ONE
        + "#Text=in New Tarvo .\n"
        + rows(("in", "_"), ("New", "a[1]"), ("Tarvo", "a[1]|b[2]"), (".", "_"))
    )
    (record,) = of(text)
    assert record.content == "in New Tarvo ."
    assert record.entities == (CharSpan(3, 12, "a"), CharSpan(7, 12, "b"))
    assert record.tokens == ((0, 2), (3, 6), (7, 12), (13, 14))
    assert record.tags is None


def test_an_entity_stacked_on_itself_is_one():
    (record,) = of(ONE + "#Text=Tarvo\n" + rows(("Tarvo", "a[1]|a[2]")))
    assert record.tags == ("B-a",)


def test_neighbours_without_an_id_are_two_entities():
    (record,) = of(ONE + "#Text=Tarvo Ulm\n" + rows(("Tarvo", "a"), ("Ulm", "a")))
    assert record.tags == ("B-a", "B-a")


def test_parts_of_words_give_a_text_with_characters_though_the_file_counts_utf16():
    text = ONE + (
        "#Text=\U0001f600 anti-Tarvo mood\n"
        "1-1\t100-102\t\U0001f600\t_\t\n"
        "1-2\t103-113\tanti-Tarvo\t_\t\n"
        "1-2.1\t108-113\tTarvo\ta\t\n"
        "1-3\t114-118\tmood\t_\t\n"
    )
    (record,) = of(text)
    assert record.content == "\U0001f600 anti-Tarvo mood"
    assert record.entities == (CharSpan(7, 12, "a"),)
    assert record.content[7:12] == "Tarvo"
    assert record.tokens == ((0, 1), (2, 12), (13, 17))
    # A writer that counts characters.
    for old, new in (
        ("100-102", "100-101"),
        ("103-113", "102-112"),
        ("108-113", "107-112"),
        ("114-118", "113-117"),
    ):
        text = text.replace(old, new)
    assert of(text)[0].entities == (CharSpan(7, 12, "a"),)


def test_an_entity_from_within_a_word_to_the_next_one():
    text = ONE + (
        "#Text=  pro-New Tarvo\n1-1\t2-9\tpro-New\t_\t\n1-1.1\t6-9\tNew\ta[1]\t\n1-2\t10-15\tTarvo\ta[1]\t\n"
    )
    (record,) = of(text)
    assert record.entities == (CharSpan(6, 15, "a"),)
    assert record.content[6:15] == "New Tarvo"


def test_a_text_of_several_lines_with_escapes():
    text = ONE + (
        "#Text=a\\tb\n#Text=c\\\\d Tarvo\n"
        "1-1\t0-1\ta\t_\t\n1-2\t2-3\tb\t_\t\n1-3\t4-7\tc\\d\t_\t\n1-4\t8-13\tTarvo\ta[1]|b[2]\t\n"
    )
    (record,) = of(text)
    assert record.content == "a\tb\nc\\d Tarvo"
    assert record.entities == (CharSpan(8, 13, "a"), CharSpan(8, 13, "b"))


def test_cells():
    assert stacked_values("_") == []
    assert stacked_values("PER") == [("PER", None)]
    assert stacked_values("PER[1]|ORG[22]") == [("PER", "1"), ("ORG", "22")]
    assert stacked_values("*|*[3]") == [(None, None), (None, "3")]
    assert stacked_values(r"A\_B|C\|D\[4\]|\*") == [("A_B", None), ("C|D[4]", None), ("*", None)]
    assert stacked_values("[3]") == [(None, "3")]
    assert stacked_values("PER_X[4]") == [("PER_X", "4")]
    assert stacked_values("x\\") == [("x\\", None)]


def test_annotations_without_value_or_extent_are_left_out_and_counted(caplog):
    text = ONE + "#Text=Tarvo Ulm\n1-1\t0-5\tTarvo\t*\t\n1-1.1\t5-5\t\ta\t\n1-2\t6-9\tUlm\ta\t\n"
    (record,) = of(text)
    assert record.tags == ("O", "B-a")
    assert "1 annotations have no Place|kind and were left out: 'Tarvo' (line 6)" in caplog.text
    assert "1 annotations cover no character and were left out" in caplog.text


def test_an_entity_over_two_sentences_is_read_as_two_and_counted(caplog):
    text = ONE + "#Text=He sang Go\n" + rows(("sang", "_"), ("Go", "a[1]"))
    text += "\n#Text=Away now\n" + rows(("Away", "a[1]"), ("now", "_"), start=9)
    assert [record.tags for record in of(text)] == [("O", "B-a"), ("B-a", "O")]
    assert "1 entities reach into the next sentence and were read as two: 'Away' (line 10)" in caplog.text


def test_a_discontinuous_entity_is_read_as_its_extent_and_counted(caplog):
    text = ONE + "#Text=Tarvo or Ulm\n" + rows(("Tarvo", "a[1]"), ("or", "_"), ("Ulm", "a[1]"))
    assert of(text)[0].tags == ("B-a", "I-a", "I-a")
    assert "1 entities are discontinuous" in caplog.text


def header(*layers):
    return "#FORMAT=WebAnno TSV 3.3\n" + "".join(f"#T_{layer}\n" for layer in layers) + "\n\n#Text=Tarvo\n"


@pytest.mark.parametrize(
    ("layers", "cells", "wanted", "tags"),
    [
        ([f"SP={POS}|PosValue|coarseValue", f"SP={NER}|value"], "NE\tPROPN\tLOC", None, "B-LOC"),
        ([f"SP={NER}|identifier"], "LOC", None, "B-LOC"),
        ([f"SP={POS}|PosValue", "SP=webanno.custom.Place|kind"], "NE\ttown", None, "B-town"),
        (["SP=webanno.custom.Place|kind|sure"], "town\ttrue", None, "B-town"),
        (["SP=webanno.custom.Place|link|kind"], "http://x.example\ttown", None, "B-town"),
        (["SP=webanno.custom.Place|kind", "SP=webanno.custom.Note|text"], "_\t_", "Place", "O"),
        (["SP=webanno.custom.Place|kind"], "_", None, "O"),
        (["SP=webanno.custom.Place|"], "*", "Place", "B-Place"),
        (["SP=a.A|x", "SP=a.B|y"], "p\tq", "y", "B-q"),
        (["SP=a.A|x", "SP=a.B|y"], "p\tq", "a.A", "B-p"),
        (["SP=a.A|x", "SP=a.A|y"], "p\tq", "A|y", "B-q"),
        (["SP=a.A|x|value"], "p\tq", "A", "B-q"),
        (["SP=a.A|x", "RL=a.R|kind|BT_a.A", "CH=a.C|t|r"], "p\trel\t1-1\tc[1]\t*->1-1", None, "B-p"),
        (["SP=a.A|x", "SP=a.F|ROLE_a.F:links_a.L|a.A"], "p\tr\t1-1", None, "B-p"),
    ],
)
def test_the_column_of_the_entities(layers, cells, wanted, tags):
    (record,) = of(header(*layers) + f"1-1\t0-5\tTarvo\t{cells}\t\n", tags_column=wanted)
    assert record.tags == (tags,)


@pytest.mark.parametrize(
    ("layers", "cells", "wanted", "message"),
    [
        (
            ["SP=a.A|x", "SP=a.B|y"],
            "p\tq",
            None,
            r"several features may hold the entities; .*tags_column \(A\|x, B\|y\)",
        ),
        (["SP=a.A|x|y"], "p\tq", "A", "several features"),
        (["SP=a.A|x", "SP=a.B|y"], "p\tq", "z", r"no layer or feature 'z'; .*tags_column \(A\|x, B\|y\)"),
        (["SP=a.A|x"], "12", None, r"no feature has values that look like entity types; .* \(A\|x\)"),
        ([f"SP={POS}|PosValue"], "NE", None, "no feature has values that look like entity types"),
        (["RL=a.R|kind|BT_a.A"], "r\t1-1", None, "no layer of spans"),
    ],
)
def test_a_column_that_is_not_certain_is_refused(layers, cells, wanted, message):
    with pytest.raises(DataError, match=f"x:2: {message}"):
        of(header(*layers) + f"1-1\t0-5\tTarvo\t{cells}\t\n", tags_column=wanted)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "x:1: not WebAnno TSV 3: the first line must be #FORMAT"),
        ("1-1\t0-5\tTarvo\t_\n", "x:1: not WebAnno TSV 3"),
        (
            "#FORMAT=WebAnno TSV 2.0\n",
            "x:1: WebAnno TSV 2 is not read; export the document as WebAnno TSV v3.3",
        ),
    ],
)
def test_a_file_that_is_not_webanno_is_refused(text, message):
    with pytest.raises(DataError, match=message):
        of(text)


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("1-1\t0-5\tTarvo\t_\t_\n", "5 columns where the header names 4; a token has its number"),
        ("1-1\t0-5\tTarvo\n", "3 columns where the header names 4"),
        ("1\t0-5\tTarvo\t_\n", "is malformed; a token has its number, its offsets"),
        ("1-1\t0\tTarvo\t_\n", "is malformed"),
        ("1-1\t5-0\tTarvo\t_\n", "the token 'Tarvo' has the offsets 5-0"),
        ("1-1\t0-5\t\t_\n", "the token '' has the offsets 0-5"),
        ("1-1.1\t0-5\tTarvo\t_\n", "a part of a token before the first token"),
        ("1-1\t0-5\tUlm\ta[1]|b[2]\n", "its tokens are not at their offsets in the text 'Tarvo' of #Text="),
        ("1-1\t0-6\tTarvo\ta[1]|b[2]\n", "its tokens are not at their offsets"),
    ],
)
def test_a_malformed_sentence_is_rejected_and_the_next_one_read(row, reason):
    bad, good = of(ONE + f"#Text=Tarvo\n{row}\n#Text=Ulm\n" + rows(("Ulm", "a")))
    assert reason in bad.reason
    assert (bad.line, good.tags) == (6, ("B-a",))


def test_a_byte_that_is_not_utf8_rejects_its_sentence():
    bad, good = read(read_webanno, MOVED.encode().replace(b"moved", b"m\xf6ved"))
    assert "byte 0xf6 in column 12 is not UTF-8" in bad.reason
    assert (bad.line, bool(good.reason)) == (8, False)


def test_recognised_by_its_first_line():
    assert is_webanno(MOVED.split("\n"))
    assert is_webanno(["", "\ufeff#FORMAT=WebAnno TSV 3.1"])
    assert not is_webanno(["Tarvo", "#FORMAT=WebAnno TSV 3.3"])
    assert not is_webanno([])


def test_damaged_files_give_records_or_reasons():
    parts = (
        "\n#Text=\U0001f600 anti-Tarvo mood\n"
        "3-1\t43-45\t\U0001f600\t_\t_\t\n"
        "3-2\t46-56\tanti-Tarvo\t*[7]\tPER[7]\t\n"
        "3-2.1\t51-56\tTarvo\t*|*\tLOC|ORG\\_X\t\n"
        "3-3\t57-61\tmood\t*[7]\tPER[7]\t\n"
    )
    for record in of(MOVED + parts):
        check(record)
        assert not record.reason
    good, bad = survives(read_webanno, (MOVED + parts).encode(), 400)
    assert good > 20
    assert bad > 100
