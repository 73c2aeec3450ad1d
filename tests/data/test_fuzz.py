"""Random bytes and mutated files: a clear error or correct data, never a crash, a hang or a lost sentence."""

import json
import os
import random
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import tiny
from hypothesis import given, settings
from hypothesis import strategies as st

from ner_lightning.data.corpus_settings import Encoding
from ner_lightning.data.readers.char_spans import AnnotationRules
from ner_lightning.data.readers.column_cells import DOCSTART
from ner_lightning.data.readers.columns import read_conll
from ner_lightning.data.readers.jsonl import read_jsonl
from ner_lightning.data.running_text import from_text
from ner_lightning.data.schemes import Scheme, convert, detect, spans, to_bio2
from ner_lightning.data.sentence import DataError, is_invisible
from ner_lightning.data.tokenization.encoding import Encoder
from ner_lightning.data.tokenization.windows import windows

EXPANDED = AnnotationRules(misaligned="expand", overlapping="longest")
SEEDS = sorted((Path(__file__).parent / "seeds").iterdir())
PIECES = [
    *(
        b"\n",
        b"\n\n",
        b"\r\n",
        b" ",
        b"\t",
        b"#",
        b"# ",
        b"-DOCSTART-",
        b" O",
        b" B-PER",
        b" I-",
        b"\x00",
        b"\xff",
    ),
    *(
        "\u2028".encode(),
        "\u00a0".encode(),
        "\ufeff".encode(),
        b"\xed\xa0\xbd",
        b"\xc3",
        b"\x1b[31m",
    ),
    *(
        b'{"tokens": ["a"], "ner_tags": ["O"]}\n',
        b'"',
        b"{",
        b"}",
        b"[" * 3000,
        b"9" * 5000,
        b"\\ud83d",
        b"null",
    ),
    *(b"NaN", b"1e999", b'"tokens"', b'"document": ', b",", b":"),
]


def mutated(draw: random.Random, data: bytes) -> bytes:
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
                data = data[: draw.randint(0, len(data))] + draw.choice(SEEDS).read_bytes()
    return data


def columns_are_whole(data: bytes, sentences) -> None:
    """Every row of a file is a word of a sentence, a document's start, or a comment before a sentence.

    A row that begins with # may be a word or a comment, so all readings are followed at once.
    """
    words = [sentence.words for sentence in sentences]
    places = {(0, 0)}  # sentence, word
    for line in [*data.decode().removeprefix("\ufeff").split("\n"), ""]:
        row = [cell for cell in line.removesuffix("\r").replace("\t", " ").split(" ") if cell]
        if not row or line.isspace() or row[0] == DOCSTART:
            ended = {(i + 1, 0) for i, k in places if k and k == len(words[i])}
            places = ended | {(i, k) for i, k in places if k == 0}
            continue
        comment = {(i, k) for i, k in places if k == 0 and row[0].startswith("#")}
        fits = {(i, k + 1) for i, k in places if i < len(words) and words[i][k : k + 1] == (row[0],)}
        places = comment | fits
        assert places, f"the row {line!a} is lost"
    assert (len(words), 0) in places, "there are other sentences than in the file"


def objects_are_whole(data: bytes, sentences) -> None:
    """Every row is a sentence with its words, or sentences with all the words of its text."""
    text = data.decode().removeprefix("\ufeff")
    try:
        rows = json.loads(text)
    except (ValueError, RecursionError):
        rows = None
    if not isinstance(rows, list) or not all(isinstance(row, dict | list) for row in rows):
        rows = [json.loads(line) for line in text.split("\n") if line.removesuffix("\r").strip()]
    written = [word for row in rows for word in words_of(row)]
    assert [word for sentence in sentences for word in sentence.words] == written


def words_of(row) -> list[str]:
    """The words of a row, each reading worked out anew."""
    if isinstance(row, list):
        row = {"text": row[0]}
    words = row.get("tokens", row.get("words"))
    if isinstance(words, list) and not any(isinstance(word, dict) for word in words):
        return words
    if row.get("answer") in ("reject", "ignore"):
        return []
    if isinstance(row.get("data"), dict):
        marked = row["annotations"]
        if all(isinstance(each, dict) and each.get("was_cancelled") for each in marked):
            return []
        texts = [value for value in row["data"].values() if isinstance(value, str)]
        text = row["data"].get("text", texts[0])
    else:
        text = next(row[name] for name in ("text", "data", "content") if isinstance(row.get(name), str))
    if words:
        return [text[w["start"] : w["end"]] for w in words if not is_invisible(text[w["start"] : w["end"]])]
    return [word for sentence in from_text(text).words for word in sentence]


def check(path: Path, data: bytes, reader, whole, **options) -> bool:
    """Whether a file was read; what is read must be whole, and what is refused must say where."""
    path.write_bytes(data)
    try:
        sentences = reader(path, **options)
    except DataError as error:
        message = str(error)
        if not message.startswith(f"{path}:") or message.count("\n") > 1:
            pytest.fail(message)
        return False
    whole(data, sentences)
    for sentence in sentences:
        assert sentence.words
        if sentence.tags is not None:
            assert len(sentence.tags) == len(sentence.words)
            assert list(sentence.tags) == to_bio2(spans(sentence.tags), len(sentence.words))
    return True


def fuzz(path: Path, cases: range) -> int:
    """How many of the cases could be read."""
    held = [(seed.suffix, seed.read_bytes()) for seed in SEEDS]
    read = 0
    for case in cases:
        draw = random.Random(case)
        suffix, data = draw.choice(held)
        data = draw.randbytes(draw.randint(0, 60)) if case % 10 == 0 else mutated(draw, data)
        if suffix == ".jsonl":
            # Whole words, so that what is written is what is read.
            read += check(path, data, read_jsonl, objects_are_whole, rules=EXPANDED)
        else:
            read += check(path, data, read_conll, columns_are_whole, tagged=bool(draw.randrange(4)))
    return read


def test_seeds_are_read(tmp_path):
    assert len(SEEDS) == 13
    for seed in SEEDS:
        reader, whole = (
            (read_jsonl, objects_are_whole) if seed.suffix == ".jsonl" else (read_conll, columns_are_whole)
        )
        options = {"tagged": False} if seed.stem == "untagged" else {}
        assert check(tmp_path / "x", seed.read_bytes(), reader, whole, **options)


@pytest.fixture
def path(tmp_path):
    """A file that is written a great many times, so in memory where that can be."""
    shared = Path("/dev/shm")
    path = (shared if os.access(shared, os.W_OK) else tmp_path) / f"ner-lightning-fuzz-{os.getpid()}"
    yield path
    path.unlink(missing_ok=True)


def test_a_few_mutated_files(path):
    assert 400 < fuzz(path, range(3000)) < 2500  # both ends are tried


@pytest.mark.slow
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
