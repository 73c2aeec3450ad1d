"""Hidden states kept on disk: computed once, mapped into memory by every epoch and every later run."""

import hashlib
import json
import os
import shutil
import socket
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ner_lightning.data.tokenization.encoding import Encoded
from ner_lightning.errors import UserError
from ner_lightning.system.atomic import is_alive

FORMAT = 1
VALUES, ABOUT = "states.bin", "about.json"
PART = ".part"
CRC_CHUNK = 1 << 24  # bytes
# The bits of each type as numpy knows them: it has no bf16.
BITS = {torch.bfloat16: np.int16, torch.float32: np.int32, torch.float64: np.int64}
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class FeatureStore:
    """What is kept of a split, read-only.

    Attributes:
        values: *Shape:* (rows, D)
        starts: each sentence's first row, and at the end their number. *Shape:* (sentences + 1,)
        words: whether a row is a word's vector; otherwise it is a sub-token's hidden state, and a
            sentence's windows follow each other.
    """

    values: Tensor
    starts: Ints
    words: bool


@dataclass(frozen=True)
class FeatureLayout:
    """What a file of hidden states holds.

    Attributes:
        starts: as in `FeatureStore`.
        words: as in `FeatureStore`.
        width: D.
        dtype: bf16, fp32 or fp64.
    """

    starts: Ints
    words: bool
    width: int
    dtype: torch.dtype

    @classmethod
    def of(
        cls, sentences: Sequence[Encoded], *, words: bool, width: int, dtype: torch.dtype
    ) -> "FeatureLayout":
        """The layout for a split's sentences; the arguments are the fields."""
        rows = [len(s.first) if words else sum(map(len, s.windows)) for s in sentences]
        return cls(np.cumsum([0, *rows]), words, width, dtype)

    @property
    def size(self) -> int:
        """Bytes."""
        return int(self.starts[-1]) * self.width * self.dtype.itemsize


def fingerprint(sentences: Sequence[Encoded]) -> str:
    """A digest of everything that sentences hand to a model: sub-tokens, windows, places of words."""
    digest = hashlib.sha256()
    for sentence in sentences:
        for numbers in (*sentence.windows, sentence.window, sentence.first, sentence.last):
            digest.update(len(numbers).to_bytes(8, "little"))
            digest.update(numbers.astype(np.int64).tobytes())
    return digest.hexdigest()


def key_of(depends: Mapping[str, Any]) -> str:
    """The name under which hidden states are kept: a digest of all that they depend on."""
    text = json.dumps({"format": FORMAT, **depends}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def load(folder: Path, key: str, layout: FeatureLayout) -> FeatureStore | None:
    """Maps kept hidden states into memory.

    Returns:
        None if there are none, or if what lies there is not whole, which is then removed.
    """
    kept = folder / key
    try:
        about = json.loads((kept / ABOUT).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        about = None
    values = kept / VALUES
    whole = (
        about is not None
        and values.is_file()
        and values.stat().st_size == layout.size == about.get("bytes")
        and about.get("crc32") == _crc(values)
    )
    if not whole:
        shutil.rmtree(kept, ignore_errors=True)
        return None
    return FeatureStore(
        torch.from_numpy(_map(values, layout, "c")).view(layout.dtype), layout.starts, layout.words
    )


class FeatureWriter:
    """Fills a file that becomes visible under its key only when it is whole.

    Several processes may fill one file: each opens the same part, one of them made it and finishes it.

    Args:
        part: the folder to fill, from `make_part`.
        layout: what it will hold.
    """

    def __init__(self, part: Path, layout: FeatureLayout) -> None:
        self.part = part
        self.layout = layout
        self._values = _map(part / VALUES, layout, "r+")

    def put(self, index: int, rows: Tensor) -> None:
        """Writes a sentence's rows. *Shape:* (rows of the sentence, D)."""
        begin, end = self.layout.starts[index : index + 2]
        self._values[begin:end] = rows.view(_signed(rows.dtype)).numpy()

    def flush(self) -> None:
        """Sends what was written to the disk."""
        self._values.flush()

    def finish(self, folder: Path, key: str, depends: Mapping[str, Any]) -> None:
        """Seals the file and gives it its name; what another run finished meanwhile is as good."""
        self.flush()
        file = self.part / VALUES
        about = {"bytes": self.layout.size, "crc32": _crc(file), **depends}
        (self.part / ABOUT).write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
        for path in (file, self.part / ABOUT):
            with path.open("rb+") as stream:
                os.fsync(stream.fileno())
        try:
            self.part.rename(folder / key)
        except OSError:
            shutil.rmtree(self.part, ignore_errors=True)


def make_part(folder: Path, key: str, layout: FeatureLayout, limit_gb: float) -> Path:
    """Makes the folder that a `FeatureWriter` fills, with room for all of it.

    Raises:
        UserError: it would be larger than the limit or than what is free, or cannot be made.
    """
    size, limit = layout.size, limit_gb * 1e9
    if size > limit:
        raise UserError(
            f"model.cache: hidden states take {size / 1e9:.2f} GB; model.cache.limit_gb is {limit_gb:g}"
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(folder)
        free = shutil.disk_usage(folder).free
        if size > free:
            raise UserError(
                f"model.cache: hidden states take {size / 1e9:.2f} GB, but {free / 1e9:.2f} GB are free in "
                f"{folder}; set model.cache.folder to another disk"
            )
        part = folder / f".{key}.{socket.gethostname()}.{os.getpid()}{PART}"
        part.mkdir()
        with (part / VALUES).open("wb") as stream:
            _reserve(stream, size)
    except OSError as error:
        raise UserError(f"model.cache.folder {folder} cannot be written: {error.strerror}") from None
    return part


def _reserve(stream: BinaryIO, size: int) -> None:
    """Takes the room of an empty file, so that a full disk is met now and not while it is filled."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(stream.fileno(), 0, max(size, 1))
    else:  # macOS has no such call; what is written has its room
        zeros = memoryview(bytes(min(size, CRC_CHUNK)))
        for begin in range(0, size, CRC_CHUNK):
            stream.write(zeros[: size - begin])
        stream.flush()
    os.ftruncate(stream.fileno(), size)


def _remove_abandoned(folder: Path) -> None:
    """Removes parts that a killed process of this machine left behind."""
    for part in folder.glob(f".*.{socket.gethostname()}.*{PART}"):
        pid = part.name.removesuffix(PART).rpartition(".")[2]
        if pid.isdecimal() and not is_alive(int(pid)):
            shutil.rmtree(part, ignore_errors=True)


def _map(file: Path, layout: FeatureLayout, mode: Any) -> "np.memmap[Any, Any]":
    shape = (int(layout.starts[-1]), layout.width)
    return np.memmap(file, dtype=BITS[layout.dtype], mode=mode, shape=shape)


def _signed(dtype: torch.dtype) -> torch.dtype:
    signed: torch.dtype = getattr(torch, np.dtype(BITS[dtype]).name)
    return signed


def _crc(file: Path) -> int:
    crc = 0
    with file.open("rb") as stream:
        while chunk := stream.read(CRC_CHUNK):
            crc = zlib.crc32(chunk, crc)
    return crc
