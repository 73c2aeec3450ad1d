"""Which format a file is in, which columns it has and how its tags are written, by what is in it."""

import csv
import io
import json
import os
import re
import subprocess
import sys
import threading
import zipfile

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ner_lightning.data.readers.files import Inputs
from ner_lightning.data.readers.filetype import SAMPLE
from ner_lightning.data.readers.read_options import AnnotationRules, ReadOptions
from ner_lightning.data.readers.sentences import read_sentences
from ner_lightning.data.schemes import spans
from ner_lightning.data.sentence import DataError, unknown_entities, unknown_types
from ner_lightning.data.tags.tag_names import read_tag_names
from ner_lightning.errors import UserError

MOVED = ["Brinda", "Okafor", "moved", "to", "Tarvo", "."]
MOVED_TAGS = ["B-PER", "I-PER", "O", "O", "B-LOC", "O"]
WROTE = ["Nobody", "wrote", "."]
BOTH = [(MOVED, MOVED_TAGS), (WROTE, ["O"] * 3)]
ENTITIES = [("PER", "Brinda Okafor"), ("LOC", "Tarvo")]


@pytest.fixture
def file(tmp_path):
    def make(content, name="x.conll"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return make


def rules(**given):
    return AnnotationRules(**given)


def both_ways(path, **options):
    """The sentences of a file; the same words and documents must be read without tags."""
    tagged = read_sentences(path, ReadOptions(**options))
    words = read_sentences(path, ReadOptions(**options | {"tagged": False, "tags_column": None}))
    assert [(s.words, s.document, s.line) for s in words] == [(s.words, s.document, s.line) for s in tagged]
    assert all(sentence.tags is None for sentence in words)
    assert all(sentence.tags is not None for sentence in tagged)
    return tagged


def entities(sentences):
    return [(e.type, " ".join(s.words[e.start : e.end])) for s in sentences for e in spans(s.tags)]


def text_of(sentences):
    return [" ".join(sentence.words) for sentence in sentences]


def refusal(path, *, most=3, **options):
    with pytest.raises(UserError) as caught:
        read_sentences(path, ReadOptions(**options))
    message = str(caught.value)
    assert len(message.splitlines()) <= most
    return message.removeprefix(f"{path}:")


def columns(*cells, between="\t", end="\n", sentences=BOTH, last=True):
    """Rows of the two sentences; a cell is made from the index, word and tag."""
    blocks = [
        end.join(
            between.join(cell(i, w, t) for cell in cells) for i, (w, t) in enumerate(zip(*s, strict=True))
        )
        for s in sentences
    ]
    return (end + end).join(blocks) + (end + end if last else "")


def word(index, word, tag):
    return word


def tag(index, word, tag):
    return tag


def from_0(index, word, tag):
    return str(index)


def from_1(index, word, tag):
    return str(index + 1)


def dash(index, word, tag):
    return "-"


def underscore(index, word, tag):
    return "_"


def score(index, word, tag):
    return f"0.{93 - index}"


def annotator(index, word, tag):
    return "ann1"


def part(index, word, tag):
    return "PUNCT" if word == "." else "X"


def characters(index, word, tag):
    return f"{7 * index}-{7 * index + len(word)}"


# Columns: counting, other columns, separators, line ends


LAYOUTS = {
    "plain": (word, tag),
    "counted from 0": (from_0, word, tag),
    "counted from 1": (from_1, word, tag),
    "counted, and the tag before the word": (from_1, tag, word),
    "counted after the word": (word, from_0, tag),
    "counted in two columns": (from_0, from_1, word, tag),
    "the tag before the word": (tag, word),
    "dashes between": (word, dash, dash, tag),
    "underscores between": (word, underscore, tag),
    "scores after": (word, tag, score),
    "scores between": (word, score, tag),
    "an annotator": (word, annotator, tag),
    "an annotator before": (annotator, from_0, word, tag),
    "parts of speech": (word, part, tag),
    "characters": (from_1, characters, word, tag),
    "CoNLL-2003": (word, part, lambda i, w, t: "B-NP" if i % 2 else "I-NP", tag),
    "names and parts of documents": (lambda i, w, t: "news/tarvo_01", lambda i, w, t: "0", from_0, word, tag),
}


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS.keys())
@pytest.mark.parametrize("between", ["\t", " ", "  ", " \t"], ids=repr)
def test_words_and_tags_are_found_beside_other_columns(file, layout, between):
    found = both_ways(file(columns(*layout, between=between)))
    assert [(list(s.words), list(s.tags)) for s in found] == BOTH


@pytest.mark.parametrize("layout", [(word, tag), (from_0, word, tag), (word, part, tag)])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"], ids=repr)
@pytest.mark.parametrize("last", [True, False])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_line_ends_and_encodings_do_not_matter(file, layout, end, last, encoding):
    found = both_ways(file(columns(*layout, end=end, last=last).encode(encoding)))
    assert [(list(s.words), list(s.tags)) for s in found] == BOTH
    assert [s.line for s in found] == [1, 8]


@pytest.mark.parametrize(
    "comment",
    [
        "# id 11aa\tdomain=en",
        "# id 11aa domain=en x",
        "#\thttp://example.org/wiki/Brinda [2011-03-04]",
        "# text = Brinda Okafor moved to Tarvo .",
        "# sent_id = 1\n# annotator = Vitamin O",
        "#",
    ],
)
@pytest.mark.parametrize("layout", [(word, tag), (word, underscore, underscore, tag), (from_1, word, tag)])
def test_comments_before_a_sentence_are_no_words(file, comment, layout):
    first, second = (columns(*layout, sentences=[each]) for each in BOTH)
    found = both_ways(file(f"{comment}\n{first}{comment}\n{second}"))
    assert [(list(s.words), list(s.tags)) for s in found] == BOTH


HEADERS = ["word tag", "Token Label", "id form ner", "tokens pos ner_tags"]


@pytest.mark.parametrize("header", HEADERS)
@pytest.mark.parametrize("between", ["\t", " "], ids=repr)
@pytest.mark.parametrize("blank", ["", "\n"], ids=["", "a blank line"])
def test_a_header_line_is_no_word(file, header, between, blank):
    layout = {2: (word, tag), 3: (from_1, word, tag)}[len(header.split())]
    if header.startswith("tokens"):
        layout = (word, part, tag)
    text = header.replace(" ", between) + "\n" + blank + columns(*layout, between=between)
    found = both_ways(file(text))
    assert [(list(s.words), list(s.tags)) for s in found] == BOTH


def test_columns_are_named_by_a_header(file):
    text = "gold system surface\n" + columns(tag, lambda i, w, t: "O", word, between=" ")
    found = both_ways(file(text), words_column="surface", tags_column="gold")
    assert [(list(s.words), list(s.tags)) for s in found] == BOTH
    assert both_ways(file(text), words_column="surface", tags_column="system")[0].tags == ("O",) * 6


# Two columns of tags


NESTED = [
    ("Brinda", "B-PER", "O"),
    ("spielt", "O", "O"),
    ("für", "O", "O"),
    ("SV", "B-ORG", "O"),
    ("Tarvo", "I-ORG", "B-LOC"),
    (".", "O", "O"),
]


@pytest.mark.parametrize("between", ["\t", " "], ids=repr)
@pytest.mark.parametrize("counted", [0, 1, None])
@pytest.mark.parametrize("comment", ["", "#\thttp://example.org/wiki/Brinda [2011-03-04]\n"])
def test_of_two_columns_of_tags_one_must_be_named(file, between, counted, comment):
    rows = (
        [(str(i + counted),) * (counted is not None) + row for i, row in enumerate(NESTED, 0)]
        if (counted is not None)
        else NESTED
    )
    text = comment + "\n".join(between.join(row) for row in rows) + "\n"
    first = len(rows[0]) - 2
    message = refusal(file(text))
    assert f"columns {first} (B-PER, B-ORG, ...) and {first + 1} (B-LOC)" in message
    assert "data.files.tags_column" in message
    outer = both_ways(file(text), tags_column=str(first))
    assert entities(outer) == [("PER", "Brinda"), ("ORG", "SV Tarvo")]
    assert entities(both_ways(file(text), tags_column="-1")) == [("LOC", "Tarvo")]


