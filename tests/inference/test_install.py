"""Inference and serving run with the packages that docs/export.md lists, and with no other."""

import json
import re
import subprocess
import sys
import tomllib
from importlib.metadata import distribution, packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from untrained import write_checkpoint

from ner_lightning.export.exported_folder import export

ROOT = Path(__file__).parent.parent.parent
PAGE = (ROOT / "docs/export.md").read_text(encoding="utf-8")
TRAINING = {"lightning", "wandb", "datasets", "gguf", "matplotlib", "torchmetrics", "seqeval", "jsonargparse"}
HIDE = """
import json, sys
from importlib.machinery import PathFinder

class Visible(PathFinder):
    hidden = set(json.loads(sys.argv[1]))

    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.partition(".")[0] in cls.hidden else super().find_spec(name, path, target)

sys.meta_path[sys.meta_path.index(PathFinder)] = Visible
"""
TAG = """
from ner_lightning.inference.ner_tagger import NERTagger
tagger = NERTagger.from_pretrained(sys.argv[2], device="cpu")
print(json.dumps([list(tagged.tags) for tagged in tagger(["Vera Holt left Lima.", "Okoro won."])]))
"""
COMMAND = """
from ner_lightning.commands.main import main
assert main(["predict", sys.argv[2], "--device", "cpu", "--text", "Vera", "--output", "-"]) == 0
"""
SERVE = """
import ner_lightning.serving.server, ner_lightning.serving.workers
from ner_lightning.commands.serve import parser, service
options = parser().parse_args([sys.argv[2], "--device", "cpu"])
print(json.dumps(sorted(service(options).openapi()["paths"])))
"""
LOADED = """
print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules})))
"""


def listed(row=None):
    """The packages on the page: those that are always needed, and those of a row of its table."""
    section = PAGE.split("## Inference without the training packages")[1].split("\n## ")[0]
    (line,) = re.findall(r"^pip install (?!--no-deps)(.*)$", section, flags=re.M)
    found = re.findall(r"'(.*?)'", line)
    if row is not None:
        (cells,) = (line for line in section.splitlines() if line.startswith("|") and row in line)
        found += re.findall(r"`([\w-]+>=[\d.]+)`", cells)
    return list(map(Requirement, found))


def with_dependencies(requirements):
    """The names of distributions that pip would install."""
    found, left = set(), [requirement.name for requirement in requirements]
    while left:
        name = canonicalize_name(left.pop())
        if name not in found:
            found.add(name)
            needs = map(Requirement, distribution(name).requires or ())
            left += [
                need.name for need in needs if need.marker is None or need.marker.evaluate({"extra": ""})
            ]
    return found


@pytest.fixture(scope="module")
def folders(tmp_path_factory, llama):
    """An exported folder in each form."""
    place = tmp_path_factory.mktemp("install")
    run = write_checkpoint(place, llama, peft="lora", lora={"rank": 2})
    return {form: export(str(run), place / form, format=form) for form in ("merged", "adapter")}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("form", "row", "script"),
    [
        ("merged", None, COMMAND),
        pytest.param("adapter", "--format adapter", TAG, marks=pytest.mark.slow),
        pytest.param("merged", "ner-lightning serve", SERVE, marks=pytest.mark.slow),
    ],
    ids=["command", "adapter", "serve"],
)
def test_the_listed_packages_are_enough(folders, tmp_path, form, row, script):
    installed = with_dependencies(listed(row))
    hidden = {
        module
        for module, names in packages_distributions().items()
        if module != "ner_lightning" and not {canonicalize_name(name) for name in names} & installed
    }
    assert hidden > TRAINING
    command = [sys.executable, "-c", HIDE + script + LOADED, json.dumps(sorted(hidden)), str(folders[form])]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    *_, result, loaded = map(json.loads, done.stdout.splitlines())
    assert result
    assert "transformers" in loaded
    assert not hidden & set(loaded)


def test_the_list_has_the_bounds_of_the_package():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    declared = set(
        map(
            str,
            map(Requirement, project["dependencies"] + extras["serve"] + extras["onnx"] + extras["openvino"]),
        )
    )
    rows = (None, "--format adapter", "--format openvino", "--format onnx", "Parquet", "ner-lightning serve")
    for row in rows:
        assert set(map(str, listed(row))) <= declared
