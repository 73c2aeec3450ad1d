"""Records from text, JSONL, CSV, Parquet and CoNLL files, one at a time; no torch in here.

What cannot be read is told in its place, so that whoever reads goes on or stops.
"""

import csv
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import TextIOWrapper
from itertools import chain, islice
from pathlib import Path
from typing import Any, BinaryIO

from ner_lightning.data.readers.column_layout import DOCSTART, ColumnLayout, columns_of, holds_columns
from ner_lightning.data.readers.filetype import HEAD as FIRST_BYTES
from ner_lightning.data.readers.filetype import not_text
from ner_lightning.data.readers.jsonl import SURROGATE, read_object
from ner_lightning.data.sentence import DataError
from ner_lightning.errors import UserError
from ner_lightning.inference.io import formats
from ner_lightning.inference.io.records import LONGEST, Record, bad, checked, lines, not_blank, texts, whole
from ner_lightning.system.progress import stage

STANDARD_INPUT = "-"
MOST_ROWS = 100_000  # in a sentence of CoNLL columns
HEAD = 1000  # lines by which CoNLL columns and their layout are recognised
_DOCUMENT = "document"  # field of JSONL
_OTHER_WORDS = ("tokens", "words")  # fields of JSONL that serve where there is no `text`


@dataclass(frozen=True)
class Inputs:
    """Where records come from.

    Attributes:
        address: a file, a folder of files, or `-` for standard input.
        format: one of `formats.INPUTS`; None goes by each file's suffix, and takes standard input and files
            without one as lines of text. Lines of words with a tag each are then read as CoNLL.
        field: field of JSONL, column of CSV or Parquet with a text or a list of words.
        id_field: field or column that is handed on.
        word_column: column of words in CoNLL files; None goes by `data.columns.ColumnLayout`.
        whole_files: a .txt file is one text; otherwise each line is one.
    """

    address: str
    format: str | None = None
    field: str = "text"
    id_field: str = "id"
    word_column: int | None = None
    whole_files: bool = False

    def files(self) -> list[Path]:
        """The files, in order of their names; none for standard input.

        Raises:
            UserError: there is no such file or folder, or nothing in it that can be read.
        """
        path = Path(self.address)
        if self.address == STANDARD_INPUT:
            return []
        if not path.is_dir():
            if not path.exists():
                raise DataError(f"{path}: cannot be read: No such file or directory; name a file")
            if path.is_file() and path.suffix.lower() not in ("", *formats.READ) and self.format is None:
                with path.open("rb") as file:
                    _check_text(file, str(path))
                raise UserError(
                    f"--input {path}: {path.suffix} is none of {', '.join(formats.READ)};\n"
                    f"say what it holds with --from ({', '.join(formats.INPUTS)})"
                )
            return [path]
        known = (file for file in path.rglob("*") if self.format or file.suffix.lower() in formats.READ)
        found = sorted(file for file in known if file.is_file() and not _hidden(file.relative_to(path)))
        if not found:
            raise UserError(f"--input {path}: no file in this folder ends in {', '.join(formats.READ)}")
        return found

    def read(self, opened: Callable[[BinaryIO], object] = lambda file: None) -> Iterator[Record]:
        """Reads all files, one after the other.

        Args:
            opened: is told of each file that is opened.

        Raises:
            UserError: a file as a whole cannot be read.
        """
        if self.address == STANDARD_INPUT:
            yield from self._records(sys.stdin.buffer, STANDARD_INPUT, self.format or "txt")
        for path in self.files():
            name = path.relative_to(self.address) if Path(self.address).is_dir() else path
            try:
                with path.open("rb") as file:
                    opened(file)
                    format = self.format or formats.READ.get(path.suffix.lower(), "txt")
                    yield from self._records(file, str(name), format)
            except OSError as error:
                if error.filename != str(path):
                    raise  # it is another file that failed
                raise DataError(f"{path}: cannot be read: {error.strerror}; name a file") from None

    def _records(self, file: BinaryIO, source: str, format: str) -> Iterator[Record]:
        if format == "parquet":
            return self._parquet(file, source)
        _check_text(file, source)
        if format == "jsonl":
            return self._jsonl(file, source)
        if format == "csv":
            return self._csv(file, source)
        if format == "conll":
            return _conll(lines(file, source), source, self.word_column)
        if self.whole_files:
            return whole(file, source)
        return texts(file, source) if self.format else self._texts(file, source)

    def _texts(self, file: BinaryIO, source: str) -> Iterator[Record]:
        """Lines of text, unless they are columns."""
        found = lines(file, source)
        head = list(islice(found, HEAD))
        everything = chain(head, found)
        if not holds_columns(str(line.content) for line in head):
            return filter(not_blank, everything)
        stage(f"{source} holds words with a tag each, and is read as CoNLL columns (--from txt: as text).")
        return _conll(everything, source, self.word_column)

    def _jsonl(self, file: BinaryIO, source: str) -> Iterator[Record]:
        before: object = object()  # nothing that a row can hold
        for line in lines(file, source):
            if line.reason or not str(line.content).strip():
                if line.reason:
                    yield line
                continue
            try:
                row = read_object(str(line.content))
                content = self._content(row)
            except UserError as error:
                yield bad(line, str(error))
                continue
            # As in training data, rows of words with one `document`, or all with none, are of one document.
            opens = isinstance(content, str) or row.get(_DOCUMENT) != before
            before = row.get(_DOCUMENT)
            yield line._replace(content=content, id=row.get(self.id_field), opens=opens)

    def _content(self, row: dict[str, Any]) -> str | tuple[str, ...]:
        names = (self.field, *(_OTHER_WORDS if self.field == "text" else ()))
        name = next((name for name in names if name in row), None)
        if name is None:
            found = ", ".join(row) or "none"
            raise UserError(f"no field {self.field!r}; name another one with --field (fields: {found})")
        return checked(row[name], f"field {name!r}")

    def _csv(self, file: BinaryIO, source: str) -> Iterator[Record]:
        csv.field_size_limit(LONGEST)
        text = TextIOWrapper(file, encoding="utf-8-sig", errors="surrogateescape", newline="")
        rows = csv.reader(text, strict=True)
        try:
            header = next(rows, [])
        except csv.Error as error:
            raise DataError(f"{source}:1: not CSV: {error}") from None
        _check_column(self.field, header, f"{source}:1")
        place, id_place = header.index(self.field), _place(self.id_field, header)
        while True:
            begin = rows.line_num + 1
            try:
                row = next(rows, None)
            except csv.Error as error:
                yield Record(source, begin, reason=f"not CSV: {error}")
                continue
            if row is None:
                text.detach()
                return
            record = Record(source, begin, ",".join(row), opens=True)
            if row and len(row) != len(header):
                yield bad(record, f"{len(row)} columns where the header has {len(header)}")
            elif row and SURROGATE.search(str(record.content)):
                yield bad(record, "bytes that are not UTF-8")
            elif row:
                yield record._replace(content=row[place], id=None if id_place is None else row[id_place])

    def _parquet(self, file: BinaryIO, source: str) -> Iterator[Record]:
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            table = pq.ParquetFile(file)
            _check_column(self.field, table.schema_arrow.names, source)
            columns = [name for name in (self.field, self.id_field) if name in table.schema_arrow.names]
            line = 0
            for batch in table.iter_batches(batch_size=256, columns=list(dict.fromkeys(columns))):
                for row in batch.to_pylist():
                    line += 1
                    record = Record(source, line, id=row.get(self.id_field), opens=True)
                    try:
                        content = checked(row[self.field], f"column {self.field!r}")
                    except UserError as error:
                        yield bad(record, str(error))
                    else:
                        yield record._replace(content=content)
        except pa.ArrowException as error:
            raise DataError(f"{source}: not whole Parquet: {str(error).splitlines()[0]}") from None


