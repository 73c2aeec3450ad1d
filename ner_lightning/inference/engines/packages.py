"""What the engines share: names in a graph, and the check that an engine's packages are installed."""

from importlib.util import find_spec

from ner_lightning.errors import UserError

INPUTS, OUTPUT = ("input_ids", "attention_mask"), "logits"


def installed(*packages: str) -> bool:
    """Whether all of the packages are installed."""
    return all(find_spec(name) is not None for name in packages)


def require(engine: str, extra: str, *packages: str) -> None:
    """Checks that packages are installed.

    Args:
        engine: its name in the message.
        extra: the extra of ner-lightning that installs them.
        *packages: their names.

    Raises:
        UserError: some are not.
    """
    missing = [name for name in packages if not installed(name)]
    if missing:
        raise UserError(
            f"{engine} needs {' and '.join(missing)}, which is not installed.\n"
            f"Install: pip install 'ner-lightning[{extra}]'"
        )
