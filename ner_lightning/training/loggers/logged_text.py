"""Whether a server of experiments gets text of the data: only the bundled sample's, unless told otherwise."""

from typing import Any, Literal

from ner_lightning.data.sources import is_bundled

LogText = Literal["never", "bundled", "always"]
"""`never`; of the `bundled` sample alone; or `always`."""


def may_log_text(choice: LogText, data: Any) -> bool:
    """Whether sentences may leave the machine.

    Args:
        choice: the option `log_text`.
        data: the options of the data, as a data module takes them.
    """
    return choice == "always" or (choice == "bundled" and is_bundled(data))
