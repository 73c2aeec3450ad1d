"""Reads and writes JSONL, one sentence per line; every error says file:line."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from ner_lightning.data.readers.char_spans import AnnotationRules, Changes, tagged_sentences
from ner_lightning.data.readers.json_shapes import annotated, has_several, has_words, is_skipped
from ner_lightning.data.sentence import (
    SURROGATE,
    DataError,
    Sentence,
    check_sentence,
    in_bio2,
    read_lines,
)
from ner_lightning.errors import UserError
from ner_lightning.system.atomic import replacing_text
from ner_lightning.system.progress import warn

JSON_SUFFIXES = (".jsonl", ".ndjson", ".json")
_EXPECTED = 'write a list of words or of tag names, in quotes: ["O", "B-PER"]'


def read_jsonl(
    path: str | Path,
    *,
    words_field: str = "tokens",
    tags_field: str = "ner_tags",
    document_field: str = "document",
    tagged: bool = True,
    rules: AnnotationRules = AnnotationRules(),
) -> list[Sentence]:
    """Reads one JSON object per line, or a list of objects: words with tags, or texts with entities.

    A row with a list of words is one sentence. Other rows are what doccano, Label Studio, Prodigy, GLiNER
    or spaCy write, see `json_shapes`; their texts are split into words and sentences as prediction does.

    Args:
        path: a UTF-8 file; blank lines are skipped.
        words_field: field with a list of words, or with a text; if absent, `words`, or one of
            `json_shapes.TEXTS`.
        tags_field: field with a list of tags, or with the entities of a text; if absent, `tags` or `labels`,
            or one of `json_shapes.SPANS`.
        document_field: field whose value all sentences of a document share. Without it, each text is a
            document, and so are all rows of words together.
        tagged: whether to read tags at all.
        rules: for entities that are not whole words or overlap, and for tags that are numbers.

    Raises:
        DataError: the file is missing, empty, not UTF-8 or malformed.
    """
    sentences: list[Sentence] = []
    documents: dict[str, int] = {}
    changes, skipped, several = Changes(), 0, 0
    for place, row in _rows(path):
        changes.place = place
        try:
            read = _read(row, (words_field, tags_field), rules, changes, tagged=tagged)
        except UserError as error:
            raise DataError(f"{path}:{place}: {error}") from None
        skipped += read is None
        several += has_several(row)
        name = row.get(document_field) if isinstance(row, dict) else None
        is_text = name is None and not has_words(row, words_field)
        for words, tags in read or ():
            document = documents.setdefault(f"text {place}" if is_text else repr(name), len(documents))
            sentences.append(Sentence(words, tags, document))
    changes.report(path)
    if skipped:
        warn(f"{path}: {skipped:,} rows that the annotator rejected, ignored or cancelled are left out.")
    if several:
        warn(f"{path}: {several:,} tasks have several annotations; the first of each is read.")
    return in_bio2(path, sentences)


def _read(
    row: Any, fields: tuple[str, str], rules: AnnotationRules, changes: Changes, *, tagged: bool
) -> list[tuple[tuple[str, ...], tuple[str, ...] | None]] | None:
    """Words and tags of each sentence of a row; None if the annotator left it out.

    Raises:
        UserError: the row is malformed.
    """
    if has_words(row, fields[0]):
        words = _strings(row, fields[0], "words")
        tags = _tags(row, fields[1], rules.tag_names) if tagged else None
        check_sentence(words, tags)
        return [(words, tags)]
    if is_skipped(row):
        return None
    found = annotated(row, *fields, tagged=tagged)
    read = tagged_sentences(found.text, found.entities, rules, changes, found.tokens)
    return [(words, tags if tagged else None) for words, tags in read]


def _rows(path: str | Path) -> Iterator[tuple[str, Any]]:
    """The lines of JSONL with their numbers, or the items of one list of objects with theirs.

    Raises:
        DataError: the file cannot be read, or a line is not JSON.
    """
    lines = read_lines(path)
    items: Any = None
    if next((line for line in lines if line.strip()), "").lstrip().startswith("["):
        with suppress(UserError):
            items = parse("\n".join(lines))
    if isinstance(items, list) and items and all(isinstance(item, dict | list) for item in items):
        yield from ((f"item {number}", item) for number, item in enumerate(items, start=1))
        return
    for number, line in enumerate(lines, start=1):
        if line.strip():
            try:
                yield str(number), parse(line)
            except UserError as error:
                raise DataError(f"{path}:{number}: {error}") from None


def write_jsonl(path: str | Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Writes one JSON object per line; the file is replaced in one step."""
    with replacing_text(path) as file:
        file.writelines(json.dumps(dict(row), ensure_ascii=False) + "\n" for row in rows)


def read_object(line: str) -> dict[str, Any]:
    """Parses the JSON object of a line.

    Raises:
        UserError: the line is not a JSON object.
    """
    return checked_object(parse(line))


def parse(text: str) -> Any:
    """Parses JSON.

    Raises:
        UserError: it is malformed.
    """
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise UserError(f"not JSON: {error.msg} at column {error.colno}; write one object per line") from None
    except (ValueError, RecursionError):  # a number of thousands of digits, brackets a thousand deep
        raise UserError(
            "JSON that cannot be parsed: a number is too long, or it is nested too deeply"
        ) from None


def checked_object(row: Any) -> dict[str, Any]:
    """Returns a parsed row.

    Raises:
        UserError: it is not an object.
    """
    if not isinstance(row, dict):
        raise UserError(f"a JSON {type(row).__name__}, not an object; write one object per line")
    return row


def _strings(row: Mapping[str, Any], *names: str) -> tuple[str, ...]:
    """The list of strings in the first of the named fields that is present."""
    name, entries = _list(row, names)
    for entry in entries:
        if not isinstance(entry, str) or SURROGATE.search(entry):
            raise UserError(f"field {name!r} contains {entry!a:.40}, which is not text; {_EXPECTED}")
    return tuple(entries)


def _list(row: Mapping[str, Any], names: Sequence[str]) -> tuple[str, list[Any]]:
    """The first of the named fields that is present, and its list."""
    name = next((name for name in names if name in row), None)
    if name is None:
        fields = ", ".join(row) or "none"
        raise UserError(f"no field {names[0]!r}; name one of its fields ({fields})")
    if not isinstance(row[name], list):
        raise UserError(f"field {name!r} is not a list; {_EXPECTED}")
    return name, row[name]


def _tags(row: Mapping[str, Any], field: str, tag_names: Sequence[str] | None) -> tuple[str, ...]:
    """The tags of a row, by name."""
    names = (field, "tags", "labels")
    name, entries = _list(row, names)
    if not any(type(entry) is int for entry in entries):
        return _strings(row, *names)
    if tag_names is None:
        raise UserError(
            f"field {name!r} contains numbers;\nname the tags that they stand for, in order: "
            "--data.files.tag_names O,B-PER,I-PER (or a file with one per line)"
        )
    for entry in entries:
        if type(entry) is not int or not 0 <= entry < len(tag_names):
            raise UserError(
                f"field {name!r} contains {entry!a:.40}, but data.files.tag_names has {len(tag_names)} "
                f"names, for 0 to {len(tag_names) - 1}"
            )
    return tuple(tag_names[entry] for entry in entries)
