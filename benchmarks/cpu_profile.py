"""Where the time goes on a CPU, in prediction and in a training step: python benchmarks/cpu_profile.py.

Prediction goes from words to tags with a merged tagger: one sentence of 20 words, some 1,000 sub-tokens, and
a full batch. A training step is the shipped recipe's with a token budget and compiled layers. Operators count
without those that they call. Matrix products are run again by themselves, in a loop over the same shapes:
the share of that rate that they reach shows what cold caches cost, and with weights packed ahead what
packing them in each call costs.
"""

import argparse
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import measure
import torch
from gpu_profile import named
from recipe_tagger import Recipe, options_of

from ner_lightning.data.corpus_settings import Limits
from ner_lightning.inference.ner_tagger import NERTagger
from ner_lightning.inference.scoring import TOKENS
from ner_lightning.model.build import Target, build_tagger
from ner_lightning.training.datamodule import CoNLLDataModule

STEPS = 6  # that are profiled together
NARROW = 64  # a product with a shorter side is one of adapters, in training
KINDS = {
    "matrix products": ("aten::mm", "aten::addmm", "mkldnn::_linear_pointwise"),
    "attention": ("aten::bmm", "aten::baddbmm", "aten::_softmax", "aten::softmax"),
    "copies and casts": ("aten::copy_", "aten::cat", "aten::clone", "aten::fill_", "aten::masked_fill_"),
}
NAMED = ("decoding", "loss and CRF", "clipping and optimizer")


def kind_of(event: Any, narrow: int) -> str:
    """What kind of work an operator does; products with a side up to `narrow` are those of adapters."""
    parent = event
    while parent is not None:
        if parent.name in NAMED:
            return str(parent.name)
        parent = parent.cpu_parent
    if "CompiledFxGraph" in event.name:
        return "compiled norms, rotations, activations, additions"
    for kind, names in KINDS.items():
        if event.name in names:
            of_adapters = kind == "matrix products" and narrowest(event.input_shapes) <= narrow
            return "matrix products of adapters" if of_adapters else kind
    return "other operators"


def narrowest(shapes: Sequence[Sequence[int]]) -> int:
    """The shortest side of a product's matrices."""
    return min(size for shape in shapes if len(shape) == 2 for size in shape)


def profiled(name: str, work: Callable[[], object], runs: int, narrow: int = 0) -> measure.Rounds:
    """The percent of each kind of work, and how near the matrix products come to their rate alone."""
    for _ in range(3):
        work()
    seconds = []
    for _ in range(runs):
        began = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - began)
    cpu = [torch.profiler.ProfilerActivity.CPU]
    with torch.profiler.profile(activities=cpu, record_shapes=True) as profile:
        began = time.perf_counter()
        for _ in range(runs):
            work()
        whole = 1e6 * (time.perf_counter() - began)
    spent: Counter[str] = Counter()
    shapes: Counter[tuple[int, ...]] = Counter()
    events: Any = profile.events()
    for event in events:
        kind = kind_of(event, narrow)
        spent[kind] += event.self_cpu_time_total
        if kind == "matrix products":
            *_, left, right = [shape for shape in event.input_shapes if len(shape) == 2]
            shapes[*left, right[1]] += 1
    spent["Python and the rest"] = max(0, whole - sum(spent.values()))
    found = {f"{name}: {kind}, percent": [100 * time / whole] for kind, time in spent.most_common()}
    found[f"{name}: milliseconds"] = [1000 * each for each in seconds]
    products = spent["matrix products"] / runs / 1e6
    alone, packed = (sum(n / runs * each(shape) for shape, n in shapes.items()) for each in (plain, ahead))
    found[f"{name}: matrix products, percent of their rate alone"] = [100 * alone / products]
    found[f"{name}: matrix products alone, times as fast with weights packed ahead"] = [alone / packed]
    return found


def plain(shape: Sequence[int]) -> float:
    """Seconds of a matrix product in bf16, as PyTorch runs it."""
    rows, inner, columns = shape
    left = torch.randn(rows, inner).bfloat16()
    weight = torch.randn(columns, inner).bfloat16()
    return _seconds(lambda: torch.nn.functional.linear(left, weight))


