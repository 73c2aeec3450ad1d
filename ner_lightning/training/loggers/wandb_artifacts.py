"""W&B artifacts by reference: data, checkpoints and exported folders stay in place; lineage joins them."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ner_lightning.runs.fingerprints import digest_in, file_in


def log_data(run: Any, name: str, splits: Mapping[str, Mapping[str, Any]]) -> None:
    """Names the data set as what a W&B run uses; nothing of it is uploaded.

    Args:
        run: the W&B run.
        name: the data set's name.
        splits: of each split its origin, fingerprint and sizes, as `run.json` holds them.
    """
    import wandb
    from huggingface_hub import constants

    artifact = wandb.Artifact(f"data-{_allowed(Path(name).name)}", type="dataset", metadata={**splits})
    for split, about in splits.items():
        file = Path(file_in(about["origin"]))
        if file.exists():
            artifact.add_reference(file.resolve().as_uri(), name=split)
        elif found := re.fullmatch(r"([\w./-]+)@(.+):(.+)", about["origin"]):
            commit = digest_in(about["fingerprint"])
            address = f"{constants.ENDPOINT}/datasets/{found[1]}/tree/{commit}"
            artifact.add_reference(f"{address}#{found[3]}", name=split, checksum=False)
    log_used(run, artifact)


def log_used(run: Any, artifact: Any) -> None:
    """Logs an artifact as input of a W&B run, also offline, where `use_artifact` refuses."""
    try:
        run._log_artifact(artifact, use_after_commit=True)
    except (AttributeError, TypeError):  # another version of W&B
        run.log_artifact(artifact)


def log_model(run: Any, path: Path, metadata: Mapping[str, Any], alias: str, *, upload: bool = False) -> None:
    """Logs a checkpoint or an exported folder as output of a W&B run.

    Args:
        run: the W&B run.
        path: the file or folder.
        metadata: its scores.
        alias: `best`, or `export`.
        upload: whether the file itself is uploaded; otherwise W&B gets its path and checksums.
    """
    import wandb

    artifact = wandb.Artifact(f"model-{run.id}", type="model", metadata={**metadata})
    if upload:
        artifact.add_file(str(path), name=f"{alias}{path.suffix}")
    else:
        artifact.add_reference(path.resolve().as_uri(), name=None if path.is_dir() else path.name)
    run.log_artifact(artifact, aliases=[alias])


def _allowed(name: str) -> str:
    """A name of the characters that W&B allows."""
    return re.sub(r"[^\w.-]+", "-", name)[:100]
