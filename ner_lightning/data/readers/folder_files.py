"""The files of a folder: which are read, and which are left out."""

from collections.abc import Sequence
from pathlib import Path

from ner_lightning.data.readers.brat import SUFFIX, annotation_beside
from ner_lightning.data.readers.formats import SUFFIXES
from ner_lightning.data.readers.read_options import ReadOptions
from ner_lightning.system.progress import stage
from ner_lightning.system.terminal import listed

COMPANIONS = (".ann", ".conf")  # what brat has beside texts
_ABOUT = ("readme", "license", "licence", "changelog", "notice")  # what comes with data and is none
_PROSE = ("", ".txt", ".md", ".rst")
_NAMED = 3


def is_read(name: str, form: str | None) -> bool:
    """Whether a file of a folder is read; `form` is the format that is named, and then any suffix will do."""
    path = Path(name)
    suffix = path.suffix.lower()
    if suffix in _PROSE and path.stem.lower() in _ABOUT:
        return False
    return suffix not in COMPANIONS if form == "brat" else form is not None or suffix in SUFFIXES


def unannotated(files: Sequence[Path], options: ReadOptions) -> list[Path]:
    """The texts in folders of brat's that have no annotation beside them, where others have."""
    if not options.tagged or options.format not in (None, "brat"):
        return []
    texts = [
        (path, annotation_beside(path))
        for path in files
        if path.suffix.lower() == ".txt" and is_read(path.name, options.format)
    ]
    folders = {path.parent for path, annotation in texts if annotation}
    return [path for path, annotation in texts if not annotation and path.parent in folders]


def say_left_out(folder: str | Path, names: Sequence[str], form: str | None) -> None:
    """Says which files of a folder are not read because of their names, or because their text is missing."""
    others = [
        name for name in names if not is_read(name, form) and Path(name).suffix.lower() not in COMPANIONS
    ]
    _say(folder, "files of other kinds", others)
    texts = {str(Path(name).with_suffix("")) for name in names if Path(name).suffix.lower() not in COMPANIONS}
    alone = [name for name in names if name.endswith(SUFFIX) and name.removesuffix(SUFFIX) not in texts]
    _say(folder, "annotations whose text is missing", alone)


def say_unannotated(folder: Path, texts: Sequence[Path]) -> None:
    """Says which texts of a folder are not read because they have no annotation."""
    names = [str(path.relative_to(folder)) for path in texts]
    _say(folder, "texts without an .ann file beside them", names)


def _say(folder: str | Path, what: str, names: Sequence[str]) -> None:
    if names:
        stage(f"{folder}: {len(names):,} {what} are not read: {listed(names, _NAMED)}.")
