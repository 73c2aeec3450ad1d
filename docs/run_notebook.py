"""Executes quickstart.ipynb in an empty folder and stores its outputs: python docs/run_notebook.py."""

import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

ROOT = Path(__file__).parent.parent
NOTEBOOK = ROOT / "quickstart.ipynb"


def main() -> int:
    """Executes the notebook and writes it with its outputs."""
    os.environ["PYTHONPATH"] = str(ROOT)
    os.environ["MPLBACKEND"] = "module://matplotlib_inline.backend_inline"
    with tempfile.TemporaryDirectory() as folder:
        notebook = nbformat.read(shutil.copy(NOTEBOOK, folder), as_version=4)
        NotebookClient(notebook, timeout=1800, resources={"metadata": {"path": folder}}).execute()
        for cell in notebook.cells:
            cell.metadata = {}
            if cell.cell_type == "code":
                cell.outputs = anonymous(tidy(cell.outputs), folder)
    nbformat.write(notebook, NOTEBOOK)
    return 0


def tidy(outputs: list[Any]) -> list[Any]:
    """Outputs with their consecutive prints as one, without what goes to standard error."""
    tidied: list[Any] = []
    for output in outputs:
        if output.get("name") == "stderr":
            continue
        if tidied and output.get("name") == tidied[-1].get("name") == "stdout":
            tidied[-1]["text"] += output["text"]
        else:
            tidied.append(output)
    return tidied


def anonymous(value: Any, folder: str) -> Any:
    """A value without the paths of this machine."""
    if isinstance(value, str):
        for place in (folder, str(ROOT)):
            value = value.replace(f"{place}/", "").replace(place, ".")
        return value
    if isinstance(value, list):
        return [anonymous(each, folder) for each in value]
    if isinstance(value, dict):
        return nbformat.from_dict({name: anonymous(each, folder) for name, each in value.items()})
    return value


if __name__ == "__main__":
    sys.exit(main())
