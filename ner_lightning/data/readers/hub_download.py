"""Downloads a commit of a data set from the Hugging Face Hub; offline, finds it in the cache."""

import json
import textwrap
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from ner_lightning.errors import UserError
from ner_lightning.system.hub_access import inspect_repo, warn_of_cache
from ner_lightning.system.hub_errors import HubUnavailableError, explain_hub_error
from ner_lightning.system.progress import stage

# The branch on which the Hub keeps its own Parquet copy of a data set: CONFIG/SPLIT/0000.parquet.
CONVERTED = "refs/convert/parquet"


@dataclass(frozen=True)
class Version:
    """A commit of a data set, the revision that points to it, and its files on the Hub or in the cache."""

    id: str
    revision: str
    commit: str
    files: tuple[str, ...]
    cached: bool = False

    def arguments(self, config: str | None) -> dict[str, Any]:
        """The arguments of load_dataset besides the name and the commit.

        In the Hub's Parquet copy a folder is a configuration, which datasets does not know: it would
        read all of them as one, and a split "test_2020" as part of "test". So every split is spelt out
        unless its name is unambiguous.
        """
        if self.revision not in (CONVERTED, CONVERTED.removeprefix("refs/")):
            return {} if config is None else {"name": config}
        configs: dict[str, dict[str, str]] = {}
        for parts in (Path(file).parts for file in sorted(self.files)):
            if len(parts) == 3 and parts[2].endswith(".parquet"):
                folder, split, _ = parts
                configs.setdefault(folder, {})[split] = f"{folder}/{split}/*.parquet"
        if config is None:
            config = next(iter(configs)) if len(configs) == 1 else "default"
        if config not in configs:
            raise UserError(f"data.files.config: {self.id} has {', '.join(configs)}; name one of them")
        plain = len(configs) == 1 and configs[config].keys() <= {"train", "validation", "test"}
        return {} if plain else {"data_files": configs[config]}


@lru_cache
def fetch(name: str, config: str | None, revision: str | None) -> tuple[Version, dict[str, Any]]:
    """Loads all splits, once per process, so that they are of the same commit."""
    try:
        version = _find(name, revision)
        return version, _from_hub(version, config)
    except HubUnavailableError as error:
        for candidate in (revision,) if revision else ("main", CONVERTED):
            cached = _from_cache(name, config, candidate)
            if cached is not None:
                warn_of_cache(error, cached[0].commit)
                return cached
        raise


def _find(name: str, revision: str | None) -> Version:
    """Finds the commit to load on the Hub."""
    state = inspect_repo(name, "dataset", revision)
    script = state.id.rpartition("/")[2] + ".py"
    if script not in state.files:
        return Version(state.id, revision or "main", state.commit, state.files)
    problem = f"data.dataset: {state.id} is a loading script ({script}), which datasets no longer runs"
    if revision is not None:
        raise UserError(f"{problem}.\nLeave data.files.revision out, or set it to {CONVERTED}")
    try:
        state = inspect_repo(state.id, "dataset", CONVERTED)
    except HubUnavailableError:
        raise
    except UserError as error:
        raise UserError(
            f"{problem}, and the Hub has no Parquet copy of it.\n"
            "Name local files: --data.train, --data.valid, --data.test."
        ) from error
    return Version(state.id, CONVERTED, state.commit, state.files)


def _from_hub(version: Version, config: str | None) -> dict[str, Any]:
    """Downloads all splits, or takes those of this commit from the cache."""
    from datasets import load_dataset
    from datasets.exceptions import DatasetsError
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError

    arguments = version.arguments(config)
    stage(f"Downloading {version.id} (commit {version.commit[:8]}) unless it is cached ...")
    try:
        # Records in the cache to which commit the revision points, whether or not the file exists.
        with suppress(EntryNotFoundError):
            hf_hub_download(version.id, "README.md", repo_type="dataset", revision=version.revision)
        # By commit: a branch may move, and for "main" datasets queries another server.
        splits = dict(load_dataset(version.id, revision=version.commit, **arguments))
    except Exception as error:
        explained = explain_hub_error(error, version.id, "dataset")
        if explained is None and isinstance(error, DatasetsError | ValueError | FileNotFoundError):
            text = str(error.__cause__ or error).partition("Example of usage")[0]
            text = textwrap.shorten(text, 400, placeholder=" ...")
            explained = UserError(
                f"data.dataset: {version.id}: {text}\nCheck config and revision in data.files."
            )
        if explained is None:
            raise
        raise explained from error
    # If the Hub fails half-way, load_dataset takes the latest commit in the cache.
    built = {Path(file["filename"]).parent for rows in splits.values() for file in rows.cache_files}
    if any(folder.name != version.commit for folder in built):
        raise HubUnavailableError(
            f"data.dataset: {version.id} cannot be loaded: the connection to the Hub broke off.\n"
            "Try again later."
        )
    return splits


def _snapshot(name: str, revision: str) -> Path | None:
    """The folder of the commit to which a revision pointed when it was last looked up."""
    from huggingface_hub import constants

    repo = Path(constants.HF_HUB_CACHE) / f"datasets--{name.replace('/', '--')}"
    reference = repo / "refs" / revision
    commit = reference.read_text(encoding="utf-8").strip() if reference.is_file() else revision
    folder = repo / "snapshots" / commit
    return folder if folder.is_dir() else None


def _from_cache(name: str, config: str | None, revision: str) -> tuple[Version, dict[str, Any]] | None:
    """Takes the folder that load_dataset made of a commit, which appears only when complete."""
    from datasets import config as settings
    from datasets.naming import camelcase_to_snakecase

    snapshot = _snapshot(name, revision)
    if snapshot is None:
        return None
    files = tuple(path.relative_to(snapshot).as_posix() for path in snapshot.rglob("*.parquet"))
    version = Version(name, revision, snapshot.name, files, cached=True)
    organisation, _, short = name.rpartition("/")
    root = Path(settings.HF_DATASETS_CACHE) / f"{organisation}___{camelcase_to_snakecase(short)}"
    available = [
        (path.parent, json.loads(path.read_text(encoding="utf-8")))
        for path in root.glob(f"*/*/{version.commit}/dataset_info.json")
    ]
    try:
        arguments = version.arguments(config)
    except UserError:  # it would list the configurations of the cache
        return None
    if "data_files" in arguments:
        # The hash in the folder's name is not known here, so compare splits and size.
        patterns = arguments["data_files"]
        size = sum(path.stat().st_size for pattern in patterns.values() for path in snapshot.glob(pattern))
        matching = [
            (folder, info)
            for folder, info in available
            if info["splits"].keys() == patterns.keys() and info["download_size"] == size
        ]
    else:
        # A folder named otherwise than its configuration holds only a part of the data set's files.
        whole = {
            info["config_name"]: (folder, info)
            for folder, info in available
            if info["config_name"] == folder.parent.parent.name
        }
        # The default is known online; here it is clear if there is only one.
        default = next(iter(whole)) if len(whole) == 1 else "default"
        matching = [whole[key] for key in [config or default] if key in whole]
    if len(matching) != 1:
        return None  # rather than those of another configuration
    folder, info = matching[0]
    return version, {split: _arrow(folder, split) for split in info["splits"]}


def _arrow(folder: Path, split: str) -> Any:
    from datasets import Dataset, concatenate_datasets

    files = [*folder.glob(f"*-{split}.arrow"), *sorted(folder.glob(f"*-{split}-*-of-*.arrow"))]
    return concatenate_datasets([Dataset.from_file(str(file)) for file in files])
