"""Answers that are kept in a run's folder, and how much of them could not be read."""

from collections.abc import Sequence
from pathlib import Path

from ner_lightning.prompting.generation import GeneratedAnswer
from ner_lightning.prompting.prompt import Reading
from ner_lightning.system.atomic import write_text
from ner_lightning.system.stored_rows import stored_rows


def read_saved(file: Path) -> dict[int, GeneratedAnswer]:
    """The saved answers by sentence; an incomplete last line is removed.

    Raises:
        UserError: another line is damaged.
    """
    if not file.is_file():
        return {}
    text = file.read_text(encoding="utf-8", errors="replace")
    whole = text[: text.rfind("\n") + 1]
    if len(whole) < len(text):
        write_text(file, whole)  # otherwise the next answer would be appended to it
    fields = GeneratedAnswer._fields
    rows = stored_rows(file, fields, "remove it, and its sentence is prompted for again")
    answers = (GeneratedAnswer(*(row[name] for name in fields)) for row in rows)
    return {answer.sentence: answer for answer in answers}


def unread_counts(readings: Sequence[Reading]) -> dict[str, int]:
    """How many answers and parts of answers could not be read."""
    return {
        "answers": len(readings),
        "failed": sum(reading.failed for reading in readings),
        "unread_lines": sum(reading.unread_lines for reading in readings),
        "absent": sum(reading.absent for reading in readings),
        "cut": sum(reading.cut for reading in readings),
    }