def test_of_two_fields_of_tags_one_must_be_named(file):
    row = {"tokens": ["Vera", "left"], "tags": ["NNP", "VBD"], "ner": ["B-PER", "O"]}
    path = file(json.dumps(row) + "\n", "a.jsonl")
    assert "the fields tags and ner may both hold the tags; name one: data.files.tags_column" in refusal(path)
    assert entities(read_sentences(path, ReadOptions(tags_column="ner")))
    other = file(json.dumps(row | {"tags": "news"}) + "\n", "b.jsonl")  # a note is no list of tags
    assert entities(read_sentences(other)) == entities(read_sentences(path, ReadOptions(tags_column="ner")))


@pytest.mark.parametrize("filled", ["O", "_", "-"])
@pytest.mark.parametrize("rows", [1200, 3000])
def test_a_second_column_of_tags_is_noticed_wherever_it_begins(file, filled, rows):
    text = f"Tarvo B-LOC {filled}\nwaits O {filled}\n\n" * rows + "SV B-ORG B-LOC\n"
    message = refusal(file(text))
    assert "columns 2 and 1 both contain tags" in message
    assert "data.files.tags_column" in message
    assert len(read_sentences(file(text), ReadOptions(tags_column="1"))) == rows + 1
    assert len(read_sentences(file(text), ReadOptions(tagged=False))) == rows + 1


# Words that are not certain


@pytest.mark.parametrize("tagged", [True, False])
@pytest.mark.parametrize(
    "first",
    [
        lambda i: ["NOUN", "VERB", "ADP"][i % 3],
        lambda i: ["de", "en"][i % 2],
        lambda i: ["ann_a", "ann_b", "ann_c"][i % 3],
    ],
)
def test_words_that_may_be_in_either_column_are_refused(file, tagged, first):
    rows = [f"{first(i)}\tword{i}\t{'B-LOC' if i % 9 == 0 else 'O'}" for i in range(40)]
    path = file("\n".join(rows) + "\n")
    message = refusal(path, tagged=tagged)
    assert "the words may be in column 0" in message
    assert "data.files.words_column" in message
    assert both_ways(path, words_column="1")[0].words[:2] == ("word0", "word1")


@pytest.mark.parametrize("tagged", [True, False])
@pytest.mark.parametrize(
    ("identity", "rows"),
    [
        (lambda i: f"doc1_{i // 5}_{i % 5}", 20),
        (lambda i: f"s{i // 5}.w{i % 5}", 20),
        (lambda i: "".join(chr(0x61 + int(digit)) for digit in str(1000 + i)), 300),  # without a digit
    ],
)
def test_ids_of_words_are_not_taken_for_words(file, tagged, identity, rows):
    words = [["tami", "lo", "Tarvo", "ke", "."][i % 5] for i in range(rows)]
    tags = ["B-LOC" if word == "Tarvo" else "O" for word in words]
    parts = zip(map(identity, range(rows)), words, tags, strict=True)
    path = file("".join("\t".join(row) + "\n" + "\n" * (row[1] == ".") for row in parts))
    message = refusal(path, tagged=tagged)
    assert "the words may be in column 0" in message
    assert both_ways(path, words_column="1")[0].words[:2] == ("tami", "lo")


@pytest.mark.parametrize("rows", [20, 150])
def test_words_that_all_differ_are_words(file, rows):
    lines = [
        f"{'w' * i}ord\t{['NN', 'VBZ', 'IN'][i % 3]}\t{'B-LOC' if i % 9 == 0 else 'O'}" for i in range(rows)
    ]
    words = both_ways(file("\n".join(lines) + "\n"))[0].words
    assert words[:3] == ("ord", "word", "wword")


def test_numbers_that_count_are_no_words_if_nothing_else_is(file):
    path = file("1 O\n2 O\n3 B-PER\n")
    assert "no other column holds words" in refusal(path)
    assert both_ways(path, words_column="0")[0].words == ("1", "2", "3")


# Forms of tags


FORMS = {
    "B_PER": lambda i, w, t: t.replace("-", "_"),
    "PER_B": lambda i, w, t: t if t == "O" else f"{t[2:]}_{t[0]}",
    "PER-B": lambda i, w, t: t if t == "O" else f"{t[2:]}-{t[0]}",
    "b-PER and o": lambda i, w, t: t[0].lower() + t[1:],
    "PER_B and a dash": lambda i, w, t: "-" if t == "O" else f"{t[2:]}_{t[0]}",
    "an underscore for O": lambda i, w, t: "_" if t == "O" else t,
    "a zero for O": lambda i, w, t: "0" if t == "O" else t,
    "a dash for O": lambda i, w, t: "-" if t == "O" else t,
    "types alone": lambda i, w, t: t.rpartition("-")[2],
    "types alone and a dash": lambda i, w, t: "-" if t == "O" else t[2:],
    "types alone and a zero": lambda i, w, t: "0" if t == "O" else t[2:],
    "IOB1": lambda i, w, t: t.replace("B-", "I-"),
    "BIOES": lambda i, w, t: {"I-PER": "E-PER", "B-LOC": "S-LOC"}.get(t, t),
    "BILOU": lambda i, w, t: {"I-PER": "L-PER", "B-LOC": "U-LOC"}.get(t, t),
    "BMES": lambda i, w, t: {"I-PER": "E-PER", "B-LOC": "S-LOC"}.get(t, t),
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS.keys())
@pytest.mark.parametrize("layout", ["two", "counted", "before", "beside"])
def test_tags_in_other_forms_are_read_as_they_are_meant(file, form, layout):
    cells = {
        "two": (word, form),
        "counted": (from_1, word, form),
        "before": (form, word),
        "beside": (word, part, form),
    }
    found = both_ways(file(columns(*cells[layout])))
    assert [(list(s.words), list(s.tags)) for s in found] == BOTH


@pytest.mark.parametrize(
    ("form", "said"),
    [
        ("B_PER", "tags such as B_PER are read as B-PER"),
        ("PER-B", "tags such as PER-B are read as B-PER"),
        ("PER_B and a dash", "'-' of 6 words are read as O"),
        ("types alone", "types without B- and I- (PER, LOC): neighbouring words of one type"),
        ("a zero for O", "'0' of 6 words are read as O"),
    ],
)
def test_another_form_of_tags_is_said(file, caplog, form, said):
    path = file(columns(word, FORMS[form]))
    read_sentences(path)
    assert said in caplog.text
    caplog.clear()
    read_sentences(path, ReadOptions(tagged=False))
    assert "read as" not in caplog.text


@pytest.mark.parametrize("form", ["B_PER", "PER_B", "b-PER and o", "types alone", "a zero for O", "IOB1"])
@pytest.mark.parametrize("kind", ["jsonl", "csv", "parquet"])
def test_tags_in_other_forms_are_read_in_every_format_of_words(file, tmp_path, form, kind):
    rows = [
        {
            "tokens": words,
            "ner_tags": [FORMS[form](i, w, t) for i, (w, t) in enumerate(zip(words, tags, strict=True))],
        }
        for words, tags in BOTH
    ]
    path = tmp_path / f"x.{kind}"
    if kind == "jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    elif kind == "parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    else:
        cells = [
            f"{n},{pair[0]},{pair[1]}\n"
            for n, row in enumerate(rows)
            for pair in zip(row["tokens"], row["ner_tags"], strict=True)
        ]
        path.write_text("sentence,word,tag\n" + "".join(cells))
    found = both_ways(path)
    assert [(list(s.words), list(s.tags)) for s in found] == BOTH


