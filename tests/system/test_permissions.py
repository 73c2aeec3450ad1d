"""Files that a library wrote for its writer alone."""

import errno
import os

from ner_lightning.system.permissions import open_to_readers_of


def test_files_get_the_mode_of_another(tmp_path, monkeypatch):
    shared, folder = tmp_path / "shared", tmp_path / "folder"
    (folder / "in").mkdir(parents=True)
    for file in (shared, folder / "in/own"):
        file.touch()
    shared.chmod(0o644)
    (folder / "in/own").chmod(0o600)

    def chmod(*_, **__):
        raise PermissionError(errno.EPERM, "Operation not permitted")

    with monkeypatch.context() as without_modes:
        without_modes.setattr(os, "chmod", chmod)
        open_to_readers_of(shared, folder)
    open_to_readers_of(shared, folder)
    assert (folder / "in/own").stat().st_mode == shared.stat().st_mode
