"""A trained run against what comes out of it: python benchmarks/take_home.py RUN.

Exports the run in every form, reads each folder in a process that hides the training code, tags the
validation sentences and compares with what the run wrote; compares emissions and tags of the ONNX graph; and
measures how well scores are calibrated before and after.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import measure
from record import split_command

from ner_lightning.analysis.rows import read_predictions
from ner_lightning.data.readers.sentences import read_sentences
from ner_lightning.data.schemes import Span, spans
from ner_lightning.data.sentence import Sentence
from ner_lightning.export.exported_folder import export
from ner_lightning.inference import loading
from ner_lightning.inference.calibration import calibrate
from ner_lightning.inference.ner_tagger import NERTagger
from ner_lightning.inference.scoring import score
from ner_lightning.runs.folder import Run

ALONE = """
import json, sys
from importlib.machinery import PathFinder

class Without(PathFinder):
    hidden = {"lightning", "pytorch_lightning", "wandb", "torchmetrics", "seqeval", "datasets"}
    hidden |= {"jsonargparse", "matplotlib"}

    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.partition(".")[0] in cls.hidden else super().find_spec(name, path, target)

sys.meta_path[sys.meta_path.index(PathFinder)] = Without
from ner_lightning.inference.ner_tagger import NERTagger
given = json.load(sys.stdin)
tagger = NERTagger.from_pretrained(sys.argv[1], device="cpu")
found = tagger(words=given["words"], documents=given["documents"])
assert not {"lightning", "wandb", "torchmetrics", "datasets"} & set(sys.modules)
print(json.dumps([list(each.tags) for each in found]))
"""
Entities = list[list[Span]]


def found_alone(folder: Path, sentences: Sequence[Sentence]) -> Entities:
    """The entities that an exported folder gives without the training code."""
    given = {"words": [s.words for s in sentences], "documents": [s.document for s in sentences]}
    command = [sys.executable, "-c", ALONE, str(folder)]
    done = subprocess.run(command, input=json.dumps(given), capture_output=True, text=True, check=True)
    return [spans(tags) for tags in json.loads(done.stdout)]


def differing(one: Entities, other: Entities) -> int:
    """Entities that only one of both has."""
    return sum(len(set(a) ^ set(b)) for a, b in zip(one, other, strict=True))


def onnx_differences(run: str, folder: Path, sentences: Sequence[Sentence]) -> tuple[float, int]:
    """The largest difference of emissions to the fp32 model, and how many tags differ."""
    export(run, folder, format="onnx")
    held = loading.read_tagger_files(run, Path("runs"))
    taggers = [NERTagger(held.build("cpu", bf16=False), held.encoder()), NERTagger.from_pretrained(folder)]
    words, documents = [s.words for s in sentences], [s.document for s in sentences]
    gap = 0.0
    scored = (score(tagger.tagger, tagger.encoder, words, documents) for tagger in taggers)
    for one, other in zip(*scored, strict=True):
        real = one.mask
        gap = max(gap, float((one.emissions[real] - other.emissions[real]).abs().max()))
    tags = [[t for each in tagger(words=words, documents=documents) for t in each.tags] for tagger in taggers]
    return gap, sum(a != b for a, b in zip(*tags, strict=True))


def main(args: Sequence[str] | None = None) -> int:
    """Measures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("run", help="a run folder with predictions on validation")
    parser.add_argument("--data", type=Path, default=measure.DATA, help="a folder with valid.txt")
    parser.add_argument("--onnx_sentences", type=int, default=200)
    measure.add_record_option(parser)
    words = list(sys.argv[1:] if args is None else args)
    options = parser.parse_args(words)
    sentences = read_sentences(options.data / "valid.txt")
    run = Run(Path(options.run))
    written = [row.predicted for row in read_predictions(run.path / "predictions.valid.jsonl").rows]
    shared: dict[str, Any] = {
        "script": Path(__file__).name,
        "words": [word for word in words if word != options.run],
        "record": options.record,
        "config": " ".join(split_command(run.read("run.json")["command"])[0]),
        "data": measure.described(options.data, "valid"),
    }
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        found: measure.Rounds = {"entities that the run wrote": [sum(map(len, written))]}
        for form, dtype in (("merged", "auto"), ("merged", "float32"), ("adapter", "auto")):
            folder = export(options.run, place / f"{form}-{dtype}", format=form, dtype=dtype)
            label = form if dtype == "auto" else f"{form}, {dtype}"
            apart = differing(found_alone(folder, sentences), written)
            found[f"{label}: entities on one side only"] = [apart]
        few = sentences[: options.onnx_sentences]
        gap, tags = onnx_differences(options.run, place / "onnx", few)
        found["onnx: largest difference of an emission, thousandths"] = [1000 * gap]
        found[f"onnx: tags that differ in {len(few)} sentences"] = [tags]
    measure.report(found, kind="take home", **shared)
    result = calibrate(NERTagger.from_run(options.run), sentences)
    calibration: measure.Rounds = {
        "temperature": [result.temperature],
        "calibration error before, percent": [100 * result.before],
        "calibration error after, percent": [100 * result.after],
    }
    measure.report(calibration, kind="calibration", **shared)
    return 0


if __name__ == "__main__":
    sys.exit(main())
