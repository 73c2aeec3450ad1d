"""The package stays readable: sizes, names that occur once, first lines for the map."""

import ast
import dataclasses
import importlib
import inspect
import re
from collections import Counter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "ner_lightning"
MODULES = sorted(PACKAGE.rglob("*.py"))
TREES = {module: ast.parse(module.read_text(encoding="utf-8")) for module in MODULES}
MOST_LINES, MOST_OF_A_FUNCTION, MOST_PARAMETERS, MOST_OF_A_CONSTRUCTOR, WIDTH = 250, 50, 8, 15, 110


def name(module: Path) -> str:
    return module.relative_to(PACKAGE).as_posix()


def functions(tree):
    return [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]


def parameters(function):
    given = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
    return [one.arg for one in given if one.arg not in ("self", "cls")]


@pytest.mark.parametrize("module", MODULES, ids=name)
def test_a_module_is_small_and_says_what_it_is_for(module):
    text = module.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= MOST_LINES
    about = ast.get_docstring(TREES[module])
    assert about
    assert len(about.split("\n")[0]) <= WIDTH
    for function in functions(TREES[module]):
        lines = function.end_lineno - function.lineno + 1
        assert lines <= MOST_OF_A_FUNCTION, f"{function.name} has {lines} lines"
        most = MOST_OF_A_CONSTRUCTOR if function.name == "__init__" else MOST_PARAMETERS
        assert len(parameters(function)) <= most, function.name


def test_no_setting_dataclass_has_too_many_fields():
    for module, tree in TREES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                dotted = ".".join(module.relative_to(PACKAGE.parent).with_suffix("").parts)
                kind = getattr(importlib.import_module(dotted), node.name, None)
                if dataclasses.is_dataclass(kind):
                    assert len(inspect.signature(kind).parameters) <= MOST_OF_A_CONSTRUCTOR, kind


def test_no_name_of_a_class_or_module_occurs_twice():
    classes = Counter(
        node.name for tree in TREES.values() for node in ast.walk(tree) if isinstance(node, ast.ClassDef)
    )
    modules = Counter(module.name for module in MODULES if module.name != "__init__.py")
    # A command is named as what it is for, and so is the module of its own.
    assert [each for each, count in classes.items() if count > 1] == []
    assert [each for each, count in modules.items() if count > 1] == []


def test_no_import_renames_a_module_of_ours():
    renamed = [
        f"{name(module)}:{node.lineno}"
        for module, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("ner_lightning")
        for one in node.names
        if one.asname
    ]
    assert renamed == []


# A folder of the repository at the begin of a path; after a letter or a slash it is part of another one.
REPOSITORY = re.compile(
    r"(?<![\w/.])(?:docs|benchmarks|examples|tests|docker|configs|ner_lightning)/[\w./-]+\.\w+"
)


@pytest.mark.parametrize("module", MODULES, ids=name)
def test_no_message_names_a_file_that_the_wheel_does_not_hold(module):
    tree = TREES[module]
    owners = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, owners) and ast.get_docstring(node, clean=False) is not None
    }
    texts = [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings
    ]
    named = {path for text in texts for path in REPOSITORY.findall(text)}
    # The package has configs/... itself, and finds them from any folder.
    assert [path for path in sorted(named) if not (PACKAGE / path).is_file()] == []
