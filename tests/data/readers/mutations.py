"""Random damage to valid files, and what must hold of the records that are read from them."""

import random
from io import BytesIO

from ner_lightning.data.readers.read_options import Opened, ReadOptions
from ner_lightning.errors import UserError

_SIGNS = [b"\t", b"\n", b"\r", b" ", b"[", b"]", b"|", b"\\", b"(", b")", b"-", b"_", b"*", b"0", b"9999"]
_ODD = [b"", b"\xff", b"\xf0\x9f\x98\x80", b"\xe2\x80\x8b", b"\x00", b"=", b"#", b"B-PER", b"O", b";"]


def damaged(data: bytes, rng: random.Random) -> bytes:
    """The data with one to three bytes, cells or lines deleted, doubled, replaced or swapped."""
    for _ in range(rng.randint(1, 3)):
        separator = rng.choice([None, b"\n", b"\t", b" "])
        parts = [bytes([byte]) for byte in data] if separator is None else data.split(separator)
        if not parts:
            break
        at = rng.randrange(len(parts))
        match rng.randrange(4):
            case 0:
                del parts[at]
            case 1:
                parts.insert(at, parts[at])
            case 2:
                parts[at] = rng.choice(_SIGNS + _ODD)
            case 3:
                other = rng.randrange(len(parts))
                parts[at], parts[other] = parts[other], parts[at]
        data = (separator or b"").join(parts)
    return data


def opened(data: bytes, path=None) -> Opened:
    """Bytes as an open file."""
    return Opened(BytesIO(data), path.name if path else "x", path)


def read(reader, data: bytes, path=None, **options):
    """All records of some bytes."""
    return list(reader(opened(data, path), ReadOptions(**options)))


def check(record) -> None:
    """Checks that a record is consistent: entities and words lie in the text, each word has its tag."""
    assert record.line >= 1
    if record.reason:
        return
    if isinstance(record.content, str):
        length = len(record.content)
        assert all(0 <= entity.start < entity.end <= length for entity in record.entities or ())
        assert all(entity.type for entity in record.entities or ())
        assert all(0 <= start < end <= length for start, end in record.tokens or ())
        assert record.tags is None
    else:
        assert record.content
        assert record.tags is None or len(record.tags) == len(record.content)
        assert len(record.lines) in (0, len(record.content))


def survives(reader, data: bytes, cases: int = 300, path=None, **options) -> tuple[int, int]:
    """Reads damaged copies of a file; anything but a UserError fails.

    Returns:
        How many files gave records alone, and how many gave a reason or an error.
    """
    rng = random.Random(7)
    good = bad = 0
    for _ in range(cases):
        try:
            records = read(reader, damaged(data, rng), path, **options)
        except UserError:
            bad += 1
            continue
        for record in records:
            check(record)
        wrong = any(record.reason for record in records)
        good, bad = good + (not wrong), bad + wrong
    return good, bad
