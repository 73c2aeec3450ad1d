"""TableLayout: which columns of a table hold words, texts, tags and sentences, by header and cells."""

import re
from collections.abc import Sequence
from typing import Literal, NamedTuple

from ner_lightning.data.readers.read_options import ReadOptions
from ner_lightning.data.readers.table_cells import filled_cells, hold_spans, mostly_lists
from ner_lightning.data.readers.table_names import (
    ENTITIES,
    ONE_WORD,
    SENTENCE,
    TAGS,
    TEXTS,
    WORDS,
    find,
    is_document,
    is_one_of,
    is_sentence,
)
from ner_lightning.data.sentence import DataError

PREDICT = " (predict: --words_column)"  # how predict names the column of words
_NEEDED = (
    f"CSV needs a word per row, with columns such as {SENTENCE}, word and tag, or a tag for each word "
    "between spaces,\nor beside the text a list of its entities in JSON, with start, end and label"
)
# What predict writes as CSV: an entity per row, or with --wide a text with a column for each type.
PREDICTED = frozenset(("text", "label", "start", "end", "word_start", "word_end", "score"))
_WIDE = ["file", "line", "id", "text"]
_READ_AGAIN = (
    "let predict write .jsonl, .parquet, .conll or .spacy, which can be read, or --to doccano, prodigy or "
    "labelstudio"
)
Kind = Literal["word", "text", "list", "sentence", "span"]
_LIST = re.compile(r"\s*\[\s*['\"]")
_SAID = {"span": "texts"}


class TableLayout(NamedTuple):
    """What the columns of a table hold.

    Attributes:
        kind: whether a row is a `word`, a `text`, a `list` of words, a `sentence` with spaces between its
            words and between their tags, or a text with a list of `span`s.
        content: index of the column with it.
        tags: index of the column of tags or spans; None if there is none or none is read.
        id: index of the column that is copied to predictions; None if there is none.
        document: index of the column that tells documents apart; None if there is none.
        has_lists: whether the words of a row are written as a list; otherwise between spaces.
        borders: indices of the columns that change where a sentence ends.
        has_sentences: whether one of these tells sentences apart; otherwise blank rows do, too.
    """

    kind: Kind
    content: int
    tags: int | None
    id: int | None
    document: int | None
    has_lists: bool
    borders: tuple[int, ...] = ()
    has_sentences: bool = False

    @classmethod
    def of(
        cls, where: str, header: Sequence[str], head: Sequence[Sequence[str]], options: ReadOptions
    ) -> "TableLayout":
        """Recognises the columns by the header and the first rows.

        Raises:
            DataError: there is no column with words or a text, or none with tags where they are wanted.
        """
        if options.words_column is None:
            _check_output(where, header, options)
        rows = [row for row in head if len(row) == len(header)]
        _check_certain(where, header, rows, options)
        content = _column(where, header, options.words_column, "words", (*WORDS, *TEXTS))
        assert content is not None, "a column that is needed is found or refused"
        named = next((place for place, name in enumerate(header) if is_document(name)), None)
        document = named
        if options.document_column is not None:
            document = _column(where, header, options.document_column, "document", ())
        kind, tags = _kind(header, head, content, document, options)
        if kind == "text" and options.tagged:
            kind = _with_spaces(where, header, rows, content, options)
        if options.tagged and tags is None:
            tags = _column(where, header, options.tags_column, "tags", TAGS)
        sentences = tuple(place for place, name in enumerate(header) if is_sentence(name))
        borders = tuple(i for i in (*sentences, document) if i is not None and i not in (content, tags))
        if kind == "word" and not borders and [] not in map(filled_cells, head):
            raise DataError(
                f"{where}: nothing tells sentences apart (columns: {', '.join(header)});\n"
                f"add a column such as {SENTENCE}, or a blank line after each sentence"
            )
        identity = find(header, options.id_column)
        layout = cls(kind, content, tags, identity, document, mostly_lists([row[content] for row in rows]))
        if kind != "word":
            return layout
        return layout._replace(borders=borders, has_sentences=not {*sentences}.isdisjoint(borders))

    def describe(self, header: Sequence[str]) -> str:
        """How the table is read, for the user."""
        parts = f"{_SAID.get(self.kind, f'{self.kind}s')} in column {header[self.content]}"
        if self.tags is not None:
            parts += f", {'entities' if self.kind == 'span' else 'tags'} in column {header[self.tags]}"
        if self.kind != "word":
            return parts
        ends = [] if self.has_sentences else ["at a blank row"]
        if self.borders:
            ends.append(f"where column {' or '.join(header[place] for place in self.borders)} changes")
        return f"{parts}; a sentence ends {' or '.join(ends)}"


