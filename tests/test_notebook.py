"""quickstart.ipynb: short cells, no outputs in git, and it runs from top to bottom on the real small LLM."""

import json
import os
import re
import shutil
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from ner_lightning.data.readers.sentences import read_sentences
from ner_lightning.data.sample.figures import entity_f1, tag_by_dictionary

ROOT = Path(__file__).parent.parent
NOTEBOOK = ROOT / "quickstart.ipynb"
LONGEST = 16  # lines of a cell of code


def test_outputs_are_stripped_and_cells_are_short():
    content = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    code = [cell for cell in content["cells"] if cell["cell_type"] == "code"]
    assert len(code) > 10
    for cell in code:
        assert cell["outputs"] == []
        assert cell["execution_count"] is None
        assert cell["metadata"] == {}
        assert len("".join(cell["source"]).split("\n")) <= LONGEST
    nbformat.validate(nbformat.read(NOTEBOOK, as_version=4))


def test_links_of_the_notebook_lead_somewhere():
    content = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    text = "\n".join("".join(cell["source"]) for cell in content["cells"] if cell["cell_type"] == "markdown")
    targets = re.findall(r"\]\(([^)#:]+)\)", text)
    assert len(targets) > 3
    for target in targets:
        assert (ROOT / target).exists(), target


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_notebook_makes_a_tagger_that_beats_a_dictionary(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT) + os.pathsep + os.environ.get("PYTHONPATH", ""))
    monkeypatch.setenv("MPLBACKEND", "module://matplotlib_inline.backend_inline")
    shutil.copy(NOTEBOOK, tmp_path)
    notebook = nbformat.read(tmp_path / NOTEBOOK.name, as_version=4)
    NotebookClient(notebook, timeout=800, resources={"metadata": {"path": str(tmp_path)}}).execute()
    outputs = [out for cell in notebook.cells for out in cell.get("outputs", ())]
    kinds = {kind for out in outputs for kind in out.get("data", {})}
    assert {"image/png", "image/svg+xml", "text/html"} <= kinds
    said = "".join(out["text"] for out in outputs if out.output_type == "stream")
    assert "most confident mistakes" in said
    assert "Traceback" not in said
    assert "ner-lightning: " not in said  # how a command begins to say that it failed
    sample = ROOT / "ner_lightning" / "data" / "sample"
    train, test = (read_sentences(sample / f"{split}.conll") for split in ("train", "test"))
    dictionary = entity_f1(test, tag_by_dictionary(train, test))
    score = json.loads((tmp_path / "runs/last/metrics.json").read_text())["test/f1"]
    assert score > 0.70
    assert score > dictionary + 0.25
