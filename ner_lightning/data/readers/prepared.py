"""Open files as readers take them: unpacked, in UTF-8, with a beginning that can be looked at."""

import gzip
import io
import zlib
from typing import BinaryIO, cast

from ner_lightning.data.readers import filetype
from ner_lightning.data.readers.read_options import Opened
from ner_lightning.data.sentence import DataError

_CHUNK = 1 << 20  # bytes


def unpacked(opened: Opened) -> Opened:
    """A file that gzip has packed, unpacked as it is read, with its name before that; any other as it is.

    All of it is unpacked once before, since nothing of a damaged file shall be used.

    Raises:
        DataError: it is damaged.
    """
    if not filetype.is_gzip(filetype.head_of(opened.file)):
        return opened
    file = opened.file if opened.file.seekable() else io.BytesIO(opened.file.read())
    try:
        with gzip.GzipFile(fileobj=file) as packed:
            while packed.read(_CHUNK):
                pass
    except (OSError, EOFError, zlib.error):
        raise DataError(
            f"{opened.source}:1: this is gzip data, but damaged or not complete; fetch it again"
        ) from None
    path = opened.path
    if path is not None and path.suffix.lower() == ".gz":
        path = path.with_suffix("")
    file.seek(0)
    return opened._replace(file=cast(BinaryIO, gzip.GzipFile(fileobj=file)), path=path)


def from_utf16(opened: Opened) -> Opened:
    """A file in UTF-16 with its byte order mark, in memory and in UTF-8.

    Raises:
        DataError: it is none despite its mark.
    """
    try:
        return opened._replace(file=io.BytesIO(filetype.in_utf8(opened.file.read())))
    except UnicodeDecodeError as error:
        raise DataError(f"{opened.source}:1: {filetype.broken_utf16(error)}") from None


def checked_utf8(opened: Opened) -> Opened:
    """A whole file that is to be trained on, in memory.

    Raises:
        DataError: it is not UTF-8; the message says where, and how to convert it.
    """
    data = opened.file.read()
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"{opened.source}:{filetype.not_utf8(data, error)}") from None
    return opened._replace(file=io.BytesIO(data))


class _Replayed(io.RawIOBase):
    """A stream that cannot seek, with its first bytes put back."""

    def __init__(self, head: bytes, rest: BinaryIO) -> None:
        super().__init__()
        self._head, self._rest = head, rest

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        data = self._head or self._rest.read1(len(buffer))  # type: ignore[attr-defined]
        self._head = b""
        size = min(len(data), len(buffer))
        buffer[:size] = data[:size]
        self._head = data[size:]
        return size


def buffered(file: BinaryIO) -> BinaryIO:
    """A stream whose beginning can be looked at."""
    if file.seekable():
        return file
    return io.BufferedReader(_Replayed(file.read(filetype.SAMPLE), file), filetype.SAMPLE)
