"""Consent: code that a stored configuration names runs only if the command line allows it."""

import re
import tempfile
from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import yaml

from ner_lightning.commands.options.command_line import peek
from ner_lightning.commands.options.config_files import GROUPS
from ner_lightning.errors import UserError

FLAG = "--trust_remote_code"
OPTION = "--model.runtime.trust_remote_code"
# Classes that a stored configuration may name: all of them come with this package or with Lightning.
SHIPPED = re.compile(
    r"(ner_lightning|lightning\.pytorch\.(callbacks|loggers|profilers|strategies|plugins|accelerators))"
    r"(\.[a-z_]\w*)*\.[A-Z]\w*"
)
# Where a string may name a class, or a file with one. Elsewhere it is plain text.
CLASSES = {"model": ("architecture.prepare", "loss.parts"), "data": ("source",)}
# Where a string would be read as a file.
_NESTED = GROUPS | {"model": (*GROUPS["model"], "members")}
_PATH = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)+")  # what can be imported


def take_consent(words: list[str]) -> bool:
    """Whether a command line allows foreign code, by the flag or by the model's setting.

    Args:
        words: the command line, in which the flag becomes that setting.
    """
    flagged = FLAG in words
    words[:] = [word for word in words if word != FLAG]
    if flagged and peek(words, OPTION) is None:
        words.append(f"{OPTION}=true")
    return flagged or str(peek(words, OPTION)).lower() == "true"


def stored_config(config: Any, where: Path, *, consent: bool) -> dict[str, Any]:
    """The configuration of a checkpoint or a run folder, which may come from a stranger.

    Args:
        config: as it was read.
        where: the file that it was read from.
        consent: the command allows code that the file names.

    Returns:
        a configuration that runs no foreign code unless the command allows it.

    Raises:
        UserError: it is not a configuration, or names a class from outside of this package and Lightning.
    """
    sections = ("trainer", "model", "data")
    if not isinstance(config, MutableMapping) or not all(
        isinstance(config.get(name, {}), Mapping) for name in sections
    ):
        raise UserError(f"{where} holds no configuration of ner-lightning")
    if consent:
        return dict(config)
    foreign = next(_foreign(config), None)
    if foreign is not None:
        raise UserError(
            f"{where}: its configuration names {foreign}, which is part of neither ner-lightning nor "
            f"Lightning.\nIf you trust the file's author and that code, allow it: {FLAG}"
        )
    safe = {name: value for name, value in config.items() if name != "config"}  # would read another file
    model = safe.get("model", {})
    if isinstance(model.get("runtime"), Mapping):
        safe["model"] = {**model, "runtime": {**model["runtime"], "trust_remote_code": False}}
    return safe


@contextmanager
def stored_options(config: Any, where: Path, *, consent: bool) -> Iterator[list[str]]:
    """Options that name a file with `stored_config`, as long as the block runs; same arguments and errors."""
    safe = stored_config(config, where, consent=consent)
    with tempfile.TemporaryDirectory() as temporary:
        file = Path(temporary) / "config.yaml"
        try:
            file.write_text(yaml.safe_dump(safe), encoding="utf-8")
        except yaml.YAMLError:
            raise UserError(f"{where}: its configuration holds more than plain values") from None
        yield ["--config", str(file)]


def _foreign(config: Mapping[str, Any]) -> Iterator[str]:
    """Names in a configuration that would be imported and are not shipped."""
    yield from _named(config.get("trainer", {}))
    for section, keys in _NESTED.items():
        values = config.get(section, {})
        yield from (values[key] for key in keys if isinstance(values.get(key), str))
        for key in CLASSES[section]:
            group, _, name = key.rpartition(".")
            inside = values.get(group) if group else values
            yield from _named(inside.get(name) if isinstance(inside, Mapping) else None)
    yield from _class_paths(config)


def _named(value: Any) -> Iterator[str]:
    """Strings that name something to import, or a file in which more is named."""
    if isinstance(value, Mapping):
        for item in value.values():
            yield from _named(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _named(item)
    elif isinstance(value, str) and not SHIPPED.fullmatch(value) and (_imports(value) or _is_file(value)):
        yield value


def _imports(value: str) -> bool:
    """Whether it names something in an installed module; nothing is imported to find out."""
    if not _PATH.fullmatch(value):
        return False
    try:
        return find_spec(value.partition(".")[0]) is not None
    except ValueError:  # a module without a spec, such as __main__
        return True


def _is_file(value: str) -> bool:
    try:
        return Path(value).expanduser().is_file()
    except (OSError, RuntimeError, ValueError):  # no such user, too long for a name, or with a NUL inside
        return False


def _class_paths(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        path = value.get("class_path")
        if path is not None and not SHIPPED.fullmatch(str(path)):
            yield str(path)
        for item in value.values():
            yield from _class_paths(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _class_paths(item)
