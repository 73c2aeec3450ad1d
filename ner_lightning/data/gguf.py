"""Reads a GGUF file once; transformers would read it for tokenizer, config and weights each."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import numpy as np


@contextmanager
def read_once(enabled: bool = True) -> Iterator[None]:
    """Within it, the `gguf` package caches what it has read.

    Its reader walks through the whole vocabulary in Python, and transformers creates a reader for each
    query. It also rebuilds the table of tensor names for each module of the model. Together that is most
    of the time that such a backbone takes to load.

    Args:
        enabled: false has no effect, for files of another format.
    """
    if not enabled:
        yield
        return
    import gguf

    library: Any = gguf
    reader, names = library.GGUFReader, library.get_tensor_name_map
    plain = _on_plain_arrays(reader)
    library.GGUFReader = lambda path: _read(plain, str(path), Path(path).stat().st_mtime_ns)
    library.get_tensor_name_map = lru_cache(names)
    try:
        yield
    finally:
        library.GGUFReader, library.get_tensor_name_map = reader, names


@cache  # one class, by which `_read` knows a file again
def _on_plain_arrays(reader: Any) -> Any:
    """A reader that slices a plain array: slices of `numpy.memmap` take several times as long to make."""

    def get(self: Any, offset: int, *args: Any, **kwargs: Any) -> Any:
        mapped = self.data
        self.data = mapped.view(np.ndarray)
        try:
            return reader._get(self, offset, *args, **kwargs)
        finally:
            self.data = mapped

    return type("PlainReader", (reader,), {"_get": get})


@lru_cache(maxsize=1)
def _read(reader: Callable[[str], Any], path: str, changed: int) -> Any:
    return reader(path)


def forget() -> None:
    """Frees the cache, which is large for a large vocabulary."""
    _read.cache_clear()