def _check_text(file: BinaryIO, source: str) -> None:
    """Checks that a file is none that is known to hold something other than text.

    Raises:
        DataError: it is one; the message says of what kind.
    """
    if file.seekable():
        at = file.tell()
        head = file.read(FIRST_BYTES)
        file.seek(at)
    else:
        peek: Callable[[int], bytes] = getattr(file, "peek", lambda size: b"")
        head = peek(FIRST_BYTES)
    other = not_text(head)
    if other is not None:
        raise DataError(f"{source}:1: this is {other}")


def _conll(found: Iterator[Record], source: str, word_column: int | None) -> Iterator[Record]:
    head = list(islice(found, HEAD))
    rows = [[] if line.reason else columns_of(str(line.content)) for line in head]
    layout = ColumnLayout.of(source, rows, word_column, tagged=False)
    held: list[Record] = []
    opens = False
    for line in chain(head, found, (None,)):
        row = [] if line is None else columns_of(str(line.content))
        starts = row[:1] == [DOCSTART]
        if line is not None and row and not starts and len(held) <= MOST_ROWS:
            held.append(line)
            continue
        if held:
            record = _sentence(held, layout)
            if record is not None:
                yield record._replace(opens=opens)
                opens = False
            held = []
        opens = opens or starts


def _sentence(rows: list[Record], layout: ColumnLayout) -> Record | None:
    """A sentence of CoNLL rows; None if they are comments alone."""
    cells: list[str] = []
    first: Record | None = None
    for row in rows:
        columns = columns_of(str(row.content))
        try:
            if row.reason:
                raise UserError(row.reason)
            if first is None and layout.is_comment(columns):
                continue
            first = first or row
            cells.append(layout.cells(columns, str(row.content))[0])
            if len(cells) > MOST_ROWS:
                raise UserError(f"no blank line in {MOST_ROWS:,} rows; end each sentence with one")
        except UserError as error:
            return bad(row, str(error))
    return None if first is None else first._replace(content=tuple(cells))


def _check_column(name: str, columns: list[str], where: str) -> None:
    if name not in columns:
        found = ", ".join(columns) or "none"
        raise DataError(f"{where}: no column {name!r}; name another one with --field (columns: {found})")


def _place(name: str, columns: list[str]) -> int | None:
    return columns.index(name) if name in columns else None


def _hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)
