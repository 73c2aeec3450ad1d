"""Fixtures of the fault tests: a small recipe and corpus, a run that nothing went wrong in, a small disk."""

import subprocess

import pytest
from faults.places import Place


@pytest.fixture(scope="session")
def data(tmp_path_factory, corpus):
    """The small corpus with a validation set of several batches."""
    folder = tmp_path_factory.mktemp("data")
    for name in ("train", "test"):
        (folder / f"{name}.txt").write_text((corpus / f"{name}.txt").read_text())
    valid = (corpus / "train.txt").read_text().split("\n\n")[:7]
    (folder / "valid.txt").write_text("\n\n".join(valid) + "\n")
    return folder


@pytest.fixture
def place(tmp_path, llama, data):
    return Place(tmp_path, llama, data)


@pytest.fixture(scope="session")
def whole(tmp_path_factory, llama, data):
    """A run that nothing went wrong in."""
    place = Place(tmp_path_factory.mktemp("whole"), llama, data)
    done = place.fit()
    assert done.code == 0, done.said
    return place.first


@pytest.fixture
def small(tmp_path):
    """A file system of 600 KiB: room for two checkpoints and a draft."""
    folder = tmp_path / "small"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=600k", "tmpfs", str(folder)], check=True)
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)
