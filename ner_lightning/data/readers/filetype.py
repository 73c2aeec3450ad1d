"""Recognises by its first bytes a file that is not UTF-8 text."""

HEAD = 1024  # bytes that are examined
_UTF16 = "UTF-16 text; convert it: iconv -f utf-16{} -t utf-8 FILE > NEW"
_MARKS = (
    (b"\xff\xfe\x00\x00", "UTF-32 text; convert it: iconv -f utf-32 -t utf-8 FILE > NEW"),
    (b"\xff\xfe", _UTF16.format("")),
    (b"\xfe\xff", _UTF16.format("")),
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
    zeros = head.count(0)
    if 4 * zeros <= len(head):  # a text may contain some
        return None
    odd = head[1::2].count(0)
    if max(odd, zeros - odd) == zeros:
        return _UTF16.format("le" if odd else "be")
    return "binary data; name a text file"
