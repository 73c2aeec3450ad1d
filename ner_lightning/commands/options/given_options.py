"""The options of a recipe that a command line gives, by their dotted names."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from ner_lightning.commands.options.command_line import FLAGS
from ner_lightning.commands.options.config_files import GROUPS

# Options whose value is a mapping of others, or a file with one.
_GROUPS = {"trainer", *GROUPS, *(f"{part}.{group}" for part, groups in GROUPS.items() for group in groups)}


def given(words: Sequence[str]) -> list[str]:
    """The options that a command line names; a group such as `--data.batches '{"size": 3}'` as what it sets.

    Args:
        words: all options but flags have a value, after `=` or as the next word.
    """
    found: list[str] = []
    remaining = iter(words)
    for word in remaining:
        if word.startswith("--"):
            option, equals, value = word[2:].partition("=")
            if not equals and word not in FLAGS:
                value = next(remaining, "")
            found += _names(option.rstrip("+"), _content(option, value))
    return found


def is_of(option: str, names: Collection[str]) -> bool:
    """Whether an option is one of some names, or below one of them."""
    return any(option == name or option.startswith(f"{name}.") for name in names)


def _content(option: str, value: str) -> Any:
    try:
        if option not in _GROUPS:
            return value
        file = "{" not in value and Path(value).is_file()
        return yaml.safe_load(Path(value).read_text(encoding="utf-8") if file else value)
    except (OSError, UnicodeDecodeError, yaml.YAMLError):  # the parser says what is wrong
        return value


def _names(option: str, content: Any) -> Iterator[str]:
    if option in _GROUPS and isinstance(content, Mapping):
        for name, value in content.items():
            yield from _names(f"{option}.{name}", value)
    else:
        yield option