@pytest.mark.parametrize("end", [" ", "\u200b", "\u200d", "\ufeff", "\u2060", "\u00ad", "\u00a0"], ids=ascii)
@pytest.mark.parametrize("form", ["B_PER", "IOB1", "BIOES", "types alone"])
def test_what_is_invisible_at_the_ends_of_tags_makes_no_types(file, caplog, form, end):
    made = [(words, [FORMS[form](0, "", t) for t in tags]) for words, tags in BOTH]
    made[0][1][0] += end
    rows = "".join(json.dumps({"tokens": words, "ner_tags": tags}) + "\n" for words, tags in made)
    cells = "".join("".join(map("{}\t{}\n".format, *pair)) + "\n" for pair in made)
    for path in (file(rows, "x.jsonl"), file(cells, "x.conll")):
        caplog.clear()
        assert [list(s.tags) for s in both_ways(path)] == [tags for _, tags in BOTH]
        assert end == " " or "1 tags such as " in caplog.text


@pytest.mark.parametrize("type_", ["\u200bPER", "P\u00adER", "P\ufeffER"], ids=ascii)
def test_an_invisible_character_within_a_type_is_shown(file, type_):
    for path in (
        file(f"Vera B-{type_}\nleft O\n", "x.conll"),
        file(json.dumps({"text": "Vera left", "label": [[0, 4, f"P{type_}"]]}) + "\n", "x.jsonl"),
    ):
        assert type_.encode("unicode_escape").decode() in refusal(path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('<?xml version="1.0"?>\n<xmi:XMI></xmi:XMI>', "this is XML or text with entities between tags"),
        ("<ENAMEX TYPE='PER'>Brinda</ENAMEX> left.", "this is XML or text with entities between tags"),
        ("Here <PER>Brinda Okafor</PER> left.\n", "export JSON lines or CoNLL columns instead"),
        ("Brinda/PER Okafor/PER moved to Tarvo/LOC ./O\n", "tags behind words, as in Brinda/PER"),
        ("Brinda/B-PER Okafor/I-PER moved/O\n", "write a word and its tag per line"),
        ("A text and/or a < b, TCP/UDP or 1/2.\n", "this is running text, without tags or entities"),
    ],
)
def test_text_with_annotation_that_is_not_read_says_so(file, text, said):
    assert said in refusal(file(text, "x.txt"))


@pytest.mark.parametrize("cell", ["None", "nan", "NULL", "NA", "outside"])
@pytest.mark.parametrize("outside", ["O", ""])
def test_a_word_for_nothing_is_no_entity_type(file, cell, outside):
    tags = ["PER", "PER", outside, outside, "LOC", cell]
    path = file("sentence,word,tag\n" + "".join(f"1,w{n},{tag}\n" for n, tag in enumerate(tags)), "x.csv")
    assert refusal(path).startswith(f"7: the tag {cell!r} names no entity type; write O outside of entities")


def test_a_type_that_may_mean_outside_is_said(file, caplog):
    path = file("Vera PER\nleft O\nat OTHER\nnine O\nfor O\nLima LOC\n\n" * 2)
    said = "OTHER is read as a type; if it means O, leave it out: data.files.rename_types OTHER="
    assert read_sentences(path)[0].tags[2] == "B-OTHER"
    assert said in caplog.text
    caplog.clear()
    rules = AnnotationRules(renames={"OTHER": ""})
    assert read_sentences(path, ReadOptions(rules=rules))[0].tags[2] == "O"
    assert said not in caplog.text
    read_sentences(file("Vera B-PER\nat B-OTHER\nnine O\n"))
    assert said not in caplog.text


@pytest.mark.parametrize(
    ("tags", "said"),
    [
        (["PER", "O", "\u041e"], "the tag '\u041e' begins with CYRILLIC CAPITAL LETTER O, U+041E; write O "),
        (
            ["B-PER", "O", "\u039f"],
            "the tag '\u039f' begins with GREEK CAPITAL LETTER OMICRON, U+039F; write O ",
        ),
        (
            ["\u0412-PER", "O", "O"],
            "the tag '\u0412-PER' begins with CYRILLIC CAPITAL LETTER VE, U+0412; write B-PER ",
        ),
    ],
)
def test_letters_that_look_like_those_of_tags_are_named(file, tags, said):
    rows = "".join(f"word{n} {tag}\n" for n, tag in enumerate(tags))
    assert said in refusal(file(rows * 3, "x.conll"))
    assert len(read_sentences(file("w1 \u4eba\nw2 O\nw3 O\n" * 3))) == 1  # a type of one letter


NAMES = "O,B-PER,I-PER,B-LOC,I-LOC"


def numbers(*, as_text=False):
    ids = {name: number for number, name in enumerate(NAMES.split(","))}
    values = [[str(ids[t]) if as_text else ids[t] for t in tags] for _, tags in BOTH]
    rows = [{"tokens": words, "ner_tags": tags} for (words, _), tags in zip(BOTH, values, strict=True)]
    return "".join(json.dumps(row) + "\n" for row in rows)


NAME_FILES = {
    "names.txt": NAMES.replace(",", "\n"),
    "names.labels": NAMES.replace(",", "\r\n") + "\r\n",
    "list.json": json.dumps(NAMES.split(",")),
    "ids.json": json.dumps({name: i for i, name in enumerate(NAMES.split(","))}),
    "names.json": json.dumps({str(i): name for i, name in enumerate(NAMES.split(","))}),
    None: NAMES,
}


@pytest.mark.parametrize("name", NAME_FILES)
@pytest.mark.parametrize("as_text", [True, False])
def test_numbers_are_tags_once_they_are_named(file, name, as_text):
    path = file(numbers(as_text=as_text), "x.jsonl")
    message = refusal(path)
    assert message.startswith("1: ")
    assert "--data.files.tag_names O,B-PER,I-PER" in message
    given = NAME_FILES[name] if name is None else str(file(NAME_FILES[name], name))
    found = both_ways(path, rules=rules(tag_names=read_tag_names(given)))
    assert [(list(s.words), list(s.tags)) for s in found] == BOTH


@pytest.mark.parametrize("between", ["\t", " "], ids=repr)
@pytest.mark.parametrize("layout", ["two", "counted"])
def test_numbers_in_columns_are_tags_once_they_are_named(file, between, layout):
    ids = {name: str(number) for number, name in enumerate(NAMES.split(","))}

    def number(i, w, t):
        return ids[t]

    cells = (word, number) if layout == "two" else (from_1, word, number)
    path = file(columns(*cells, between=between))
    assert "--data.files.tag_names" in refusal(path)
    found = both_ways(path, rules=rules(tag_names=tuple(NAMES.split(","))))
    assert [(list(s.words), list(s.tags)) for s in found] == BOTH


def test_a_number_without_a_name_is_refused_where_it_is(file):
    path = file('{"tokens": ["a"], "ner_tags": [0]}\n{"tokens": ["b"], "ner_tags": [7]}\n', "x.jsonl")
    message = refusal(path, rules=rules(tag_names=("O", "B-PER")))
    assert message.startswith("2: the tag 7 has no name")


@pytest.mark.parametrize("mark", [",", "|", ";", "/"])
@pytest.mark.parametrize("kind", ["columns", "counted", "csv", "jsonl"])
def test_of_several_tags_in_a_cell_the_first_is_read_if_asked_for(file, mark, kind):
    rows = [
        ("Brinda", "B-person"),
        ("owns", "O"),
        ("Tarvo", f"B-corporation{mark}B-location"),
        ("Foods", f"I-corporation{mark}I-location"),
    ]
    if kind == "columns":
        path, line = file("".join(f"{w}\t{t}\n" for w, t in rows) + "\nok\tO\n"), 3
    elif kind == "counted":
        path, line = file("".join(f"{i} {w} {t}\n" for i, (w, t) in enumerate(rows)) + "\n0 ok O\n"), 3
    elif kind == "csv":
        out = io.StringIO()
        csv.writer(out).writerows([("sentence", "word", "tag"), *((1, *row) for row in rows)])
        path, line = file(out.getvalue(), "x.csv"), 4
    else:
        words, tags = zip(*rows, strict=True)
        path, line = file(json.dumps({"tokens": words, "ner_tags": tags}), "x.jsonl"), 1
    message = refusal(path)
    assert message.startswith(f"{line}: ")
    assert "data.files.several_tags" in message
    found = both_ways(path, rules=rules(several_tags="first"))
    assert entities(found) == [("person", "Brinda"), ("corporation", "Tarvo Foods")]


