"""Random bytes and mutated files: a clear error or correct data, never a crash, a hang or a lost sentence."""

import ast
import csv
import io
import json
import os
import random
import re
import warnings
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tiny
from hypothesis import given, settings
from hypothesis import strategies as st

from ner_lightning.data.corpus_settings import Encoding
from ner_lightning.data.invisible import is_invisible
from ner_lightning.data.readers.column_cells import DOCSTART
from ner_lightning.data.readers.files import Inputs
from ner_lightning.data.readers.read_options import AnnotationRules, ReadOptions
from ner_lightning.data.readers.sentences import read_sentences
from ner_lightning.data.running_text import from_text
from ner_lightning.data.schemes import Scheme, convert, detect, spans, to_bio2
from ner_lightning.data.tokenization.encoding import Encoder
from ner_lightning.data.tokenization.windows import windows
from ner_lightning.errors import UserError

# Whole words, so that what is written is what is read.
EXPANDED = AnnotationRules(misaligned="expand", overlapping="longest", several_tags="first")
SEEDS = sorted((Path(__file__).parent / "seeds").iterdir())
PIECES = [
    *(
        b"\n",
        b"\n\n",
        b"\r\n",
        b"\r",
        b" ",
        b"\t",
        b"#",
        b"# ",
        b"-DOCSTART-",
        b"#end document",
        b"# newdoc\n",
    ),
    *(b" O", b" B-PER", b" I-", b" PER", b"\tB-PER", b"_", b"-", b"1", b"0\t", b"B_PER", b",B-A|B-B"),
    *(b"\x00", b"\xff", b"\xff\xfe", b"\xed\xa0\xbd", b"\xc3", b"\x1b[31m"),
    *(sign.encode() for sign in ("\u2028", "\u00a0", "\ufeff", "\u200b", "\U0001f600", "e\u0301")),
    *(
        b'{"tokens": ["a"], "ner_tags": ["O"]}\n',
        b'"',
        b"'",
        b"{",
        b"}",
        b"[",
        b"]",
        b"[" * 3000,
        b"9" * 5000,
    ),
    *(
        b"\\ud83d",
        b"\\",
        b"null",
        b"NaN",
        b"1e999",
        b'"tokens"',
        b'"document": ',
        b",",
        b";",
        b":",
        b"=",
        b"|",
        b"*",
        b"(",
    ),
]


def mutated(draw: random.Random, data: bytes, others: list[bytes]) -> bytes:
    """A file with a few things changed."""
    for _ in range(draw.randint(1, 2)):
        at, end = sorted(draw.randint(0, len(data)) for _ in "ab")
        end = min(end, at + draw.choice([1, 1, 4, 40]))
        match draw.randrange(5):
            case 0:
                data = data[:at] + draw.choice(PIECES) + data[at:]
            case 1:
                data = data[:at] + data[end:]
            case 2:
                data = data[:at] + draw.randbytes(end - at) + data[end:]
            case 3:
                data = data[:at] + data[at:end] * draw.randint(2, 4) + data[end:]
            case 4:
                data = data[: draw.randint(0, len(data))] + draw.choice(others)
    return data


def lines_of(data: bytes) -> list[str]:
    """The lines of a text file, worked out anew."""
    utf16 = data.startswith((b"\xff\xfe", b"\xfe\xff"))
    text = data.decode("utf-16" if utf16 else "utf-8", "replace")
    if "\n" not in text:
        text = text.replace("\r", "\n")
    return [line.removeprefix("\ufeff").removesuffix("\r") for line in text.split("\n")]


