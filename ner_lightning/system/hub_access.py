"""Asks the Hub what a name stands for: its commit, or that a cached copy must do."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

from ner_lightning.system.hub_errors import HubUnavailableError, Kind, hub_errors_explained

# Long enough for a slow line. Left to themselves the libraries try again for some 23 seconds.
TIMEOUT = 5.0


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
    """Looks a repository up, with one try and a short timeout, and checks that it may be read.

    Args:
        repo_id: "org/name".
        kind: what it holds.
        revision: a branch, tag or commit; None is the main branch.

    Raises:
        HubUnavailableError: the Hub cannot be reached, or the repository is gated.
        UserError: there is no such repository or revision.
    """
    from huggingface_hub import HfApi

    api = HfApi()
    with hub_errors_explained(repo_id, kind):
        look_up = api.dataset_info if kind == "dataset" else api.model_info
        info = look_up(repo_id, revision=revision, timeout=TIMEOUT)
        # The information about a gated repository is public; only this call tells who may read it.
        api.auth_check(info.id, repo_type="dataset" if kind == "dataset" else "model")
    return RepoState(
        id=info.id,
        commit=str(info.sha),
        files=tuple(sibling.rfilename for sibling in info.siblings or ()),
    )


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
    except HubUnavailableError:
        path = try_to_load_from_cache(repo_id, file, revision=revision)
        if not isinstance(path, str):  # Unknown, or known to be absent.
            raise
        snapshot = Path(path).parents[len(Path(file).parts) - 1]
        return ModelAccess(snapshot.name, local_files_only=True)
