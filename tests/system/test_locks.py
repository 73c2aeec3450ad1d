"""Locks on file systems that have none."""

import errno
import fcntl
import os

import pytest

from ner_lightning.runs.results import FIELDS, add_rows, read_rows
from ner_lightning.system.locks import lock


@pytest.fixture(params=[errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK])
def no_locks(request, monkeypatch):
    def flock(opened, operation):
        raise OSError(request.param, os.strerror(request.param))

    monkeypatch.setattr(fcntl, "flock", flock)


def test_rows_are_added_without_locks_which_is_said_once(no_locks, tmp_path, caplog):
    file = tmp_path / "results.json"
    for seed in (1, 2):
        add_rows([dict.fromkeys(FIELDS, "") | {"seed": seed}], file)
    assert [row["seed"] for row in read_rows(file)] == [1, 2]
    assert [f"{file} cannot be locked" in record.getMessage() for record in caplog.records] == [True]


def test_what_another_command_has_is_not_locked(tmp_path):
    file = tmp_path / "file"
    with file.open("w") as one, file.open("w") as other:
        assert lock(one, file, wait=True)
        with pytest.raises(BlockingIOError):
            lock(other, file, wait=False)
