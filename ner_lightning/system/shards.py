"""Shards: the numbered files in which the Hub keeps one table, as one name with a `*`."""

import re
from functools import lru_cache
from pathlib import Path

# Of older uploads each name ends in a digest of its own.
_SHARD = re.compile(r"(.+)-(\d{5})-of-(\d{5})(?:-[0-9a-f]{16})?(\.\w+)")
_PATTERN = re.compile(r"(.+)-\*-of-(\d{5})(\.\w+)")


@lru_cache
def name_without_numbers(name: str) -> str:
    """The name or path that a shard would have as an only file; of any other file, its own."""
    shard = _SHARD.fullmatch(name)
    return shard[1] + shard[4] if shard else name


def with_its_shards(path: Path) -> Path:
    """What stands for a shard and those beside it, as in `train-*-of-00002.parquet`.

    Of any other file, and of an only shard, it is the path itself.
    """
    shard = _SHARD.fullmatch(path.name)
    if shard is None or int(shard[3]) == 1:
        return path
    return path.with_name(f"{shard[1]}-*-of-{shard[3]}{shard[4]}")


def shards_of(path: Path) -> list[Path]:
    """The files that a name with a `*` stands for, in order; none for any other path."""
    if _PATTERN.fullmatch(path.name) is None or not path.parent.is_dir():
        return []
    return sorted(file for file in path.parent.iterdir() if file != path and with_its_shards(file) == path)


def missing_shards(path: Path) -> int:
    """How many of the files that a name with a `*` stands for are not there."""
    pattern = _PATTERN.fullmatch(path.name)
    return int(pattern[2]) - len(shards_of(path)) if pattern else 0