def columns_are_whole(data: bytes, sentences) -> None:
    """Every row of a file is a word of a sentence, a document's start, a header, or a comment.

    The words are in one column throughout. A row that begins with # may be a word or a comment, so all
    readings are followed at once.
    """
    lines = [*lines_of(data), ""]
    words = [sentence.words for sentence in sentences]
    width = max(len(line.split("\t")) + line.count(" ") for line in lines)
    lost = ["nothing is read"]
    for tabs in (False, True):
        for column in range(width):
            lost.append(lost_row(lines, words, column, tabs=tabs))
            if not lost[-1]:
                return
    raise AssertionError(f"{words[:5]} of {data[:300]!a}: {lost[1]}")


def lost_row(lines, words, column: int, *, tabs: bool) -> str:
    """The row that is lost if a column has the words; empty if none is."""
    places = {(0, 0)}  # sentence, word
    is_first = True
    for line in lines:
        row = [cell.strip(" ") for cell in line.split("\t")] if tabs else re.findall(r"[^ \t]+", line)
        if not any(row) or line.isspace() or row[0] == DOCSTART or line.startswith("#end document"):
            ended = {(i + 1, 0) for i, k in places if k and k == len(words[i])}
            places = ended | {(i, k) for i, k in places if k == 0}
            continue
        word = row[column] if column < len(row) else None
        passed = {(i, k) for i, k in places if k == 0 and row[0].startswith("#")}
        if is_first and not row[0].startswith("#"):
            is_first = False
            passed |= places & {(0, 0)} if {*map(str.lower, row)} & {"word", "token", "form"} else set()
        fits = {(i, k + 1) for i, k in places if i < len(words) and words[i][k : k + 1] == (word,)}
        places = passed | fits
        if not places:
            return f"the row {line!a} is lost"
    return "" if (len(words), 0) in places else "there are other sentences than in the file"


def objects_are_whole(data: bytes, sentences) -> None:
    """Every row is a sentence with its words, or sentences with all the words of its text."""
    text = "\n".join(lines_of(data))
    try:
        rows = json.loads(text)
    except (ValueError, RecursionError):
        rows = None
    if isinstance(rows, dict):
        rows = [rows]
    if not isinstance(rows, list) or not all(isinstance(row, dict | list) for row in rows):
        rows = [json.loads(line) for line in text.split("\n") if line.strip()]
    written = [word for row in rows for word in words_of(row)]
    assert [word for sentence in sentences for word in sentence.words] == written


def words_of(row) -> list[str]:
    """The words of a row, each reading worked out anew."""
    if isinstance(row, list):
        row = row[1] | {"text": row[0]}
    if "paragraphs" in row:
        sentences = [s for paragraph in row["paragraphs"] for s in paragraph["sentences"]]
        return [token["orth"] for sentence in sentences for token in sentence["tokens"]]
    if row.get("answer") in ("reject", "ignore"):
        return []
    if isinstance(row.get("tokenized_text"), list) and not isinstance(row.get("data"), dict):
        return row["tokenized_text"]
    words = row.get("tokens", row.get("words"))
    if isinstance(words, list) and not (words and isinstance(words[0], dict)):
        return [] if words == [DOCSTART] else words
    if isinstance(row.get("data"), dict):
        marked = row.get("annotations")
        if marked and all(isinstance(each, dict) and each.get("was_cancelled") for each in marked):
            return []
        texts = [value for value in row["data"].values() if isinstance(value, str)]
        text = row["data"].get("text", texts[0])
    else:
        text = next(row[name] for name in ("text", "data", "content") if isinstance(row.get(name), str))
    if row.get("tokens"):
        pairs = [(word["start"], word["end"]) for word in row["tokens"]]
        return [text[start:end] for start, end in pairs if not is_invisible(text[start:end])]
    return [word for sentence in from_text(text).words for word in sentence]


