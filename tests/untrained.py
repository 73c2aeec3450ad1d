"""A checkpoint of a tagger that was never trained, for tests to which it does not matter what is found."""

from pathlib import Path

import torch

from ner_lightning.data.pretrained import locate
from ner_lightning.data.schemes import LabelSet
from ner_lightning.inference.source import SETTINGS
from ner_lightning.model.architecture import PLAIN, Architecture
from ner_lightning.model.build import build_tagger

TYPES = ["PER", "LOC"]


def write_checkpoint(folder: Path, backbone: Path) -> Path:
    torch.manual_seed(5)
    settings = {name: getattr(Architecture(), name) for name in PLAIN} | {
        "peft": "none",
        "lora": {},
        "loss": {},
        "backbone": str(backbone),
        "revision": None,
        "attn_implementation": "auto",
        "trust_remote_code": False,
    }
    assert set(SETTINGS) <= set(settings)
    tagger, weights = build_tagger(locate(str(backbone)), LabelSet(tuple(TYPES)), Architecture.of(settings))
    state = {f"tagger.{n}": p for n, p in tagger.state_dict().items() if not n.startswith("backbone.")}
    config = {
        "model": settings,
        "data": {"types": TYPES, "max_length": 128, "overlap": 16},
        "trainer": {"precision": "32-true"},
    }
    held = {"config": config, "backbone": {"name": str(backbone), "weights": weights}, "state_dict": state}
    torch.save(held, folder / "untrained.ckpt")
    return folder / "untrained.ckpt"
