"""Locks: one command at a time, also where a file goes meanwhile; and file systems without locks."""

import errno
import fcntl
import os

import pytest

from ner_lightning.errors import UserError
from ner_lightning.runs.results import FIELDS, add_rows, read_rows
from ner_lightning.system.locks import LockedError, in_turn, locked, only_writer


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
    with in_turn(tmp_path / "file"), pytest.raises(LockedError, match="taken"):
        locked(tmp_path / ".file.lock", "taken")


def test_a_file_that_goes_while_it_is_locked_is_opened_again(tmp_path, monkeypatch):
    file, real, calls = tmp_path / "o.partial", fcntl.flock, []

    def flock(opened, operation):
        real(opened, operation)
        calls.append(1)
        if len(calls) == 1:
            file.replace(tmp_path / "o")  # as another command ends

    monkeypatch.setattr(fcntl, "flock", flock)
    with locked(file, "taken") as opened:
        opened.write(b"x")
    assert file.read_bytes() == b"x"
    assert (tmp_path / "o").read_bytes() == b""


def test_without_locks_a_file_is_opened_all_the_same(no_locks, tmp_path):
    with locked(tmp_path / "o", "taken") as opened:
        opened.write(b"x")
    assert (tmp_path / "o").read_bytes() == b"x"


def test_a_folder_has_one_writer_at_a_time_and_keeps_no_lock(tmp_path):
    with only_writer(tmp_path):
        with pytest.raises(UserError, match="another command is writing"), only_writer(tmp_path):
            pass
        assert list(tmp_path.iterdir()), "the second, refused, left the first one's lock"
    assert not list(tmp_path.iterdir())
    with only_writer(tmp_path):
        pass
