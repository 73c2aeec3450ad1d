"""The wheel holds what a run needs, and works in a folder that has nothing of ours."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "ner_lightning"
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel of this tree, built from a copy so that nothing is left in the tree."""
    source = tmp_path_factory.mktemp("source")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    for name in ("configs", "ner_lightning"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, source / name, symlinks=True, ignore=ignored)
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", "dist"]
    done = subprocess.run(command, cwd=source, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    (file,) = (source / "dist").glob("*.whl")
    return file


def test_what_the_wheel_holds(wheel):
    with zipfile.ZipFile(wheel) as archive:
        inside = {name for name in archive.namelist() if ".dist-info/" not in name}
        licences = [name for name in archive.namelist() if name.endswith("dist-info/licenses/LICENSE")]
    modules = {f"ner_lightning/{path.relative_to(PACKAGE)}" for path in PACKAGE.rglob("*.py")}
    page = {f"ner_lightning/analysis/render/page.{kind}" for kind in ("css", "js")}
    page |= {f"ner_lightning/serving/page.{kind}" for kind in ("html", "css", "js")}
    recipes = {f"ner_lightning/{path.relative_to(ROOT)}" for path in (ROOT / "configs").rglob("*.yaml")}
    recipes.add("ner_lightning/configs/recipe.schema.json")  # by which names of settings are checked
    sample = {f"ner_lightning/data/sample/{name}.conll" for name in ("train", "valid", "test")}
    assert "ner_lightning/configs/quickstart.yaml" in recipes
    assert any(recipe.startswith("ner_lightning/configs/with/") for recipe in recipes)
    notes = {f"ner_lightning/data/sample/{name}.md" for name in ("README", "guidelines")}  # licence, origin
    assert inside == modules | recipes | sample | notes | page | {"ner_lightning/py.typed"}
    assert licences


def test_the_quickstart_from_the_wheel_alone(wheel, llama, tmp_path):
    installed, empty = tmp_path / "installed", tmp_path / "empty"
    empty.mkdir()
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(installed)

    def run(*words):
        env = os.environ | {"PYTHONPATH": str(installed)}
        return subprocess.run(
            [sys.executable, *words], cwd=empty, env=env, capture_output=True, text=True, timeout=200
        )

    where = run("-c", "import ner_lightning; print(ner_lightning.__file__)").stdout
    assert where.startswith(str(installed)), "the tree was found, not the wheel"
    small = ["--trainer.accelerator", "cpu", "--trainer.max_epochs", "1", "--model.backbone", str(llama)]
    limits = ["--data.limits.train", "32", "--data.limits.valid", "8"]
    overlay = ["--config", "configs/with/softmax.yaml"]
    command = ["-m", "ner_lightning", "fit", "--config", "configs/quickstart.yaml"]
    done = run(*command, *overlay, *small, *limits)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    assert (empty / "runs/quickstart/1/checkpoints/best.ckpt").is_file()
