"""Texts in, entities out, beside Hugging Face's pipeline: python benchmarks/pipeline_speed.py.

NERTagger and transformers' token-classification pipeline have the same merged backbone and the same linear
layer, in both directions of attention, and the same texts. The pipeline runs as it comes (one text at a
time, fp32), and at the batch size and precision that are fastest for it on some of the texts. Adapters and
head are random: they are of the recipe's size, and take as long as trained ones.
"""

import copy
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import measure
import torch
from recipe_tagger import Recipe, options_of

from ner_lightning.inference.ner_tagger import NERTagger

BATCH_SIZES = (8, 32, 128)
PROBE = 200  # texts by which the pipeline's best settings are found
Tag = Callable[[list[str]], object]


def main(args: Sequence[str] | None = None) -> int:
    """Measures."""
    words = list(sys.argv[1:] if args is None else args)
    options = options_of(__doc__, sentences=600, rounds=3).parse_args(words)
    recipe = Recipe(options, use_crf=False, architecture={"constrained": False})
    data = recipe.data
    built = recipe.tagger(mergeable=True)
    built.emitter.backbone.bf16 = False  # merged in fp32 first: the pipeline's model is made of that
    built.emitter.merge()
    theirs = pipeline_model(built, data.corpus.labels.tags)
    built.emitter.backbone.bf16 = True
    built.emitter.merge()
    ours = NERTagger(built, data.corpus.encoder)
    tokenizer: Any = data.corpus.encoder.tokenizer

    sentences = [sentence.words for sentence in data.corpus.split("valid").sentences]
    texts = [" ".join(sentence) for sentence in sentences]
    halved = copy.deepcopy(theirs).to(torch.bfloat16)
    best, settled = fastest(theirs, halved, tokenizer, texts[:PROBE])
    sides: dict[str, Tag] = {
        "ours": ours,
        "pipeline, as it comes": pipeline(theirs, tokenizer, batch_size=1),
        f"pipeline, {settled}": best,
    }
    total = sum(map(len, sentences))
    rates = measure.alternate({name: timed(tag, texts, total) for name, tag in sides.items()}, options.rounds)
    one, first, second = sides
    found = {f"{name}, words/s": values for name, values in rates.items()}
    found["times the rate of the pipeline as it comes"] = measure.ratio(rates, one, first)
    found["times the rate of the pipeline at its best"] = measure.ratio(rates, one, second)
    measure.report(
        found,
        kind="prediction speed",
        script="pipeline_speed.py",
        words=words,
        record=options.record,
        data=measure.described(options.data, "valid"),
    )
    return 0


def pipeline_model(tagger: Any, tags: Sequence[str]) -> Any:
    """A model for token classification with a tagger's merged backbone and its linear layer."""
    from transformers import AutoModelForTokenClassification

    config = copy.deepcopy(tagger.emitter.backbone.config)
    config.id2label = dict(enumerate(tags))
    config.label2id = {tag: number for number, tag in enumerate(tags)}
    model: Any = AutoModelForTokenClassification.from_config(config, dtype=torch.float32)
    getattr(model, model.base_model_prefix).load_state_dict(tagger.emitter.backbone.model.state_dict())
    head = model.score if hasattr(model, "score") else model.classifier
    head.load_state_dict(tagger.emitter.head.state_dict())
    return model.eval()


def pipeline(model: Any, tokenizer: Any, batch_size: int) -> Tag:
    """The pipeline of transformers, which also joins sub-tokens to words and words to entities."""
    from transformers import TokenClassificationPipeline

    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    made: Any = TokenClassificationPipeline(
        model=model, tokenizer=tokenizer, aggregation_strategy="simple", device=torch.device("cpu")
    )
    return lambda texts: made(texts, batch_size=batch_size)


def fastest(model: Any, halved: Any, tokenizer: Any, texts: list[str]) -> tuple[Tag, str]:
    """The pipeline at its best batch size and precision, and what these are."""
    tried = {
        f"{name}, {size} texts a batch": pipeline(each, tokenizer, size)
        for name, each in (("fp32", model), ("bf16", halved))
        for size in BATCH_SIZES
    }
    seconds = {}
    for name, tag in tried.items():
        began = time.perf_counter()
        tag(texts)
        seconds[name] = time.perf_counter() - began
        print(f"pipeline, {name:30} {seconds[name]:8.2f} s for {len(texts)} texts", flush=True)
    best = min(seconds, key=lambda name: seconds[name])
    return tried[best], best


def timed(tag: Tag, texts: list[str], words: int) -> Callable[[], float]:
    """Words/s."""

    def run() -> float:
        began = time.perf_counter()
        tag(texts)
        return words / (time.perf_counter() - began)

    return run


if __name__ == "__main__":
    sys.exit(main())
