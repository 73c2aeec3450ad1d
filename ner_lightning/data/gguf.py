"""Reads a GGUF file once, where transformers would read it once for each of tokenizer, config and weights."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any


@contextmanager
def read_once(wanted: bool = True) -> Iterator[None]:
    """Within it the `gguf` package keeps what it has read.

    Its reader walks through the whole vocabulary in Python, and transformers makes one for each thing that
    it wants to know. It also makes the table of tensor names anew for each module of the model. Together
    that is most of the time that such a backbone takes to load.

    Args:
        wanted: false does nothing: the files at hand are of another kind.
    """
    if not wanted:
        yield
        return
    import gguf

    library: Any = gguf
    reader, names = library.GGUFReader, library.get_tensor_name_map
    library.GGUFReader = lambda path: _read(reader, str(path), Path(path).stat().st_mtime_ns)
    library.get_tensor_name_map = lru_cache(names)
    try:
        yield
    finally:
        library.GGUFReader, library.get_tensor_name_map = reader, names


@lru_cache(maxsize=1)
def _read(reader: Callable[[str], Any], path: str, changed: int) -> Any:
    return reader(path)


def forget() -> None:
    """Gives back the memory of what was read, which is a great deal for a large vocabulary."""
    _read.cache_clear()
