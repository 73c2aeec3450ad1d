"""Folders that are written over minutes."""

import os
import socket

import pytest

from ner_lightning.system.unfinished import complete, remove_abandoned, unfinished

HOST = socket.gethostname()


def test_the_second_process_that_completes_a_folder_leaves_the_first_ones(tmp_path):
    folder = tmp_path / "key"
    folder.mkdir()
    (folder / "about.json").write_text("first")
    part = unfinished(folder)
    part.mkdir()
    (part / "about.json").write_text("second")
    complete(part, folder, "about.json")
    assert (folder / "about.json").read_text() == "first"
    assert list(tmp_path.iterdir()) == [folder]


def test_what_is_incomplete_is_replaced(tmp_path):
    folder = tmp_path / "key"
    folder.mkdir()
    (folder / "something").touch()
    part = unfinished(folder)
    part.mkdir()
    (part / "about.json").touch()
    complete(part, folder, "about.json")
    assert [path.name for path in folder.iterdir()] == ["about.json"]


def test_what_cannot_be_renamed_for_another_reason_stays(tmp_path):
    part = unfinished(tmp_path / "key")
    part.mkdir()
    (tmp_path / "key").touch()
    with pytest.raises(OSError, match="key"):
        complete(part, tmp_path / "key", "about.json")
    assert part.is_dir()


def test_what_killed_processes_left_is_removed_and_what_others_write_stays(tmp_path):
    dead, mine, elsewhere = (
        tmp_path / f".key.{host}.{process}.part"
        for host, process in ((HOST, 2**22 + 1), (HOST, os.getpid()), ("elsewhere", 2**22 + 1))
    )
    for folder in (dead, mine, elsewhere):
        folder.mkdir()
    remove_abandoned(tmp_path)
    assert sorted(tmp_path.iterdir()) == sorted([mine, elsewhere])
    assert unfinished(tmp_path / "key") == mine
