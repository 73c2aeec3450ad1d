"""The input of `predict`: a file, a folder of files or standard input, read record by record; no torch."""

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import BytesIO
from itertools import chain, islice
from pathlib import Path
from typing import BinaryIO

from ner_lightning.data.readers import filetype
from ner_lightning.data.readers.column_layout import holds_columns
from ner_lightning.data.sentence import DataError
from ner_lightning.errors import UserError
from ner_lightning.inference.io import formats
from ner_lightning.inference.io.readers import HEAD, read_conll, read_csv, read_jsonl, read_parquet
from ner_lightning.inference.io.records import Record, is_not_blank, lines, whole_file
from ner_lightning.system.progress import stage

STANDARD_INPUT = "-"


@dataclass(frozen=True)
class Inputs:
    """Where records come from.

    Attributes:
        address: a file, a folder of files, or `-` for standard input.
        format: one of `formats.INPUTS`. None: by each file's suffix; standard input and files without a
            suffix hold lines of text, or CoNLL columns if their lines are words with a tag each.
        field: the field of JSONL, or column of CSV or Parquet, with a text or a list of words.
        id_field: the field or column that is copied to the output.
        word_column: the column of words in CoNLL files; None: found by `ColumnLayout`.
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
            UserError: there is no such file or folder, or it has no file that can be read.
        """
        path = Path(self.address)
        if self.address == STANDARD_INPUT:
            return []
        if path.is_dir():
            return self._files_of_folder(path)
        if not path.exists():
            raise DataError(f"{path}: cannot be read: No such file or directory; name a file")
        if path.is_file() and path.suffix.lower() not in ("", *formats.READ) and self.format is None:
            with path.open("rb") as file:
                _checked_head(file, str(path))
            raise UserError(
                f"--input {path}: {path.suffix} is none of {', '.join(formats.READ)};\n"
                f"give its format with --from ({', '.join(formats.INPUTS)})"
            )
        return [path]

    def _files_of_folder(self, folder: Path) -> list[Path]:
        files = [
            path
            for path in sorted(folder.rglob("*"))
            if (self.format or path.suffix.lower() in formats.READ)
            and path.is_file()
            and not any(part.startswith(".") for part in path.relative_to(folder).parts)
        ]
        if not files:
            raise UserError(f"--input {folder}: no file in this folder ends in {', '.join(formats.READ)}")
        return files

    def read(self, on_open: Callable[[BinaryIO], object] = lambda file: None) -> Iterator[Record]:
        """Reads all files, one after the other.

        Args:
            on_open: called with each file that is opened.

        Raises:
            UserError: a file as a whole cannot be read.
        """
        if self.address == STANDARD_INPUT:
            yield from self._records(sys.stdin.buffer, STANDARD_INPUT, self.format or "txt")
        for path in self.files():
            name = path.relative_to(self.address) if Path(self.address).is_dir() else path
            try:
                with path.open("rb") as file:
                    on_open(file)
                    format = self.format or formats.READ.get(path.suffix.lower(), "txt")
                    yield from self._records(file, str(name), format)
            except OSError as error:
                if error.filename != str(path):
                    raise  # another file failed, such as the output
                raise DataError(f"{path}: cannot be read: {error.strerror}; name a file") from None

    def _records(self, file: BinaryIO, source: str, format: str) -> Iterator[Record]:
        if format == "parquet":
            return read_parquet(file, source, self.field, self.id_field)
        file = _text(file, source)
        if format == "jsonl":
            return read_jsonl(file, source, self.field, self.id_field)
        if format == "csv":
            return read_csv(file, source, self.field, self.id_field)
        if format == "conll":
            return read_conll(lines(file, source), source, self.word_column)
        if self.whole_files:
            return whole_file(file, source)
        if self.format:
            return filter(is_not_blank, lines(file, source))
        return self._text_or_columns(file, source)

    def _text_or_columns(self, file: BinaryIO, source: str) -> Iterator[Record]:
        read = lines(file, source)
        head = list(islice(read, HEAD))
        everything = chain(head, read)
        if not holds_columns(str(line.content) for line in head):
            return filter(is_not_blank, everything)
        stage(f"{source} holds words with a tag each and is read as CoNLL columns (--from txt: as text).")
        return read_conll(everything, source, self.word_column)


def _text(file: BinaryIO, source: str) -> BinaryIO:
    """A file of text as UTF-8: itself, or the whole of it converted from UTF-16.

    Raises:
        DataError: it is in a known binary format, or no UTF-16 despite its mark.
    """
    if not filetype.is_utf16(_checked_head(file, source)):
        return file
    try:
        return BytesIO(filetype.in_utf8(file.read()))
    except UnicodeDecodeError as error:
        raise DataError(f"{source}:1: {filetype.broken_utf16(error)}") from None


def _checked_head(file: BinaryIO, source: str) -> bytes:
    """The first bytes of a file, which stay to be read.

    Raises:
        DataError: by them it is in a known binary format, which the message names.
    """
    if file.seekable():
        position = file.tell()
        head = file.read(filetype.HEAD)
        file.seek(position)
    else:
        peek: Callable[[int], bytes] = getattr(file, "peek", lambda size: b"")
        head = peek(filetype.HEAD)
    other = filetype.not_text(head)
    if other is not None:
        raise DataError(f"{source}:1: this is {other}")
    return head
