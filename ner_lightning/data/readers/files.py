"""Reads records from a file, a folder or standard input, whatever the format; no torch."""

import io
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import BinaryIO

from ner_lightning.data.readers import arrow, brat, filetype, prepared
from ner_lightning.data.readers.checked_words import checked
from ner_lightning.data.readers.folder_files import is_read, say_left_out, say_unannotated, unannotated
from ner_lightning.data.readers.formats import FORMATS, SUFFIXES
from ner_lightning.data.readers.read_options import COLUMN_OPTIONS, Opened, ReadOptions
from ner_lightning.data.readers.recognition import recognise
from ner_lightning.data.readers.record import Record
from ner_lightning.data.sentence import DataError
from ner_lightning.errors import UserError
from ner_lightning.system.progress import stage
from ner_lightning.system.shards import missing_shards, shards_of
from ner_lightning.system.visible_files import visible_files

STANDARD_INPUT = "-"
NAMED = 3  # files of a format in a folder of which it is said how they are read
# Whose readers do not say how they read.
QUIET = ("txt", "brat", "webanno", "conllu", "conll2012", "pubtator", "spacy")


@dataclass(frozen=True)
class Inputs:
    """Where records come from.

    Attributes:
        address: a file, a folder of files, or `-` for standard input; shards have a `*` (see `shards`).
        options: how they are read.
        opened: the formats of the files that were opened so far.
    """

    address: str
    options: ReadOptions = field(default_factory=ReadOptions)
    opened: set[str] = field(default_factory=set, repr=False, compare=False)
    _said: Counter[str] = field(default_factory=Counter, init=False, repr=False, compare=False)

    @cached_property
    def _visible(self) -> list[Path]:
        """The files of the folder, for which it is walked once."""
        return visible_files(Path(self.address))

    def files(self) -> list[Path]:
        """The files, in order of their names; none for standard input.

        Raises:
            UserError: there is no such file or folder, or it has no file that can be read.
        """
        path = Path(self.address)
        if self.address == STANDARD_INPUT:
            return []
        if path.is_dir() and not arrow.is_saved_dataset(path):
            return self._files_of_folder(path)
        if not path.exists() and (shards := shards_of(path)):
            if missing := missing_shards(path):
                raise DataError(f"{path}: {missing:,} of its files are missing; fetch them")
            return shards
        if not path.exists():
            raise DataError(f"{path}: cannot be read: No such file or directory; name a file")
        return [path]

    def _files_of_folder(self, folder: Path) -> list[Path]:
        if not (files := [path for path in self._visible if is_read(path.name, self.options.format)]):
            raise DataError(f"{folder}: no file in this folder ends in {', '.join(SUFFIXES)}")
        left_out = set(self._unannotated)
        return [path for path in files if path not in left_out]

    @cached_property
    def _unannotated(self) -> list[Path]:
        """The texts of a folder of brat's that are not read."""
        return unannotated(self._visible, self.options)

    def read(self, on_open: Callable[[BinaryIO], object] = lambda file: None) -> Iterator[Record]:
        """Reads all files, one after the other.

        Args:
            on_open: called with each file that is opened.

        Raises:
            UserError: a file as a whole cannot be read.
        """
        if self.address == STANDARD_INPUT:
            file = self._standard_input()
            opened = Opened(file, STANDARD_INPUT)
            yield from self.records(opened)
        self._say_left_out()
        for path in self.files():
            folder = Path(self.address)
            # Errors in data to be trained on name the whole path, as those of a single file do.
            is_short = folder in path.parents and not self.options.tagged
            name = path.relative_to(folder) if is_short else path
            shown = os.fsencode(name).decode(errors="backslashreplace")  # which UTF-8 can write
            records = self._of_file(path, shown, on_open)
            yield from checked(records, self.options.rules.empty_words)

    def _say_left_out(self) -> None:
        """Says which files of a folder are not read, since nothing else would tell."""
        folder = Path(self.address)
        if folder.is_dir() and not arrow.is_saved_dataset(folder):
            names = [str(path.relative_to(folder)) for path in self._visible]
            say_left_out(folder, names, self.options.format)
            say_unannotated(folder, self._unannotated)

    def records(self, opened: Opened) -> Iterator[Record]:
        """The records of an open file.

        Raises:
            DataError: as a whole it cannot be read.
        """
        yield from checked(self._records(opened), self.options.rules.empty_words)

    def _standard_input(self) -> BinaryIO:
        stream = sys.stdin.buffer
        format = self.options.format
        if self.options.tagged or (format is not None and FORMATS[format].binary):
            return io.BytesIO(stream.read())
        # A format that is named needs no look at the beginning, for which a slow stream would wait.
        return stream if format else prepared.buffered(stream)

    def _of_file(self, path: Path, name: str, on_open: Callable[[BinaryIO], object]) -> Iterator[Record]:
        if path.is_dir():
            yield from arrow.read_saved(path, name, self.options)
            return
        try:
            with path.open("rb") as file:
                on_open(file)
                yield from self._records(Opened(file, name, path))
        except OSError as error:
            if error.filename != str(path):
                raise  # another file failed, such as the output
            raise DataError(f"{path}: cannot be read: {error.strerror}; name a file") from None

    def format_of(self, path: Path) -> str:
        """The name of a file's format.

        Raises:
            DataError: it cannot be read.
        """
        if self.options.format is not None:
            return self.options.format
        if path.is_dir():
            return "parquet"
        try:
            with path.open("rb") as file:
                return self._recognised(Opened(file, str(path), path))[0]
        except OSError as error:
            raise DataError(f"{path}: cannot be read: {error.strerror}; name a file") from None

    def _recognised(self, opened: Opened) -> tuple[str, Opened]:
        """The format of an open file, and the file in UTF-8 if it is text.

        Raises:
            DataError: it is neither text nor a known binary format.
        """
        opened = prepared.unpacked(opened)
        head = filetype.head_of(opened.file)
        format = self.options.format or filetype.binary_format(head, opened.path)
        if format is not None and FORMATS[format].binary:
            return format, opened
        other = filetype.zip_archive(head, opened.file) or filetype.not_text(head)
        if other is not None:
            raise DataError(f"{opened.source}:1: this is {other}")
        if format in (None, "brat"):
            brat.check_text(opened)
        if filetype.is_utf16(head):
            opened = prepared.from_utf16(opened)
            head = filetype.head_of(opened.file)
        return format or recognise(head, opened.path, tagged=self.options.tagged), opened

    def _records(self, opened: Opened) -> Iterator[Record]:
        """The records of an open file.

        Raises:
            DataError: as a whole it cannot be read.
        """
        options = self.options
        format, opened = self._recognised(opened)
        self.opened.add(format)
        if options.tagged and not FORMATS[format].binary:
            opened = prepared.checked_utf8(opened)
        for name in COLUMN_OPTIONS if options.tagged else ():
            if getattr(options, name) is not None and name not in FORMATS[format].named:
                raise DataError(
                    f"{opened.source}:1: this is {FORMATS[format].what}, on which data.files.{name} has no "
                    "effect; leave it out"
                )
        if format == "txt" and options.format is None:
            self._check_suffix(opened)
        if format in QUIET and not (options.tagged and format == "txt"):
            self._say_format(opened.source, format)
        return FORMATS[format].read(opened, options)

    def _say_format(self, source: str, format: str) -> None:
        """Says how a file is read whose reader does not; of many files in a folder, the first ones."""
        self._said[format] += 1
        how = ", a text per line" if format == "txt" and not self.options.whole_files else ""
        if self._said[format] <= NAMED:
            stage(f"{source}: {FORMATS[format].what}{how}.")
        elif self._said[format] == NAMED + 1:
            stage(f"{source} and others: {FORMATS[format].what}{how}.")

    def _check_suffix(self, opened: Opened) -> None:
        """Checks that a file that is read as text is not named as something else.

        Raises:
            UserError: it is.
        """
        suffix = "" if opened.path is None else opened.path.suffix.lower()
        if suffix in filetype.DOCUMENTS:
            raise UserError(
                f"{opened.path}: {suffix} is no format of text; convert the document to plain text, "
                "or a table to CSV"
            )
        if suffix not in ("", *SUFFIXES) and not self.options.tagged:
            raise UserError(
                f"{opened.path}: {suffix} is none of {', '.join(SUFFIXES)};\n"
                f"give its format with --from ({', '.join(FORMATS)})"
            )