@pytest.mark.parametrize("type_", ["phone/e-mail", "x|i-beam", "a,s-bahn", "b-c", "B-C", "creative work"])
def test_a_type_with_signs_and_hyphens_is_one_type(file, type_):
    path = file(f"Brinda\tB-{type_}\nwrote\tO\n")
    assert entities(both_ways(path)) == [(type_, "Brinda")]


@pytest.mark.parametrize("kind", ["columns", "csv", "jsonl", "doccano"])
def test_a_type_that_is_unknown_to_a_tagger_is_counted_and_named(file, kind):
    rows = [("The", "O"), ("Tollan", "B-PRODUCT"), ("lamp", "I-PRODUCT"), ("met", "O"), ("Vera", "B-PER")]
    words, tags = zip(*rows, strict=True)
    contents = {
        "columns": "".join(f"{w} {t}\n" for w, t in rows),
        "csv": "sentence,word,tag\n" + "".join(f"1,{w},{t}\n" for w, t in rows),
        "jsonl": json.dumps({"tokens": words, "ner_tags": tags}),
        "doccano": json.dumps(
            {"text": "The Tollan lamp met Vera", "label": [[4, 15, "PRODUCT"], [20, 24, "PER"]]}
        ),
    }
    found = both_ways(file(contents[kind], f"x.{ {'columns': 'conll', 'doccano': 'jsonl'}.get(kind, kind) }"))
    unknown = unknown_entities(found, ["PER", "LOC"])
    assert unknown == {"PRODUCT": 1}
    said = unknown_types("x", unknown, ["PER", "LOC"])
    assert "1 PRODUCT; they are scored as missed (it knows PER, LOC)" in said


# Rows without a word


@pytest.mark.parametrize("empty", ["", "\u200b", "\u00a0", "\ufeff"], ids=ascii)
@pytest.mark.parametrize("kind", ["columns", "counted", "csv", "jsonl"])
def test_a_row_without_a_word_is_refused_or_left_out_if_asked_for(file, caplog, empty, kind):
    rows = [("Hello", "O"), ("\U0001f44b", "O"), (empty, "O"), ("Brinda", "B-PER")]
    if kind == "columns":
        path, line = file("".join(f"{w}\t{t}\n" for w, t in rows) + "\nok\tO\n", "x.tsv"), 3
    elif kind == "counted":
        path, line = file("".join(f"{i}\t{w}\t{t}\n" for i, (w, t) in enumerate(rows))), 3
    elif kind == "csv":
        path = file("sentence,word,tag\n" + "".join(f"1,{w},{t}\n" for w, t in rows), "x.csv")
        line = 4
    else:
        words, tags = zip(*rows, strict=True)
        path, line = file(json.dumps({"tokens": words, "ner_tags": tags}), "x.jsonl"), 1
    message = refusal(path)
    assert message.startswith(f"{line}: ")
    assert "data.files.empty_words to skip" in message
    found = both_ways(path, rules=rules(empty_words="skip"))
    assert (text_of(found)[0], entities(found)) == ("Hello \U0001f44b Brinda", [("PER", "Brinda")])
    assert "empty words were left out" in caplog.text


# Documents


@pytest.mark.parametrize(
    ("text", "documents"),
    [
        ("-DOCSTART- O\n\na O\n\nb O\n\n-DOCSTART- O\n\nc O\n", [0, 0, 1]),
        ("-DOCSTART-\n\na O\n\nb O\n\n-DOCSTART-\n\nc O\n", [0, 0, 1]),
        ("-DOCSTART- -X- -X- O\n\na O\n\nb O\n-DOCSTART- (2)\nc O\n", [0, 0, 1]),
        ("# newdoc id = 1\na O\n\nb O\n\n# newdoc id = 2\nc O\n", [0, 0, 1]),
        ("# newdoc\n# sent_id = 1\na O\n\nb O\n\n# newdoc\nc O\n", [0, 0, 1]),
        ("#begin document (x)\na O\n\nb O\n#end document\n\n#begin document (y)\nc O\n", [0, 0, 1]),
        ("a O\n\nb O\n\nc O\n", [0, 0, 0]),
    ],
)
def test_documents_begin_where_the_file_says_so(file, text, documents):
    found = both_ways(file(text))
    assert text_of(found) == ["a", "b", "c"]
    assert [s.document for s in found] == documents


@pytest.mark.parametrize(
    ("header", "column"), [("", "0"), ("", "-3"), ("doc word tag\n", "doc"), ("letter form ner\n", "letter")]
)
def test_documents_in_a_column_are_named_by_number_or_header(file, header, column):
    text = header + "l1 a O\nl1 b B-PER\n\nl1 c O\n\nl2 d O\nl2 e O\n"
    found = both_ways(file(text), document_column=column)
    assert text_of(found) == ["a b", "c", "d e"]
    assert [s.document for s in found] == [0, 0, 1]


IN_RUNS = [
    [("s1", "Vera", "B-PER"), ("s1", "left", "O")],
    [("s2", "a", "O"), ("s2", "b", "O"), ("s2", "c", "O")],
]


@pytest.mark.parametrize("between", ["\t", " "], ids=repr)
@pytest.mark.parametrize("name", ["s{}", "{}", "doc1.txt-{}", "2024-0{}"])
@pytest.mark.parametrize("times", [1, 40])
def test_a_column_that_names_sentences_without_blank_lines_has_no_words(file, between, name, times):
    rows = [row for number in range(times) for block in IN_RUNS for row in with_name(block, name, number)]
    path = file("".join(between.join(row) + "\n" for row in rows))
    said = "seems to name sentences, which no blank line ends;\nset data.files.document_column to 0"
    assert said in refusal(path)
    assert "seems to name sentences" in refusal(path, tagged=False, words_column="1")
    found = both_ways(path, document_column="0")
    assert text_of(found) == ["Vera left", "a b c"] * times
    assert [s.document for s in found] == list(range(2 * times))


def with_name(block, name, number):
    """Rows whose sentence has a name of its own."""
    return [(name.format(f"{number}{sentence[1:]}"), word, tag) for sentence, word, tag in block]


def test_sentence_names_within_documents_have_no_words(file):
    path = file("1\tVera\tB-PER\n1\tleft\tO\n2\ta\tO\n2\tb\tO\n\n1\tc\tO\n1\td\tO\n2\te\tO\n2\tf\tO\n")
    assert "column 0 (1, 2, ...) seems to name sentences" in refusal(path)
    assert text_of(both_ways(path, document_column="0")) == ["Vera left", "a b", "c d", "e f"]


def test_pages_that_end_within_sentences_name_none(file):
    pages = ["p1", "p1", "", "p1", "p2", "", "p2", "p2", "", "p2", "p3", "", "p3", "p3"]
    rows = [f"{page}\tw{at}\tO\n" if page else "\n" for at, page in enumerate(pages)]
    assert len(read_sentences(file("".join(rows)), ReadOptions(words_column="1"))) == 5


@pytest.mark.parametrize("blocks", [1, 3])
def test_a_document_column_ends_sentences_within_a_block(file, blocks):
    text = "d1\tVera\tB-PER\nd1\tHolt\tI-PER\nd2\tleft\tO\n\td\tO\nd1\tagain\tO\n"
    found = both_ways(file("\n".join([text] * blocks)), document_column="0")
    assert text_of(found) == ["Vera Holt", "left d", "again"] * blocks
    assert [s.line for s in found[:3]] == [1, 3, 5]
    assert [s.document for s in found[:3]] == [0, 1, 0]
    odd = file("d1\ta\tO\nd2\tb\nd2\tc\tO\n")
    assert "2: 2 columns" in refusal(odd, document_column="0")


