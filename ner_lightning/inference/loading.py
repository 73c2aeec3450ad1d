"""Reads the files of a trained tagger from a run, a checkpoint or an exported folder."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ner_lightning.data.corpus_settings import Encoding
from ner_lightning.data.pretrained import Pretrained, folder_of, locate, moved_members, trained_on
from ner_lightning.errors import UserError
from ner_lightning.inference.tagger_files import ADAPTER, CHECKPOINT, MEMBERS, OPENVINO_GRAPH, TaggerFiles
from ner_lightning.model.checkpoint import PREFIX, tagger_name
from ner_lightning.model.pinning import pinned
from ner_lightning.model.tagger_settings import TaggerSettings
from ner_lightning.runs.checkpoint_file import load_checkpoint
from ner_lightning.runs.earlier import is_of_best
from ner_lightning.runs.fingerprints import training_data
from ner_lightning.runs.folder import BEST, MANIFEST, STAGES, Run, resolve, run_of, short
from ner_lightning.system.plain_settings import build, select
from ner_lightning.system.precision import names_bf16
from ner_lightning.system.progress import stage
from ner_lightning.system.ranges import PositiveFloat, check_setting
from ner_lightning.system.user_paths import expanded

WEIGHTS = "tagger.safetensors"  # head, CRF, and layers that were trained whole
ADAPTER_WEIGHTS = "adapter_model.safetensors"  # PEFT's name for it
FORMAT = 1  # version of the manifest


def is_exported(path: Path) -> bool:
    """Whether a path is a folder that `export` wrote."""
    return (path / MANIFEST).is_file()


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of an exported folder.

    Raises:
        UserError: it is damaged.
    """
    try:
        manifest: dict[str, Any] = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        complete = manifest.keys() >= {"form", "origin", "settings", "about"}
    except (AttributeError, OSError, ValueError):
        complete = False
    if not complete:
        raise UserError(f"{folder / MANIFEST} is incomplete or damaged; export the tagger again")
    return manifest


def read_tagger_files(
    address: str | Path | None, root: Path, *, backbone: str | Path | None = None, trust: bool = False
) -> TaggerFiles:
    """Reads a trained tagger.

    Args:
        address: a run folder, a checkpoint file or an exported folder; None: the last run.
        root: the folder of runs, for None.
        backbone: where its backbone is now; None: where it was.
        trust: run code that comes with it, or that it names.

    Raises:
        UserError: there is no such run or folder, or it cannot be read.
    """
    if address is not None and is_exported(expanded(address)):
        return read_folder(expanded(address), backbone=backbone, trust=trust)
    checkpoint = resolve(address, BEST, root)
    if address is None:
        stage(_last_run(checkpoint))
    return read_checkpoint(checkpoint, backbone=backbone, trust=trust)


def _last_run(checkpoint: Path) -> str:
    """Which run the last one is, and how good: after a comparison it may not be the one that is meant."""
    run = run_of(checkpoint)
    if run is None:
        return f"The last run: {short(checkpoint)}."
    metrics = run.read("metrics.json")
    stages = {n: s for n, s in STAGES.items() if f"{s}/f1" in metrics and (s == "val" or is_of_best(metrics))}
    scores = [f"F1 {metrics[f'{s}/f1']:.4f} on {n}" for n, s in stages.items()]
    return f"The last run: {', '.join([str(short(run.path)), *scores])}."


def read_checkpoint(path: Path, *, backbone: str | Path | None = None, trust: bool = False) -> TaggerFiles:
    """Reads a checkpoint; code that it names runs only with `trust`, whatever its own settings say.

    Raises:
        UserError: it cannot be used.
    """
    checkpoint = load_checkpoint(path)
    try:
        return _from_checkpoint(checkpoint, path, backbone, trust)
    except (AttributeError, KeyError, TypeError) as error:
        raise UserError(
            f"{path}: its configuration is not a tagger's ({type(error).__name__}: {error})"
        ) from None


