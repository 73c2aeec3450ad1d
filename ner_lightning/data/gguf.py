"""Reads a GGUF file once; transformers would read it for tokenizer, config and weights each."""

import copy
import struct
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache, lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from ner_lightning.system.shared_change import SharedChange

STRING, ARRAY = 8, 9  # GGUF's numbers for these types
HEAD = 12  # bytes before an array's values: their type, and how many they are
LENGTH = struct.Struct("<Q")  # of a string, before its bytes


def read_once(enabled: bool = True) -> AbstractContextManager[None]:
    """Within it, the `gguf` package and transformers keep what they have read, and read strings faster.

    The reader walks through the whole vocabulary in Python, and transformers creates a reader for each
    query, and converts each string by a list of its bytes. It also rebuilds the table of tensor names for
    each module of the model. Together that is most of the time that such a backbone takes to load.

    Args:
        enabled: false has no effect, for files of another format.
    """
    return _PATCHED if enabled else nullcontext()


@contextmanager
def _patched() -> Iterator[None]:
    import gguf

    library: Any = gguf
    reader = _on_plain_arrays(library.GGUFReader)
    changed = {
        (library, "GGUFReader"): lambda path: _read(reader, str(path), _time_of(path)),
        (library, "get_tensor_name_map"): lru_cache(library.get_tensor_name_map),
    }
    if "transformers" in sys.modules:
        from transformers import modeling_gguf_pytorch_utils as loading

        changed[loading, "load_gguf_checkpoint"] = partial(_loaded, loading.load_gguf_checkpoint)
        changed[loading, "tqdm"] = lambda values, **_: values  # a bar that nothing else would switch off
        changed[loading, "_gguf_parse_value"] = partial(_parsed, loading._gguf_parse_value)
    before = {(module, name): getattr(module, name) for module, name in changed}
    _replace(changed)
    try:
        yield
    finally:
        _replace(before)


_PATCHED = SharedChange(_patched)


def forget() -> None:
    """Frees the cache, which is large for a large vocabulary."""
    _read.cache_clear()
    _described.cache_clear()


def _replace(values: dict[tuple[Any, str], Any]) -> None:
    for (module, name), value in values.items():
        setattr(module, name, value)


def _time_of(path: Any) -> int:
    return Path(path).stat().st_mtime_ns


@lru_cache(maxsize=1)
def _read(reader: Callable[[str], Any], path: str, changed: int) -> Any:
    return reader(path)


@lru_cache(maxsize=1)
def _described(load: Callable[[str], Any], path: str, changed: int) -> Any:
    return load(path)


def _loaded(load: Callable[..., Any], path: Any, return_tensors: bool = False, **options: Any) -> Any:
    """A file as transformers loads it; without tensors, as it was the last time."""
    if return_tensors:
        return load(path, return_tensors=True, **options)
    return copy.deepcopy(_described(load, str(path), _time_of(path)))


def _parsed(parse: Callable[[Any, Any], Any], value: Any, kind: Any) -> Any:
    """A value as transformers parses it."""
    if kind in (STRING, [STRING], [ARRAY, STRING]):
        return value.tobytes().decode()
    return parse(value, kind)


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

    def get_field_parts(self: Any, offset: int, kind: int) -> Any:
        found = _array(self, offset) if kind == ARRAY and self.byte_order == "I" else None
        return found or reader._get_field_parts(self, offset, kind)

    return type("PlainReader", (reader,), {"_get": get, "_get_field_parts": get_field_parts})


def _array(reader: Any, offset: int) -> tuple[int, list[Any], list[int], list[Any]] | None:
    """What a reader's `_get_field_parts` finds for an array of strings or numbers; None for any other."""
    kind, count = reader._get(offset, np.uint32), reader._get(offset + 4, np.uint64)
    number, numbers = int(count[0]), reader.gguf_scalar_to_np
    types = [type(next(iter(numbers)))(each) for each in (ARRAY, int(kind[0]))]
    parts: list[Any] = [kind, count]
    end = offset + HEAD
    if number and types[1] in numbers:
        values = reader._get(end, numbers[types[1]], number)
        parts += [values[place : place + 1] for place in range(number)]
        return HEAD + int(values.nbytes), parts, list(range(2, 2 + number)), types
    if not number or types[1] != STRING:
        return None
    data = reader.data.view(np.ndarray)
    for _ in range(number):
        start = end + LENGTH.size
        if start > len(data):
            return None  # it was cut, which the reader itself reports
        length = LENGTH.unpack_from(data, end)[0]
        parts += [data[end:start].view(np.uint64), data[start : start + length]]
        end = start + length
    return end - offset, parts, list(range(3, 3 + 2 * number, 2)), types
