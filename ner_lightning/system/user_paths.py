"""Paths that a user writes, which may begin with `~`."""

from pathlib import Path

from ner_lightning.errors import UserError


def expanded(path: str | Path) -> Path:
    """A path with the home directory in the place of `~` or `~user`.

    Raises:
        UserError: there is no such user.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError:
        user = str(path).partition("/")[0]
        raise UserError(f"{path}: there is no user {user[1:]}; name a file as ./{path}") from None
