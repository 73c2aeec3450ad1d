"""The public names of the package."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import ner_lightning


def test_the_package_imports_nothing_heavy():
    script = (
        "import sys; before = set(sys.modules); import ner_lightning;"
        "print(*{name.partition('.')[0] for name in set(sys.modules) - before}, *dir(ner_lightning))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert loaded >= {*ner_lightning.__all__}
    assert not loaded & {"torch", "numpy", "transformers", "lightning", "yaml"}


def test_public_names_are_what_their_modules_define():
    for name in ner_lightning.__all__:
        assert getattr(ner_lightning, name).__doc__, name
    tree = ast.parse(Path(ner_lightning.__file__).read_text(encoding="utf-8"))  # what a type checker sees
    typed = {alias.name for node in ast.walk(tree) for alias in getattr(node, "names", [])}
    assert typed - {"import_module", "TYPE_CHECKING", "Any", "version"} == {*ner_lightning.__all__} - {
        "__version__"
    }
    assert ner_lightning.CRF is sys.modules["ner_lightning.model.crf.layer"].CRF
    with pytest.raises(AttributeError, match="no attribute 'Tagger'"):
        _ = ner_lightning.Tagger


def test_the_reference_describes_the_public_names_alone():
    page = Path(__file__).parents[1] / "docs/reference/api.md"
    described = re.findall(r"^## (\w+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(described) == sorted({*ner_lightning.__all__} - {"__version__"})
