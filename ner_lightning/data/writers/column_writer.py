"""Writes annotated sentences as CoNLL columns that are read back as they were, or says what is changed."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from ner_lightning.data.readers.column_cells import DOCEND, DOCSTART
from ner_lightning.data.readers.column_layout import ColumnLayout
from ner_lightning.data.readers.columns import HEAD
from ner_lightning.data.readers.filetype import SAMPLE, not_text
from ner_lightning.data.readers.read_options import ReadOptions
from ner_lightning.data.readers.recognition import recognise
from ner_lightning.data.schemes import OUTSIDE
from ner_lightning.data.sentence import Sentence
from ner_lightning.errors import UserError
from ner_lightning.system.atomic import replacing_text
from ner_lightning.system.progress import warn

_BREAKS = str.maketrans(dict.fromkeys("\t\r\n", "_"))
_MARK = "\ufeff"  # a byte order mark, which readers leave out at the start of a line
_HEADER = ("word", "tag")


def write_columns(path: Path, sentences: Sequence[Sentence]) -> None:
    """Writes words and tags: between spaces, or between tabs in .tsv and if a word or type has a space.

    A header is written above columns that could be mistaken for others, such as words that are numbers.
    """
    cells: set[str] = set()
    for sentence in sentences:
        cells.update(sentence.words)
        cells.update(sentence.tags or (OUTSIDE,))
    written = {cell: cell_of(cell) for cell in cells}
    between = "\t" if is_tsv(path) or any(" " in cell for cell in cells) else " "
    lines = list(_lines(sentences, between, written))
    has_header = not _is_certain(path, lines, between)
    if has_header:
        warn(f"{path}: begins with a header, because its columns could be mistaken without one.")
    with replacing_text(path) as file:
        if has_header:
            file.write(between.join(_HEADER) + "\n\n")
        file.writelines(f"{line}\n" for line in lines)
    odd = {cell for cell in cells if written[cell] != cell}
    changed = sum(word in odd or tag in odd for s in sentences for word, tag in pairs(s)) if odd else 0
    if changed:
        warn(
            f"{path}: tabs, line breaks, outer spaces, byte order marks and {DOCSTART} cannot be "
            f"written in columns: {changed:,} words are changed."
        )


def is_tsv(path: Path) -> bool:
    """Whether the name of a file says that tabs separate its columns."""
    return path.suffix.lower() == ".tsv"


def pairs(sentence: Sentence) -> Iterator[tuple[str, str]]:
    """The words of a sentence with their tags, all O if it has none."""
    return zip(sentence.words, sentence.tags or (OUTSIDE,) * len(sentence.words), strict=True)


def has_documents(sentences: Sequence[Sentence]) -> bool:
    """Whether there are several documents."""
    return len({sentence.document for sentence in sentences}) > 1


def _lines(sentences: Sequence[Sentence], between: str, written: Mapping[str, str]) -> Iterator[str]:
    several, document = has_documents(sentences), None
    for sentence in sentences:
        if several and sentence.document != document:
            document = sentence.document
            yield f"{DOCSTART}{between}{OUTSIDE}"
            yield ""
        yield from [f"{written[word]}{between}{written[tag]}" for word, tag in pairs(sentence)]
        yield ""


def cell_of(text: str) -> str:
    """What is written of a word or tag between tabs."""
    cell = text.translate(_BREAKS).strip(" ")
    if cell.startswith(_MARK):
        cell = cell.lstrip(_MARK + " ")
    if cell == DOCSTART or cell.startswith(DOCEND):  # would end the sentence
        return cell.replace("-", "_").replace(" ", "_")
    return cell


def _is_certain(path: Path, lines: Sequence[str], between: str) -> bool:
    """Whether the columns are recognised as words and tags without a header."""
    head = "\n".join(lines)[:SAMPLE].encode()
    if not_text(head) or recognise(head, path, tagged=True) != "conll":
        return False
    try:
        layout = ColumnLayout.of(str(path), lines[:HEAD], ReadOptions())
    except UserError:
        return False
    return (layout.word, layout.tag, layout.width, layout.header, layout.tabs) == (
        0,
        1,
        2,
        0,
        between == "\t",
    )
