"""Taggers with random weights that say something: for tests of what is around a model."""

from pathlib import Path

import tiny
import torch

from ner_lightning.data.corpus_settings import Encoding
from ner_lightning.data.pretrained import locate
from ner_lightning.data.schemes import LabelSet
from ner_lightning.data.tokenization.encoding import Encoder, load_tokenizer
from ner_lightning.inference.ner_tagger import NERTagger
from ner_lightning.model.adapters import Lora
from ner_lightning.model.build import Target, build_tagger
from ner_lightning.model.tagger import Tagger
from ner_lightning.model.tagger_settings import Architecture, Runtime, TaggerSettings

LABELS = LabelSet(("PER", "ORG", "LOC", "MISC"))


def settings_of(
    backbone: Path | str = "", lora: Lora | None = None, implementation: str = "auto", **values: object
) -> TaggerSettings:
    """Settings of a tagger, without adapters unless some are given; `values` also as of `Architecture`."""
    architecture = {name: values.pop(name) for name in vars(Architecture()) if name in values}
    chosen = {"attention": "bidirectional", "freeze_backbone": True, "use_crf": True} | values
    return TaggerSettings(
        backbone=str(backbone),
        peft="none" if lora is None else "lora",
        lora=lora or Lora(),
        architecture=Architecture(**architecture),
        runtime=Runtime(attn_implementation=implementation),
        **chosen,
    )


def build(
    backbone: Path | str,
    labels: LabelSet = LABELS,
    *,
    bf16: bool = False,
    mergeable: bool = False,
    packed: bool = False,
    **values: object,
) -> Tagger:
    """A tagger around a backbone; `values` as of `settings_of`."""
    target = Target(bf16=bf16, mergeable=mergeable, packed=packed)
    return build_tagger(settings_of(backbone, **values), labels, target)[0]


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
    built = build(backbone, **architecture)
    torch.nn.init.normal_(built.emitter.head.weight, std=0.3)
    if built.decoder.crf is not None:
        for parameter in built.decoder.crf.parameters():
            torch.nn.init.normal_(parameter, std=0.5)
    encoder = Encoder(
        load_tokenizer(pretrained), Encoding(max_length=max_length, overlap=16, context=context)
    )
    return NERTagger(built.eval(), encoder)


def texts() -> list[str]:
    """Running texts, all invented."""
    lines = [" ".join(words) for words, _ in tiny.sentences(tiny.TRAIN + tiny.TEST)]
    return [line.replace(" .", ".").replace(" ,", ",").replace(" 's", "'s") for line in lines]
