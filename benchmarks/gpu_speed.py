"""Training speed on a GPU, with random weights of Llama's shapes: python benchmarks/gpu_speed.py.

It measures in parts, and with `--record` adds each to the file when it ends: one that fails costs no other.

    budget    `ner-lightning fit` of Llama-3.2-1B's shape at a token budget, layers compiled
    plain     the same, not compiled
    eight     the same at batches of 8, as configs/llama_crf.yaml has them
    run_ner   Hugging Face's run_ner (run_ner.py beside this file) on the same sentences, batches of 8 and 32
    profile   where the time of a step at the budget goes, by kinds of kernels
    nf4       Llama-3.1-8B's shape in 4 bits, batches of 8: needs bitsandbytes
    seeds     the recipe with documents on SmolLM2's weights, three seeds, scored

A bare machine needs this tree, `--data` with CoNLL-2003, and `--backbone` with SmolLM2.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import gpu_profile
import measure
import recipe_seeds
import torch
from lockstep import Worker
from train_speed import fit_words, run_ner_words

from ner_lightning.runs.results import read_rows
from ner_lightning.training.datamodule import CoNLLDataModule

LLAMA_1B = {
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
LLAMA_8B = LLAMA_1B | {"hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32}
LLAMA_8B |= {"head_dim": 128}
TINY = LLAMA_1B | {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2}
TINY |= {"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16}
# Each weight of the layers takes part in two operations forward and two in the backward pass, which needs
# the gradient of what goes in but, frozen, not that of the weight.
FLOPS_A_WEIGHT = 4
PEAK = 790e12  # dense bf16 products a second that cuBLAS reaches on an H100 or H200
WARMUP = 12  # steps
KIND = "GPU speed"
BUDGET, PLAIN, EIGHT = "fit, the budget", "fit, the budget, not compiled", "fit, batches of 8"
SEEDS = ["configs/smollm2_conll2003.yaml", "configs/with/best.yaml"]


class Bench:
    """What the parts share.

    Args:
        options: the command line's.
        folder: for backbones and logs.
    """

    def __init__(self, options: argparse.Namespace, folder: Path) -> None:
        self.options = options
        self.folder = folder
        backbone = options.backbone or measure.recipe()["backbone"]
        self.data = CoNLLDataModule(dataset=str(options.data), backbone=backbone)
        self._made: dict[str, tuple[Path, int]] = {}

    def shape(self, name: str, shape: dict[str, Any]) -> tuple[str, int]:
        """A backbone of a shape with random weights, made once, and the number of weights in its layers."""
        if name not in self._made:
            place = self.folder / name
            used = TINY if self.options.tiny else shape
            self._made[name] = place, make_backbone(place, used, self.data.corpus.encoder.tokenizer)
        place, weights = self._made[name]
        return str(place), weights

    def rates(self, label: str, command: list[str]) -> measure.Rounds:
        """Sub-tokens a second and peak memory of a training."""
        worker = Worker(command, self.folder / "log")
        try:
            worker.turn(WARMUP)
            rates = [worker.turn(self.options.steps)[0] for _ in range(self.options.rounds)]
        finally:
            worker.end()
        return {f"{label}, sub-tokens/s": rates, f"{label}, peak memory, GiB": [worker.memory / 2**30]}

    def fit(self, *options: str, backbone: str | None = None) -> list[str]:
        """The command line of a training of ours."""
        shared = ["--model.backbone", backbone or self.shape("1b", LLAMA_1B)[0], "--data.limits.valid", "64"]
        return fit_words(self.options.data, self.folder / "runs", *shared, *options)

    def at_budget(self, *options: str) -> list[str]:
        """The same at the token budget."""
        return self.fit("--data.batches.tokens", str(self.options.budget), *options)


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


def budget(bench: Bench) -> measure.Rounds:
    """At the token budget, compiled; with the time of an epoch and the share of the GPU's peak."""
    found = bench.rates(BUDGET, bench.at_budget())
    encoded = bench.data.corpus.encoded("train")
    tokens = sum(len(window) - 1 for sentence in encoded for window in sentence.windows)
    rates = found[f"{BUDGET}, sub-tokens/s"]
    found[f"{BUDGET}, an epoch, seconds"] = [tokens / rate for rate in rates]
    weights = bench.shape("1b", LLAMA_1B)[1]
    share = [100 * FLOPS_A_WEIGHT * weights * rate / PEAK for rate in rates]
    return found | {f"{BUDGET}, share of 790 TFLOP/s, percent": share}


def plain(bench: Bench) -> measure.Rounds:
    """At the token budget, not compiled."""
    return bench.rates(PLAIN, bench.at_budget("--model.runtime.compile", "false"))


