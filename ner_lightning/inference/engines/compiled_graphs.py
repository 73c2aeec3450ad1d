"""Keeps what OpenVINO compiled of a graph, so that a folder loads in a fraction of the time the next time."""

import hashlib
import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ner_lightning.runs.provenance import machine


@contextmanager
def kept_compilation(graph: Path, options: Mapping[str, Any], parent: Path) -> Iterator[dict[str, Any]]:
    """Options by which OpenVINO finds what it compiled the last time, or keeps it for the next time.

    A compilation is that of one state of graph and weights, of these options, a machine and a version of
    OpenVINO. It is kept once it is complete, since other processes may load the same folder. It holds none
    of the weights, so that it is small.

    Args:
        graph: the graph, beside its weights.
        options: of its compilation.
        parent: the folder of what is kept; where it cannot be written to, nothing is.

    Yields:
        further options; none if nothing can be kept.
    """
    kept = parent / _name(graph, options)
    if kept.is_dir():
        yield _caching_in(kept)
        return
    try:
        parent.mkdir(parents=True, exist_ok=True)
        begun = Path(tempfile.mkdtemp(dir=parent))
    except OSError:
        yield {}
        return
    try:
        yield _caching_in(begun)
        with suppress(OSError):  # another process was first
            begun.rename(kept)
    finally:
        shutil.rmtree(begun, ignore_errors=True)


def _caching_in(folder: Path) -> dict[str, Any]:
    return {"CACHE_DIR": str(folder), "CACHE_MODE": "OPTIMIZE_SIZE"}


def _name(graph: Path, options: Mapping[str, Any]) -> str:
    files = [graph.resolve(), graph.with_suffix(".bin").resolve()]
    states = [(str(file), (state := file.stat()).st_mtime_ns, state.st_size) for file in files]
    about = json.dumps([states, options, machine(), version("openvino")], sort_keys=True)
    return hashlib.sha256(about.encode()).hexdigest()[:32]
