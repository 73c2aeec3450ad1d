"""Digests: what is in a file, or in the files of a folder."""

import hashlib
from pathlib import Path

from ner_lightning.system.shards import shards_of
from ner_lightning.system.visible_files import visible_files

_CACHE = "cache-*.arrow"  # what `datasets` keeps of its own computations in a saved data set


def digest_of(path: Path) -> str:
    """The SHA-256 of what is read of a path, in hexadecimal digits.

    Of a folder these are its files with their names, also those of linked folders, and no hidden ones; of a
    text, brat's annotation beside it as well; of shards, all of them.
    """
    if shards := shards_of(path):
        return _digest([(shard.name, shard) for shard in shards])
    if path.is_file():
        text = path.with_suffix("") if path.suffix.lower() == ".gz" else path
        beside = text.with_suffix(".ann")
        if beside == path or not beside.is_file():
            return hashlib.sha256(path.read_bytes()).hexdigest()
        return _digest([("text", path), ("annotation", beside)])
    files = [file for file in visible_files(path) if not file.match(_CACHE)]
    return _digest([(str(file.relative_to(path)), file) for file in files])


def _digest(files: list[tuple[str, Path]]) -> str:
    digest = hashlib.sha256()
    for name, file in files:
        digest.update(f"{name}\0".encode() + hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()
