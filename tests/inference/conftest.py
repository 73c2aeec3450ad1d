"""Fixtures of the tests of inference: a tagger with random weights."""

from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def tagger(llama: Path):
    import taggers  # here, because the process that hands out tests would wait for transformers

    return taggers.random_tagger(llama)
