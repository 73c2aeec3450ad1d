"""What sharing a frozen backbone saves an ensemble: python benchmarks/ensemble_memory.py.

Builds an ensemble of four LoRA taggers on a backbone of Llama-3.2-1B's shape with random weights, in bf16:
once with the backbone shared, once with one for each member, and one tagger alone, each in a process of its
own. Peak memory is the process's largest resident set.
"""

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from unittest import mock

import measure
from gpu_speed import LLAMA, TINY, make_backbone

from ner_lightning.data.pretrained import locate
from ner_lightning.data.schemes import LabelSet
from ner_lightning.data.tokenization.encoding import load_tokenizer
from ner_lightning.model import build
from ner_lightning.model.tagger_settings import TaggerSettings

SIDES = ("one tagger", "four taggers, one backbone", "four taggers, four backbones")
LABELS = LabelSet(("PER", "ORG", "LOC", "MISC"))


def peak(folder: Path, side: str) -> float:
    """Builds a side in this process; its peak memory in GiB."""
    settings = TaggerSettings(
        backbone=str(folder), attention="bidirectional", freeze_backbone=True, peft="lora", use_crf=True
    )
    members = [] if side == SIDES[0] else [settings] * 3
    apart = mock.patch.object(build, "backbone_owners", lambda members: list(range(len(members))))
    with apart if side == SIDES[2] else mock.patch.object(build, "backbone_owners", build.backbone_owners):
        tagger, _ = build.build_tagger(settings, LABELS, build.Target(bf16=True), members=members)
    assert tagger is not None
    status = Path("/proc/self/status").read_text(encoding="utf-8")  # getrusage counts the parent's, too
    return int(status.partition("VmHWM:")[2].split()[0]) / 2**20


def main(args: Sequence[str] | None = None) -> int:
    """Measures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--tokenizer", default=measure.recipe()["backbone"], help="where to take it from")
    parser.add_argument("--tiny", action="store_true", help="a tiny shape, to try this program")
    parser.add_argument("--one", nargs=2, metavar=("FOLDER", "SIDE"), help=argparse.SUPPRESS)
    measure.add_record_option(parser)
    words = list(sys.argv[1:] if args is None else args)
    options = parser.parse_args(words)
    if options.one:
        print(f"PEAK {peak(Path(options.one[0]), options.one[1])}")
        return 0
    found: measure.Rounds = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_backbone(folder, TINY if options.tiny else LLAMA, load_tokenizer(locate(options.tokenizer)))
        for side in SIDES:
            command = [sys.executable, __file__, "--one", str(folder), side]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            found[f"{side}, peak memory, GiB"] = [float(done.stdout.rpartition("PEAK ")[2])]
            print(side, found[f"{side}, peak memory, GiB"], flush=True)
    one, shared, apart = (values[0] for values in found.values())
    found["four taggers, one backbone, times one tagger"] = [shared / one]
    found["four taggers, four backbones, times one tagger"] = [apart / one]
    measure.report(
        found,
        kind="ensemble memory",
        script="ensemble_memory.py",
        words=words,
        record=options.record,
        config="Llama-3.2-1B's shape, random weights, LoRA of rank 16",
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