def tables_are_whole(data: bytes, sentences) -> None:
    """The words are those of one column of the table, in the order of its rows."""
    utf16 = data.startswith((b"\xff\xfe", b"\xfe\xff"))
    text = data.decode("utf-16" if utf16 else "utf-8-sig", "replace")
    read = [word for sentence in sentences for word in sentence.words]
    first = io.StringIO(text, newline="").readline()
    if not first.endswith("\r"):  # then a carriage return is part of its cell
        text = re.sub(r"\r(?!\n)", "\udc0d", text)
    for delimiter in ",;\t|":
        found = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
        header, *rows = ([cell.replace("\udc0d", "\r") for cell in row] for row in found)
        rows = [row for row in rows if any(row)]
        for column, name in enumerate(header):
            if name.strip().lower() in ("word", "token", "form", "tokens", "words", "text"):
                cells = [row[column] for row in rows if column < len(row)]
                lists = [word for cell in cells for word in listed(cell)]
                texts = [] if lists else [w for c in cells for s in from_text(c).words for w in s]
                spaced = [word for cell in cells for word in cell.split()]
                if read in (cells, lists, texts, spaced):
                    return
    raise AssertionError(f"{read[:9]} of {data[:300]!a}")


def listed(cell: str) -> list[str]:
    """The strings of a list; none if it is no list."""
    found = re.fullmatch(r"\s*\[((?:\s|,|'(?:[^'\\]|\\.)*'(?=[\s,\]]))*)\]\s*", cell, re.DOTALL)
    strings = re.findall(r"'((?:[^'\\]|\\.)*)'", found[1] if found else "", re.DOTALL)
    return [unescaped(word) if "\\" in word else word for word in strings]


def unescaped(word: str) -> str:
    with warnings.catch_warnings(), suppress(SyntaxError):
        warnings.simplefilter("ignore")  # an unknown escape, which is left as it is
        return ast.literal_eval(f"'''{word}'''")
    return word


def rows_are_whole(data: bytes, sentences, pattern: str) -> None:
    """Each row has a word, which a pattern finds."""
    written = [match[1] for line in lines_of(data) if (match := re.match(pattern, line))]
    assert [word for sentence in sentences for word in sentence.words] == written


def webanno_is_whole(data: bytes, sentences) -> None:
    rows_are_whole(data, sentences, r"\d+-\d+\t\d+-\d+\t([^\t]*)")


def conll2012_is_whole(data: bytes, sentences) -> None:
    rows_are_whole(data, sentences, r"(?!#begin document|#end document)(?:[ \t]*[^ \t]+[ \t]+){3}([^ \t]+)")


def conllu_is_whole(data: bytes, sentences) -> None:
    if any(re.match(r"\d+-\d+\t", line) for line in lines_of(data)):  # their words may be in either row
        read = {word for sentence in sentences for word in sentence.words}
        assert read <= {cell for line in lines_of(data) for cell in line.split("\t")}
    else:
        rows_are_whole(data, sentences, r"\d+\t([^\t]*)")


def texts_are_whole(data: bytes, sentences) -> None:
    utf16 = data.startswith((b"\xff\xfe", b"\xfe\xff"))
    text = data.decode("utf-16" if utf16 else "utf-8-sig")
    assert [w for s in sentences for w in s.words] == [w for s in from_text(text).words for w in s]


def parquet_is_whole(data: bytes, sentences) -> None:
    rows = pq.read_table(io.BytesIO(data)).to_pylist()
    assert [word for s in sentences for word in s.words] == [word for row in rows for word in words_of(row)]


def docs_are_whole(data: bytes, sentences) -> None:
    from spacy.tokens import DocBin
    from spacy.vocab import Vocab

    docs = DocBin().from_bytes(data).get_docs(Vocab())
    written = [token.text for doc in docs for token in doc if not is_invisible(token.text)]
    assert [word for s in sentences for word in s.words] == written


WHOLE = {
    "conll": columns_are_whole,
    "jsonl": objects_are_whole,
    "csv": tables_are_whole,
    "webanno": webanno_is_whole,
    "conll2012": conll2012_is_whole,
    "conllu": conllu_is_whole,
    "brat": texts_are_whole,
    "parquet": parquet_is_whole,
    "spacy": docs_are_whole,
}