def _check_output(where: str, header: Sequence[str], options: ReadOptions) -> None:
    """Checks that a table is none that predict wrote from which texts and entities cannot be told.

    Raises:
        DataError: it is.
    """
    is_wide = list(header[: len(_WIDE)]) == _WIDE and find(header, *TAGS, *ENTITIES) is None
    if PREDICTED.issubset(header):
        what = "an entity in each row, as predict writes .csv, and not the texts that they are in"
    elif is_wide and options.tagged and options.tags_column is None:
        what = "a column for each entity type, as predict --wide writes, and no offsets of entities"
    else:
        return
    raise DataError(f"{where}: this table has {what};\n{_READ_AGAIN}")


def _kind(
    header: Sequence[str],
    head: Sequence[Sequence[str]],
    content: int,
    document: int | None,
    options: ReadOptions,
) -> tuple[Kind, int | None]:
    """What a row is, and the column of its spans if it has any."""
    rows = [row for row in head if len(row) == len(header)]
    cells = filled_cells([row[content] for row in rows])
    has_sentences = any(map(is_sentence, header))
    asked = options.tags_column
    given = find(header, *(TAGS if asked is None else (asked,)))
    if options.tagged and not mostly_lists(cells):
        named = [i for i, name in enumerate(header) if is_one_of(name, (*TAGS, *ENTITIES))]
        for place in named if asked is None else [given]:
            if place is not None and hold_spans([row[place] for row in rows]):
                return "span", place
    is_word = is_one_of(header[content], ONE_WORD) and has_sentences
    lists = given if given is not None and (options.tagged or is_word) else content
    if mostly_lists([row[lists] for row in rows]):
        return "list", None
    spaced = sum(len(cell.split()) > 1 for cell in cells)
    is_words = is_one_of(header[content], WORDS)
    if is_one_of(header[content], TEXTS) or (2 * spaced > len(cells) and not is_word):
        return "text", None
    marks = has_sentences or find(header, *TAGS) is not None or [] in map(filled_cells, head)
    marks = marks or (document is not None and is_words) or (options.tagged and asked is not None)
    marks = marks or (options.tagged and (is_words or options.words_column is None))
    return "word" if marks else "text", None


def _with_spaces(
    where: str, header: Sequence[str], rows: Sequence[Sequence[str]], content: int, options: ReadOptions
) -> Kind:
    """The kind of rows with a text, most of which have as many tags between spaces as words.

    Raises:
        DataError: most have not.
    """
    tags = find(header, *(TAGS if options.tags_column is None else (options.tags_column,)))
    cells = [(row[content], "" if tags is None else row[tags]) for row in rows]
    lists = next((cell for pair in cells for cell in pair if _LIST.match(cell)), None)
    if lists is not None:
        raise DataError(
            f"{where}: there are lists that cannot be read, such as {lists!r:.40};\n"
            "export them as JSON, or as Python writes them; numpy leaves out the middle of a long one"
        )
    counts = [] if tags is None else [(len(text.split()), len(cell.split())) for text, cell in cells]
    same = [words for words, others in counts if words == others]
    if 2 * len(same) >= len(counts) and max(same, default=0) > 1:
        return "sentence"
    if counts and set(counts) == {(1, 1)}:
        raise DataError(
            f"{where}: column {header[content]} has one word in each row, but the name of a text;\n"
            "name it word in the header"
        )
    without = "without a tag for each word"
    other = next((pair for pair in counts if pair[0] != pair[1]), None)
    if tags is not None and other is not None:
        without = (
            f"and column {header[tags]} has no tag for each of its words "
            f"(words: {other[0]:,}, tags: {other[1]:,})"
        )
    raise DataError(f"{where}: a row is a text (column {header[content]}), {without};\n{_NEEDED}")


def _column(
    where: str, header: Sequence[str], asked: str | None, what: str, names: Sequence[str]
) -> int | None:
    """Index of a column: the one that is asked for, or the first that has one of some names.

    Raises:
        DataError: there is none.
    """
    index = find(header, *(names if asked is None else (asked,)))
    if index is None and asked is not None and asked.isdecimal() and int(asked) < len(header):
        return int(asked)
    if index is None:
        wanted, present = asked or " or ".join(names), ", ".join(header) or "none"
        raise DataError(
            f"{where}: no column {wanted} (columns: {present});\n"
            f"name it as data.files.{what}_column" + (PREDICT if what == "words" else "")
        )
    return index


def _check_certain(
    where: str, header: Sequence[str], rows: Sequence[Sequence[str]], options: ReadOptions
) -> None:
    """Checks that no two columns may hold the words, nor the tags.

    Raises:
        DataError: two have known names and other cells than each other, and neither is asked for.
    """
    asked: dict[str, tuple[str | None, Sequence[str]]] = {"words": (options.words_column, WORDS)}
    if options.tagged:
        asked["tags"] = (options.tags_column, TAGS)
    for what, (name, names) in asked.items():
        found = [place for place, cell in enumerate(header) if is_one_of(cell, names)]
        if name is None and any(row[place] != row[found[0]] for place in found for row in rows):
            columns = " and ".join(header[place] for place in found)
            raise DataError(
                f"{where}: the columns {columns} may both hold the {what};\n"
                f"name one as data.files.{what}_column" + (PREDICT if what == "words" else "")
            )
