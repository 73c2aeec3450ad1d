"""Training speed, ours and a plain loop's side by side: python benchmarks/train_step.py --data FOLDER.

Ours is the step of configs/smollm2_conll2003.yaml, built by the package from that file: batches grouped by
length, a bf16 backbone with fp32 adapters, the attention that measured fastest, compiled layers, CE and CRF.
The plain loop is the same model with as many adapters as it is commonly trained: random batches, fp32
weights under bf16 autocast, SDPA, PEFT as it comes, AdamW as it comes, cross-entropy alone. Counted are real
sub-tokens a second, without padding and special tokens.
"""

import argparse
import resource
import shlex
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import results
import torch
import yaml
from peft import LoraConfig, TaskType, get_peft_model
from torch import Tensor, nn
from torch._dynamo.utils import counters
from torch.utils.data import BatchSampler, DataLoader, RandomSampler

from ner_lightning import runs
from ner_lightning.data.batching import Batch, EncodedDataset
from ner_lightning.data.datamodule import CoNLLDataModule
from ner_lightning.errors import UserError
from ner_lightning.model.backbone import load_backbone
from ner_lightning.model.build import build_tagger
from ner_lightning.training.module import HALF, NERModule
from ner_lightning.training.optim import parameter_groups

RECIPE = Path(__file__).parent.parent / "configs" / "smollm2_conll2003.yaml"
CLIP = 1.0  # the command line's default
TRIES = 5
Step = Callable[[Batch], None]


class Plain(nn.Module):
    """Backbone, adapters and a linear layer at every sub-token; nothing of ours but the weights' loader."""

    def __init__(self, module: NERModule) -> None:
        super().__init__()
        built, lora = module.architecture, module.architecture.lora
        assert lora is not None, "the recipe has adapters"
        model = load_backbone(
            module.pretrained, attention=built.attention, dtype=torch.float32, implementation="sdpa"
        )
        config: Any = model.config
        adapters = LoraConfig(
            task_type=TaskType.FEATURE_EXTRACTION,
            r=lora.rank,
            lora_alpha=lora.alpha,
            lora_dropout=lora.dropout,
            target_modules=lora.targets,
        )
        with warnings.catch_warnings():  # PEFT asks transformers by a name that it has deprecated
            warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing.*")
            self.backbone = get_peft_model(model, adapters)
        self.dropout = nn.Dropout(built.dropout)
        self.head = nn.Linear(config.get_text_config().hidden_size, len(module.labels))

    def forward(self, batch: Batch) -> Tensor:
        """Scores of each tag at each sub-token, (R, T, C)."""
        output = self.backbone(input_ids=batch.input_ids, attention_mask=batch.attention_mask.long())
        scores: Tensor = self.head(self.dropout(output.last_hidden_state))
        return scores


def our_step(module: NERModule, precision: str) -> tuple[Step, int]:
    """Our training step without the trainer around it, and its number of trained parameters."""
    hparams = module.hparams
    tagger, _ = build_tagger(
        module.pretrained,
        module.labels,
        module.architecture,
        bf16=precision == HALF,
        implementation=hparams["attn_implementation"],
        compiled=hparams["compile"],
    )
    rate = hparams["lr"]  # one for all: speed depends on the groups, not on their rates
    groups = parameter_groups(
        tagger, lr=rate, head_lr=rate, crf_lr=rate, weight_decay=hparams["weight_decay"]
    )
    optimizer = torch.optim.AdamW(groups, fused=True)
    trained = [p for p in tagger.parameters() if p.requires_grad]
    tagger.train()

    def step(batch: Batch) -> None:
        assert batch.tags is not None, "training data has tags"
        parts = tagger.losses(tagger(batch), batch.tags, batch.mask)
        loss = tagger.total(parts) / batch.mask.sum()
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(trained, CLIP)
        optimizer.step()

    return step, sum(p.numel() for p in trained)


def plain_step(module: NERModule) -> tuple[Step, int]:
    """The plain loop's step, and its number of trained parameters."""
    model = Plain(module)
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=module.hparams["lr"])
    model.train()

    def step(batch: Batch) -> None:
        assert batch.tags is not None, "training data has tags"
        targets = torch.full(batch.input_ids.shape, -100)
        targets.view(-1)[batch.last[batch.mask]] = batch.tags[batch.mask]
        with torch.autocast("cpu", dtype=torch.bfloat16):
            scores = model(batch)
            loss = nn.functional.cross_entropy(scores.flatten(0, 1), targets.flatten())
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()

    return step, sum(p.numel() for p in trained)


def random_loader(data: CoNLLDataModule) -> DataLoader[Batch]:
    """Batches of sentences drawn at random, each padded to its longest."""
    dataset = EncodedDataset(data.encoded("train"), data.encoder.pad_id)
    order = RandomSampler(dataset, generator=torch.Generator().manual_seed(0))
    sampler: Any = BatchSampler(order, data.batch_size, drop_last=False)
    return DataLoader(dataset, batch_size=None, sampler=sampler)


def endless(loader: DataLoader[Batch]) -> Iterator[Batch]:
    """A loader's batches, epoch after epoch."""
    while True:
        yield from loader


