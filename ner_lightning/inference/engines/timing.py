"""Measures how fast each engine of an exported folder is here: one sentence, and full batches."""

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, get_args

from ner_lightning.inference.engines.choice import AUTO, BATCH, OPENVINO, SENTENCE, TORCH, EngineName
from ner_lightning.system.progress import stage, warn

# Twenty words, as long as a sentence of news is.
TEXT = "The chairman of Holt Shipping , Vera Holt , left Lima on Monday for talks with officials in Oslo ."
SECONDS = 2.0  # for each of the two figures, after one call that is not counted
WORDS = TEXT.split(" ")
MOST = 600.0  # seconds that a process may take


def measure_engines(folder: Path, *, trust: bool) -> dict[str, Any]:
    """Measures PyTorch and OpenVINO, each in a process of its own: their threads would disturb each other.

    Args:
        folder: an exported folder with a graph for OpenVINO.
        trust: run code that comes with it.

    Returns:
        of each engine the milliseconds for a sentence of 20 words and the words/s in full batches, and the
        number of threads; empty where it cannot be measured.
    """
    stage("Measuring PyTorch and OpenVINO ...")
    measured: dict[str, Any] = {}
    for engine in (TORCH, OPENVINO):
        command = [sys.executable, "-m", __name__, str(folder), engine, *(["--trust"] if trust else [])]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=MOST)
            measured[engine] = json.loads(done.stdout.splitlines()[-1])
        except (subprocess.SubprocessError, OSError, ValueError, IndexError) as error:
            warn(f"{engine} could not be measured, so PyTorch is the default engine ({error})")
            return {}
    one, other = measured[TORCH], measured[OPENVINO]
    stage(
        f"One sentence of {len(WORDS)} words: {one[SENTENCE]:.1f} ms with PyTorch, {other[SENTENCE]:.1f} ms "
        f"with OpenVINO; full batches: {one[BATCH]:,.0f} and {other[BATCH]:,.0f} words/s."
    )
    return measured


def main(args: Sequence[str] | None = None) -> None:
    """Measures one engine in this process, and prints its figures as JSON."""
    import torch

    from ner_lightning.inference.loading import read_folder
    from ner_lightning.inference.ner_tagger import NERTagger
    from ner_lightning.inference.scoring import TOKENS

    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("engine", choices=[name for name in get_args(EngineName) if name != AUTO])
    parser.add_argument("--trust", action="store_true")
    options = parser.parse_args(args)
    tagger = NERTagger.of_files(read_folder(options.folder, trust=options.trust), "cpu", options.engine)
    length = next(iter(tagger.encoder.encode([WORDS]))).longest
    batch = [WORDS] * max(1, TOKENS // length)
    sentence = _seconds(lambda: tagger(words=[WORDS]), least=5)
    full = _seconds(lambda: tagger(words=batch), least=1)
    figures = {
        SENTENCE: round(1000 * sentence, 2),
        BATCH: round(len(batch) * len(WORDS) / full, 1),
        "threads": torch.get_num_threads(),
    }
    sys.stdout.write(json.dumps(figures) + "\n")


def _seconds(work: Callable[[], object], least: int) -> float:
    """The median seconds of a call."""
    work()  # compiles kernels and reserves memory
    seconds: list[float] = []
    while len(seconds) < least or sum(seconds) < SECONDS:
        began = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds)


if __name__ == "__main__":
    main()
