"""Training speed on a GPU at Llama-3.2-1B's shape, with random weights: python benchmarks/gpu_speed.py.

Whole epochs of `ner-lightning fit` at a token budget, the recipe at batches of 8, and Hugging Face's run_ner
(run_ner.py beside this file), on the same sentences. A second, shorter fit is profiled: where the time of a
step goes, by kinds of kernels, and the loss's share of it.
"""

import argparse
import csv
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import measure
import torch
from lightning.pytorch.callbacks import Callback
from lockstep import HERE, Worker

from ner_lightning.data.datamodule import CoNLLDataModule

LLAMA = {
    "hidden_size": 2048,
    "intermediate_size": 8192,
    "num_hidden_layers": 16,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "head_dim": 64,
    "vocab_size": 128256,
    "tie_word_embeddings": True,
    "rms_norm_eps": 1e-5,
}
TINY = LLAMA | {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4}
TINY |= {"num_key_value_heads": 2, "head_dim": 16}
# Each weight of the layers takes part in two operations forward and two in the backward pass, which needs
# the gradient of what goes in but, frozen, not that of the weight.
FLOPS_A_WEIGHT = 4
PEAK = 790e12  # dense bf16 products a second that cuBLAS reaches on an H100 or H200
KINDS = {
    "matrix products": ("gemm", "nvjet", "cutlass", "xmma", "splitk"),
    "attention": ("flash", "fmha", "attention"),
    "compiled layers, all but products": ("triton",),
    "optimizer": ("adam", "multi_tensor"),
    "copies between host and device": ("memcpy", "memset"),
}
SKIPPED, PROFILED = 12, 8  # steps
REPORT = "GPU_SPEED_REPORT"