def test_a_file_without_blank_lines_may_be_long(file):
    path = file("".join(f"d{at // 3}\tw{at}\tO\n" for at in range(120_000)))
    assert len(read_sentences(path, ReadOptions(document_column="0"))) == 40_000


# CSV


SEPARATORS = [",", ";", "\t"]


@pytest.mark.parametrize("separator", SEPARATORS)
@pytest.mark.parametrize(
    "rows",
    [
        [
            ("document", "sentence", "word", "tag"),
            ("l1", "1"),
            ("l1", "1"),
            ("l2", "1"),
            ("l2", "1"),
            ("l3", "1"),
        ],
        [("doc_id", "sent_id", "token", "label"), ("l1", "0"), ("", ""), ("l2", "0"), ("", ""), ("l3", "0")],
        [
            ("Document", "Sentence #", "Word", "Tag"),
            ("1", "Sentence: 1"),
            ("1", ""),
            ("2", "Sentence: 1"),
            ("2", ""),
            ("3", "Sentence: 1"),
        ],
    ],
    ids=["every row", "first rows", "Kaggle"],
)
@pytest.mark.parametrize("name", ["x.csv", "x.tsv", "x.txt", "x"])
def test_sentence_numbers_may_begin_again_in_each_document(file, separator, rows, name):
    cells = [("Brinda", "B-PER"), ("left", "O"), ("Tarvo", "B-LOC"), ("waits", "O"), ("Ok", "O")]
    table = [rows[0], *(start + pair for start, pair in zip(rows[1:], cells, strict=True))]
    text = "".join(separator.join(row) + "\n" for row in table)
    found = both_ways(file(text, name))
    assert text_of(found) == ["Brinda left", "Tarvo waits", "Ok"]
    assert [s.document for s in found] == [0, 1, 2]
    assert entities(found) == [("PER", "Brinda"), ("LOC", "Tarvo")]


@pytest.mark.parametrize("separator", SEPARATORS)
@pytest.mark.parametrize("end", ["\n", "\r\n"], ids=repr)
@pytest.mark.parametrize("blank", ["", ",", " "])
def test_blank_rows_of_a_table_end_sentences(file, separator, end, blank):
    rows = ["word,tag", "Brinda,B-PER", "left,O", blank.replace(" ", ""), "Tarvo,B-LOC"]
    text = end.join(rows).replace(",", separator) + end
    assert text_of(both_ways(file(text, "x.csv"))) == ["Brinda left", "Tarvo"]


@pytest.mark.parametrize("separator", SEPARATORS)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_quoted_cells_hold_separators_quotes_and_line_breaks(file, separator, encoding):
    words = ["a,b", "c;d", 'say "so"', "x\ny", '"', "é"]
    out = io.StringIO()
    table = [("sentence", "word", "tag"), *((1, w, "O") for w in words)]
    csv.writer(out, delimiter=separator, lineterminator="\n").writerows(table)
    assert list(both_ways(file(out.getvalue().encode(encoding), "x.csv"))[0].words) == words


LIST_STYLES = {
    "pandas": lambda values: str(list(values)),
    "numpy": lambda values: "[" + " ".join(map(repr, values)) + "]",
    "numpy on two lines": lambda values: "[" + "\n ".join(map(repr, values)) + "]",
    "JSON": lambda values: json.dumps(list(values)),
}


@pytest.mark.parametrize("style", LIST_STYLES.values(), ids=LIST_STYLES.keys())
@pytest.mark.parametrize("separator", SEPARATORS)
@pytest.mark.parametrize("header", [("tokens", "ner_tags"), ("id", "words", "labels"), ("tags", "tokens")])
def test_lists_in_cells_are_sentences(file, style, separator, header):
    out = io.StringIO()
    table = csv.writer(out, delimiter=separator, lineterminator="\n")
    table.writerow(header)
    for number, (words, tags) in enumerate(BOTH):
        cells = {"id": number, "tokens": style(words), "words": style(words)}
        cells |= dict.fromkeys(("tags", "labels", "ner_tags"), style(tags))
        table.writerow([cells[name] for name in header])
    found = both_ways(file(out.getvalue(), "x.csv"))
    assert [(list(s.words), list(s.tags)) for s in found] == BOTH


@pytest.mark.parametrize("style", [repr, ascii, json.dumps], ids=["repr", "ascii", "JSON"])
@pytest.mark.parametrize(
    "word", ["10\u00a0000", "a\nb", "\U0001f600", "it's", 'say "so"', "a\\b", "\u200dé", "[", "'"]
)
def test_escaped_signs_in_lists_are_what_they_stand_for(file, style, word):
    out = io.StringIO()
    table = csv.writer(out, lineterminator="\n")
    table.writerows([("tokens", "ner_tags"), (style([word, "left"]), style(["B-PER", "O"]))])
    assert both_ways(file(out.getvalue(), "x.csv"))[0].words == (word, "left")


def test_an_unknown_escape_in_a_list_stays_as_it_is(file):
    path = file("tokens,ner_tags\n\"['C:\\dir', 'a\\/b']\",\"['O', 'O']\"\n", "x.csv")
    assert both_ways(path)[0].words == ("C:\\dir", "a/b")


@pytest.mark.parametrize(
    "cell", ["['Brinda, 'left']", "['Brinda''left']", "['Brinda' ... 'left']", "['\\ud83d', 'b']"]
)
@pytest.mark.parametrize("tagged", [True, False])
def test_a_cell_that_is_no_list_beside_others_that_are_is_refused(file, cell, tagged):
    out = io.StringIO()
    good = ("['Vera', 'left']", "['O', 'O']")
    csv.writer(out, lineterminator="\n").writerows([("tokens", "ner_tags"), good, (cell, "['O', 'O']"), good])
    assert refusal(file(out.getvalue(), "x.csv"), tagged=tagged).startswith("3: ")


def test_what_is_said_of_tags_names_one_that_is_read_otherwise(file, caplog):
    read_sentences(file("Vera B-PER\nof O\nNorsk b-org\nHydro i-org\n\n", "x.conll"))
    assert "tags such as b-org are read as B-org" in caplog.text


@pytest.mark.parametrize("other", ["e-mail", "E-Mail", "s-bahn"])
@pytest.mark.parametrize("rest", ["Brinda person\nTarvo place\n", "Brinda person\n", ""])
def test_a_type_with_a_hyphen_has_no_prefix(file, other, rest):
    if rest or other == "e-mail":
        found = read_sentences(file(f"x@y.z {other}\n{rest}moved O\nis O\nin O\n. O\n", "x.conll"))
        types = [line.split()[1] for line in rest.splitlines()]
        assert [type_ for type_, _ in entities(found)] == [other, *types]


@pytest.mark.parametrize("others", [["B-org"], ["e-mail", "s-mail"], ["s-place"]])
def test_a_prefix_beside_types_without_one_is_named(file, others):
    text = "".join(f"x {tag}\n" for tag in ["person", "place", "date", "city", *others, "O", "O", "O"])
    message = refusal(file(text, "x.conll"))
    assert message.startswith(f"1: the tag 'person' has no B- or I-, but {others[0]!r} has; write all tags")


@pytest.mark.parametrize("tag", ["B", "I"])
def test_tags_without_a_type_are_named(file, tag):
    assert f"the tag '{tag}' names no entity type; a tag is O, or" in refusal(
        file(f"fever {tag}\nis O\n", "x.conll")
    )


def test_tags_with_a_colon_are_no_types_of_their_own(file):
    path = file(columns(word, lambda i, w, t: t.replace("-", ":")))
    assert "malformed tag 'B:PER'" in refusal(path)


