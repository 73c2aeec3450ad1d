"""Taggers with random weights that say something: for tests of what is around a model."""

from pathlib import Path

import tiny
import torch

from ner_lightning.data.pretrained import locate
from ner_lightning.data.schemes import LabelSet
from ner_lightning.data.tokenization.encoding import Encoder, load_tokenizer
from ner_lightning.inference.ner_tagger import NERTagger
from ner_lightning.model.build import build_tagger
from ner_lightning.model.settings import Architecture

LABELS = LabelSet(("PER", "ORG", "LOC", "MISC"))


def random_tagger(
    backbone: Path,
    *,
    seed: int = 0,
    max_length: int = 64,
    context: int | None = None,
    **architecture: object,
) -> NERTagger:
    """A tagger whose tags change from word to word, so that it finds entities of all types."""
    pretrained = locate(str(backbone))
    torch.manual_seed(seed)
    built, _ = build_tagger(pretrained, LABELS, Architecture(**architecture))
    torch.nn.init.normal_(built.head.weight, std=0.3)
    if built.crf is not None:
        for parameter in built.crf.parameters():
            torch.nn.init.normal_(parameter, std=0.5)
    encoder = Encoder(load_tokenizer(pretrained), max_length=max_length, overlap=16, context=context)
    return NERTagger(built, encoder)


def texts() -> list[str]:
    """Running texts, all invented."""
    lines = [" ".join(words) for words, _ in tiny.sentences(tiny.TRAIN + tiny.TEST)]
    return [line.replace(" .", ".").replace(" ,", ",").replace(" 's", "'s") for line in lines]
