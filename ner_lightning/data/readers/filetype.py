"""What a file is by its bytes: text in UTF-8 or UTF-16, another code page, or no text."""

import codecs
from pathlib import Path
from typing import BinaryIO, Literal

HEAD = 1024  # bytes by which it is told whether a file is text
SAMPLE = 2**16  # bytes by which its format is recognised
_UTF16 = "UTF-16 text; convert it: iconv -f utf-16{} -t utf-8 FILE > NEW"
_UTF16_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_WINDOWS = frozenset(range(0x80, 0xA0))  # bytes of typographic signs in Windows-1252, of nothing in Latin-1
_MARKS = (
    (b"\xff\xfe\x00\x00", "UTF-32 text; convert it: iconv -f utf-32 -t utf-8 FILE > NEW"),
    (b"PK\x03\x04", "a zip archive, as .xlsx and .docx are; save a table as CSV, a document as plain text"),
    (b"\xd0\xcf\x11\xe0", "an Office file; save a table as CSV, a document as plain text"),
    (b"\x1f\x8b", "gzip data; unpack it: gunzip FILE"),
    (b"%PDF-", "PDF; extract its text first: pdftotext FILE"),
)
_PARQUET = b"PAR1"


def head_of(file: BinaryIO) -> bytes:
    """The first bytes of a file, at most `SAMPLE`, which stay to be read."""
    if not file.seekable():
        return file.peek(SAMPLE)  # type: ignore[attr-defined, no-any-return]
    position = file.tell()
    head = file.read(SAMPLE)
    file.seek(position)
    return head


def is_parquet(head: bytes) -> bool:
    """Whether a file is Parquet."""
    return head.startswith(_PARQUET) and head[4:5] < b" " and not head[4:5].isspace()  # not the word `PAR1`


def binary_format(head: bytes, path: Path | None) -> Literal["parquet", "spacy"] | None:
    """The binary format of a file that can be read; None if it is none."""
    suffix = "" if path is None else path.suffix.lower()
    if is_parquet(head) or suffix == ".parquet":
        return "parquet"
    return "spacy" if suffix == ".spacy" else None


def not_text(head: bytes) -> str | None:
    """What a file is if not text, and what to do; None if it may be text.

    Args:
        head: its first `HEAD` bytes, or all.
    """
    head = head[:HEAD]
    known = next((what for mark, what in _MARKS if head.startswith(mark)), None)
    if known is not None:
        return known
    if is_utf16(head) or is_parquet(head):
        return None
    zeros = head.count(0)
    if 4 * zeros <= len(head):  # a text may contain some
        return None
    odd = head[1::2].count(0)
    if max(odd, zeros - odd) == zeros:
        return _UTF16.format("le" if odd else "be")
    return "binary data; name a text file"


def in_utf8(data: bytes) -> bytes:
    """UTF-16 that begins with its byte order mark, as UTF-8; any other data without UTF-8's mark.

    Raises:
        UnicodeDecodeError: it is not UTF-16 despite its mark.
    """
    if is_utf16(data):
        return data.decode("utf-16").encode()
    return data.removeprefix(codecs.BOM_UTF8)


def is_utf16(head: bytes) -> bool:
    """Whether a file begins with the byte order mark of UTF-16, and not of UTF-32."""
    return head.startswith(_UTF16_MARKS) and not head.startswith(codecs.BOM_UTF32_LE)


def code_page(data: bytes) -> str:
    """The name, for iconv, of the Western code page that data in neither UTF is most likely in."""
    return "windows-1252" if _WINDOWS & set(data) else "latin1"


def broken_utf16(error: UnicodeDecodeError) -> str:
    """What is wrong with a file that begins with the mark of UTF-16."""
    return f"this begins as UTF-16 text, but is none at byte {error.start:,}; save it as UTF-8"


def not_utf8(data: bytes, error: UnicodeDecodeError) -> str:
    """Where data stop to be UTF-8, as `line:column: ...`, and how to convert them."""
    before = data[: error.start].decode("utf-8-sig")
    line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
    return (
        f"{line}:{column}: byte 0x{data[error.start]:02x} is not UTF-8; "
        f"convert the file, for example with iconv -f {code_page(data)} -t utf-8"
    )
