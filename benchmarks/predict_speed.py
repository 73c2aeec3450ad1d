"""Prediction speed, sentences in and tags out: python benchmarks/predict_speed.py.

NERTagger, adapters merged, beside the backbone's own forward pass on the same batches, sorted by length, and
beside NERTagger with its adapters as they were trained.
Adapters, head and CRF are random: they are of the recipe's size, and take as long as trained ones.
"""

import sys
import time
from collections.abc import Callable, Sequence

import measure
import torch
from recipe_tagger import Recipe, options_of

from ner_lightning.data.batching import EncodedDataset
from ner_lightning.data.sampling import LengthGroupedSampler
from ner_lightning.inference.ner_tagger import NERTagger
from ner_lightning.inference.scoring import TOKENS


def main(args: Sequence[str] | None = None) -> int:
    """Measures."""
    words = list(sys.argv[1:] if args is None else args)
    options = options_of(__doc__, sentences=1500, rounds=5).parse_args(words)
    recipe = Recipe(options)
    data = recipe.data

    def tagger(*, merged: bool) -> NERTagger:
        built = recipe.tagger(mergeable=merged)
        if merged:
            built.emitter.merge()
        return NERTagger(built, data.corpus.encoder)

    sentences = [sentence.words for sentence in data.corpus.split("valid").sentences]
    encoded = data.corpus.encoded("valid")
    special = len(data.corpus.encoder.prefix) + len(data.corpus.encoder.suffix)
    tokens = sum(len(ids) - special for sentence in encoded for ids in sentence.windows)
    merged, unmerged = tagger(merged=True), tagger(merged=False)
    sampler = LengthGroupedSampler(encoded, batch_size=1, tokens_per_batch=TOKENS, shuffle=False)
    dataset = EncodedDataset(encoded, data.corpus.encoder.pad_id)

    def backbone_alone() -> None:
        with torch.inference_mode():
            for places in sampler:
                merged.tagger.emitter.hidden(dataset[places])

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