@pytest.mark.parametrize("indent", [None, 1])
def test_an_export_of_the_ner_annotator_may_be_one_line(file, indent):
    texts = [["Vera left Lima.", {"entities": [[0, 4, "PER"], [10, 14, "LOC"]]}], None]
    path = file(json.dumps({"classes": ["PER", "LOC"], "annotations": texts}, indent=indent), "x.json")
    (sentence,) = read_sentences(path)
    assert sentence.tags == ("B-PER", "O", "B-LOC", "O")


def test_a_document_begins_where_its_first_sentence_is_left_out(file):
    path = file("-DOCSTART- O\n\na O\n\n-DOCSTART- O\n\n\u200b O\n\nb O\n\nc O\n", "x.conll")
    found = read_sentences(path, ReadOptions(rules=rules(empty_words="skip")))
    assert [sentence.document for sentence in found] == [0, 1, 1]


@pytest.mark.parametrize("suffix", [".conll", ".csv", ".jsonl", ".tsv"])
def test_annotation_beside_makes_brat_of_a_text_alone(file, suffix):
    format = {".tsv": "conll"}.get(suffix, suffix[1:])
    path = file(CONTENTS[format], f"x{suffix}")
    file("T1\tPER 0 6\tBrinda\n", "x.ann")
    assert [(list(s.words), list(s.tags)) for s in both_ways(path)] == BOTH


@pytest.mark.parametrize(
    "header", [("Sentence #", "Sentence", "POS", "Tag"), ("Sentence", "POS", "Tag"), ("Sentence", "Tag")]
)
def test_a_sentence_beside_a_list_of_its_tags_is_split_at_spaces(file, header):
    out = io.StringIO()
    table = csv.writer(out, lineterminator="\n")
    table.writerow(header)
    for number, (words, tags) in enumerate(BOTH):
        cells = {
            "Sentence #": f"Sentence: {number}",
            "Sentence": " ".join(words),
            "POS": str(["X"] * len(words)),
            "Tag": str(tags),
        }
        table.writerow([cells[name] for name in header])
    path = file(out.getvalue(), "x.csv")
    tagged = read_sentences(path, ReadOptions(words_column="Sentence"))
    assert [(list(s.words), list(s.tags)) for s in tagged] == BOTH
    untagged = read_sentences(path, ReadOptions(words_column="Sentence", tagged=False))
    assert [list(s.words) for s in untagged] == [words for words, _ in BOTH]
    assert "words_column" in refusal(path)


@pytest.mark.parametrize("separator", SEPARATORS)
@pytest.mark.parametrize("header", ["sentence,word", "sent_id,token", "Sentence #,Word"])
def test_a_table_of_words_without_tags_is_read_untagged(file, separator, header):
    text = f"{header}\n1,Brinda\n1,left\n2,Tarvo\n".replace(",", separator)
    path = file(text, "x.csv")
    assert text_of(read_sentences(path, ReadOptions(tagged=False))) == ["Brinda left", "Tarvo"]
    message = refusal(path)
    assert message.startswith("1: ")
    assert "data.files.tags_column" in message


def test_options_name_the_columns_of_a_table_by_name_or_number(file):
    path = file("letter,line,form,pos,gold\na,1,Brinda,X,B-PER\na,1,left,X,O\nb,1,Tarvo,X,B-LOC\n", "x.csv")
    for words, tags, document in [("form", "gold", "letter"), ("2", "4", "0")]:
        found = both_ways(path, words_column=words, tags_column=tags, document_column=document)
        assert text_of(found) == ["Brinda left", "Tarvo"]
        assert [s.document for s in found] == [0, 1]


# Texts with entities


TEXT = "Brinda Okafor moved to Tarvo. Nobody wrote."
SHAPES = {
    "doccano": {"id": 1, "text": TEXT, "label": [[0, 13, "PER"], [23, 28, "LOC"]]},
    "doccano's labels": {"data": TEXT, "labels": [[0, 13, "PER"], [23, 28, "LOC"]]},
    "doccano's entities": {
        "text": TEXT,
        "entities": [
            {"id": 3, "start_offset": 0, "end_offset": 13, "label": "PER"},
            {"id": 4, "start_offset": 23, "end_offset": 28, "label": "LOC"},
        ],
        "relations": [],
    },
    "spans": {
        "text": TEXT,
        "spans": [{"start": 0, "end": 13, "label": "PER"}, {"start": 23, "end": 28, "label": "LOC"}],
    },
    "spaCy's pairs": [TEXT, {"entities": [[0, 13, "PER"], [23, 28, "LOC"]]}],
    "Label Studio": {
        "data": {"text": TEXT},
        "annotations": [
            {
                "result": [
                    {"type": "labels", "value": {"start": s, "end": e, "labels": [t]}}
                    for s, e, t in [(0, 13, "PER"), (23, 28, "LOC")]
                ]
            }
        ],
    },
}


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES.keys())
@pytest.mark.parametrize("name", ["x.jsonl", "x.json", "x.txt", "x"])
@pytest.mark.parametrize("several", ["lines", "list", "indented list"])
def test_texts_with_entities_are_cut_as_running_text_is(file, shape, name, several):
    if several == "lines":
        content = f"{json.dumps(shape)}\n{json.dumps(shape)}\n"
    else:
        content = json.dumps([shape, shape], indent=1 if several.startswith("indented") else None)
    found = both_ways(file(content, name))
    assert text_of(found) == ["Brinda Okafor moved to Tarvo .", "Nobody wrote ."] * 2
    assert entities(found) == ENTITIES * 2
    assert [s.document for s in found] == [0, 0, 1, 1]


@pytest.mark.parametrize("text", ["B", "é", "\U0001f600", "O"])
def test_a_text_of_one_character_is_read(file, text):
    rows = [{"text": text, "label": [[0, 1, "PER"]]}, {"text": text, "label": []}]
    path = file("".join(json.dumps(row) + "\n" for row in rows), "x.jsonl")
    assert [(s.words, s.tags) for s in both_ways(path)] == [((text,), ("B-PER",)), ((text,), ("O",))]


@pytest.mark.parametrize("type_", ["PER,B-LOC", "PER|O", "", " "])
@pytest.mark.parametrize("shape", ["doccano", "brat"])
def test_an_entity_of_no_type_or_of_two_is_refused_where_it_is(file, type_, shape):
    if shape == "doccano":
        path = file(
            '{"text": "a", "label": []}\n' + json.dumps({"text": "a", "label": [[0, 1, type_]]}), "x.jsonl"
        )
        assert refusal(path).startswith("2: ")
        return
    path = file("Brinda left.", "x.txt")
    annotation = file(f"T1\t{type_} 0 6\tBrinda\n", "x.ann")
    where = path if type_.strip() else annotation  # without a type, the line is malformed
    with pytest.raises(DataError) as error:
        read_sentences(path)
    assert str(error.value).startswith(f"{where}:1: ")


def tokens(*offsets):
    return [{"text": TEXT[a:b], "start": a, "end": b, "id": i} for i, (a, b) in enumerate(offsets)]


@pytest.mark.parametrize(
    "extra",
    [
        {"answer": "accept"},
        {"meta": {"source": "letter"}, "_input_hash": 7},
        {"spans": [{"start": 0, "end": 13, "token_start": 0, "token_end": 1, "label": "PER"}]},
    ],
)
def test_tokens_of_a_text_are_its_words(file, extra):
    given = tokens((0, 6), (7, 13), (14, 19), (20, 22), (23, 29), (30, 36), (37, 43))
    row = {"text": TEXT, "tokens": given, "spans": [{"start": 0, "end": 13, "label": "PER"}]} | extra
    found = both_ways(file(json.dumps(row) + "\n", "x.jsonl"))
    assert " ".join(text_of(found)) == TEXT
    assert entities(found) == [("PER", "Brinda Okafor")]


# Which format a file is in: its content first, its name second


def zipped(names=("train.conll",)):
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as archive:
        for name in names:
            archive.writestr(name, columns(word, tag))
    return held.getvalue()


def parquet():
    held = io.BytesIO()
    rows = [{"tokens": words, "ner_tags": tags} for words, tags in BOTH]
    pq.write_table(pa.Table.from_pylist(rows), held)
    return held.getvalue()


