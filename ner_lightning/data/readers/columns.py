"""Reads and writes CoNLL columns; every error says file:line."""

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from operator import itemgetter
from pathlib import Path

from ner_lightning.data.readers.column_cells import DOCEND, DOCSTART, cells_of, starts_document
from ner_lightning.data.readers.column_layout import ColumnLayout
from ner_lightning.data.readers.column_rivals import Rivals
from ner_lightning.data.readers.read_options import Opened, ReadOptions
from ner_lightning.data.readers.record import Line, Record, lines, rejected
from ner_lightning.data.schemes import OUTSIDE
from ner_lightning.data.sentence import Sentence
from ner_lightning.system.atomic import replacing_text
from ner_lightning.system.progress import stage

UNWRITABLE = re.compile(r"^$|[ \t\r\n]+")
HEAD = 1000  # lines by which the layout is recognised
_REASON = itemgetter(Line._fields.index("reason"))
MAX_ROWS = 100_000  # of a sentence


def read_columns(opened: Opened, options: ReadOptions) -> Iterator[Record]:
    """Reads columns separated by spaces or tabs, with a blank line after each sentence.

    A row that begins with `-DOCSTART-` starts a document, and so does a comment `# newdoc`. A line that
    begins with `#` is a comment only where a sentence could begin and if it cannot be a row of data, because
    `#` and `#hashtag` are words as well. Columns are recognised by what is in them: see `column_layout`.

    Args:
        opened: the file.
        options: name columns, by number or by a header's name. The layout is recognised from the first
            `HEAD` lines; that no other column has tags is checked to the end.

    Raises:
        DataError: it is not certain which columns hold words and tags.
    """
    read = lines(opened.file)
    head = list(islice(read, HEAD))
    layout = ColumnLayout.of(opened.source, ["" if line.reason else line.text for line in head], options)
    rivals = Rivals.of(layout, options)

    documents, starts, is_said = 0, False, False
    rows: list[Line] = []
    for line in chain(head, read, (Line(0, ""),)):
        number, text, reason = line
        begins = DOCSTART in text and cells_of(text, tabs=layout.tabs)[0] == DOCSTART
        ends = begins or text.startswith(DOCEND)
        if reason or (text and not ends and number != layout.header and not text.isspace()):
            if rows or reason or text.lstrip()[0] != "#" or not layout.is_comment(text):
                if len(rows) <= MAX_ROWS:
                    rows.append(line)
            elif starts_document(text):
                documents, starts = documents + 1, True
            continue
        if rows:
            record = _sentence(opened.source, rows, layout, rivals)
            if not (is_said or record.reason):
                stage(f"{opened.source}: {layout.describe(tagged=options.tagged)}.")
                is_said = True
            yield record._replace(document=(documents, record.document), starts_document=starts)
            rows, starts = [], False
        if begins:
            documents, starts = documents + 1, True
    rivals.check(f"{opened.source}:{layout.line}")


def _sentence(source: str, lines: Sequence[Line], layout: ColumnLayout, rivals: Rivals) -> Record:
    """A sentence from the lines of its rows."""
    first = lines[0].number
    is_good = not any(map(_REASON, lines))
    rows = layout.rows([line.text for line in lines]) if is_good else None
    if rows is None:
        for number, text, reason in lines:
            problem = reason or layout.problem(text)
            if problem:
                return rejected(Record(source, number, text), problem)
        rows = [cells_of(line.text, tabs=layout.tabs) for line in lines]
    if len(rows) > MAX_ROWS:
        reason = f"no blank line in {MAX_ROWS:,} rows; end each sentence with one"
        return rejected(Record(source, first, lines[0].text), reason)
    words = tuple([row[layout.word] for row in rows])
    tags = None if rivals.tag is None else tuple([row[rivals.tag] for row in rows])
    for column, cells in rivals.cells.items():
        cells.update([row[column] for row in rows])
    document = None if layout.document is None else rows[0][layout.document]
    numbers = range(first, first + len(rows))
    return Record(source, first, words, tags=tags, document=document, lines=numbers)


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
