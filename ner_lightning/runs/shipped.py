"""Finds shipped configs by name, in any folder: `quickstart`, `with/softmax`, `configs/quickstart.yaml`."""

from pathlib import Path

FOLDER = Path(__file__).parent.parent / "configs"
SCHEMA = FOLDER / "recipe.schema.json"  # every key of a recipe


def names() -> list[str]:
    """The shipped configs as they are typed: recipes first, then overlays, such as `with/softmax`."""
    files = [file.relative_to(FOLDER).with_suffix("").as_posix() for file in FOLDER.rglob("*.yaml")]
    return sorted(files, key=lambda name: ("/" in name, name))


def shipped(word: str) -> str:
    """A word of a command line, with `configs/...` replaced by the shipped file unless it exists here."""
    option, equals, value = word.rpartition("=")
    if not value.startswith("configs/") or Path(value).exists():
        return word
    ours = FOLDER.parent / value
    return f"{option}{equals}{ours}" if ours.is_file() else word


def shipped_config(value: str) -> str:
    """The value of `--config`: where no file has this name, `NAME` stands for `configs/NAME.yaml`."""
    name = value.removeprefix("configs/").removesuffix(".yaml")
    if Path(value).is_file() or name not in names():
        return value
    copied = Path("configs", f"{name}.yaml")
    return str(copied if copied.is_file() else FOLDER / f"{name}.yaml")