def conllu(*, misc=True):
    def row(i, w, t):
        return "\t".join([str(i + 1), w, *"_" * 7, f"NER={t}" if misc else "_"])

    return "# newdoc id = letter\n" + columns(row)


def conll2012():
    open_ = {"B-PER": "(PER*", "I-PER": "*)", "B-LOC": "(LOC)", "O": "*"}

    def row(i, w, t):
        return " ".join(
            ["nw/letter", "0", str(i), w, "X", "*", "-", "-", "-", "Speaker#1", open_[t], "*", "-"]
        )

    return "#begin document (nw/letter); part 000\n" + columns(row, between=" ") + "#end document\n"


WEBANNO = (
    "#FORMAT=WebAnno TSV 3.3\n"
    "#T_SP=de.tudarmstadt.ukp.dkpro.core.api.ner.type.NamedEntity|identifier|value\n\n\n"
    "#Text=Brinda Okafor moved to Tarvo .\n"
    "1-1\t0-6\tBrinda\t*[1]\tPER[1]\t\n1-2\t7-13\tOkafor\t*[1]\tPER[1]\t\n1-3\t14-19\tmoved\t_\t_\t\n"
    "1-4\t20-22\tto\t_\t_\t\n1-5\t23-28\tTarvo\t*\tLOC\t\n1-6\t29-30\t.\t_\t_\t\n\n"
    "#Text=Nobody wrote .\n2-1\t31-37\tNobody\t_\t_\t\n2-2\t38-43\twrote\t_\t_\t\n2-3\t44-45\t.\t_\t_\t\n"
)
LINES = "".join(json.dumps({"tokens": words, "ner_tags": tags}) + "\n" for words, tags in BOTH)
TABLE = "sentence,word,tag\n" + "".join(
    f"{n},{w},{t}\n" for n, s in enumerate(BOTH) for w, t in zip(*s, strict=True)
)
CONTENTS = {
    "conll": columns(word, tag),
    "jsonl": LINES,
    "csv": TABLE,
    "parquet": parquet(),
    "conllu": conllu(),
    "conll2012": conll2012(),
    "webanno": WEBANNO,
}
SUFFIXES = ["", ".txt", ".conll", ".tsv", ".bio", ".dat", ".jsonl", ".csv", ".parquet"]
# What has no mark of its own must not be called as what has.
REFUSED = {".jsonl": ("conll", "csv"), ".parquet": {*CONTENTS} - {"parquet"}}


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("format", CONTENTS)
def test_content_says_what_a_file_is(file, format, suffix):
    path = file(CONTENTS[format], f"x{suffix}")
    if format in REFUSED.get(suffix, ()):
        assert refusal(path).startswith("1: not ")
        return
    assert Inputs(str(path)).format_of(path) == format
    found = both_ways(path)
    assert [(list(s.words), list(s.tags)) for s in found] == BOTH


@pytest.mark.parametrize("suffix", ["", ".txt", ".conll", ".jsonl", ".csv"])
def test_a_zip_archive_is_refused_whatever_its_name(file, suffix):
    assert "this is a zip archive" in refusal(file(zipped(), f"x{suffix}"))
    assert "this is a zip archive" in refusal(file(zipped(), f"x{suffix}"), tagged=False)


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["admin.jsonl"], "a zip archive with admin.jsonl; unpack it, and name a file of it"),
        (
            ["x/", "x/a", "x/b", "__MACOSX/x", "x/c", "d\n"],
            "a zip archive with x/a, x/b, x/c, ...; unpack it",
        ),
        (["[Content_Types].xml", "xl/workbook.xml"], "an Office file; save a table as CSV"),
        (["mimetype", "content.xml"], "an Office file; save a table as CSV"),
        ([], "binary data"),
    ],
)
def test_a_zip_archive_is_what_it_holds(file, names, said):
    assert f"1: this is {said}" in refusal(file(zipped(names), "x.zip"))


def test_a_zip_archive_may_come_through_a_pipe():
    made = subprocess.run(
        [sys.executable, "-c", READ, "untagged"],
        input=zipped(["admin.jsonl"]),
        capture_output=True,
        check=False,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert "this is a zip archive with admin.jsonl" in made.stderr.decode()


def test_a_read_me_is_no_text_of_a_folder(file, tmp_path, caplog):
    caplog.set_level("INFO", "ner_lightning")
    file(CONTENTS["conll"], "data/a.txt")
    for name in ("README.txt", "license.txt", "LICENCE", "CHANGELOG.md", "b/Notice.txt"):
        file("Running text.\n", f"data/{name}")
    assert [(list(s.words), list(s.tags)) for s in both_ways(tmp_path / "data")] == BOTH
    assert "5 files of other kinds are not read: CHANGELOG.md, LICENCE, README.txt, ..." in caplog.text
    for options in ({}, {"format": "conll"}):
        caplog.clear()
        read_sentences(tmp_path / "data", ReadOptions(**options))
        assert "5 files of other kinds are not read" in caplog.text


def test_texts_of_a_brat_folder_without_annotation_are_left_out_and_counted(file, tmp_path, caplog):
    caplog.set_level("INFO", "ner_lightning")
    file("Brinda left.", "data/a.txt")
    file("T1\tPER 0 6\tBrinda\n", "data/a.ann")
    file("Not annotated.", "data/b.txt")
    file("T1\tPER 0 6\tBrinda\n", "data/lone.ann")
    file("About.", "data/README.txt")
    file(CONTENTS["conll"], "data/more/c.txt")
    for options in ({}, {"format": "brat"}):
        caplog.clear()
        if options:
            (tmp_path / "data/more/c.txt").unlink()
        found = read_sentences(tmp_path / "data", ReadOptions(**options))
        assert text_of(found)[0] == "Brinda left ."
        assert len(found) == (1 if options else 3)
        assert "data: 1 texts without an .ann file beside them are not read: b.txt." in caplog.text
        assert "data: 1 annotations whose text is missing are not read: lone.ann." in caplog.text
        assert "data: 1 files of other kinds are not read: README.txt." in caplog.text
    untagged = read_sentences(tmp_path / "data", ReadOptions(tagged=False))
    assert text_of(untagged) == ["Brinda left .", "Not annotated ."]


def test_an_error_in_a_folder_names_the_folder(file, tmp_path):
    path = file("Brinda left.", "data/x.txt")
    with pytest.raises(DataError, match=re.escape(f"{path}:1: this is running text")):
        read_sentences(tmp_path / "data")


@pytest.mark.parametrize("options", [{}, {"format": "brat"}, {"tagged": False}])
def test_an_annotation_file_has_no_text(file, options):
    text = file("Brinda left.", "a.txt")
    path = file("T1\tPER 0 6\tBrinda\n", "a.ann")
    assert f"1: this is the annotation of a text, as brat writes it; name its text, {text}, or" in refusal(
        path, **options
    )
    text.unlink()
    assert f"its text, {text}, is missing" in refusal(path, **options)


@pytest.mark.parametrize("name", ["x.conllu", "x.conll", "x.tsv"])
def test_conllu_without_entities_says_so_and_has_words(file, name):
    path = file(conllu(misc=False), name)
    assert refusal(path).startswith(("1: ", "2: "))
    found = read_sentences(path, ReadOptions(tagged=False))
    assert [list(s.words) for s in found] == [words for words, _ in BOTH]


@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("end", ["\n", "\r\n"], ids=repr)
@pytest.mark.parametrize("folder", ["", "deeper"])
def test_a_text_with_brat_annotation_beside_it(file, tmp_path, bom, end, folder):
    text = f"Brinda Okafor moved to Tarvo.{end}Nobody wrote."
    name = f"{folder}/letter" if folder else "letter"
    path = file(bom + text.encode(), f"{name}.txt")
    file("T1\tPER 0 13\tBrinda Okafor\nT2\tLOC 23 28\tTarvo\n", f"{name}.ann")
    assert Inputs(str(path)).format_of(path) == "brat"
    assert entities(both_ways(path)) == ENTITIES
    assert entities(both_ways(tmp_path)) == ENTITIES


@pytest.mark.parametrize("option", ["words_column", "tags_column", "document_column"])
def test_an_option_that_does_not_apply_is_refused(file, option):
    path = file("Brinda left.", "letter.txt")
    file("T1\tPER 0 6\tBrinda\n", "letter.ann")
    message = refusal(path, **{option: "1"})
    assert message.startswith("1: this is brat")
    assert f"data.files.{option} has no effect" in message
    for format in ("conllu", "webanno"):
        path = file(CONTENTS[format], f"x.{format}")
        if option != "tags_column":
            assert f"data.files.{option} has no effect" in refusal(path, **{option: "1"})
    if option == "document_column":
        assert "data.files.document_column has no effect" in refusal(file(conll2012()), document_column="0")


@pytest.mark.parametrize("splits", [False, True])
def test_a_saved_data_set_is_one_source(tmp_path, splits):
    labels = datasets.ClassLabel(names=NAMES.split(","))
    text = datasets.Value("string")
    features = datasets.Features({"tokens": datasets.List(text), "ner_tags": datasets.List(labels)})
    data = {"tokens": [w for w, _ in BOTH], "ner_tags": [t for _, t in BOTH]}
    saved = datasets.Dataset.from_dict(data, features=features)
    (datasets.DatasetDict(train=saved) if splits else saved).save_to_disk(tmp_path / "s")
    found = both_ways(tmp_path / "s" / "train" if splits else tmp_path / "s")
    assert [(list(s.words), list(s.tags)) for s in found] == BOTH


def test_a_folder_of_files_in_different_formats_is_read_file_by_file(file, tmp_path):
    for number, format in enumerate(("conll", "jsonl", "csv", "parquet", "webanno")):
        file(CONTENTS[format], f"data/{number}/x.{'tsv' if format == 'webanno' else format}")
    file("no data", "data/.hidden/x.conll")
    file("no data", "data/notes.md")
    found = both_ways(tmp_path / "data")
    assert [(list(s.words), list(s.tags)) for s in found] == BOTH * 5
    assert [s.document for s in found] == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]


