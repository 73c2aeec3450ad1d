"""Where the shipped configs are: `configs/...` is found from any folder."""

from pathlib import Path


def shipped(word: str) -> str:
    """A config of ours where the folder at hand has none of that name: `configs/...` works anywhere."""
    option, equals, value = word.rpartition("=")
    if not value.startswith("configs/") or Path(value).exists():
        return word
    ours = Path(__file__).parent.parent / value
    return f"{option}{equals}{ours}" if ours.is_file() else word
