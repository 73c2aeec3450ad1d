"""What is there for contributors: workflows, templates and hooks say what is true."""

import ast
import os
import re
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.M))


@pytest.mark.parametrize("file", WORKFLOWS, ids=lambda f: f.stem)
def test_workflows_parse_pin_actions_by_tag_and_call_what_is_there(file):
    workflow = yaml.safe_load(file.read_text(encoding="utf-8"))
    assert workflow["permissions"] == {"contents": "read"}
    steps = [step for job in workflow["jobs"].values() for step in job["steps"]]
    assert all(job["timeout-minutes"] <= 60 for job in workflow["jobs"].values())
    for step in steps:
        assert "uses" not in step or re.fullmatch(r"[\w-]+/[\w-]+@v\d+", step["uses"])
        for target in re.findall(r"make ([a-z-]+)", step.get("run", "")):
            assert target in TARGETS
        for script in re.findall(r"^\.ci/\w+$", step.get("run", ""), flags=re.M):
            assert os.access(ROOT / script, os.X_OK)


def test_templates_and_hooks_parse():
    for file in (ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"):
        assert yaml.safe_load(file.read_text(encoding="utf-8"))
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))["repos"][0][
        "hooks"
    ]
    recipe = (ROOT / "Makefile").read_text(encoding="utf-8")
    for hook in hooks:
        assert hook["entry"].removeprefix(".venv/bin/").split()[0] in recipe


def test_oldest_python_is_the_one_that_is_required():
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    oldest = re.search(r'requires-python = ">=([\d.]+)"', text)[1]
    matrix = yaml.safe_load(WORKFLOWS[0].read_text(encoding="utf-8"))["jobs"]["test"]["strategy"]["matrix"]
    assert oldest in {row["python"] for row in matrix["include"]}
    assert {row["dependencies"] for row in matrix["include"]} == {"tested", "lowest", "newest"}


def requirements():
    """What the package and its extras ask for, those of the tests left out."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    listed = [*project["dependencies"], *(line for name in extras if name != "dev" for line in extras[name])]
    return {canonicalize_name(found.name): found for found in map(Requirement, listed)}


def test_what_is_imported_is_declared():
    known, declared = packages_distributions(), requirements()
    imported = set()
    for file in (ROOT / "ner_lightning").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                imported |= {name.name.partition(".")[0] for name in node.names}
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                imported.add(str(node.module).partition(".")[0])
    foreign = imported - set(sys.stdlib_module_names) - {"ner_lightning"}
    assert {"torch", "PIL", "tqdm", "starlette"} <= foreign
    undeclared = [m for m in foreign if not {canonicalize_name(d) for d in known[m]} & declared.keys()]
    # pytorch-crf is there for whoever has it; transformers asks for a tokenizers of just one version.
    assert set(undeclared) <= {"tokenizers", "torchcrf"}


def test_what_is_tested_satisfies_what_is_required():
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pinned = dict(line.split("==") for line in lines if line and not line.startswith("#"))
    versions = {canonicalize_name(name): version for name, version in pinned.items()}
    for name, asked in requirements().items():
        assert asked.specifier.contains(versions[name]), name


def test_every_requirement_has_a_lowest_version():
    """Without one, the job with the lowest versions takes the oldest there is, which may not even build."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"].values()
    listed = map(Requirement, [*project["dependencies"], *(line for lines in extras for line in lines)])
    assert not [found.name for found in listed if not found.specifier and found.name != project["name"]]


@pytest.mark.parametrize(
    ("name", "bad"),
    [
        ("lightning", ["2.6.2", "2.6.3", "2.6.5"]),
        ("torch", ["2.9.1"]),
        ("transformers", ["5.2.0", "5.4.0"]),
        ("pyarrow", ["15.0.0", "23.0.0"]),
        ("onnx", ["1.20.1"]),
        ("pillow", ["12.1.1"]),
        ("tqdm", ["4.66.2"]),
        ("starlette", ["0.49.0", "1.0.0"]),
        ("h11", ["0.14.0"]),
        ("gguf", ["0.17.1"]),  # weights stay random
        ("jsonargparse", ["4.50.0"]),  # `off` becomes false
        ("onnxscript", ["0.5.7"]),
        ("wandb", ["0.29.0"]),  # `login` always asks
        ("matplotlib", ["3.10.6"]),  # it uses what pyparsing has renamed, and warnings are errors
    ],
)
def test_versions_with_a_known_fault_are_not_taken(name, bad):
    assert not [version for version in bad if requirements()[name].specifier.contains(version)]


def test_the_newest_dependencies_are_tried_each_week():
    """Private names of some are used, and no upper bound keeps a release away that changes them."""
    workflow = yaml.safe_load(WORKFLOWS[0].read_text(encoding="utf-8"))
    assert workflow[True]["schedule"]  # YAML reads the key `on` as true
    assert not any("<" in str(asked.specifier) for asked in requirements().values())


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_wheel_passes_the_tests_without_its_source():
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    # Those that read files of the package; CI's own job has the others.
    env |= {"PYTHON": sys.executable, "WHEEL_TESTS": "tests/analysis tests/prompting"}
    done = subprocess.run([ROOT / ".ci" / "wheel"], env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert " passed" in done.stdout
