"""Names that a user writes: paths, which may begin with `~`, and repositories on the Hub."""

import re
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


def without_tilde(path: str) -> str:
    """A path that is otherwise as the user wrote it.

    Raises:
        UserError: there is no such user.
    """
    return str(expanded(path)) if path.startswith("~") else path


def may_be_on_hub(name: str) -> bool:
    """Whether a name has the form of a repository on the Hub, `name` or `org/name`, not that of a path."""
    return name.count("/") <= 1 and not name.startswith((".", "/", "~")) and not name.endswith("/")


def is_repo_id(name: str) -> bool:
    """Whether a name has the form `org/name`."""
    return "/" in name and may_be_on_hub(name)


def is_commit(revision: str | None) -> bool:
    """Whether a revision is a commit, which never changes, and not a branch or tag."""
    return re.fullmatch("[0-9a-f]{40}", revision or "") is not None