def sentences_of(path: Path, options: ReadOptions):
    """What is read, or None if it is refused; the refusal must say where."""
    try:
        return read_sentences(path, options)
    except UserError as error:
        message = str(error)
        where = rf"{re.escape(str(path.with_suffix('')))}\.\w+:\d+:"
        if not re.match(where, message) or message.count("\n") > 2:
            raise AssertionError(message) from error
        return None


def check(path: Path, data: bytes, *, tagged: bool = True) -> bool:
    """Whether a file was read; what is read must be whole, and what is refused must say where."""
    path.write_bytes(data)
    options = ReadOptions(tagged=tagged, rules=EXPANDED)
    sentences = sentences_of(path, options)
    if sentences is None:
        return False
    format = Inputs(str(path), options).format_of(path)
    WHOLE[format](data, sentences)
    for sentence in sentences:
        assert sentence.words
        assert not any(map(is_invisible, sentence.words))
        if sentence.tags is not None:
            assert len(sentence.tags) == len(sentence.words)
            assert list(sentence.tags) == to_bio2(spans(sentence.tags), len(sentence.words))
    return True


def binary_seeds() -> dict[str, bytes]:
    """Parquet and spaCy's DocBin."""
    from spacy.tokens import Doc, DocBin, Span
    from spacy.vocab import Vocab

    rows = [
        {"tokens": ["Brinda", "Okafor", "left"], "ner_tags": ["B-PER", "I-PER", "O"], "document": 0},
        {"tokens": ["Tarvo"], "ner_tags": ["B-LOC"], "document": 1},
    ]
    table = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), table, compression="none")
    doc = Doc(Vocab(), words=["Brinda", "left", "Tarvo"], spaces=[True, True, False])
    doc.set_ents([Span(doc, 0, 1, label="PER")])
    return {".parquet": table.getvalue(), ".spacy": DocBin(docs=[doc]).to_bytes()}


def fuzz(path: Path, cases: range) -> int:
    """How many of the cases could be read."""
    texts = [(seed.suffix, seed.read_bytes()) for seed in SEEDS if seed.suffix != ".ann"]
    annotation = next(seed for seed in SEEDS if seed.suffix == ".ann").read_bytes()
    binary = list(binary_seeds().items())
    others = [data for _, data in texts]
    read = 0
    for case in cases:
        draw = random.Random(case)
        suffix, data = draw.choice(binary if case % 20 == 1 else texts)
        beside = path.with_suffix(".ann")
        beside.unlink(missing_ok=True)
        if suffix == ".txt":
            beside.write_bytes(mutated(draw, annotation, others) if draw.randrange(2) else annotation)
        is_random = case % 10 == 0
        if is_random or suffix != ".txt" or draw.randrange(2):
            data = draw.randbytes(draw.randint(0, 60)) if is_random else mutated(draw, data, others)
        try:
            read += check(path.with_suffix(suffix), data, tagged=bool(draw.randrange(4)))
        except Exception as error:
            error.add_note(f"case {case}: {suffix} {data[:2000]!a}")
            raise
    return read


def test_seeds_are_read(tmp_path):
    texts = [seed for seed in SEEDS if seed.suffix != ".ann"]
    assert {seed.suffix for seed in texts} == {
        ".conll",
        ".jsonl",
        ".json",
        ".csv",
        ".tsv",
        ".conllu",
        ".gold_conll",
        ".txt",
    }
    for seed in texts:
        if seed.suffix == ".txt":
            (tmp_path / "x.ann").write_bytes(seed.with_suffix(".ann").read_bytes())
        assert check(tmp_path / f"x{seed.suffix}", seed.read_bytes(), tagged=seed.stem != "untagged"), seed
    for suffix, data in binary_seeds().items():
        assert check(tmp_path / f"x{suffix}", data)


