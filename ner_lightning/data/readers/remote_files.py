"""Remote files: records from, and results to, any filesystem that pyarrow opens, as in s3://bucket/texts.jsonl."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

from ner_lightning.data.readers.files import Inputs
from ner_lightning.data.readers.folder_files import is_read, say_left_out
from ner_lightning.data.readers.formats import SUFFIXES
from ner_lightning.data.readers.read_options import Opened, ReadOptions
from ner_lightning.data.readers.record import Record
from ner_lightning.data.sentence import DataError
from ner_lightning.errors import UserError

Stamp = tuple[str, int, int]


def is_remote(address: str | None) -> bool:
    """Whether an address names a filesystem, as in `s3://bucket/texts.jsonl`."""
    return address is not None and "://" in address


@dataclass(frozen=True)
class RemoteInputs:
    """Where records come from; the counterpart of `Inputs`.

    Attributes:
        address: a file, or a folder of files.
        options: how they are read.
        opened: the formats of the files that were opened so far.
    """

    address: str
    options: ReadOptions = field(default_factory=ReadOptions)
    opened: set[str] = field(default_factory=set, repr=False, compare=False)

    def stamps(self, *, say: bool = False) -> list[Stamp]:
        """Path, size in bytes and time of change in ns of each file, in order of their names.

        Args:
            say: say which files are not read.

        Raises:
            UserError: there is no such file or folder, or it has no file that can be read.
        """
        from pyarrow import fs

        files, path = filesystem_of(self.address)
        try:
            info = files.get_file_info(path)
            if info.type == fs.FileType.File:
                return [_stamp(info)]
            listed = files.get_file_info(fs.FileSelector(path, recursive=True))
        except OSError as error:
            raise DataError(f"{self.address}: cannot be read: {error}; name a file") from None
        visible = [
            each for each in listed if each.type == fs.FileType.File and not _is_hidden(each.path, path)
        ]
        found = [each for each in visible if self._readable(each.path)]
        names = [str(PurePosixPath(each.path).relative_to(path)) for each in visible]
        say_left_out(self.address, names, self.options.format)
        if not found:
            raise DataError(f"{self.address}: no file in this folder ends in {', '.join(SUFFIXES)}")
        return sorted(map(_stamp, found), key=lambda stamp: PurePosixPath(stamp[0]).parts)

    def read(self, on_open: Callable[[BinaryIO], object] = lambda file: None) -> Iterator[Record]:
        """Reads all files, one after the other.

        Args:
            on_open: not called, since a remote file does not tell how much of it has been read.

        Raises:
            UserError: a file as a whole cannot be read.
        """
        files, folder = filesystem_of(self.address)
        for path, _, _ in self.stamps(say=True):
            name = self.address if path == folder else str(PurePosixPath(path).relative_to(folder))
            try:
                with files.open_input_file(path) as file:
                    inputs = Inputs(self.address, self.options, self.opened)
                    yield from inputs.records(Opened(file, name, Path(path)))
            except OSError as error:
                raise DataError(f"{name}: cannot be read: {error}; name a file") from None

    def _readable(self, path: str) -> bool:
        return is_read(path, self.options.format)


def _is_hidden(path: str, folder: str) -> bool:
    return any(part.startswith(".") for part in PurePosixPath(path).relative_to(folder).parts)


def filesystem_of(address: str) -> tuple[Any, str]:
    """The filesystem of an address, as pyarrow has it, and the path in it.

    Raises:
        UserError: there is none, or it cannot be reached.
    """
    import pyarrow as pa
    from pyarrow import fs

    try:
        filesystem, path = fs.FileSystem.from_uri(address)
    except (pa.ArrowException, OSError, ValueError) as error:
        what = str(error).partition("\n")[0]
        raise UserError(
            f"{address}: pyarrow opens no such filesystem ({what:.120});\n"
            "name a path, or one of s3://, gs://, abfss://, hdfs://, file://"
        ) from None
    return filesystem, path


def upload(file: Path, address: str) -> None:
    """Copies a local file to an address, and removes it.

    Raises:
        UserError: it cannot be written there; the file stays.
    """
    from pyarrow import fs

    target, path = filesystem_of(address)
    try:
        fs.copy_files(
            str(file.absolute()), path, source_filesystem=fs.LocalFileSystem(), destination_filesystem=target
        )
    except OSError as error:
        raise UserError(f"{address} cannot be written ({error});\nthe output stays here: {file}") from None
    file.unlink()


def _stamp(info: Any) -> Stamp:
    return info.path, info.size, info.mtime_ns or 0
