"""TableLayout: which columns of a table hold words, texts, tags and sentences, by header and cells."""

import re
from collections.abc import Sequence
from typing import NamedTuple

from ner_lightning.data.readers.read_options import ReadOptions
from ner_lightning.data.sentence import DataError

# Names that are used if no column is asked for; case is ignored.
WORDS = ("word", "token", "words", "tokens", "form")
_ONE_WORD = ("word", "token", "form")  # the names of a column that has no texts
TAGS = ("tag", "label", "ner_tag", "tags", "labels", "ner_tags", "ner", "entity")
SENTENCES = ("sentence", "sentence_id", "sentence #", "sentence_idx", "sent_id")
DOCUMENTS = ("document", "document_id", "document #", "doc_id", "doc")
TEXTS = ("text", "content", "data")
PREDICT = " (predict: --words_column)"  # how predict names the column of words
_STRING = re.compile(r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"|-?\d+")
_ESCAPE = re.compile(r"\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U000([0-9a-fA-F]{5})|(.))", re.DOTALL)
_SIGNS = {"n": "\n", "t": "\t", "r": "\r", "f": "\f", "v": "\v", "a": "\a", "b": "\b", "0": "\0"}
_PAIR = re.compile(r"[\ud800-\udbff][\udc00-\udfff]")  # how JSON writes an emoji


class TableLayout(NamedTuple):
    """What the columns of a table hold.

    Attributes:
        kind: whether a row is a `word`, a `text`, or a `list` of words.
        content: index of the column with it.
        tags: index of the column of tags; None if there is none or none is read.
        id: index of the column that is copied to predictions; None if there is none.
        document: index of the column that tells documents apart; None if there is none.
        has_lists: whether the words of a row are written as a list; otherwise between spaces.
        borders: indices of the columns that change where a sentence ends.
        has_sentences: whether one of these tells sentences apart; otherwise blank rows do, too.
    """

    kind: str
    content: int
    tags: int | None
    id: int | None
    document: int | None
    has_lists: bool
    borders: tuple[int, ...]
    has_sentences: bool = False

    @classmethod
    def of(
        cls, where: str, header: Sequence[str], head: Sequence[Sequence[str]], options: ReadOptions
    ) -> "TableLayout":
        """Recognises the columns by the header and the first rows.

        Raises:
            DataError: there is no column with words or a text, or none with tags where they are wanted.
        """
        _check_certain(where, header, head, options)
        content = _column(where, header, options.words_column, "words", (*WORDS, *TEXTS))
        assert content is not None, "a column that is needed is found or refused"
        document = _column(where, header, options.document_column, "document", DOCUMENTS, needed=False)
        identity = _find(header, options.id_column)
        cells = [row[content] for row in head if len(row) == len(header) and row[content]]
        given = _find(header, *(TAGS if options.tags_column is None else (options.tags_column,)))
        sentence = _find(header, *SENTENCES)
        is_word = header[content].strip().lower() in _ONE_WORD and sentence is not None
        lists = given if given is not None and (options.tagged or is_word) else content
        if _mostly_lists([row[lists] for row in head if len(row) == len(header)]):
            kind = "list"
        else:
            spaced = sum(len(cell.split()) > 1 for cell in cells)
            is_text = header[content].strip().lower() in TEXTS or (2 * spaced > len(cells) and not is_word)
            marks = _find(header, *SENTENCES, *TAGS) is not None or [] in map(filled_cells, head)
            marks = marks or (document is not None and header[content].strip().lower() in WORDS)
            marks = marks or (options.tagged and options.tags_column is not None)
            named = options.words_column is None or header[content].strip().lower() in WORDS
            kind = "word" if not is_text and (marks or (named and options.tagged)) else "text"
        if kind == "text" and options.tagged:
            raise DataError(
                f"{where}: a row is a text (column {header[content]}), without a tag for each word;\n"
                "CSV needs a word per row, with columns such as sentence, word and tag"
            )
        tags = _column(where, header, options.tags_column, "tags", TAGS) if options.tagged else None
        borders = tuple(i for i in (sentence, document) if i is not None and i not in (content, tags))
        if kind == "word" and not borders and [] not in map(filled_cells, head):
            raise DataError(
                f"{where}: nothing tells sentences apart (columns: {', '.join(header)});\n"
                f"add a column such as {SENTENCES[0]}, or a blank line after each sentence"
            )
        if kind != "word":
            return cls(kind, content, tags, identity, document, _mostly_lists(cells), ())
        found = sentence in borders
        return cls(kind, content, tags, identity, document, _mostly_lists(cells), borders, found)


