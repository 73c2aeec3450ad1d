"""Prediction speed, sentences in and tags out: python benchmarks/predict_speed.py.

NERTagger, adapters merged, beside the merged backbone's own forward pass on the same length-sorted batches,
and beside NERTagger with its adapters left as they were trained. Adapters, head and CRF are random: they are
of the recipe's size, and take as long as trained ones.
"""

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import measure
import torch
import yaml

from ner_lightning.data.batching import EncodedDataset
from ner_lightning.data.datamodule import CoNLLDataModule
from ner_lightning.data.pretrained import locate
from ner_lightning.data.sampling import LengthGroupedSampler
from ner_lightning.inference.predictor import TOKENS, NERTagger
from ner_lightning.model.architecture import Architecture
from ner_lightning.model.build import build_tagger
from ner_lightning.training.module import NERModule


def main(args: Sequence[str] | None = None) -> int:
    """Measures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--data", type=Path, default=measure.DATA)
    parser.add_argument("--backbone", help="instead of the recipe's")
    parser.add_argument("--sentences", type=int, default=1500, help="of the validation set")
    parser.add_argument("--rounds", type=int, default=5)
    measure.add_record_option(parser)
    words = list(sys.argv[1:] if args is None else args)
    options = parser.parse_args(words)
    recipe = yaml.safe_load(Path(measure.RECIPE).read_text(encoding="utf-8"))
    backbone = options.backbone or recipe["model"]["backbone"]
    data = CoNLLDataModule(dataset=str(options.data), backbone=backbone, valid_limit=options.sentences)
    settings: Any = NERModule(**recipe["model"] | {"backbone": backbone}, types=data.types).hparams

    def tagger(merged: bool) -> NERTagger:
        torch.manual_seed(0)
        built, _ = build_tagger(
            locate(backbone), data.labels, Architecture.of(settings), bf16=True, mergeable=merged
        )
        for name, parameter in built.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(parameter, std=1e-3)
        if merged:
            built.merge()
        return NERTagger(built, data.encoder)

    sentences = [sentence.words for sentence in data.split("valid").sentences]
    encoded = data.encoded("valid")
    special = len(data.encoder.prefix) + len(data.encoder.suffix)
    tokens = sum(len(ids) - special for sentence in encoded for ids in sentence.windows)
    merged, unmerged = tagger(True), tagger(False)
    sampler = LengthGroupedSampler(encoded, batch_size=1, tokens_per_batch=TOKENS, shuffle=False)
    dataset = EncodedDataset(encoded, data.encoder.pad_id)

    def backbone_alone() -> None:
        with torch.inference_mode():
            for places in sampler:
                merged.tagger.hidden(dataset[places])

    def rate(work: Callable[[], object]) -> Callable[[], float]:
        def timed() -> float:
            began = time.perf_counter()
            work()
            return tokens / (time.perf_counter() - began)

        return timed

    names = ("sentences in, tags out", "merged backbone alone", "adapters not merged")
    works = (lambda: merged(words=sentences), backbone_alone, lambda: unmerged(words=sentences))
    rates = measure.alternate({n: rate(w) for n, w in zip(names, works, strict=True)}, options.rounds)
    whole, alone, apart = names
    found = {f"{name}, sub-tokens/s": values for name, values in rates.items()}
    found["share of the backbone's own rate"] = measure.ratio(rates, whole, alone)
    found["times the rate with adapters not merged"] = measure.ratio(rates, whole, apart)
    measure.report(
        found,
        kind="prediction speed",
        script="predict_speed.py",
        words=words,
        record=options.record,
        data=measure.described(options.data, "valid"),
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
