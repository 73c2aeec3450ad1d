"""Training speed on a GPU at Llama-3.2-1B's shape, with random weights: python benchmarks/gpu_speed.py.

`ner-lightning fit` at a token budget, layers compiled; the same at batches of 8, as configs/llama_crf.yaml
has them, not compiled; and Hugging Face's run_ner (run_ner.py beside this file), on the same sentences.
Then some steps at the token budget are profiled: where their time goes, by kinds of kernels.
"""

import argparse
import json
import os
import statistics
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
from lockstep import Worker
from train_speed import fit_words, run_ner_words

from ner_lightning.training.datamodule import CoNLLDataModule

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
WARMUP, PROFILED = 12, 8  # steps
REPORT = "GPU_SPEED_REPORT"
BEGIN = "GPU_SPEED_BEGIN"


class Kernels(Callback):
    """Profiles some steps of a fit; where their time went is written to the file in GPU_SPEED_REPORT."""

    def __init__(self) -> None:
        activities = [torch.profiler.ProfilerActivity.CPU]
        if torch.cuda.is_available():
            activities.append(torch.profiler.ProfilerActivity.CUDA)
        self._profile = torch.profiler.profile(activities=activities)
        self._steps, self._begin = 0, int(os.environ[BEGIN])

    def on_train_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Names the loss, to find it in the profile."""
        losses = pl_module.built.decoder.losses

        def named(*args: Any, **options: Any) -> Any:
            with torch.profiler.record_function("the loss"):
                return losses(*args, **options)

        pl_module.built.decoder.losses = named

    def on_train_batch_start(self, *_: Any) -> None:
        """Begins at the first step that counts."""
        if self._steps == self._begin:
            self._profile.start()
        self._steps += 1

    def on_train_batch_end(self, *_: Any) -> None:
        """Ends, and writes."""
        if self._steps != self._begin + PROFILED:
            return
        self._profile.stop()
        events: Any = self._profile.events()
        kernels = [event for event in events if event.device_type != torch.autograd.DeviceType.CPU]
        # Without a GPU there are no kernels, and operations on the host stand for them.
        kernels = [k for k in kernels if not k.is_user_annotation] or list(events)
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


def main(args: Sequence[str] | None = None) -> int:
    """Measures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--data", type=Path, default=measure.DATA)
    parser.add_argument(
        "--tokenizer", help="a folder or Hub id to take it from, instead of the recipe's backbone"
    )
    parser.add_argument("--budget", type=int, default=16384, help="padded sub-tokens a step")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=20, help="of a round")
    parser.add_argument("--tiny", action="store_true", help="a tiny shape, to try this program")
    measure.add_record_option(parser)
    words = list(sys.argv[1:] if args is None else args)
    options = parser.parse_args(words)
    data = CoNLLDataModule(
        dataset=str(options.data), backbone=options.tokenizer or measure.recipe()["backbone"]
    )
    tokens = sum(len(window) - 1 for sentence in data.corpus.encoded("train") for window in sentence.windows)
    found: measure.Rounds = {}
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        backbone, report = place / "backbone", place / "report.json"
        weights = make_backbone(backbone, TINY if options.tiny else LLAMA, data.corpus.encoder.tokenizer)
        ours = f"fit, budget of {options.budget}"
        budget = ["--data.batches.tokens", str(options.budget), "--trainer.callbacks+=gpu_speed.Kernels"]
        eight = ["--data.batches.size", "8", "--model.runtime.compile", "false"]
        shared = ["--model.backbone", str(backbone), "--data.limits.valid", "64"]
        commands = {"fit, batches of 8": fit_words(options.data, place / "eight", *shared, *eight)}
        for batch in (8, 32):
            theirs = run_ner_words(options.data, batch, "--backbone", str(backbone))
            commands[f"run_ner, batches of {batch}"] = theirs
        commands[ours] = fit_words(options.data, place / "budget", *shared, *budget)
        os.environ |= {REPORT: str(report), BEGIN: str(WARMUP + options.rounds * options.steps)}
        workers = {label: Worker(command, place / label) for label, command in commands.items()}
        try:
            for label, worker in workers.items():
                print(f"{label}, warm-up: {worker.turn(WARMUP)[0]:.0f} sub-tokens/s", flush=True)
                rates = [worker.turn(options.steps)[0] for _ in range(options.rounds)]
                found[f"{label}, sub-tokens/s"] = rates
                found[f"{label}, peak memory, GiB"] = [worker.memory / 2**30]
                print(label, rates, found[f"{label}, peak memory, GiB"], flush=True)
            workers[ours].turn(PROFILED + 1)
        finally:
            for worker in workers.values():
                worker.end()
        rates = found[f"{ours}, sub-tokens/s"]
        found[f"{ours}, an epoch, seconds"] = [tokens / rate for rate in rates]
        share = [100 * FLOPS_A_WEIGHT * weights * rate / PEAK for rate in rates]
        found[f"{ours}, share of 790 TFLOP/s, percent"] = share
        for label in commands:
            if label != ours:
                other = statistics.median(found[f"{label}, sub-tokens/s"])
                found[f"{ours}, times {label}"] = [rate / other for rate in rates]
        for kind, value in json.loads(report.read_text(encoding="utf-8")).items():
            unit = "" if "milliseconds" in kind else ", percent"
            found[f"{ours}, profiled: {kind}{unit}"] = [value]
    measure.report(
        found,
        kind="GPU speed",
        script=Path(__file__).name,
        words=words,
        record=options.record,
        data=measure.described(options.data),
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
