"""Reads and writes JSONL, one sentence per line; every error says file:line."""

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ner_lightning.data.sentence import DataError, Sentence, check_sentence, in_bio2, read_lines
from ner_lightning.errors import UserError
from ner_lightning.system.atomic import replacing_text

JSON_SUFFIXES = (".jsonl", ".ndjson", ".json")
SURROGATE = re.compile(r"[\ud800-\udfff]")  # half a character
_EXPECTED = 'write a list of words or of tag names, in quotes: ["O", "B-PER"]'


def read_jsonl(
    path: str | Path,
    *,
    words_field: str = "tokens",
    tags_field: str = "ner_tags",
    document_field: str = "document",
    tagged: bool = True,
) -> list[Sentence]:
    """Reads one JSON object per line.

    Args:
        path: a UTF-8 file; blank lines are skipped.
        words_field: field with a list of words; if absent, `words` is used.
        tags_field: field with a list of tag names; if absent, `tags` or `labels` is used.
        document_field: field whose value all sentences of a document share; may be absent.
        tagged: whether to read tags at all.

    Raises:
        DataError: the file is missing, empty, not UTF-8 or malformed.
    """
    sentences = []
    documents: dict[str, int] = {}
    for number, line in enumerate(read_lines(path), start=1):
        if not line.strip():
            continue
        try:
            row = read_object(line)
            words = _strings(row, words_field, "words")
            tags = _strings(row, tags_field, "tags", "labels") if tagged else None
            check_sentence(words, tags)
        except UserError as error:
            raise DataError(f"{path}:{number}: {error}") from None
        document = documents.setdefault(repr(row.get(document_field)), len(documents))
        sentences.append(Sentence(words, tags, document))
    return in_bio2(path, sentences)


def write_jsonl(path: str | Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Writes one JSON object per line; the file is replaced in one step."""
    with replacing_text(path) as file:
        file.writelines(json.dumps(dict(row), ensure_ascii=False) + "\n" for row in rows)


def read_object(line: str) -> dict[str, Any]:
    """Parses the JSON object of a line.

    Raises:
        UserError: the line is not a JSON object.
    """
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        raise UserError(f"not JSON: {error.msg} at column {error.colno}; write one object per line") from None
    except (ValueError, RecursionError):  # a number of thousands of digits, brackets a thousand deep
        raise UserError(
            "JSON that cannot be parsed: a number is too long, or it is nested too deeply"
        ) from None
    if not isinstance(row, dict):
        raise UserError(f"a JSON {type(row).__name__}, not an object; write one object per line")
    return row


def _strings(row: dict[str, Any], *names: str) -> tuple[str, ...]:
    """The list of strings in the first of the named fields that is present."""
    name = next((name for name in names if name in row), None)
    if name is None:
        fields = ", ".join(row) or "none"
        raise UserError(f"no field {names[0]!r}; name one of its fields ({fields})")
    if not isinstance(row[name], list):
        raise UserError(f"field {name!r} is not a list; {_EXPECTED}")
    for entry in row[name]:
        if not isinstance(entry, str) or SURROGATE.search(entry):
            raise UserError(f"field {name!r} contains {entry!a:.40}, which is not text; {_EXPECTED}")
    return tuple(row[name])
