"""Memory does not grow with what is streamed."""

import itertools
import json
import random
import subprocess
import sys
from pathlib import Path

import pytest
import taggers
import tiny

PEAK = """
import resource, sys
sys.path[:0] = {paths!r}
import taggers
from ner_lightning.commands.taggers import tagger_loading
from ner_lightning.commands.main import main
tagger = taggers.random_tagger({backbone!r})
tagger.tagger.emitter.head.bias.data[0] += 3  # as few entities as texts have
tagger_loading.read_tagger = lambda *args, **kwargs: tagger
assert main(["predict", "--input", sys.argv[1], "--output", sys.argv[2]]) == 0
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def write_text(path: Path, megabytes: float) -> None:
    """Lines of one to four sentences."""
    draw = random.Random(0)
    texts = taggers.texts()
    size = 0
    with path.open("w", encoding="utf-8") as file:
        while size < megabytes * 1e6:
            size += file.write(" ".join(draw.choices(texts, k=draw.randint(1, 4))) + "\n")


def peak(folder: Path, megabytes: float, backbone: Path) -> int:
    """Peak memory of tagging a file, in KiB."""
    source, output = folder / f"{megabytes}.txt", folder / f"{megabytes}.jsonl"
    write_text(source, megabytes)
    script = PEAK.format(paths=[str(Path(taggers.__file__).parent)], backbone=backbone.as_posix())
    done = subprocess.run(
        [sys.executable, "-c", script, str(source), str(output)], capture_output=True, text=True, check=True
    )
    with source.open(encoding="utf-8") as given, output.open(encoding="utf-8") as got:
        for line, row in itertools.zip_longest(given, got):
            assert json.loads(row)["text"] == line.rstrip("\n")
    return int(done.stdout)


@pytest.mark.parametrize(
    ("little", "much"),
    [
        pytest.param(1, 4, marks=[pytest.mark.slow, pytest.mark.timeout(900)]),
        pytest.param(10, 100, marks=[pytest.mark.faults, pytest.mark.timeout(3600)]),
    ],
)
def test_memory_does_not_grow_with_the_input(tmp_path, little, much):
    small = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1}
    backbone = tiny.write_llama(tmp_path / "llama", **small)
    one, other = (peak(tmp_path, megabytes, backbone) for megabytes in (little, much))
    print(f"peak memory: {one:,} KiB for {little} MB, {other:,} KiB for {much} MB")
    assert other <= 1.05 * one