def filled_cells(row: Sequence[str]) -> list[str]:
    """The cells of a row that are not empty."""
    return [cell for cell in row if cell]


def _mostly_lists(cells: Sequence[str]) -> bool:
    """Whether half of the cells that are not empty are lists; the others are errors in the file."""
    filled = [cell for cell in cells if cell]
    return 2 * sum(list_in(cell) is not None for cell in filled) >= len(filled) > 0


def list_in(cell: str) -> list[str | int] | None:
    """A list as Python or numpy write it: strings and numbers, with or without commas; None if it is none."""
    cell = cell.strip()
    if not (cell.startswith("[") and cell.endswith("]")):
        return None
    found: list[str | int] = []
    position, end = 1, len(cell) - 1
    while position < end:
        if cell[position] in ", \n\t":
            position += 1
            continue
        match = _STRING.match(cell, position, end)
        if match is None or cell[match.end()] not in ", \n\t]":
            return None
        text = match[0]
        found.append(_unescaped(text[1:-1]) if text[0] in "'\"" else int(text))
        position = match.end()
    return found


def _unescaped(text: str) -> str:
    """The text of a string of Python or JSON."""
    if "\\" not in text:
        return text
    plain = _ESCAPE.sub(lambda m: chr(int(code, 16)) if (code := m[1] or m[2] or m[3]) else _sign(m[4]), text)
    return _PAIR.sub(lambda m: m[0].encode("utf-16", "surrogatepass").decode("utf-16"), plain)


def _sign(letter: str) -> str:
    """What a letter after a backslash stands for; in an unknown pair, the backslash is itself."""
    return _SIGNS.get(letter, letter if letter in "'\"\\/" else f"\\{letter}")


def _column(
    where: str,
    header: Sequence[str],
    asked: str | None,
    what: str,
    names: Sequence[str],
    *,
    needed: bool = True,
) -> int | None:
    """Index of a column: the one that is asked for, or the first that has one of some names.

    Raises:
        DataError: there is none, and it is asked for or needed.
    """
    index = _find(header, *(names if asked is None else (asked,)))
    if index is None and asked is not None and asked.isdecimal() and int(asked) < len(header):
        return int(asked)
    if index is None and (needed or asked is not None):
        wanted, present = asked or " or ".join(names), ", ".join(header) or "none"
        raise DataError(
            f"{where}: no column {wanted} (columns: {present});\n"
            f"name it as data.files.{what}_column" + (PREDICT if what == "words" else "")
        )
    return index


def _check_certain(
    where: str, header: Sequence[str], head: Sequence[Sequence[str]], options: ReadOptions
) -> None:
    """Checks that no two columns may hold the words, nor the tags.

    Raises:
        DataError: two have known names and other cells than each other, and neither is asked for.
    """
    known = [cell.strip().lower() for cell in header]
    rows = [row for row in head if len(row) == len(header)]
    asked: dict[str, tuple[str | None, Sequence[str]]] = {"words": (options.words_column, WORDS)}
    if options.tagged:
        asked["tags"] = (options.tags_column, TAGS)
    for what, (name, names) in asked.items():
        found = [place for place, cell in enumerate(known) if cell in names]
        if name is None and any(row[place] != row[found[0]] for place in found for row in rows):
            columns = " and ".join(header[place] for place in found)
            raise DataError(
                f"{where}: the columns {columns} may both hold the {what};\n"
                f"name one as data.files.{what}_column" + (PREDICT if what == "words" else "")
            )


def _find(header: Sequence[str], *names: str) -> int | None:
    """Index of the first of the named columns that is present, whatever its case."""
    known = [cell.strip().lower() for cell in header]
    return next((known.index(name.lower()) for name in names if name.lower() in known), None)