def timed(step: Step, source: Iterator[Batch], count: int, special: int) -> tuple[float, float]:
    """Some steps: real sub-tokens a second, and seconds a step.

    Args:
        step: does one.
        source: its batches.
        count: how many.
        special: special tokens in each row, which do not count.
    """
    tokens, began = 0, time.perf_counter()
    for _ in range(count):
        batch = next(source)
        tokens += int(batch.attention_mask.sum()) - special * len(batch.attention_mask)
        step(batch)
    seconds = time.perf_counter() - began
    return tokens / seconds, seconds / count


def settled(step: Step, source: Iterator[Batch], count: int, special: int) -> tuple[float, float]:
    """As `timed`, once more whenever a batch of a new shape made torch compile: that is not training."""
    for _ in range(TRIES):
        before = counters["stats"]["unique_graphs"]
        measured = timed(step, source, count, special)
        if counters["stats"]["unique_graphs"] == before:
            return measured
        print("something was compiled, so these steps do not count", flush=True)
    raise UserError(f"torch compiled again in each of {TRIES} attempts to measure")


def measure(
    sides: dict[str, tuple[Step, Iterator[Batch]]], rounds: int, steps: int, special: int
) -> dict[str, list[float]]:
    """Runs the sides in alternating order, so that what else the machine does falls on both.

    Returns:
        each measured figure's value in every round.
    """
    found: dict[str, list[float]] = {}
    for number in range(rounds):
        rates = {}
        for name in list(sides)[:: -1 if number % 2 else 1]:
            rates[name], seconds = settled(*sides[name], steps, special)
            found.setdefault(f"{name}, sub-tokens/s", []).append(rates[name])
            found.setdefault(f"{name}, seconds/step", []).append(seconds)
            print(f"round {number + 1}/{rounds}  {name:10} {rates[name]:7.0f} sub-tokens/s", flush=True)
        ours, plain = (rates[name] for name in sides)
        found.setdefault("training, times the plain loop", []).append(ours / plain)
    return found


def settings(options: argparse.Namespace) -> dict[str, Any]:
    """The recipe with the options laid over it."""
    recipe: dict[str, Any] = yaml.safe_load(RECIPE.read_text(encoding="utf-8"))
    if options.backbone:
        recipe["model"]["backbone"] = options.backbone
    if options.batch:
        recipe["data"]["batch_size"] = options.batch
    if options.no_compile:
        recipe["model"]["compile"] = False
    if not Path(options.data).is_dir():
        raise UserError(f"there is no folder {options.data}; --data names one with CoNLL-2003's train.txt")
    recipe["data"] |= {"dataset": options.data, "backbone": recipe["model"]["backbone"]}
    return recipe


def rows(
    found: dict[str, list[float]], options: argparse.Namespace, data: str, words: list[str]
) -> list[results.Row]:
    """What is recorded of a measurement."""
    changed = [f"--{name} {getattr(options, name)}" for name in ("backbone", "batch") if vars(options)[name]]
    about = {
        "config": RECIPE.stem,
        "overrides": changed + ["--no-compile"] * options.no_compile,
        "data": data,
        "split": "speed",
        "seed": 0,
        "command": shlex.join(["python", "benchmarks/train_step.py", *words]),
        **runs.provenance(),
    }
    return [
        about
        | {
            "metric": name,
            "value": statistics.median(values),
            "spread": f"{min(values):.2f} to {max(values):.2f}",
            "rounds": values,
        }
        for name, values in found.items()
    ]


def run(options: argparse.Namespace, words: list[str]) -> None:
    """Builds both sides, measures, prints, and records if asked to."""
    recipe = settings(options)
    data = CoNLLDataModule(**recipe["data"])
    split = data.split("train")
    module = NERModule(**recipe["model"], types=data.types)
    special = len(data.encoder.prefix) + len(data.encoder.suffix)
    torch.manual_seed(0)
    sides = {}
    for name in ("ours", "plain loop"):
        print(f"loading: {name}", flush=True)
        ours = name == "ours"
        step, trained = our_step(module, recipe["trainer"]["precision"]) if ours else plain_step(module)
        source = endless(data.train_dataloader() if ours else random_loader(data))
        print(f"warming up: {name}, {trained:,} trained parameters", flush=True)
        timed(step, source, options.warmup, special)
        sides[name] = (step, source)
    found = measure(sides, options.rounds, options.steps, special)
    found["peak memory of both, GiB"] = [resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20]
    for name, values in found.items():
        spread = f"({min(values):.2f} to {max(values):.2f})" if len(values) > 1 else ""
        print(f"{name:32} {statistics.median(values):9.2f} {spread}")
    if options.record:
        described = results.describe_data(split.origin, split.fingerprint)
        results.add(rows(found, options, described, words), options.record)


def main(args: Sequence[str] | None = None) -> int:
    """Measures; a mistake of the user gives one line and 2."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--data", default="data/conll2003", help="folder with train.txt in CoNLL columns")
    parser.add_argument("--backbone", help="instead of the recipe's")
    parser.add_argument("--batch", type=int, help="sentences in a batch, instead of the recipe's")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=10, help="in each round, on each side")
    parser.add_argument("--warmup", type=int, default=6, help="steps before the first round, not counted")
    parser.add_argument("--no-compile", action="store_true")
    parser.add_argument("--record", type=Path, help="the results file to add rows to")
    words = list(sys.argv[1:] if args is None else args)
    options = parser.parse_args(words)
    warnings.simplefilter("ignore")
    try:
        run(options, words)
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
