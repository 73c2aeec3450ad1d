"""Uploads a trained tagger to the Hugging Face Hub, as an exported folder."""

import json
from pathlib import Path
from tempfile import TemporaryDirectory

from ner_lightning.data.pretrained import is_local
from ner_lightning.errors import UserError
from ner_lightning.export.exported_folder import Format, export, manifest_text
from ner_lightning.inference.loading import ADAPTER, MANIFEST, is_exported
from ner_lightning.system.hub_errors import hub_errors_explained


def upload(
    path: Path, repo_id: str, format: Format, *, private: bool, temperature: float, trust: bool = False
) -> str:
    """Uploads a checkpoint, exported first, or an exported folder as it is.

    Args:
        path: the checkpoint or the exported folder.
        repo_id: `org/name`; the repository is created if it does not exist.
        format: the format to export a checkpoint in.
        private: whether a repository that is created is private.
        temperature: the one to write into the manifest.
        trust: run code that the checkpoint names or that comes with its backbone.

    Returns:
        the address of the commit.

    Raises:
        UserError: it cannot be exported, others could not load it, or the Hub refuses it.
    """
    with TemporaryDirectory() as scratch:
        if is_exported(path):
            folder = path
        else:
            name = repo_id.rpartition("/")[2]
            folder = export(str(path), Path(scratch) / name, format=format, trust=trust)
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        backbone = manifest["settings"]["backbone"]
        if manifest["form"] == ADAPTER and is_local(backbone, manifest["origin"]):
            raise UserError(
                f"the adapter's backbone is local ({backbone}), so nobody else could load it; "
                'push the run with format="merged"'
            )
        manifest["temperature"] = temperature
        return _commit(folder, manifest, repo_id, private)


def _commit(folder: Path, manifest: dict[str, object], repo_id: str, private: bool) -> str:
    from huggingface_hub import CommitOperationAdd, HfApi

    operations = [CommitOperationAdd(MANIFEST, manifest_text(manifest).encode())]
    for file in sorted(folder.rglob("*")):
        name = file.relative_to(folder)
        if file.is_file() and str(name) != MANIFEST and not any(part.startswith(".") for part in name.parts):
            operations.append(CommitOperationAdd(name.as_posix(), file))
    api = HfApi()
    with hub_errors_explained(repo_id, "tagger"):
        api.create_repo(repo_id, private=private, exist_ok=True)
        commit = api.create_commit(repo_id, operations, commit_message="Upload a tagger of ner-lightning")
    return str(commit.commit_url)
