"""Reads and writes CoNLL columns; every error says file:line."""

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from pathlib import Path

from ner_lightning.data.readers.column_layout import DOCSTART, ColumnLayout, cells_of, starts_document
from ner_lightning.data.readers.options import Opened, ReadOptions
from ner_lightning.data.readers.record import Line, Record, lines, rejected
from ner_lightning.data.schemes import OUTSIDE
from ner_lightning.data.sentence import Sentence
from ner_lightning.system.atomic import replacing_text
from ner_lightning.system.progress import stage

UNWRITABLE = re.compile(r"^$|[ \t\r\n]+")
HEAD = 1000  # lines by which the layout of a file without tags is recognised
MAX_ROWS = 100_000  # of a sentence


def read_columns(opened: Opened, options: ReadOptions) -> Iterator[Record]:
    """Reads columns separated by spaces or tabs, with a blank line after each sentence.

    A row that begins with `-DOCSTART-` starts a document, and so does a comment `# newdoc`. A line that
    begins with `#` is a comment only where a sentence could begin and if it cannot be a row of data, because
    `#` and `#hashtag` are words as well. Columns are recognised by what is in them: see `column_layout`.

    Args:
        opened: the file.
        options: name columns, by number or by a header's name. With tags the layout is recognised from the
            whole file, without them from its first `HEAD` lines.

    Raises:
        DataError: it is not certain which columns hold words and tags.
    """
    read = lines(opened.file)
    head = list(islice(read, HEAD))
    layout = _layout(opened.source, head, options)
    if options.tagged and layout.width > 2:  # further down another column may have tags as well
        head += read
        layout = _layout(opened.source, head, options)
    tag = layout.tag if options.tagged else None
    tabs = layout.tabs
    documents, starts, is_said = 0, False, False
    rows: list[list[str]] = []
    texts: list[Line] = []
    for line in chain(head, read, (Line(0, ""),)):
        row = [line.text] if line.reason else cells_of(line.text, tabs=tabs)
        begins = bool(row) and row[0] == DOCSTART
        if row and not begins and line.number != layout.header:
            if rows or line.reason or row[0][:1] != "#" or not layout.is_comment(row):
                if len(rows) <= MAX_ROWS:
                    rows.append(row)
                    texts.append(line)
            elif starts_document(line.text):
                documents, starts = documents + 1, True
            continue
        if rows:
            record = _sentence(opened.source, rows, texts, layout, tag)
            if not (is_said or record.reason):
                stage(f"{opened.source}: {layout.describe(tagged=options.tagged)}.")
                is_said = True
            name = rows[0][layout.document] if layout.document is not None and not record.reason else None
            yield record._replace(document=(documents, name), starts_document=starts)
            rows, texts, starts = [], [], False
        if begins:
            documents, starts = documents + 1, True


def _layout(source: str, head: Sequence[Line], options: ReadOptions) -> ColumnLayout:
    return ColumnLayout.of(source, ["" if line.reason else line.text for line in head], options)


def _sentence(
    source: str, rows: list[list[str]], texts: list[Line], layout: ColumnLayout, tag: int | None
) -> Record:
    """A sentence from its rows, and the lines that they are from."""
    for row, (number, text, reason) in zip(rows, texts, strict=True):
        problem = reason or layout.problem(row, text)
        if problem:
            return rejected(Record(source, number, text), problem)
    first = texts[0].number
    if len(rows) > MAX_ROWS:
        reason = f"no blank line in {MAX_ROWS:,} rows; end each sentence with one"
        return rejected(Record(source, first, texts[0].text), reason)
    words = tuple([row[layout.word] for row in rows])
    tags = None if tag is None else tuple([row[tag] for row in rows])
    return Record(source, first, words, tags=tags, lines=range(first, first + len(rows)))


def write_conll(path: str | Path, sentences: Iterable[Sentence], *columns: Iterable[Sequence[str]]) -> None:
    """Writes words and any number of columns beside them, separated by spaces.

    White space inside a word or tag, and an empty word, are written as `_`. `-DOCSTART-` rows are
    written if there is more than one document.

    Args:
        path: the file, replaced in one step.
        sentences: the sentences; their own tags are written only if given as a column.
        columns: for each column, a sequence of tags for each sentence.

    Raises:
        ValueError: a column has more or fewer sentences or tags than there are sentences or words.
    """
    rows = list(zip(sentences, *columns, strict=True))
    several = len({sentence.document for sentence, *_ in rows}) > 1
    document = None
    with replacing_text(path) as file:
        for sentence, *beside in rows:
            if several and sentence.document != document:
                document = sentence.document
                file.write(" ".join([DOCSTART] + [OUTSIDE] * len(columns)) + "\n\n")
            for cells in zip(sentence.words, *beside, strict=True):
                file.write(" ".join(UNWRITABLE.sub("_", cell) for cell in cells) + "\n")
            file.write("\n")
