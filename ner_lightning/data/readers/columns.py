"""Reads and writes CoNLL columns; every error says file:line."""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from ner_lightning.data.readers.column_layout import DOCSTART, ColumnLayout, columns_of
from ner_lightning.data.schemes import OUTSIDE
from ner_lightning.data.sentence import DataError, Sentence, in_bio2, read_lines
from ner_lightning.errors import UserError
from ner_lightning.system.atomic import replacing_text

UNWRITABLE = re.compile(r"^$|[ \t\r\n]+")


def read_conll(
    path: str | Path,
    *,
    word_column: int | None = None,
    tag_column: int | None = None,
    tagged: bool = True,
) -> list[Sentence]:
    """Reads columns separated by spaces or tabs, with a blank line after each sentence.

    A row that begins with `-DOCSTART-` starts a document. A line that begins with `#` is a comment
    only where a sentence could begin and if it cannot be a row of data, because `#` and `#hashtag`
    are words as well.

    Args:
        path: a UTF-8 file; a byte order mark and CRLF are accepted.
        word_column: index of the column of words; negative ones count from the end. None takes the
            first, or the second if the first numbers the words of each sentence.
        tag_column: index of the column of tags, in any scheme. None takes the last, and rejects a file
            with two columns of entity tags.
        tagged: whether to read tags at all.

    Raises:
        DataError: the file is missing, empty, not UTF-8 or malformed.
    """
    lines = read_lines(path)
    rows = [columns_of(line) for line in lines]
    layout = ColumnLayout.of(path, rows, word_column, tag_column, tagged=tagged)
    sentences: list[Sentence] = []
    cells: list[tuple[str, str]] = []
    document = 0
    for number, row in enumerate([*rows, []], start=1):
        if row and row[0] != DOCSTART:
            try:
                if cells or not layout.is_comment(row):
                    cells.append(layout.cells(row, lines[number - 1]))
            except UserError as error:
                raise DataError(f"{path}:{number}: {error}") from None
            continue
        if cells:
            words, tags = zip(*cells, strict=True)
            sentences.append(Sentence(words, tags if tagged else None, document))
            cells = []
        # Only a document with a sentence counts, so that indices have no gaps.
        if row and sentences and sentences[-1].document == document:
            document += 1
    return in_bio2(path, sentences)


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