READ = """
import sys
from ner_lightning.data.readers.read_options import ReadOptions
from ner_lightning.data.readers.sentences import read_sentences
for each in read_sentences("-", ReadOptions(tagged=sys.argv[1] == "tagged")):
    print(" ".join(each.words), " ".join(each.tags or ()), sep="|")
"""


@pytest.mark.parametrize("format", ["conll", "jsonl", "csv", "webanno", "conll2012"])
@pytest.mark.parametrize("tagged", ["tagged", "untagged"])
def test_standard_input_may_be_a_pipe(format, tagged):
    made = subprocess.run(
        [sys.executable, "-c", READ, tagged],
        input=CONTENTS[format],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert made.returncode == 0, made.stderr
    wanted = [f"{' '.join(w)}|{' '.join(t) if tagged == 'tagged' else ''}" for w, t in BOTH]
    assert made.stdout.splitlines() == wanted


def test_a_slow_pipe_is_read_to_its_end():
    reader, writer = os.pipe()

    def write():
        with open(writer, "wb", buffering=0) as out:  # noqa: PTH123
            for line in columns(word, tag).encode().splitlines(keepends=True):
                out.write(line)

    sender = threading.Thread(target=write)
    sender.start()
    try:
        with open(reader, "rb") as source:  # noqa: PTH123
            made = subprocess.run(
                [sys.executable, "-c", READ, "tagged"],
                stdin=source,
                capture_output=True,
                text=True,
                check=False,
                env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
            )
    finally:
        sender.join()
    assert made.stdout.splitlines() == [f"{' '.join(w)}|{' '.join(t)}" for w, t in BOTH], made.stderr


# Running text stays running text


RUNNING = {
    "short lines": "Brinda left\nTarvo waits\nOkafor stayed\n",
    "one word a line": "Brinda\nTarvo\nOkafor\n",
    "lines that end in O": "We gave him vitamin O\nBlood group O\nThe answer was O\n",
    "some lines that end in O": "Her blood group is O\nHis is A\nTarvo has a clinic\nBrinda runs it\n",
    "vitamins": "Take vitamin B-12\nTake vitamin B-6\nTake vitamin B-1\n",
    "e-mails": "Send me an e-mail\nWrite us an e-mail\nHere is my e-mail\n",
    "trains": "Take an S-Bahn\nTake an S-Bahn\nTake an U-Bahn\n",
    "a bomber": "He flew a B-52\nShe flew a B-17\nThey met in Tarvo\n",
    "a table of numbers": "1 2 3\n4 5 6\n7 8 9\n10 11 12\n13 14 15\n",
    "a table with dashes": "Tarvo 12 -\nHalden 7 -\nLima - 3\nOslo 5 -\nBergen 4 -\n",
    "a table between tabs": "Tarvo\t12\t7\nHalden\t5\t3\nLima\t8\t9\nOslo\t1\t0\nBergen\t4\t4\n",
    "a poem": "Brinda sings\nTarvo sleeps\n\nNobody wakes\nEverything waits\n\nSnow falls\n",
    "rhymes": "the sea\nto me\nthe tree\nfor me\nas free\nas me\n",
    "a list": "- Brinda\n- Tarvo\n- Okafor\n- Halden\n- Lima\n",
    "numbered lines": "1 Brinda\n2 Tarvo\n3 Okafor\n4 Halden\n5 Lima\n6 Oslo\n",
    "headings": "# Letters\n\nBrinda left.\n\n## Answers\n\nNobody wrote.\n",
    "JSON-looking": "{name} left Tarvo\n[1] Brinda wrote so\n{}\n[]\n",
    "footnotes": "[1] Okafor, Letters\n[2] Holt, Answers\n",
    "a sentence that names a table": "The words sentence, word and tag are columns.\nBrinda said so.\n",
    "lines with tabs": "\tBrinda left.\n\tTarvo waits.\n",
    "a memo": "From:\tBrinda\nTo:\tTarvo\nDate:\ttoday\nRe:\tletters\nCopy:\tHolt\n",
    "initials": "Brinda O\nTarvo K\nVera H\nAnna M\nIlse B\nJohn D\n",
    "questions": "Who? Brinda\nWhere? Tarvo\nWhen? Never\nWhy? O\n",
    "a dialogue": "B: Where to?\nO: To Tarvo.\nB: And then?\nO: Home.\n",
    "a mark of documents": "The row is -DOCSTART- and nothing else.\nBrinda read it.\n",
}


@pytest.mark.parametrize("text", RUNNING.values(), ids=RUNNING.keys())
@pytest.mark.parametrize("name", ["x.txt", "x"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"], ids=repr)
def test_running_text_stays_running_text(file, text, name, encoding, end):
    path = file(text.replace("\n", end).encode(encoding), name)
    records = list(Inputs(str(path), ReadOptions(tagged=False)).read())
    assert [record.content for record in records] == [line for line in text.split("\n") if line.strip()]


# A last word that looks like a tag makes columns of a file that is said to be annotated.
PLAIN = [text for text in RUNNING.values() if not re.search(r"\bO$|[BSeU]-\w+$", text, re.MULTILINE)]


@pytest.mark.parametrize("text", PLAIN)
def test_running_text_is_nothing_to_train_on(file, text):
    assert refusal(file(text, "x.txt"))


@pytest.mark.parametrize("lines", [2, 5, 3000])
def test_columns_in_a_text_file_are_columns_for_prediction_too(file, lines):
    path = file("Vera B-PER\nHolt I-PER\nleft O\n\nNobody O\nanswered O\n\n" * lines, "test.txt")
    assert text_of(both_ways(path)) == ["Vera Holt left", "Nobody answered"] * lines
    assert path.stat().st_size > SAMPLE or lines < 3000
