"""A checkpoint of a tagger that was never trained, for tests to which it does not matter what is found."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from taggers import settings_of

from ner_lightning.data.schemes import LabelSet
from ner_lightning.model.build import build_tagger
from ner_lightning.model.checkpoint import saved_names
from ner_lightning.model.tagger_settings import TaggerSettings
from ner_lightning.system.plain_settings import to_plain

TYPES = ["PER", "LOC"]


def write_checkpoint(
    folder: Path,
    backbone: Path | str,
    precision: str = "32-true",
    encoding: Mapping[str, Any] | None = None,
    **changes: Any,
) -> Path:
    """Everything that would have been trained is random; `changes` are settings of NERModule."""
    settings = to_plain(settings_of(backbone)) | {"members": None}
    for name, value in changes.items():
        group = settings["architecture"] if name in settings["architecture"] else settings
        group[name] = value
    torch.manual_seed(5)
    tagger, weights = build_tagger(TaggerSettings.read(settings), LabelSet(tuple(TYPES)))
    kept = saved_names(tagger)
    state = {name: value for name, value in tagger.state_dict().items() if name in kept}
    for name in state:
        if "lora_B" in name:
            torch.nn.init.normal_(state[name], std=0.1)
    held = {
        "config": {
            "model": settings,
            "data": {"types": TYPES, "encoding": {"max_length": 128, "overlap": 16, **(encoding or {})}},
            "trainer": {"precision": precision},
        },
        "backbone": {"name": str(backbone), "weights": weights},
        "state_dict": {f"tagger.{name}": value for name, value in state.items()},
    }
    torch.save(held, folder / "untrained.ckpt")
    return folder / "untrained.ckpt"


def write_different(folder: Path, backbone: Path | str, names: Iterable[str]) -> dict[str, str]:
    """Checkpoints of taggers on one backbone that find different entities, each in a folder of its name."""
    paths = {}
    for number, name in enumerate(names):
        (folder / name).mkdir()
        held = torch.load(
            write_checkpoint(folder / name, backbone, peft="lora", lora={"rank": 2}), weights_only=True
        )
        torch.manual_seed(number)
        for key, value in held["state_dict"].items():
            torch.nn.init.normal_(value, std=0.3 if "lora" not in key else 0.1)
        paths[name] = str(folder / name / "a.ckpt")
        torch.save(held, paths[name])
    return paths
