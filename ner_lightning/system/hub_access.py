"""Asks the Hub what a name stands for: its commit, or that a cached copy must do."""

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

from ner_lightning.system.hub_errors import HubUnavailableError, Kind, hub_errors_explained
from ner_lightning.system.progress import warn
from ner_lightning.system.user_paths import is_commit

if TYPE_CHECKING:
    from huggingface_hub import HfApi


@dataclass(frozen=True)
class RepoState:
    """A repository on the Hub as it is now.

    Attributes:
        id: its name today; an old name leads to it.
        commit: the SHA of the commit that the revision stands for.
        files: paths of all its files.
    """

    id: str
    commit: str
    files: tuple[str, ...]


def inspect_repo(repo_id: str, kind: Kind, revision: str | None = None) -> RepoState:
    """Looks a repository up, with one try, and checks that it may be read.

    Left to themselves the libraries try again for some 23 seconds.

    Args:
        repo_id: "org/name".
        kind: what it holds.
        revision: a branch, tag or commit; None is the main branch.

    Raises:
        HubUnavailableError: the Hub cannot be reached, or the repository is gated.
        UserError: there is no such repository or revision.
    """
    from huggingface_hub import HfApi, constants

    api = HfApi()
    with hub_errors_explained(repo_id, kind, revision):
        look_up = api.dataset_info if kind == "dataset" else api.model_info
        info = look_up(repo_id, revision=revision, timeout=constants.HF_HUB_ETAG_TIMEOUT)
        if info.gated:
            _check_gate(api, info.id, kind)
    return RepoState(
        id=info.id,
        commit=str(info.sha),
        files=tuple(sibling.rfilename for sibling in info.siblings or ()),
    )


def _check_gate(api: "HfApi", repo_id: str, kind: Kind) -> None:
    """Raises an error of huggingface_hub if a gated repository, whose information is public, is not read."""
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError

    try:
        api.auth_check(repo_id, repo_type="dataset" if kind == "dataset" else "model")
    except HfHubHTTPError as error:
        # Mirrors may not answer this question; then loading tells.
        if isinstance(error, GatedRepoError) or error.response.status_code in (401, 403):
            raise


class ModelAccess(NamedTuple):
    """How `from_pretrained` gets at a model without asking in vain.

    Attributes:
        commit: SHA of the commit to load.
        local_files_only: whether only the local cache has it. Without this argument transformers
            tries for most of a minute to reach the Hub for files that it can do without.
    """

    commit: str
    local_files_only: bool


def check_model_access(
    repo_id: str,
    revision: str | None = None,
    *,
    file: str = "config.json",
    kind: Literal["model", "tagger"] = "model",
) -> ModelAccess:
    """Finds out, before any other work, whether a model can be loaded.

    Args:
        repo_id: "org/name".
        revision: a branch, tag or commit; None is the main branch.
        file: where the Hub is of no help, the cache counts as having the model if it has this file.
        kind: what messages call it.

    Raises:
        UserError: the model is available neither from the Hub nor from the cache.
    """
    from huggingface_hub import try_to_load_from_cache

    try:
        return ModelAccess(inspect_repo(repo_id, kind, revision).commit, local_files_only=False)
    except HubUnavailableError as error:
        path = try_to_load_from_cache(repo_id, file, revision=revision)
        if not isinstance(path, str):  # Unknown, or known to be absent.
            raise
        snapshot = Path(path).parents[len(Path(file).parts) - 1]
        if not is_commit(revision):  # of which there is but one version
            warn_of_cache(error, snapshot.name)
        return ModelAccess(snapshot.name, local_files_only=True)


def warn_of_cache(error: HubUnavailableError, commit: str) -> None:
    """Tells the user which commit serves instead of what the Hub may have by now."""
    reason = str(error).partition("\n")[0]
    warn(f"{reason}\nUsing commit {commit} from the local cache.")


def record_revision(repo_id: str, revision: str | None) -> None:
    """Has the cache know which commit a branch or tag of a model is, for later use without the Hub.

    Where files are fetched by commit, as ours are, the cache learns nothing of branches.
    """
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError

    if is_commit(revision):
        return
    with hub_errors_explained(repo_id, "model", revision), suppress(EntryNotFoundError):
        hf_hub_download(repo_id, "config.json", revision=revision or "main")
