"""The public names of the package."""

import subprocess
import sys

import pytest

import ner_lightning


def test_the_package_imports_in_no_time_and_without_torch():
    script = (
        "import sys, time; began = time.perf_counter(); import ner_lightning;"
        "print(time.perf_counter() - began, 'torch' in sys.modules, dir(ner_lightning))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    seconds, torch_is_loaded, names = done.stdout.split(maxsplit=2)
    assert float(seconds) < 0.1
    assert torch_is_loaded == "False"
    assert all(f"'{name}'" in names for name in ner_lightning.__all__)


def test_public_names_are_what_their_modules_define():
    for name in ner_lightning.__all__:
        assert getattr(ner_lightning, name).__doc__, name
    assert set(ner_lightning._MODULES) == set(ner_lightning.__all__) - {"__version__"}
    assert ner_lightning.CRF is sys.modules["ner_lightning.model.crf.layer"].CRF
    with pytest.raises(AttributeError, match="no attribute 'Tagger'"):
        _ = ner_lightning.Tagger
