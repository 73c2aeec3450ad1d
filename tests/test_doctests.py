"""The examples in docstrings give the results that they show."""

import doctest
from importlib import import_module

import pytest

MODULES = (
    "metrics.from_counts",
    "metrics.functional",
    "metrics.entity_f1",
    "model.crf.layer",
    "data.schemes",
)


@pytest.mark.parametrize("name", MODULES)
def test_examples(name):
    result = doctest.testmod(import_module(f"ner_lightning.{name}"))
    assert result.attempted
    assert not result.failed
