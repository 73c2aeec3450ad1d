"""Reads and writes CoNLL columns; every error says file:line."""

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path

from ner_lightning.data.readers.column_cells import DOCEND, DOCSTART, cells_of, starts_document
from ner_lightning.data.readers.column_layout import ColumnLayout
from ner_lightning.data.readers.column_rivals import Rivals
from ner_lightning.data.readers.read_options import Opened, ReadOptions
from ner_lightning.data.readers.record import Record, rejected
from ner_lightning.data.readers.text_lines import Line, Paragraph, paragraphs
from ner_lightning.data.schemes import OUTSIDE
from ner_lightning.data.sentence import Sentence
from ner_lightning.system.atomic import replacing_text
from ner_lightning.system.progress import stage

UNWRITABLE = re.compile(r"^$|[ \t\r\n]+")
HEAD = 1000  # lines by which the layout is recognised
MAX_ROWS = 100_000  # of a sentence


def read_columns(opened: Opened, options: ReadOptions) -> Iterator[Record]:
    """Reads columns separated by spaces or tabs, with a blank line after each sentence.

    A sentence ends where a column of documents that is named changes, too.
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
    read = paragraphs(opened.file)
    head: list[Line | Paragraph] = []
    texts: list[str] = []
    for item in read:
        head.append(item)
        texts += [""] * (item.number - 1 - len(texts))  # blank lines that are not in a paragraph
        texts += [""] if isinstance(item, Line) and item.reason else item.text.split("\n")
        if len(texts) >= HEAD:
            break
    layout = ColumnLayout.of(opened.source, texts, options)
    rivals = Rivals.of(layout, options)
    documents, starts, is_said = 0, False, False
    for group in _groups(chain(head, read), layout):
        if group is None:
            documents, starts = documents + 1, True
            continue
        record = _sentence(opened.source, group, layout, rivals)
        if not (is_said or record.reason):
            stage(f"{opened.source}: {layout.describe(tagged=options.tagged)}.")
            is_said = True
        yield record._replace(document=(documents, record.document), starts_document=starts)
        starts = False
    rivals.check(f"{opened.source}:{layout.line}")


def _groups(
    read: Iterable[Line | Paragraph], layout: ColumnLayout
) -> Iterator[Paragraph | list[Line] | None]:
    """The rows of each sentence, without comments before it; None where a document begins."""
    rows: list[Line] = []
    for item in chain(read, (Line(0, ""),)):
        if isinstance(item, Paragraph) and item.number > layout.header and _is_whole(item.text, layout):
            yield item
            continue
        # As the paragraph ends at an empty line, so do its lines.
        for line in chain(item.lines(), (Line(0, ""),)) if isinstance(item, Paragraph) else (item,):
            number, text, reason = line
            begins = DOCSTART in text and cells_of(text, tabs=layout.tabs)[0] == DOCSTART
            ends = begins or text.startswith(DOCEND)
            if reason or (text and not ends and number != layout.header and not text.isspace()):
                if rows and not reason and layout.is_other_document(rows[0].text, text):
                    yield rows
                    rows = []
                if rows or reason or text.lstrip()[0] != "#" or not layout.is_comment(text):
                    rows += [line] if len(rows) <= MAX_ROWS else []
                elif starts_document(text):
                    yield None
                continue
            if rows:
                yield rows
                rows = []
            if begins:
                yield None


def _is_whole(text: str, layout: ColumnLayout) -> bool:
    """Whether lines are rows without anything odd, of one sentence."""
    return layout.is_plain(text) and layout.is_one_document(text)


def _sentence(source: str, group: Paragraph | Sequence[Line], layout: ColumnLayout, rivals: Rivals) -> Record:
    """A sentence from its rows."""
    if isinstance(group, Paragraph):
        first, cells = group.number, layout.plain_cells(group.text)
    else:
        first, cells = group[0].number, []
        for number, text, reason in group:
            problem = reason or layout.problem(text)
            if problem:
                return rejected(Record(source, number, text), problem)
            cells += cells_of(text, tabs=layout.tabs)
    width = layout.width
    count = len(cells) // width
    if count > MAX_ROWS:
        reason = f"no blank line in {MAX_ROWS:,} rows; end each sentence with one"
        return rejected(Record(source, first, " ".join(cells[:width])), reason)
    tags = None if rivals.tag is None else tuple(cells[rivals.tag :: width])
    for column, met in rivals.cells.items():
        met.update(cells[column::width])
    document = None if layout.document is None else cells[layout.document]
    lines = range(first, first + count)
    words = tuple(cells[layout.word :: width])
    return Record(source, first, words, tags=tags, document=document, lines=lines)


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