@pytest.fixture
def path(tmp_path):
    """A file that is written a great many times, so in memory where that can be."""
    shared = Path("/dev/shm")
    folder = shared if os.access(shared, os.W_OK) else tmp_path
    stem = f"ner-lightning-fuzz-{os.getpid()}"
    yield folder / stem
    for file in folder.glob(f"{stem}.*"):
        file.unlink()


def test_a_few_mutated_files(path):
    assert 400 < fuzz(path, range(3000)) < 2500  # both ends are tried


@pytest.mark.slow
def test_ten_thousand_mutated_files(path):
    assert 1500 < fuzz(path, range(3000, 13_000)) < 8500


@pytest.mark.faults
@pytest.mark.timeout(1800)
def test_a_hundred_thousand_mutated_files(path):
    assert 15_000 < fuzz(path, range(3000, 103_000)) < 85_000


# Windows and stitching


@given(st.lists(st.integers(1, 9), min_size=1, max_size=60), st.integers(9, 30), st.data())
@settings(deadline=None)
def test_windows_cover_every_word_and_make_progress(lengths, capacity, data):
    overlap = data.draw(st.integers(0, capacity // 2))
    starts = np.cumsum([0, *lengths])
    cuts = windows(starts, capacity, overlap)
    assert cuts[0][0] == 0
    assert cuts[-1][1] == len(lengths)
    for low, high in cuts:
        assert low < high
        assert starts[high] - starts[low] <= capacity
    for (_, before), (low, high) in pairwise(cuts):
        assert low <= before < high


ENCODERS = {
    (length, overlap): Encoder(tiny.llama3_tokenizer(), Encoding(max_length=length, overlap=overlap))
    for length, overlap in ((9, 0), (9, 4), (14, 4), (40, 10))
}
WORD = st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), min_size=1, max_size=12)


@given(st.lists(WORD, min_size=1, max_size=40), st.sampled_from(sorted(ENCODERS)))
@settings(deadline=None, max_examples=300)
def test_every_word_of_any_sentence_has_its_place_in_one_window(sentence, size):
    encoder = ENCODERS[size]
    (encoded,) = encoder.encode([sentence])
    assert len(encoded.window) == len(encoded.first) == len(encoded.last) == len(sentence)
    assert all(len(ids) <= size[0] for ids in encoded.windows)
    assert (np.diff(encoded.window) >= 0).all()
    assert set(encoded.window.tolist()) <= set(range(len(encoded.windows)))
    for place, window in enumerate(encoded.window):
        low, high = encoded.first[place], encoded.last[place]
        assert len(encoder.prefix) <= low <= high < len(encoded.windows[window]) - len(encoder.suffix)
        if place and encoded.window[place - 1] == window:
            assert encoded.last[place - 1] < low  # words do not share sub-tokens


# Schemes

LETTERS = {Scheme.IOB1: "BI", Scheme.BIO2: "BI", Scheme.BIOES: "BIESLUM"}


@st.composite
def any_tags(draw):
    """A scheme, and tags of its letters in any order, most of them illegal."""
    scheme = draw(st.sampled_from(list(Scheme)))
    tag = st.builds(
        "{}-{}".format, st.sampled_from(LETTERS[scheme]), st.sampled_from(["A", "b-c", "_", "\x1b[1m"])
    )
    return scheme, draw(st.lists(st.just("O") | tag, max_size=12))


@given(any_tags())
@settings(deadline=None)
def test_any_sequence_is_converted_to_bio2_and_stays_there(case):
    scheme, tags = case
    converted = convert(tags, scheme)
    assert len(converted) == len(tags)
    assert convert(converted, Scheme.BIO2) == converted == to_bio2(spans(converted), len(converted))
    assert spans(converted) == spans(tags)
    assert [tag == "O" for tag in converted] == [tag == "O" for tag in tags]
    assert detect([converted]) is not Scheme.BIOES
