"""Tag names: the tags that numbers stand for, from an option or a file."""

import json
import os
from contextlib import suppress
from pathlib import Path

from ner_lightning.data.sentence import read_lines
from ner_lightning.data.tags.tag_forms import TagForm
from ner_lightning.errors import UserError
from ner_lightning.system.user_paths import expanded


def read_tag_names(given: str | os.PathLike[str]) -> tuple[str, ...]:
    """The tags that numbers stand for.

    Args:
        given: tags separated by commas, or a file: a tag per line, or a list or numbering of tags in JSON.

    Raises:
        UserError: one is not a tag.
    """
    given = os.fspath(given)
    path = expanded(given)
    is_file = False
    with suppress(OSError):  # a long list of names is too long for a path
        is_file = path.is_file()
    if not is_file:
        names = [name.strip() for name in given.split(",")]
    elif path.suffix.lower() == ".json":
        names = _names_in_json(path)
    else:
        names = [line.strip() for line in read_lines(path) if line.strip()]
    form = TagForm.of(names)
    if form.problems:
        wrong = next(iter(form.problems))
        raise UserError(
            f"data.files.tag_names: {wrong!r:.40} is not a tag, and {given!r:.60} is no file; "
            "write tags such as O,B-PER,I-PER in the order of their numbers"
        )
    return tuple(names)


def _names_in_json(path: Path) -> list[str]:
    """The tags in a JSON file, in the order of their numbers.

    Raises:
        UserError: it is neither a list nor such a mapping.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8-sig"))
        if isinstance(value, dict):
            pairs = [(int(a), b) if isinstance(b, str) else (int(b), a) for a, b in value.items()]
            numbers, value = zip(*sorted(pairs), strict=True)
            if list(numbers) != list(range(len(numbers))):
                raise ValueError
        return [str(name) for name in value]
    except (TypeError, ValueError):
        raise UserError(
            f"data.files.tag_names: {path} must be a JSON list of tags, or map each tag to its number from 0"
        ) from None