class Kernels(Callback):
    """Profiles some steps of a fit; where their time went is written to the file in GPU_SPEED_REPORT."""

    def __init__(self) -> None:
        activities = [torch.profiler.ProfilerActivity.CPU]
        if torch.cuda.is_available():
            activities.append(torch.profiler.ProfilerActivity.CUDA)
        self._profile = torch.profiler.profile(activities=activities)
        self._steps = 0

    def on_train_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Names the loss, to find it in the profile."""
        losses = pl_module.built.losses

        def named(*args: Any) -> Any:
            with torch.profiler.record_function("the loss"):
                return losses(*args)

        pl_module.built.losses = named

    def on_train_batch_start(self, *_: Any) -> None:
        """Begins at the first step that counts."""
        if self._steps == SKIPPED:
            self._profile.start()
        self._steps += 1

    def on_train_batch_end(self, *_: Any) -> None:
        """Ends, and writes."""
        if self._steps != SKIPPED + PROFILED:
            return
        self._profile.stop()
        events: Any = self._profile.events()
        kernels = [event for event in events if event.device_type != torch.autograd.DeviceType.CPU]
        kernels = [k for k in kernels if not k.is_user_annotation] or list(
            events
        )  # without a GPU: no kernels
        spent: Counter[str] = Counter()
        for kernel in kernels:
            name = kernel.name.lower()
            kind = next((k for k, parts in KINDS.items() if any(p in name for p in parts)), "other kernels")
            spent[kind] += kernel.time_range.elapsed_us()
        loss = sum(event.device_time_total for event in events if event.name == "the loss")
        began = min(kernel.time_range.start for kernel in kernels)
        whole = max(kernel.time_range.end for kernel in kernels) - began
        spent["no kernel at all"] = max(0, whole - sum(spent.values()))
        shares = {kind: 100 * time / whole for kind, time in spent.most_common()}
        found = {
            "step, milliseconds": whole / PROFILED / 1000,
            "loss, CRF included": 100 * loss / whole,
        } | shares
        Path(os.environ[REPORT]).write_text(json.dumps(found), encoding="utf-8")


def make_backbone(folder: Path, shape: dict[str, Any], tokenizer: Any) -> int:
    """Writes a backbone with random weights; the number of weights in its layers."""
    from transformers import LlamaConfig, LlamaModel

    torch.manual_seed(0)
    rope = {"rope_type": "default", "rope_theta": 500000.0}
    config = LlamaConfig(**shape, rope_parameters=rope, max_position_embeddings=131072, dtype="bfloat16")
    with torch.device("cuda" if torch.cuda.is_available() else "cpu"):
        model = LlamaModel._from_config(config, dtype=torch.bfloat16)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return sum(p.numel() for p in model.layers.parameters())


def fit(folder: Path, *options: str, **environment: str) -> list[dict[str, float]]:
    """Runs a fit; what each of its epochs logged of its speed."""
    words = ["-m", "ner_lightning", "fit", "--config", measure.RECIPE, *options]
    words += ["--runs", str(folder / "runs"), "--name", "fit", "--data.valid_limit", "64"]
    path = os.pathsep.join([str(HERE), str(HERE.parent), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(
        [sys.executable, *words],
        env=os.environ | {"PYTHONPATH": path} | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(words)} ended with:\n{(done.stdout + done.stderr)[-3000:]}")
    last = max(
        (i for i in (folder / "runs/fit").iterdir() if i.name.isdecimal()), key=lambda item: int(item.name)
    )
    with (last / "metrics.csv").open(encoding="utf-8") as stream:
        rows = [row for row in csv.DictReader(stream) if row.get("train/words_per_second")]
    return [
        {name: float(row[name]) for name in row if name.startswith("train/") and row[name]} for row in rows
    ]


def main(args: Sequence[str] | None = None) -> int:
    """Measures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--data", type=Path, default=measure.DATA)
    parser.add_argument(
        "--tokenizer", help="a folder or Hub id to take it from, instead of the recipe's backbone"
    )
    parser.add_argument("--budgets", type=int, nargs="+", default=[16384, 32768])
    parser.add_argument("--epochs", type=int, default=4, help="of each budget; the first one compiles")
    parser.add_argument("--steps", type=int, default=60, help="of run_ner and of batches of 8")
    parser.add_argument("--tiny", action="store_true", help="a tiny shape, to try this program")
    measure.add_record_option(parser)
    words = list(sys.argv[1:] if args is None else args)
    options = parser.parse_args(words)
    recipe = CoNLLDataModule(dataset=str(options.data), backbone=options.tokenizer or _recipes_backbone())
    encoded = recipe.encoded("train")
    tokens = sum(len(window) - 1 for sentence in encoded for window in sentence.windows)
    tokens_a_word = tokens / sum(len(sentence.first) for sentence in encoded)
    found: measure.Rounds = {}
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        backbone = place / "backbone"
        weights = make_backbone(backbone, TINY if options.tiny else LLAMA, recipe.encoder.tokenizer)
        shared = ["--model.backbone", str(backbone), "--data.dataset", str(options.data)]
        for budget in options.budgets:
            large = [*shared, "--data.tokens_per_batch", str(budget)]
            epochs = fit(place, *large, "--trainer.max_epochs", str(options.epochs))[1:]
            rates = [tokens_a_word * epoch["train/words_per_second"] for epoch in epochs]
            label = f"budget of {budget}"
            found[f"{label}: sub-tokens/s"] = rates
            found[f"{label}: an epoch, seconds"] = [tokens / rate for rate in rates]
            share = [100 * FLOPS_A_WEIGHT * weights * rate / PEAK for rate in rates]
            found[f"{label}: share of 790 TFLOP/s, percent"] = share
            found[f"{label}: peak memory, GiB"] = [epochs[-1]["train/peak_memory_gib"]]
            print(label, json.dumps(found), flush=True)
        few = ["--data.batch_size", "8", "--data.train_limit", str(8 * options.steps)]
        epochs = fit(place, *shared, *few, "--trainer.max_epochs", "2", "--model.compile", "false")[1:]
        found["batches of 8: words/s"] = [epochs[-1]["train/words_per_second"]]
        found["batches of 8: peak memory, GiB"] = [epochs[-1]["train/peak_memory_gib"]]
        for batch in (8, 32):
            command = [str(HERE / "run_ner.py"), "--data", str(options.data), "--batch", str(batch)]
            worker = Worker([*command, "--backbone", str(backbone)], place / "log")
            worker.turn(10)
            rate = worker.turn(options.steps)[0]
            worker.end()
            found[f"run_ner, batches of {batch}: sub-tokens/s"] = [rate]
            ours = statistics.median(found[f"budget of {options.budgets[0]}: sub-tokens/s"])
            found[f"budget of {options.budgets[0]}, times run_ner at {batch}"] = [ours / rate]
        print(json.dumps(found), flush=True)
        report = place / "report.json"
        large = [*shared, "--data.tokens_per_batch", str(options.budgets[0])]
        extra = ["--trainer.callbacks+=gpu_speed.Kernels", "--trainer.max_epochs", "2"]
        fit(place, *large, *extra, **{REPORT: str(report)})
        for kind, value in json.loads(report.read_text(encoding="utf-8")).items():
            label = kind if "milli" in kind else f"{kind}, percent"
            found[f"profile of a step, budget of {options.budgets[0]}: {label}"] = [value]
    measure.report(
        found,
        kind="GPU speed",
        script=Path(__file__).name,
        words=words,
        record=options.record,
        data=measure.described(options.data),
    )
    return 0


def _recipes_backbone() -> str:
    import yaml

    backbone: str = yaml.safe_load(Path(measure.RECIPE).read_text(encoding="utf-8"))["model"]["backbone"]
    return backbone


if __name__ == "__main__":
    sys.exit(main())
