"""Uploads a trained tagger to the Hugging Face Hub, as an exported folder."""

import re
import shlex
import shutil
from collections.abc import Collection, Sequence
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from ner_lightning.data.pretrained import is_local
from ner_lightning.errors import UserError
from ner_lightning.export.card_metadata import HERE
from ner_lightning.export.exported_folder import export, manifest_text
from ner_lightning.inference.loading import is_exported, read_manifest
from ner_lightning.inference.tagger_files import ADAPTER, ExportFormat
from ner_lightning.runs.folder import MANIFEST
from ner_lightning.system.hub_errors import upload_errors_explained
from ner_lightning.system.user_paths import is_repo_id

CARD = "README.md"
# Weights, graphs and configurations that an exported folder may have.
OURS = re.compile(
    r"(model|adapter_model|head|tagger|openvino)[\w.-]*\.(safetensors|onnx|onnx_data|data|xml|bin|index\.json)"
    r"|(adapter_)?config\.json"
)


def check_target(repo_id: str) -> None:
    """Checks what can be checked of an upload before there is anything to upload.

    Raises:
        UserError: it is no name of a repository, nobody is logged in, or a login by OIDC fails.
    """
    from huggingface_hub import get_token

    if not is_repo_id(repo_id):
        raise UserError(f"{repo_id} is no name of a repository on the Hub; name it org/name")
    with upload_errors_explained(repo_id, "Then run the command again."):
        token = get_token()
    if token is None:
        raise UserError(
            f"{repo_id} cannot be uploaded: nobody is logged in to the Hugging Face Hub.\n"
            "For a token with write access, run `hf auth login` or set HF_TOKEN=..."
        )


def upload(
    path: Path,
    repo_id: str,
    format: ExportFormat,
    *,
    private: bool,
    temperature: float,
    backbone: str | Path | None = None,
    trust: bool = False,
) -> str:
    """Uploads a checkpoint, exported first, or an exported folder as it is.

    Args:
        path: the checkpoint or the exported folder.
        repo_id: `org/name`; the repository is created if it does not exist.
        format: the format to export a checkpoint in.
        private: whether a repository that is created is private.
        temperature: the one to write into the manifest.
        backbone: where the checkpoint's backbone is now; None: where it was.
        trust: run code that the checkpoint names or that comes with its backbone.

    Returns:
        the address of the commit.

    Raises:
        UserError: it cannot be exported, others could not load it, or the Hub refuses it; what was exported
            is kept, and the message says where.
    """
    check_target(repo_id)
    if is_exported(path):
        return upload_folder(path, repo_id, private=private, temperature=temperature)
    scratch = Path(mkdtemp(prefix="ner-lightning-"))
    folder = scratch / repo_id.rpartition("/")[2]
    try:
        source: Any = {"backbone": backbone, "trust": trust}
        export(str(path), folder, format=format, temperature=temperature, **source)
        _check_adapter(read_manifest(folder))
    except BaseException:
        shutil.rmtree(scratch)
        raise
    address = upload_folder(folder, repo_id, private=private)
    shutil.rmtree(scratch)
    return address


def upload_folder(
    folder: Path, repo_id: str, *, private: bool = False, temperature: float | None = None
) -> str:
    """Uploads an exported folder as it is; its card's examples name the repository.

    Args:
        folder: the exported folder.
        repo_id: `org/name`; the repository is created if it does not exist.
        private: whether a repository that is created is private.
        temperature: the one to write into the manifest; None: its own.

    Returns:
        the address of the commit.

    Raises:
        UserError: others could not load it, or the Hub refuses it; the message says how to upload it again.
    """
    from huggingface_hub import CommitOperationAdd, HfApi

    manifest = read_manifest(folder)
    _check_adapter(manifest)
    if temperature is not None:
        manifest["temperature"] = temperature
    texts = {MANIFEST: manifest_text(manifest)}
    if (folder / CARD).is_file():
        texts[CARD] = (folder / CARD).read_text(encoding="utf-8").replace(HERE, repo_id)
    operations: list[Any] = [CommitOperationAdd(name, text.encode()) for name, text in texts.items()]
    for file in sorted(folder.rglob("*")):
        name = file.relative_to(folder)
        hidden = any(part.startswith(".") for part in name.parts)
        if file.is_file() and not hidden and name.as_posix() not in texts:
            operations.append(CommitOperationAdd(name.as_posix(), file))
    api = HfApi()
    command = f"ner-lightning export {shlex.quote(str(folder))} --push {repo_id}{' --private' * private}"
    command += "" if temperature is None else f" --temperature {temperature:g}"
    with upload_errors_explained(repo_id, f"Nothing is lost; push the exported folder with `{command}`"):
        api.create_repo(repo_id, private=private, exist_ok=True)
        operations += _deletions(api.list_repo_files(repo_id), {each.path_in_repo for each in operations})
        commit = api.create_commit(repo_id, operations, commit_message="Upload a tagger of ner-lightning")
    return str(commit.commit_url)


def _deletions(there: Sequence[str], new: Collection[str]) -> list[Any]:
    """What an earlier upload left that would be read beside the new files: of another format or sharding.

    Args:
        there: the files of the repository.
        new: those that are uploaded.
    """
    from huggingface_hub import CommitOperationDelete

    if MANIFEST not in there:
        return []  # what is there is not ours
    return [CommitOperationDelete(name) for name in there if name not in new and OURS.fullmatch(name)]


def _check_adapter(manifest: dict[str, Any]) -> None:
    backbone = manifest["settings"]["backbone"]
    if manifest["form"] == ADAPTER and is_local(backbone, manifest["origin"]):
        raise UserError(
            f"the adapter's backbone is local ({backbone}), so nobody else could load it; "
            'push it as a merged model: --format merged, in Python format="merged"'
        )