def _from_checkpoint(
    checkpoint: Mapping[str, Any], path: Path, backbone: str | Path | None, trust: bool
) -> TaggerFiles:
    config: dict[str, Any] = checkpoint["config"]
    model, data = config["model"], config["data"]
    stored = select(TaggerSettings, model) | {MEMBERS: model.get(MEMBERS)}
    settings, origin, pretrained = _located(stored, checkpoint["backbone"], backbone)
    return TaggerFiles(
        form=CHECKPOINT,
        path=path,
        settings=settings,
        types=tuple(data["types"]),
        encoding=build(Encoding, data["encoding"]),
        bf16=names_bf16(config["trainer"]["precision"]),
        origin=origin,
        state={name.removeprefix(PREFIX): value for name, value in checkpoint["state_dict"].items()},
        pretrained=pretrained,
        trust=trust,
        trained_on=tuple(str(data.get("train", "")) for data in training_data(checkpoint)),
    )


def read_folder(folder: Path, *, backbone: str | Path | None = None, trust: bool = False) -> TaggerFiles:
    """Reads an exported folder; code that is in it runs only with `trust`.

    Raises:
        UserError: it is not an exported folder, lacks a file, or is of a later version.
    """
    from safetensors.torch import load_file

    _check_exported(folder)
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        if manifest["format"] > FORMAT:
            raise UserError(f"{folder} was exported by a later ner-lightning; upgrade this one")
        check_setting(f"{folder / MANIFEST}: temperature", PositiveFloat, manifest["temperature"])
        form, settings, origin = manifest["form"], manifest["settings"], manifest["origin"]
        if form == ADAPTER:
            settings, origin, pretrained = _located(settings, origin, backbone)
        elif backbone is None:
            pretrained = Pretrained(str(folder))
        else:
            raise UserError(f"{folder} holds its own backbone; leave out --backbone {backbone}")
        engines = manifest.get("engines")
        if engines is not None and not (folder / OPENVINO_GRAPH).is_file():
            raise FileNotFoundError(f"there is no {OPENVINO_GRAPH}")
        state = load_file(folder / WEIGHTS)
        if (folder / ADAPTER_WEIGHTS).is_file():
            adapter = load_file(folder / ADAPTER_WEIGHTS)
            state |= {tagger_name(name): value for name, value in adapter.items()}
        return TaggerFiles(
            form=form,
            path=folder,
            settings=settings,
            types=tuple(manifest["types"]),
            encoding=build(Encoding, manifest["encoding"]),
            bf16=manifest["bf16"],
            origin=origin,
            state=state,
            pretrained=pretrained,
            trust=trust,
            temperature=manifest["temperature"],
            about=manifest["about"],
            engines=engines,
            trained_on=tuple(manifest["trained_on"]),
        )
    except UserError:
        raise
    except Exception as error:
        raise UserError(
            f"{folder} is not a complete exported folder ({type(error).__name__}: {error}); export it again"
        ) from None


def _check_exported(folder: Path) -> None:
    if is_exported(folder):
        return
    if not folder.is_dir():
        raise UserError(f"there is no folder {folder}")
    if Run(folder).checkpoint(BEST).is_file():
        raise UserError(f"{folder} is a run, not an exported folder: NERTagger.from_run loads it")
    raise UserError(f"{folder} holds no {MANIFEST}: `ner-lightning export` writes such folders")


def _located(
    settings: Mapping[str, Any], origin: Mapping[str, Any], backbone: str | Path | None
) -> tuple[Mapping[str, Any], Mapping[str, Any], Pretrained]:
    """Settings and record of a backbone, also those of an ensemble's members, as it is found now."""
    named = None if backbone is None else str(backbone)
    was, now = settings["backbone"], trained_on(settings["backbone"], origin, named)
    members = moved_members(settings.get(MEMBERS) or (), was, now)
    found = pinned({**settings, "backbone": now, MEMBERS: members or None}, origin)
    pretrained = locate(now, found["revision"])
    return found, {**origin, "folder": folder_of(now, pretrained)}, pretrained
