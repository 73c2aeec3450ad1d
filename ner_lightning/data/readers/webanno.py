"""Reads WebAnno TSV 3.x, which WebAnno and INCEpTION export: a token per line, a column per feature."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import accumulate
from typing import NamedTuple

from ner_lightning.data.invisible import is_invisible
from ner_lightning.data.readers.changes import Changes
from ner_lightning.data.readers.read_options import Opened, ReadOptions
from ner_lightning.data.readers.record import CharSpan, Record, rejected
from ner_lightning.data.readers.text_lines import lines
from ner_lightning.data.readers.webanno_columns import (
    FIRST,
    AnnotationColumn,
    check_version,
    entity_column,
    header_columns,
    stacked_values,
)
from ner_lightning.data.readers.webanno_rows import TsvRow, TsvSentence, tsv_sentences
from ner_lightning.data.readers.word_spans import overlap, with_spans
from ner_lightning.data.schemes import Span
from ner_lightning.data.sentence import DataError
from ner_lightning.errors import UserError
from ner_lightning.system.progress import warn


class _TsvEntity(NamedTuple):
    """An entity and the rows that it is on."""

    type: str
    rows: tuple[TsvRow, ...]


def read_webanno(opened: Opened, options: ReadOptions) -> Iterator[Record]:
    """Reads the sentences of a document.

    Args:
        opened: a UTF-8 file.
        options: how it is read; `tags_column` names the layer or the feature with the entity types.

    Yields:
        A record of words with BIO2 tags for each sentence; one of its text if an entity begins or ends
        inside a word, or entities overlap.

    Raises:
        DataError: the file is not WebAnno TSV 3, or no single feature has the entities.
    """
    read = list(lines(opened.file))
    try:
        check_version([line.text for line in read])
    except UserError as error:
        raise DataError(f"{opened.source}:1: {error}") from None
    columns = header_columns(line.text for line in read)
    sentences = list(tsv_sentences(read, len(columns), opened.source))
    if not options.tagged:
        yield from (sentence.record for sentence in sentences)
        return
    used = {column.number: _used(sentences, column.number) for column in columns}
    try:
        column = entity_column(columns, used, options.tags_column)
    except UserError as error:
        line = next((line.number for line in read if line.text.startswith("#T_")), 1)
        raise DataError(f"{opened.source}:{line}: {error}") from None
    changes = Changes()
    before: frozenset[object] = frozenset()
    for sentence in sentences:
        entities, after = _entities(sentence, column, changes, before)
        before = after
        yield _record(sentence, entities)
    changes.report(opened.source)
    _say_left_out(opened.source, sentences, columns, column)


def _used(sentences: Iterable[TsvSentence], number: int) -> Counter[str]:
    """How often each value occurs in a column."""
    cells = (row.cells[number - FIRST] for sentence in sentences for row in sentence.rows)
    return Counter(value for cell in cells for value, _ in stacked_values(cell) if value is not None)


def _entities(
    sentence: TsvSentence, column: AnnotationColumn, changes: Changes, before: frozenset[object]
) -> tuple[list[_TsvEntity], frozenset[object]]:
    """The entities of a sentence, in the order of the file.

    Args:
        sentence: the sentence.
        column: the column with their types.
        changes: called with what is left out or changed.
        before: the entities on the last token of the sentence before.

    Returns:
        The entities, and which of them are on the last token.
    """
    rows_of: dict[tuple[object, str | None], list[TsvRow]] = {}
    last = max((row.token for row in sentence.rows), default=0)
    for row in sentence.rows:
        for place, (value, number) in enumerate(stacked_values(row.cells[column.number - FIRST])):
            # One without an id is on this row alone.
            rows_of.setdefault((number or (row.line, place), value), []).append(row)
    entities = []
    for key, rows in rows_of.items():
        type_ = key[1] if column.feature else column.short_layer
        surface = " ".join(row.word for row in rows)
        changes.place = f"line {rows[0].line}"
        tokens = sorted({row.token for row in rows})
        if max(row.end for row in rows) == min(row.start for row in rows):
            changes("annotations cover no character and were left out", rows[0].word)
        elif type_ is None:
            changes(f"annotations have no {column.name} and were left out", surface)
        else:
            if key in before and tokens[0] == 0:
                changes("entities reach into the next sentence and were read as two", surface)
            if tokens[-1] - tokens[0] >= len(tokens):
                changes(
                    "entities are discontinuous and were read from their first to their last word", surface
                )
            entities.append(_TsvEntity(type_, tuple(rows)))
    return entities, frozenset(key for key, rows in rows_of.items() if rows[-1].token == last)


def _record(sentence: TsvSentence, entities: Sequence[_TsvEntity]) -> Record:
    """A sentence with its entities."""
    record = sentence.record
    if record.reason:
        return record
    spans = list(dict.fromkeys(Span(e.type, e.rows[0].token, e.rows[-1].token + 1) for e in entities))
    if not any(row.is_part for entity in entities for row in entity.rows) and not overlap(spans):
        return with_spans(record, record.content, spans)
    try:
        char = _char_offsets(sentence)
        chars = [
            CharSpan(char[min(row.start for row in e.rows)], char[max(row.end for row in e.rows)], e.type)
            for e in entities
        ]
    except KeyError:
        reason = f"its tokens are not at their offsets in the text {sentence.text!r:.60} of #Text="
        return rejected(record, reason)
    words = [row for row in sentence.rows if not row.is_part and not is_invisible(row.word)]
    tokens = tuple((char[row.start], char[row.end]) for row in words)
    return record._replace(
        content=sentence.text, tokens=tokens, entities=tuple(chars), lines=(), is_sentence=True
    )


def _char_offsets(sentence: TsvSentence) -> dict[int, int]:
    """The character of the sentence's text at each offset of the document.

    Offsets count UTF-16 code units; some writers count characters. The tokens prove which.

    Raises:
        KeyError: the tokens are not in the text at their offsets, by either count.
    """
    text, words = sentence.text, [row for row in sentence.rows if not row.is_part]
    first = text.find(words[0].word)
    for wide in (2, 1):
        units = list(accumulate((wide if sign > "\uffff" else 1 for sign in text), initial=0))
        shift = words[0].start - units[first]
        char = {unit + shift: place for place, unit in enumerate(units)}
        with suppress(KeyError):
            if all(text[char[row.start] : char[row.end]] == row.word for row in words):
                return char
    raise KeyError(first)


def _say_left_out(
    source: str,
    sentences: Sequence[TsvSentence],
    columns: Sequence[AnnotationColumn],
    read: AnnotationColumn,
) -> None:
    """Warns of annotation in other columns."""
    rows = [row for sentence in sentences for row in sentence.rows]
    counts = []
    for column in columns:
        marked = [row for row in rows if row.cells[column.number - FIRST] not in ("_", "")]
        if column != read and marked:
            counts.append(f"{column.name} ({len(marked):,} cells, the first in line {marked[0].line})")
    if counts:
        warn(f"{source}: entities are read from {read.name}; left out: {', '.join(counts)}")
