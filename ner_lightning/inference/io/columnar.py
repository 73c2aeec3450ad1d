"""Converts lines of JSON to Parquet and to spaCy's DocBin, which cannot grow line by line."""

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ner_lightning.data.writers.docbin_writer import doc_bin_of
from ner_lightning.inference.result import OVERLAPS, Tagged
from ner_lightning.system.atomic import replacing
from ner_lightning.system.stored_rows import stored_rows

GROUP_ROWS = 1000  # in a row group of Parquet
_ENTITY = [
    ("text", pa.string()),
    ("label", pa.string()),
    *((name, pa.int64()) for name in ("start", "end", "word_start", "word_end")),
    ("score", pa.float64()),
]
_ORIGIN = [("file", pa.string()), ("line", pa.int64()), ("id", pa.string()), ("text", pa.string())]


def schema(*, keeps: bool = False) -> pa.Schema:
    """The schema of the table with a row per text and a list of entities.

    Args:
        keeps: whether each entity says whether it overlaps a more probable one.
    """
    entity = pa.struct([*_ENTITY, *([(OVERLAPS, pa.bool_())] if keeps else [])])
    return pa.schema(
        [
            *_ORIGIN[:3],
            ("document", pa.string()),
            *_ORIGIN[3:],
            ("words", pa.list_(pa.string())),
            ("predicted", pa.list_(pa.string())),
            ("entities", pa.list_(entity)),
        ]
    )


def wide_schema(types: Sequence[str]) -> pa.Schema:
    """The schema of the table with a row per text and a column per type."""
    return pa.schema([*_ORIGIN, *((name, pa.list_(pa.string())) for name in types)])


def parquet(lines: Path, file: Path, schema: pa.Schema) -> None:
    """Converts lines of JSON to Parquet."""
    with replacing(file) as out, pq.ParquetWriter(out, schema) as table:
        rows = _rows(lines)
        while group := list(islice(rows, GROUP_ROWS)):
            for row in group:
                for name in ("id", "document"):
                    if row.get(name) is not None:
                        row[name] = str(row[name])  # a file may have both numbers and strings
            table.write_table(pa.Table.from_pylist(group, schema))


def with_words(tagged: Tagged) -> dict[str, Any]:
    """What `doc_bin` reads: text, offsets of the words, number of words in each sentence, tags."""
    sizes = [len(sentence) for sentence in tagged.document.sentences]
    return {"text": tagged.text, "words": tagged.offsets, "sentences": sizes, "tags": tagged.tags}


def doc_bin(lines: Path, file: Path) -> None:
    """Converts lines made by `with_words` to spaCy's DocBin, which holds all of them in memory."""
    doc_bin_of(((row["text"], row["words"], row["sentences"], row["tags"]) for row in _rows(lines)), file)


def _rows(lines: Path) -> Iterator[dict[str, Any]]:
    """The rows of the collected lines; raises UserError at a damaged one."""
    return stored_rows(lines, ("text",), "give the same command with --restart, which starts again")
