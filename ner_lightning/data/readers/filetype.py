"""What a file is by its bytes: text in UTF-8 or UTF-16, another code page, or no text."""

import codecs
import io
import re
from pathlib import Path
from typing import BinaryIO, Literal
from zipfile import BadZipFile, ZipFile

from ner_lightning.system.terminal import listed

HEAD = 1024  # bytes by which it is told whether a file is text
SAMPLE = 2**16  # bytes by which its format is recognised
_UTF16 = "UTF-16 text; convert it: iconv -f utf-16{} -t utf-8 FILE > NEW"
_UTF16_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_LFS = b"version https://git-lfs.github.com/spec/"
_OFFICE = "an Office file; save a table as CSV, a document as plain text"
# Names of files that are no text, though a file of that name may be.
DOCUMENTS = (
    *(".doc", ".docx", ".docm", ".odt", ".rtf", ".pdf", ".epub", ".pages"),
    *(".xls", ".xlsx", ".xlsm", ".ods", ".ppt", ".pptx", ".odp"),
)
_ZIP = b"PK\x03\x04"
_OFFICE_FILES = {"[Content_Types].xml", "content.xml"}  # of Microsoft's and of OpenDocument's archives
_MARKS = [
    (re.compile(mark, re.DOTALL), what)
    for mark, what in (
        (rb"\xff\xfe\x00\x00", "UTF-32 text; convert it: iconv -f utf-32 -t utf-8 FILE > NEW"),
        (re.escape(_ZIP), "a zip archive, as .xlsx and .docx are; save a table as CSV, or unpack it"),
        (rb"\xd0\xcf\x11\xe0", _OFFICE),
        (rb"\x1f\x8b", "gzip data; unpack it: gunzip FILE"),
        (rb"BZh[1-9]1AY&SY", "bzip2 data; unpack it: bunzip2 FILE"),
        (rb"\xfd7zXZ\x00", "xz data; unpack it: unxz FILE"),
        (rb"\x28\xb5\x2f\xfd", "Zstandard data; unpack it: unzstd FILE"),
        (rb"7z\xbc\xaf\x27\x1c", "a 7z archive; unpack it, and name a file of it"),
        (rb"Rar!\x1a\x07", "a RAR archive; unpack it, and name a file of it"),
        (rb".{257}ustar(\x00|  \x00)", "a tar archive; unpack it (tar -xf FILE), and name a file of it"),
        (
            rb"ARROW1\x00\x00",
            "Arrow or Feather; save it as Parquet: pandas.read_feather(FILE).to_parquet(NEW)",
        ),
        (rb"\xff\xff\xff\xff", "an Arrow stream; of a data set of save_to_disk, name the folder"),
        (rb"\x80[\x02-\x05]", "a Python pickle; save its data as Parquet or JSON lines"),
        (rb"\{\\rtf", "an RTF document; save it as plain text"),
        (rb"%PDF-", "PDF; extract its text first: pdftotext FILE"),
        (re.escape(_LFS), "a pointer of Git LFS, not the file itself; fetch it: git lfs pull"),
    )
]
_CONTROLS = bytes({*range(32)} - {*b"\t\n\v\f\r\x1b"})  # which no encoding uses for letters
_PARQUET = b"PAR1"
_BINARY = "binary data; name a text file"


def head_of(file: BinaryIO) -> bytes:
    """The first bytes of a file, at most `SAMPLE`, which stay to be read."""
    if not file.seekable():
        return file.peek(SAMPLE)  # type: ignore[attr-defined, no-any-return]
    position = file.tell()
    head = file.read(SAMPLE)
    file.seek(position)
    return head


def is_gzip(head: bytes) -> bool:
    """Whether gzip has packed a file."""
    return head.startswith(b"\x1f\x8b")


def is_parquet(head: bytes) -> bool:
    """Whether a file is Parquet."""
    return head.startswith(_PARQUET) and head[4:5] < b" " and not head[4:5].isspace()  # not the word `PAR1`


def binary_format(head: bytes, path: Path | None) -> Literal["parquet", "spacy"] | None:
    """The binary format of a file that can be read; None if it is none."""
    suffix = "" if path is None else path.suffix.lower()
    if is_parquet(head) or (suffix == ".parquet" and not head.startswith(_LFS)):
        return "parquet"
    return "spacy" if suffix == ".spacy" else None


def not_text(head: bytes) -> str | None:
    """What a file is if not text, and what to do; None if it may be text.

    Args:
        head: its first `HEAD` bytes, or all.
    """
    head = head[:HEAD]
    known = next((what for mark, what in _MARKS if mark.match(head)), None)
    if known is not None:
        return known
    if is_utf16(head) or is_parquet(head):
        return None
    zeros = head.count(0)
    if 4 * zeros <= len(head):  # a text may contain some
        controls = len(head) - len(head.translate(None, _CONTROLS))
        return _BINARY if 20 * controls > len(head) and not _is_utf8(head) else None
    odd = head[1::2].count(0)
    if max(odd, zeros - odd) == zeros:
        return _UTF16.format("le" if odd else "be")
    return _BINARY


def _is_utf8(head: bytes) -> bool:
    """Whether the beginning of a file, which may end within a character, is UTF-8."""
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        return False
    return True


def zip_archive(head: bytes, file: BinaryIO) -> str | None:
    """What a zip archive is and holds, and what to do; None if the file is none.

    Args:
        head: its beginning.
        file: the file itself, of which nothing else will be read.
    """
    if not head.startswith(_ZIP):
        return None
    try:
        names = ZipFile(file if file.seekable() else io.BytesIO(file.read())).namelist()
    except (BadZipFile, OSError, ValueError, NotImplementedError):  # the last: of a newer kind of zip
        return None
    if _OFFICE_FILES & {*names}:
        return _OFFICE
    files = [
        ascii(name)[1:-1] for name in names if not name.endswith("/") and not name.startswith("__MACOSX/")
    ]
    return (
        f"a zip archive with {listed(files, 3) or 'no files'}; unpack it, and name a file of it or the folder"
    )


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


def broken_utf16(error: UnicodeDecodeError) -> str:
    """What is wrong with a file that begins with the mark of UTF-16."""
    return f"this begins as UTF-16 text, but is none at byte {error.start:,}; save it as UTF-8"


def not_utf8(data: bytes, error: UnicodeDecodeError) -> str:
    """Where data stop to be UTF-8, as `line:column: ...`, and how to convert them."""
    before = data[: error.start].decode("utf-8-sig")
    line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
    # No encoding is guessed: data in a wrong one convert without an error, to nonsense.
    return (
        f"{line}:{column}: byte 0x{data[error.start]:02x} is not UTF-8; find out the file's encoding "
        "and convert it:\niconv -f ENCODING -t utf-8 FILE > NEW (for example windows-1252 of Western Europe, "
        "windows-1251 of Russian, gb18030, shift_jis)"
    )
