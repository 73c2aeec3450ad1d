"""Parses the sentences and rows of CoNLL-U: words, ranges of words, empty nodes."""

import re
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import NamedTuple

from ner_lightning.data.readers.conllu_entities import type_field
from ner_lightning.data.readers.record import Record, rejected
from ner_lightning.data.readers.text_lines import Line
from ner_lightning.errors import UserError

COLUMNS = 10
ID = re.compile(r"(\d{1,9})(?:([-.])(\d{1,9}))?", re.ASCII)
_NEW_DOCUMENT = re.compile(r"#\s*newdoc\b(?:\s+id\s*=\s*(.*\S))?.*")
_SENTENCE_ID = re.compile(r"#\s*sent_id\s*=\s*(.*\S)\s*")


class UdNode(NamedTuple):
    """A row: a word, a range of words, or an empty node.

    Attributes:
        line: its line.
        first: the number of the word; of a range, that of its first word.
        last: the same, or the number of the range's last word.
        is_empty: whether it is an empty node.
        form: what is written there.
        misc: the keys and values of its last column.
    """

    line: int
    first: int
    last: int
    is_empty: bool
    form: str
    misc: dict[str, str]


class UdSentence(NamedTuple):
    """A sentence, or what is wrong with it.

    Attributes:
        record: its words; rejected if a row is malformed.
        nodes: its rows; none if it is rejected.
        field: which field of an entity in brackets is its type; None if the file does not say.
    """

    record: Record
    nodes: tuple[UdNode, ...]
    field: int | None


def ud_sentences(read: Iterable[Line], source: str) -> Iterator[UdSentence]:
    """The sentences of a file; a blank line ends one.

    Args:
        read: the lines of the file.
        source: the file's name in messages.
    """
    rows: list[Line] = []
    name: str | None = None
    document: str | int | None = None  # its id, or its number if it has none
    documents = 0
    field: int | None = None
    starts = True
    for line in chain(read, [Line(0, "")]):
        if line.text.startswith("#") and not line.reason:
            new = _NEW_DOCUMENT.fullmatch(line.text)
            if new is not None:
                documents += 1
                starts, document = True, documents if new[1] is None else new[1]
            sent_id = _SENTENCE_ID.fullmatch(line.text)
            name = name if sent_id is None else sent_id[1]
            given = type_field(line.text)
            field = field if given is None else given
        elif line.reason or line.text.strip():
            rows.append(line)
        elif rows:
            record = Record(source, rows[0].number, id=name, starts_document=starts, document=document)
            yield _sentence(record, rows, field)
            rows, name, starts = [], None, False


def _sentence(record: Record, rows: Iterable[Line], field: int | None) -> UdSentence:
    """Parses the rows of a sentence."""
    nodes: list[UdNode] = []
    expected, covered = 1, 0
    for line in rows:
        try:
            node = _node(line, expected)
            if node.first < node.last and node.first <= covered:
                raise UserError(f"the range {node.first}-{node.last} overlaps the one before it")
        except UserError as error:
            bad = rejected(record._replace(line=line.number, content=line.text), str(error))
            return UdSentence(bad, (), field)
        expected += node.first == node.last and not node.is_empty
        covered = node.last if node.first < node.last else covered
        nodes.append(node)
    words = [node for node in nodes if node.first == node.last and not node.is_empty]
    if not words or covered > len(words):
        reason = f"a range ends at word {covered} of {len(words)}" if words else "no word in this sentence"
        return UdSentence(rejected(record, reason + "; complete it or remove it"), (), field)
    record = record._replace(
        content=tuple(word.form for word in words), lines=tuple(word.line for word in words)
    )
    return UdSentence(record, tuple(nodes), field)


def _node(line: Line, expected: int) -> UdNode:
    """Parses a row.

    Args:
        line: the row.
        expected: the number of the next word.

    Raises:
        UserError: it is malformed, or a word has another number.
    """
    if line.reason:
        raise UserError(line.reason)
    cells = line.text.split("\t")
    if len(cells) != COLUMNS:
        raise UserError(f"{len(cells)} columns between tabs, not the {COLUMNS} of CoNLL-U")
    match = ID.fullmatch(cells[0])
    if match is None:
        raise UserError(f"{cells[0]!r:.20} is no id of CoNLL-U; number the words of a sentence from 1")
    first = last = int(match[1])
    if match[2] == "-":
        last = int(match[3])
    if last < first or (match[2] == "-" and last == first):
        raise UserError(f"the range {cells[0]} is empty; write its first and its last word")
    if match[2] != "." and first != expected:
        raise UserError(
            f"{cells[0]} where word {expected} must follow; number the words of a sentence from 1"
        )
    if not cells[1]:
        raise UserError(f"word {cells[0]} is empty; remove it or write a placeholder")
    return UdNode(line.number, first, last, match[2] == ".", cells[1], misc_pairs(cells[-1]))


def misc_pairs(cell: str) -> dict[str, str]:
    """The keys and values of MISC."""
    pairs = (part.partition("=") for part in cell.split("|") if "=" in part)
    return {key.strip(): value.strip() for key, _, value in pairs}
