"""FeatureStore: features on disk, computed once and memory-mapped by every epoch and later run."""

import hashlib
import json
import os
import shutil
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
from ner_lightning.system.unfinished import complete, remove_abandoned, unfinished

FORMAT = 1
VALUES, ABOUT = "features.bin", "about.json"
CRC_CHUNK = 1 << 24  # bytes
# Integers of the same size, as which numpy maps each type: it has no bf16.
INTEGERS = {torch.bfloat16: np.int16, torch.float32: np.int32, torch.float64: np.int64}
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class FeatureLayout:
    """The shape and type of a split's features.

    Attributes:
        starts: each passage's first row, and at the end the number of rows. *Shape:* (passages + 1,)
        words: whether a row is a word vector; otherwise it is a sub-token's hidden state, and a
            passage's windows follow each other.
        width: D.
        dtype: bf16, fp32 or fp64.
    """

    starts: Ints
    words: bool
    width: int
    dtype: torch.dtype

    @classmethod
    def of(
        cls, passages: Sequence[Encoded], *, words: bool, width: int, dtype: torch.dtype
    ) -> "FeatureLayout":
        """The layout for a split's passages; the arguments are the fields."""
        rows = [len(p.first) if words else sum(map(len, p.windows)) for p in passages]
        return cls(np.cumsum([0, *rows]), words, width, dtype)

    @property
    def size(self) -> int:
        """Size of the file in bytes."""
        return int(self.starts[-1]) * self.width * self.dtype.itemsize


@dataclass(frozen=True, eq=False)
class FeatureStore:
    """The features of a split, read-only.

    Attributes:
        values: one row per word or sub-token. *Shape:* (rows, D)
        layout: which rows are whose.
    """

    values: Tensor
    layout: FeatureLayout


def passages_digest(passages: Sequence[Encoded]) -> str:
    """SHA-256 of everything that a model reads of passages: sub-tokens, windows, word positions."""
    digest = hashlib.sha256()
    for passage in passages:
        for numbers in (*passage.windows, passage.window, passage.first, passage.last):
            digest.update(len(numbers).to_bytes(8, "little"))
            digest.update(numbers.astype(np.int64).tobytes())
    return digest.hexdigest()


def key_of(depends: Mapping[str, Any]) -> str:
    """The name of a store: a digest of all that its features depend on."""
    text = json.dumps({"format": FORMAT, **depends}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def load(folder: Path, key: str, layout: FeatureLayout) -> FeatureStore | None:
    """Maps a store into memory.

    Returns:
        None if there is none. A damaged or incomplete one is removed.
    """
    store = folder / key
    values = store / VALUES
    try:
        about = json.loads((store / ABOUT).read_text(encoding="utf-8"))
        complete = values.stat().st_size == layout.size == about.get("bytes") and about.get("crc32") == _crc(
            values
        )
    except (OSError, ValueError, AttributeError):
        complete = False
    if not complete:
        shutil.rmtree(store, ignore_errors=True)
        return None
    return FeatureStore(torch.from_numpy(_map(values, layout, "c")).view(layout.dtype), layout)


class FeatureWriter:
    """Writes a store, which becomes visible under its key only when it is complete.

    Several processes may write into one folder, which one of them made and finishes.

    Args:
        part: the folder to write to, from `make_part`.
        layout: of the store.
    """

    def __init__(self, part: Path, layout: FeatureLayout) -> None:
        self.part = part
        self.layout = layout
        self._values = _map(part / VALUES, layout, "r+")

    def put(self, index: int, rows: Tensor) -> None:
        """Writes a passage's rows. *Shape:* (rows of the passage, D)."""
        begin, end = self.layout.starts[index : index + 2]
        self._values[begin:end] = rows.view(getattr(torch, np.dtype(INTEGERS[rows.dtype]).name)).numpy()

    def flush(self) -> None:
        """Writes buffered rows to disk."""
        self._values.flush()

    def finish(self, folder: Path, key: str, depends: Mapping[str, Any]) -> None:
        """Adds the checksum and renames the folder to its key, unless another run finished the same store."""
        self.flush()
        file = self.part / VALUES
        about = {"bytes": self.layout.size, "crc32": _crc(file), **depends}
        (self.part / ABOUT).write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
        for path in (file, self.part / ABOUT):
            with path.open("rb+") as stream:
                os.fsync(stream.fileno())
        complete(self.part, folder / key, ABOUT)


def make_part(folder: Path, key: str, layout: FeatureLayout, limit_gb: float) -> Path:
    """Makes the folder for a `FeatureWriter`, with disk space reserved for all features.

    Args:
        folder: of all stores.
        key: of the store.
        layout: of the store.
        limit_gb: the largest allowed size, in 1e9 bytes.

    Raises:
        UserError: the size exceeds the limit or the free space, or the folder cannot be written.
    """
    size, limit = layout.size, limit_gb * 1e9
    if size > limit:
        raise UserError(
            f"model.cache: features take {size / 1e9:.2f} GB; model.cache.limit_gb is {limit_gb:g}"
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        remove_abandoned(folder)
        free = shutil.disk_usage(folder).free
        if size > free:
            raise UserError(
                f"model.cache: features take {size / 1e9:.2f} GB, but {free / 1e9:.2f} GB are free in "
                f"{folder}; set model.cache.folder to a folder on another disk"
            )
        part = unfinished(folder / key)
        part.mkdir()
        with (part / VALUES).open("wb") as stream:
            _reserve(stream, size)
    except OSError as error:
        raise UserError(f"model.cache.folder {folder} cannot be written: {error.strerror}") from None
    return part


def _reserve(stream: BinaryIO, size: int) -> None:
    """Allocates the disk space of an empty file, so that a full disk fails now and not during the run."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(stream.fileno(), 0, max(size, 1))
    else:  # macOS has no such call: write zeros instead
        zeros = memoryview(bytes(min(size, CRC_CHUNK)))
        for begin in range(0, size, CRC_CHUNK):
            stream.write(zeros[: size - begin])
        stream.flush()
    os.ftruncate(stream.fileno(), size)


def _map(file: Path, layout: FeatureLayout, mode: Any) -> "np.memmap[Any, Any]":
    shape = (int(layout.starts[-1]), layout.width)
    return np.memmap(file, dtype=INTEGERS[layout.dtype], mode=mode, shape=shape)


def _crc(file: Path) -> int:
    crc = 0
    with file.open("rb") as stream:
        while chunk := stream.read(CRC_CHUNK):
            crc = zlib.crc32(chunk, crc)
    return crc
