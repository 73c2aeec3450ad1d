"""What there is of a ladder's cells: the run of each that was made of what there is now."""

from collections.abc import Hashable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from ner_lightning.errors import UserError
from ner_lightning.runs.ladder_cells import find_run, find_runs, is_done

if TYPE_CHECKING:
    from ner_lightning.runs.folder import Run
    from ner_lightning.runs.ladder_cells import Cell, Ladder


def find(ladder: "Ladder", cell: "Cell", root: Path) -> "Run | None":
    """The latest run of a cell with the same command, recipe, data and backbone; None if there is none."""
    return find_run(ladder, cell, root, _backbone_changed)


def state(ladder: "Ladder", cell: "Cell", root: Path) -> str:
    """`done`, `unfinished` or `to do`."""
    run = find(ladder, cell, root)
    return "to do" if run is None else "done" if is_done(run) else "unfinished"


def current_cells(ladder: "Ladder", root: Path) -> "Ladder":
    """A ladder without its stale cells: their rows would stand in one mean with those of now."""

    def is_stale(cell: "Cell") -> bool:
        """Whether it was run, but never with what there is now, as far as its files can be read."""
        try:
            return bool(find_runs(cell, root)) and find(ladder, cell, root) is None
        except UserError:
            return True

    return replace(ladder, cells=tuple(cell for cell in ladder.cells if not is_stale(cell)))


def _backbone_changed(run: "Run") -> bool:
    """Whether the file or folder of a run's backbone has other content by now."""
    backbone = run.read("run.json").get("backbone", {})
    path, weights = Path(str(backbone.get("name"))), str(backbone.get("weights"))
    if not weights.startswith("sha256:") or not path.exists():
        return False
    files = [file for file in (path, *path.rglob("*")) if file.is_file()]
    stats = [(str(file), file.stat()) for file in files]
    state = tuple((name, stat.st_size, stat.st_mtime_ns) for name, stat in stats)
    return not weights.startswith(_weights(str(path), state))


@cache
def _weights(backbone: str, state: Hashable) -> str:
    """The fingerprint of a backbone on this machine; its files are read once, until they change."""
    # Here: both load torch, which ladders of backbones on the Hub and in packages do without.
    from ner_lightning.data.pretrained import locate
    from ner_lightning.model.backbone import fingerprint

    return fingerprint(locate(backbone))