def eight(bench: Bench) -> measure.Rounds:
    """At batches of 8, not compiled."""
    return bench.rates(EIGHT, bench.fit("--data.batches.size", "8", "--model.runtime.compile", "false"))


def run_ner(bench: Bench) -> measure.Rounds:
    """The baseline."""
    found: measure.Rounds = {}
    for batch in (8, 32):
        words = run_ner_words(bench.options.data, batch, "--backbone", bench.shape("1b", LLAMA_1B)[0])
        found |= bench.rates(f"run_ner, batches of {batch}", words)
    return found


def profile(bench: Bench) -> measure.Rounds:
    """Some steps at the token budget, profiled."""
    report = bench.folder / "report.json"
    os.environ |= {gpu_profile.REPORT: str(report), gpu_profile.BEGIN: str(WARMUP)}
    command = bench.at_budget("--trainer.callbacks+=gpu_profile.Kernels")
    worker = Worker(command, bench.folder / "log")
    try:
        worker.turn(WARMUP + gpu_profile.PROFILED + 1)
    finally:
        worker.end()
    kinds = json.loads(report.read_text(encoding="utf-8"))
    units = {kind: "" if "milliseconds" in kind else ", percent" for kind in kinds}
    return {f"{BUDGET}, profiled: {kind}{units[kind]}": [value] for kind, value in kinds.items()}


def nf4(bench: Bench) -> measure.Rounds:
    """8B in 4 bits, adapters on all layers."""
    options = ["--data.batches.size", "8", "--model.runtime.compile", "false", "--model.quantization", "nf4"]
    command = bench.fit(*options, backbone=bench.shape("8b", LLAMA_8B)[0])
    return bench.rates("fit, 8B in nf4, batches of 8", command)


def seeds(bench: Bench) -> measure.Rounds:
    """The recipe with documents, three seeds; its rows are those of any run."""
    words = ["--config", *SEEDS, "--option", f"data.dataset={bench.options.data}"]
    if bench.options.backbone:
        words += ["--option", f"model.backbone={bench.options.backbone}"]
    if bench.options.tiny:
        words += ["--option", "trainer.max_epochs=1", "--option", "model.runtime.compile=false"]
    if bench.options.record:
        words += ["--record", str(bench.options.record)]
    recipe_seeds.main(words)
    return {}


PARTS: dict[str, Callable[[Bench], measure.Rounds]] = {
    part.__name__: part for part in (budget, plain, eight, run_ner, profile, nf4, seeds)
}


def with_ratios(found: measure.Rounds, before: measure.Rounds) -> measure.Rounds:
    """What a part found, and the budget's rate over those of the others that are known."""
    unit = ", sub-tokens/s"
    known = before | found
    ours = known.get(f"{BUDGET}{unit}", [])
    for name in [name for name in known if name.endswith(unit) and name != f"{BUDGET}{unit}"]:
        if ours and "8B" not in name:
            other = statistics.median(known[name])
            found[f"{BUDGET}, times {name.removesuffix(unit)}"] = [rate / other for rate in ours]
    return found


def measured_before(record: Path | None) -> measure.Rounds:
    """What the file has from an earlier call."""
    if record is None or not record.is_file():
        return {}
    return {row["metric"]: [row["value"]] for row in read_rows(record) if row["split"] == KIND}


def main(args: Sequence[str] | None = None) -> int:
    """Measures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--data", type=Path, default=measure.DATA)
    parser.add_argument(
        "--backbone", help="SmolLM2: a folder or a GGUF file; random weights take its tokenizer"
    )
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--budget", type=int, default=16384, help="padded sub-tokens a step")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=20, help="of a round")
    parser.add_argument("--tiny", action="store_true", help="a tiny shape, to try this program")
    measure.add_record_option(parser)
    words = list(sys.argv[1:] if args is None else args)
    options = parser.parse_args(words)
    before = measured_before(options.record)
    failed = []
    with tempfile.TemporaryDirectory() as name:
        bench = Bench(options, Path(name))
        for part in options.parts:
            print(f"--- {part}", flush=True)
            try:
                found = with_ratios(PARTS[part](bench), before)
            except Exception as error:
                failed.append(part)
                print(f"{part} failed: {error}", flush=True)
                continue
            before |= found
            about = {"kind": KIND, "script": Path(__file__).name, "words": words}
            described = measure.described(options.data)
            measure.report(found, **about, record=options.record, data=described)
    if failed:
        print(f"failed: {', '.join(failed)}; the same command with --parts {' '.join(failed)} tries again")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
