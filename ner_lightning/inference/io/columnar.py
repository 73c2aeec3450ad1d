"""Parquet and spaCy's DocBin, made of lines of JSON: neither can grow, nor be gone on with after a stop."""

import json
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ner_lightning.data.schemes import spans
from ner_lightning.errors import UserError
from ner_lightning.inference.io.records import Record
from ner_lightning.inference.result import Tagged
from ner_lightning.system.atomic import replacing

ROWS = 1000  # in a group of rows
_ENTITY = pa.struct(
    [
        ("text", pa.string()),
        ("label", pa.string()),
        *((name, pa.int64()) for name in ("start", "end", "word_start", "word_end")),
        ("score", pa.float64()),
    ]
)
_PLACE = [("file", pa.string()), ("line", pa.int64()), ("id", pa.string()), ("text", pa.string())]
SCHEMA = pa.schema(
    [
        *_PLACE,
        ("words", pa.list_(pa.string())),
        ("predicted", pa.list_(pa.string())),
        ("entities", pa.list_(_ENTITY)),
    ]
)


def wide_schema(types: Sequence[str]) -> pa.Schema:
    """Of the table with a row a text and a column a type."""
    return pa.schema([*_PLACE, *((kind, pa.list_(pa.string())) for kind in types)])


def wide_dict(record: Record, tagged: Tagged, types: Sequence[str]) -> dict[str, Any]:
    """A row of that table."""
    found: dict[str, list[str]] = {kind: [] for kind in types}
    for entity in tagged.entities:
        found[entity.label].append(entity.text)
    return {"file": record.source, "line": record.line, "id": record.id, "text": tagged.text} | found


def parquet(lines: Path, file: Path, schema: pa.Schema) -> None:
    """Writes lines of JSON as Parquet."""
    with replacing(file) as out, pq.ParquetWriter(out, schema) as table:
        rows = _rows(lines)
        while group := list(islice(rows, ROWS)):
            for row in group:
                if row.get("id") is not None:
                    row["id"] = str(row["id"])  # a file may have numbers and names
            table.write_table(pa.Table.from_pylist(group, schema))


def with_words(tagged: Tagged) -> dict[str, Any]:
    """A text with the offsets of its words, the number of words in each sentence, and their tags."""
    sizes = [len(sentence) for sentence in tagged.document.sentences]
    return {"text": tagged.text, "words": tagged.offsets, "sentences": sizes, "tags": tagged.tags}


def check_spacy() -> None:
    """Checks that spaCy is there.

    Raises:
        UserError: it is not.
    """
    if find_spec("spacy") is None:
        raise UserError("a .spacy file needs spaCy: pip install 'ner-lightning[spacy]'")


def doc_bin(lines: Path, file: Path) -> None:
    """Writes what `with_words` gave as spaCy's DocBin, which holds all of it in memory."""
    from spacy.tokens import Doc, DocBin, Span
    from spacy.vocab import Vocab

    vocab = Vocab()
    held = DocBin(attrs=["ORTH", "SPACY", "ENT_IOB", "ENT_TYPE", "SENT_START"])
    for row in _rows(lines):
        tokens, places = _tokens(row["text"], row["words"])
        starts = {sum(row["sentences"][:number]) for number in range(len(row["sentences"]))}
        begins = {places[word] for word in starts} | {0}
        doc = Doc(
            vocab,
            words=[word for word, _ in tokens],
            spaces=[space for _, space in tokens],
            sent_starts=[place in begins for place in range(len(tokens))],
        )
        doc.set_ents(
            [
                Span(doc, places[span.start], places[span.end - 1] + 1, label=span.type)
                for span in spans(row["tags"])
            ]
        )
        held.add(doc)
    with replacing(file) as out:
        out.write(held.to_bytes())


def _tokens(text: str, words: Sequence[tuple[int, int]]) -> tuple[list[tuple[str, bool]], list[int]]:
    """A text as spaCy's tokens, each with a space after it or not, and the token of each word.

    What lies between words, but for one space, is a token as well, so that the text comes out as it was.
    """
    tokens: list[tuple[str, bool]] = []
    places: list[int] = []
    done = 0
    for start, end in [*words, (len(text), len(text))]:
        gap = text[done:start]
        if gap.startswith(" ") and tokens:
            tokens[-1] = (tokens[-1][0], True)
            gap = gap[1:]
        if gap:
            tokens.append((gap, False))
        if start < end:
            places.append(len(tokens))
            tokens.append((text[start:end], False))
        done = end
    return tokens, places


def _rows(lines: Path) -> Iterator[dict[str, Any]]:
    with lines.open(encoding="utf-8") as file:
        yield from map(json.loads, file)
