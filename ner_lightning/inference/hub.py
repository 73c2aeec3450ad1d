"""Downloads an exported folder from the Hugging Face Hub."""

from pathlib import Path

from ner_lightning.errors import UserError
from ner_lightning.runs.folder import MANIFEST
from ner_lightning.system.hub_access import check_model_access
from ner_lightning.system.hub_errors import hub_errors_explained
from ner_lightning.system.user_paths import expanded, is_repo_id


def local_or_downloaded(name: str | Path, revision: str | None) -> Path:
    """A local folder, or that of a repository, which is downloaded; a local folder has priority.

    Raises:
        UserError: a revision is given of a local folder, or see `download`.
    """
    folder = expanded(name)
    if not folder.exists() and isinstance(name, str) and is_repo_id(name):
        return download(name, revision)
    if revision is not None:
        raise UserError(f"{name} is not a repository org/name on the Hub; leave out revision")
    return folder


def download(repo_id: str, revision: str | None = None) -> Path:
    """Downloads a repository with what `export` writes, or finds it in the local cache.

    Args:
        repo_id: `org/name`.
        revision: a branch, tag or commit; None: the main branch.

    Returns:
        the folder in the local cache.

    Raises:
        UserError: there is no such repository, it holds no exported tagger, or it cannot be loaded.
    """
    from huggingface_hub import hf_hub_download, snapshot_download
    from huggingface_hub.errors import RemoteEntryNotFoundError

    offline = check_model_access(repo_id, revision, file=MANIFEST, kind="tagger").local_files_only
    with hub_errors_explained(repo_id, "tagger"):
        try:  # before the weights: a repository without a manifest is not downloaded
            hf_hub_download(repo_id, MANIFEST, revision=revision, local_files_only=offline)
        except RemoteEntryNotFoundError:
            raise UserError(
                f"{repo_id} holds no {MANIFEST}, so it is not a tagger that `push_to_hub` uploaded"
            ) from None
        return Path(snapshot_download(repo_id, revision=revision, local_files_only=offline))
