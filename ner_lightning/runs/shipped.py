"""Finds shipped configs: `configs/...` works in any folder."""

from pathlib import Path


def shipped(word: str) -> str:
    """A word of a command line, with `configs/...` replaced by the shipped file unless it exists here."""
    option, equals, value = word.rpartition("=")
    if not value.startswith("configs/") or Path(value).exists():
        return word
    ours = Path(__file__).parent.parent / value
    return f"{option}{equals}{ours}" if ours.is_file() else word
