"""A tagger of the recipe's size with random adapters, head and CRF, for measurements of prediction."""

import argparse
from pathlib import Path
from typing import Any

import measure
import torch

from ner_lightning.data.corpus_settings import Limits
from ner_lightning.model.build import Target, build_tagger
from ner_lightning.model.tagger import Tagger
from ner_lightning.model.tagger_settings import TaggerSettings
from ner_lightning.training.datamodule import CoNLLDataModule


def options_of(doc: str | None, *, sentences: int, rounds: int) -> argparse.ArgumentParser:
    """The options of such a measurement, with its own defaults."""
    parser = argparse.ArgumentParser(description=(doc or "").split("\n")[0])
    parser.add_argument("--data", type=Path, default=measure.DATA)
    parser.add_argument("--backbone", help="instead of the recipe's")
    parser.add_argument("--sentences", type=int, default=sentences, help="of the validation set")
    parser.add_argument("--rounds", type=int, default=rounds)
    measure.add_record_option(parser)
    return parser


# What `NERModule` takes where the recipe is silent.
DAILY = {"attention": "bidirectional", "freeze_backbone": True, "peft": "lora", "use_crf": True}


class Recipe:
    """The recipe, its data and its taggers.

    Args:
        options: parsed.
        changes: settings of the model that differ from the recipe's.
    """

    def __init__(self, options: argparse.Namespace, **changes: Any) -> None:
        recipe = measure.recipe()
        self.backbone: str = options.backbone or recipe["backbone"]
        self.data = CoNLLDataModule(
            dataset=str(options.data), backbone=self.backbone, limits=Limits(valid=options.sentences)
        )
        groups = {"architecture": {}, "loss": {}, "lora": {}, "runtime": {}}
        self.settings = TaggerSettings.read(DAILY | groups | recipe | {"backbone": self.backbone} | changes)

    def tagger(self, *, mergeable: bool) -> Tagger:
        """A tagger that runs in bf16; always the same one."""
        torch.manual_seed(0)
        target = Target(bf16=True, mergeable=mergeable)
        built, _ = build_tagger(self.settings, self.data.corpus.labels, target)
        for name, parameter in built.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(parameter, std=1e-3)
        return built
