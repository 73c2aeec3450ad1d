"""Parses the sentences, tokens and parts of tokens of WebAnno TSV 3.x."""

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from ner_lightning.data.readers.record import Record, rejected
from ner_lightning.data.readers.text_lines import Line
from ner_lightning.data.readers.webanno_columns import FIRST, unescaped

_TEXT, _ID = "#Text=", "#Sentence.id="
_ROW = re.compile(r"\d{1,9}-\d{1,9}(\.\d{1,9})?\t(\d{1,15})-(\d{1,15})\t([^\t]*)(?:\t(.*))?", re.ASCII)
_WRITE = "a token has its number, its offsets, the token, and a cell for each feature, between tabs"


class TsvRow(NamedTuple):
    """A token, or a part of one.

    Attributes:
        line: its line.
        word: what is written there.
        start: offset of its first character in the document, in UTF-16 code units.
        end: offset after its last one.
        cells: its annotation.
        token: index in the sentence of the token that it is or belongs to.
        is_part: whether it is a part of a token.
    """

    line: int
    word: str
    start: int
    end: int
    cells: tuple[str, ...]
    token: int
    is_part: bool


class TsvSentence(NamedTuple):
    """A sentence, or what is wrong with it.

    Attributes:
        record: its words, with their lines; rejected if a row is malformed.
        text: its text.
        rows: its tokens and their parts; none if it is rejected.
    """

    record: Record
    text: str
    rows: tuple[TsvRow, ...]


def tsv_sentences(read: Iterable[Line], width: int, source: str) -> Iterator[TsvSentence]:
    """The sentences of a file; a blank line or another text ends one.

    Args:
        read: the lines of the file.
        width: how many columns of annotation the header names.
        source: the file's name in messages.
    """
    texts: list[str] = []
    rows: list[Line] = []
    name: str | None = None
    starts = True
    for line in (*read, Line(0, "")):
        is_text = line.text.startswith((_TEXT, _ID))
        if rows and not line.reason and (is_text or not line.text.strip()):
            record = Record(source, rows[0].number, id=name, starts_document=starts)
            yield _sentence(record, "\n".join(texts), rows, width)
            texts, rows, name, starts = [], [], None, False
        if line.text.startswith(_TEXT):
            texts.append(unescaped(line.text.removeprefix(_TEXT)))
        elif line.text.startswith(_ID):
            name = unescaped(line.text.removeprefix(_ID))
        elif line.reason or (line.text.strip() and not line.text.startswith("#")):
            rows.append(line)


def _sentence(record: Record, text: str, given: Sequence[Line], width: int) -> TsvSentence:
    """Parses the rows of a sentence."""
    rows: list[TsvRow] = []
    token = -1
    for line in given:
        match = _ROW.fullmatch(line.text)
        reason = line.reason
        if not reason and match is None:
            reason = f"{line.text!r:.60} is malformed; {_WRITE}"
        if reason or match is None:
            return TsvSentence(rejected(record._replace(line=line.number, content=text), reason), text, ())
        part, start, end, word, rest = match.groups()
        cells = [] if rest is None else rest.split("\t")
        if len(cells) > width and not cells[-1]:
            cells.pop()  # WebAnno ends each row with a tab
        token += part is None
        if len(cells) != width:
            reason = f"{FIRST + len(cells)} columns where the header names {FIRST + width}; {_WRITE}"
        elif token < 0:
            reason = "a part of a token before the first token"
        elif int(start) > int(end) or (part is None and not word):
            reason = f"the token {word!r:.40} has the offsets {start}-{end}; {_WRITE}"
        if reason:
            return TsvSentence(rejected(record._replace(line=line.number, content=text), reason), text, ())
        rows.append(TsvRow(line.number, word, int(start), int(end), tuple(cells), token, part is not None))
    words = [row for row in rows if not row.is_part]
    content = tuple(row.word for row in words)
    return TsvSentence(
        record._replace(content=content, lines=tuple(r.line for r in words)), text, tuple(rows)
    )
