"""What is read off a command line before the parser sees it."""

import argparse
from pathlib import Path

from ner_lightning.errors import UserError

# Suffixes of files that a report or a model could be taken for.
REPORTS = (".html", ".htm", ".md", ".pdf", ".txt", ".json", ".csv", ".docx")
MODELS = (".onnx", ".zip", ".ckpt", ".pt", ".bin", ".safetensors", ".gguf")


def config_files(words: list[str]) -> list[str]:
    """The config files that a command line names."""
    rest = list(words)
    return [
        value for option in ("--config", "-c") for _ in words if (value := take(rest, option)) is not None
    ]


def named(words: list[str]) -> list[str]:
    """Names the run after its first config file unless told otherwise."""
    config = peek(words, "--config") or peek(words, "-c")
    if config is None or peek(words, "--name") is not None:
        return words
    return [f"--name={Path(config).stem}", *words]  # in front, so that the file's own name wins


def shipped(word: str) -> str:
    """A config of ours where the folder at hand has none of that name: `configs/...` works anywhere."""
    option, equals, value = word.rpartition("=")
    if not value.startswith("configs/") or Path(value).exists():
        return word
    ours = Path(__file__).parent / value
    return f"{option}{equals}{ours}" if ours.is_file() else word


def take(words: list[str], option: str) -> str | None:
    """Removes an option and its value from a command line; returns the value, None if it is not there.

    Raises:
        UserError: the option is the last word.
    """
    for place, word in enumerate(words):
        if word == option:
            if place + 1 == len(words):
                raise UserError(f"{option} lacks its value")
            del words[place]
            return words.pop(place)
        if word.startswith(option + "="):
            return words.pop(place).partition("=")[2]
    return None


def peek(words: list[str], option: str) -> str | None:
    """An option's value, None if it is not there."""
    return take(list(words), option)


def add_run(parser: argparse.ArgumentParser) -> None:
    """Adds RUN, which any trained tagger may be, and the folder of runs for its default."""
    parser.add_argument(
        "run",
        nargs="?",
        metavar="RUN",
        help="run folder, checkpoint or exported folder (default: the last run)",
    )
    parser.add_argument("--runs", default="runs", metavar="DIR", help="the folder of run folders")


def add_trust(parser: argparse.ArgumentParser) -> None:
    """Adds the consent to run code that a trained tagger brings or names."""
    parser.add_argument(
        "--trust_remote_code",
        action="store_true",
        help="run Python code that comes with the backbone, or that RUN names (default: refuse it)",
    )


def check_folder(option: str, value: str) -> None:
    """Checks that a folder to be written is not called like a file.

    Raises:
        UserError: it is, and does not exist.
    """
    if Path(value).suffix.lower() in (*REPORTS, *MODELS) and not Path(value).is_dir():
        raise UserError(f"{option} {value} is a folder for the files to be written; name it without a suffix")
