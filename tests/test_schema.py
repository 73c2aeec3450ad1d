"""The JSON schema of recipes accepts every shipped one, and refuses what the parser would refuse."""

import json
from pathlib import Path

import pytest
import yaml
from jsonschema import Draft202012Validator
from recipe_schema import of_range, recipe_schema

from ner_lightning.commands.options.consent import GROUPS
from ner_lightning.system.ranges import Ranged

ROOT = Path(__file__).parent.parent
RECIPES = sorted([*(ROOT / "configs").rglob("*.yaml"), *(ROOT / "examples").glob("*.yaml")])
VALIDATOR = Draft202012Validator(recipe_schema())


def test_it_is_a_schema_and_up_to_date():
    Draft202012Validator.check_schema(recipe_schema())
    written = json.loads((ROOT / "configs/recipe.schema.json").read_text(encoding="utf-8"))
    assert written == recipe_schema()
    model = written["properties"]["model"]["properties"]
    assert set(GROUPS["model"]) - {"members"} <= set(model)
    assert model["optimizer"]["properties"]["lr"]["description"]


@pytest.mark.parametrize("file", RECIPES, ids=lambda file: file.relative_to(ROOT).as_posix())
def test_every_recipe_is_valid(file):
    content = yaml.safe_load(file.read_text(encoding="utf-8"))
    assert [error.message for error in VALIDATOR.iter_errors(content)] == []


@pytest.mark.parametrize(
    ("recipe", "said"),
    [
        ({"model": {"lr": 1e-3}}, "'lr' was unexpected"),
        ({"model": {"optimizer": {"lr": 0}}}, "0 is less than or equal to the minimum of 0"),
        ({"model": {"architecture": {"pooling": "middle"}}}, "'middle' is not one of"),
        ({"data": {"batches": {"size": 0}}}, "0 is less than the minimum of 1"),
        ({"trainer": {"epochs": 3}}, "'epochs' does not match"),
        ({"modle": {}}, "'modle' was unexpected"),
    ],
)
def test_mistakes_are_marked(recipe, said):
    assert any(said in error.message for error in VALIDATOR.iter_errors(recipe))


@pytest.mark.parametrize("kind", Ranged.__subclasses__(), ids=lambda kind: kind.label)
def test_ranges_of_the_schema_are_those_of_the_settings(kind):
    validator = Draft202012Validator(of_range(kind))
    for value in (-2, -1, 0, 1, 2, 0.25, 0.5, 0.99, 65535, 65536, 2**32 - 1, 2**32):
        if kind.base is float or isinstance(value, int):
            assert validator.is_valid(value) == kind.contains(value), value
