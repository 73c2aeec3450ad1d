"""The last run, by a link or, where links cannot be made, by a file."""

import errno
import os

import pytest

from ner_lightning.errors import UserError
from ner_lightning.runs.folder import create, resolve, run_path


@pytest.fixture
def no_links(monkeypatch):
    def symlink(*_, **__):
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")

    monkeypatch.setattr(os, "symlink", symlink)


def made(root, name):
    run = create(root, name)
    run.checkpoint("best").touch()
    return run


def test_without_links_a_file_names_the_last_run(no_links, tmp_path, caplog):
    root = tmp_path / "runs"
    for run in (made(root, "tiny"), made(root, "tiny")):
        run.point_last()
        run.point_last()
        assert resolve(None, "best", root) == run.checkpoint("best")
        assert resolve(str(root / "last"), "best", root) == run.checkpoint("best")
    assert (root / "last.txt").read_text() == "tiny/2\n"
    (warning,) = [record.getMessage() for record in caplog.records]
    assert f"{root / 'last'} cannot be a link (Operation not supported)" in warning
    assert sorted(file.name for file in root.iterdir()) == ["last.txt", "tiny"]


def test_a_link_takes_the_place_of_that_file(tmp_path, monkeypatch):
    root = tmp_path / "runs"
    first, second = made(root, "tiny"), made(root, "tiny")
    (root / "last.txt").write_text("tiny/1\n")
    assert run_path(None, root) == first.path
    second.point_last()
    assert run_path(None, root) == root / "last"
    assert (root / "last").resolve() == second.path
    assert not (root / "last.txt").exists()


def test_a_file_that_names_a_run_which_is_gone_names_none(tmp_path):
    (tmp_path / "last.txt").write_text("tiny/1\n")
    with pytest.raises(UserError, match="there is no last run"):
        resolve(None, "best", tmp_path)
