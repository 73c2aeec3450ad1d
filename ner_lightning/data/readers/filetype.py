"""What a file is by its bytes: text in UTF-8 or UTF-16, another code page, or no text."""

import codecs

HEAD = 1024  # bytes that are examined
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
PARQUET = "Parquet"


def not_text(head: bytes) -> str | None:
    """What a file is if not text, and what to do; None if it may be text.

    Args:
        head: its first `HEAD` bytes, or all.
    """
    head = head[:HEAD]
    known = next((what for mark, what in _MARKS if head.startswith(mark)), None)
    if known is not None:
        return known
    if head.startswith(_PARQUET) and head[4:5] < b" " and not head[4:5].isspace():  # not the word `PAR1`
        return f"{PARQUET}; training reads columns, JSONL and CSV, `predict` reads it as .parquet"
    if is_utf16(head):
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
