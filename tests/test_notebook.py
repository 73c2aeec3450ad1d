"""quickstart.ipynb: short cells, public names, stored outputs, and it runs on the real small LLM."""

import ast
import json
import os
import re
import shutil
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

import ner_lightning
from ner_lightning import NERTagger
from ner_lightning.data.readers.sentences import read_sentences
from ner_lightning.data.sample.figures import entity_f1, tag_by_dictionary

ROOT = Path(__file__).parent.parent
NOTEBOOK = ROOT / "quickstart.ipynb"
LONGEST = 16  # lines of a cell of code


def code_cells():
    content = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    return [cell for cell in content["cells"] if cell["cell_type"] == "code"]


def kinds(cell):
    """What a cell shows; what goes to standard error is not stored."""
    shown = [out for out in cell["outputs"] if out.get("name") != "stderr"]
    return {kind for out in shown for kind in (out.get("data") or {"text": ""})}


def test_cells_are_short_and_in_order_and_show_something():
    nbformat.validate(nbformat.read(NOTEBOOK, as_version=4))
    cells = code_cells()
    assert len(cells) > 10
    for number, cell in enumerate(cells, start=1):
        assert cell["execution_count"] == number
        assert len("".join(cell["source"]).split("\n")) <= LONGEST
    shown = [kinds(cell) for cell in cells]
    assert sum("image/png" in each for each in shown) == 3
    assert sum("text/html" in each for each in shown) >= 4
    assert not any(out["output_type"] == "error" for cell in cells for out in cell["outputs"])


def test_its_outputs_tell_nothing_of_the_machine_that_made_them():
    text = json.dumps([cell["outputs"] for cell in code_cells()])
    assert not re.findall(r"/(?:tmp|home|root|work|Users)/[\w.-]+", text)


def test_it_uses_public_names_alone():
    code = "\n".join("".join(cell["source"]) for cell in code_cells())
    code = re.sub(r"^( *)%.*", r"\1pass", code, flags=re.M)  # what only notebooks understand
    imported = [node for node in ast.walk(ast.parse(code)) if isinstance(node, ast.ImportFrom)]
    own = [node for node in imported if node.module.startswith("ner_lightning")]
    assert {node.module for node in own} == {"ner_lightning"}
    assert {alias.name for node in own for alias in node.names} <= set(ner_lightning.__all__)


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
    made = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [kinds(cell) for cell in made] == [kinds(cell) for cell in code_cells()]
    said = "".join(out["text"] for cell in made for out in cell.outputs if out.output_type == "stream")
    assert "most confident mistakes" in said
    assert "Traceback" not in said
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    tagger = NERTagger.from_run(str(tmp_path / "runs/quickstart/1"))
    found = tagger(re.search(r'run\.tagger\("(.*?)"\)', readme)[1]).entities
    shown = re.search(r"```text\n(.*?)```", readme, flags=re.S)[1].splitlines()
    assert [line.rpartition(" ")[0] for line in shown] == [f"{each.label} {each.text}" for each in found]
    sample = ROOT / "ner_lightning" / "data" / "sample"
    train, test = (read_sentences(sample / f"{split}.conll") for split in ("train", "test"))
    dictionary = entity_f1(test, tag_by_dictionary(train, test))
    score = json.loads((tmp_path / "runs/quickstart/1/metrics.json").read_text())["test/f1"]
    assert score > 0.70
    assert score > dictionary + 0.25