def ahead(shape: Sequence[int]) -> float:
    """Seconds of the same with weights that oneDNN has packed for it."""
    rows, inner, columns = shape
    left = torch.randn(rows, inner).bfloat16()
    packed = torch.ops.mkldnn._reorder_linear_weight(torch.randn(columns, inner).bfloat16(), rows)
    return _seconds(lambda: torch.ops.mkldnn._linear_pointwise(left, packed, None, "none", [], ""))


def _seconds(work: Callable[[], object], times: int = 20) -> float:
    found = []
    with torch.inference_mode():
        for _ in range(times + 2):
            began = time.perf_counter()
            work()
            found.append(time.perf_counter() - began)
    return statistics.median(found[2:])


def prediction(recipe: Recipe) -> measure.Rounds:
    """The profile of prediction at three sizes."""
    built = recipe.tagger(mergeable=True)
    built.emitter.merge()
    tagger = NERTagger(built, recipe.data.corpus.encoder)
    for method in ("decode", "marginals"):
        if hasattr(built.decoder, method):
            named("decoding", built.decoder, method)
    sentences = [sentence.words for sentence in recipe.data.corpus.split("valid").sentences]
    words = [word for sentence in sentences for word in sentence]
    lengths = [sum(map(len, each.windows)) for each in recipe.data.corpus.encoded("valid")]
    found: measure.Rounds = {}
    for name, budget in (("one sentence", 0), ("1,000 sub-tokens", 1000), ("a full batch", TOKENS)):
        some = [words[:20]]
        if budget:
            like = sorted(range(len(sentences)), key=lambda place: abs(lengths[place] - 20))
            some = [sentences[place] for place in like[: budget // 20]]
        runs = 3 if budget else 10
        found |= profiled(name, lambda some=some: tagger(words=some), runs)  # type: ignore[misc]
    return found


def training(recipe: Recipe, options: argparse.Namespace) -> measure.Rounds:
    """The profile of a training step."""
    data = CoNLLDataModule(
        dataset=str(options.data),
        backbone=recipe.backbone,
        limits=Limits(train=options.train, valid=1),
        batches={"tokens": options.budget},  # type: ignore[arg-type]
    )
    target = Target(bf16=True, compiled=not options.no_compile)
    tagger, _ = build_tagger(recipe.settings, data.corpus.labels, target)
    tagger.train()
    data.setup("fit")
    loader = data.train_dataloader()
    batches = [batch for _, batch in zip(range(STEPS), loader, strict=False)]
    named("loss and CRF", tagger.decoder, "losses")
    trained = [parameter for parameter in tagger.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-3, fused=True)

    def steps() -> None:
        for batch in batches:
            assert batch.tags is not None
            parts = tagger.decoder.losses(tagger(batch), batch.tags, batch.mask)
            (tagger.decoder.total(parts) / batch.mask.sum()).backward()
            with torch.profiler.record_function("clipping and optimizer"):
                torch.nn.utils.clip_grad_norm_(trained, 1.0)
                optimizer.step()
                optimizer.zero_grad()

    return profiled(f"{len(batches)} training steps", steps, 2, NARROW)


def main(args: Sequence[str] | None = None) -> int:
    """Profiles."""
    parser = options_of(__doc__, sentences=600, rounds=1)
    parser.add_argument("--train", type=int, default=3000, help="sentences of the training set")
    parser.add_argument("--budget", type=int, default=2048, help="sub-tokens of a training step")
    parser.add_argument("--no-compile", action="store_true")
    words = list(sys.argv[1:] if args is None else args)
    options = parser.parse_args(words)
    recipe = Recipe(options)
    found = prediction(recipe) | training(recipe, options)
    measure.report(
        found,
        kind="CPU profile",
        script="cpu_profile.py",
        words=words,
        record=options.record,
        data=measure.described(options.data, "valid"),
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
