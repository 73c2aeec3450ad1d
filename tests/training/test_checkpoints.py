import errno
import math
import os

import pytest
import torch

from ner_lightning.errors import UserError
from ner_lightning.runs.checkpoint_file import load_checkpoint
from ner_lightning.runs.folder import Run
from ner_lightning.training.callbacks.checkpoints import (
    BestCheckpoint,
    CheckpointFiles,
    _rescue,
    write_checkpoint,
)

CONTENT = {"config": {}, "backbone": {}, "state_dict": {"a": torch.arange(50_000.0)}}


def full(after):
    """A write that finds the disk full after some bytes."""
    seen = 0

    def write(self, data):
        nonlocal seen
        seen += len(data)
        if seen > after:
            self.error = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            raise self.error
        return self.file.write(data)

    return write


@pytest.fixture
def run(tmp_path):
    run = Run(tmp_path / "runs/name/1")
    run.checkpoints.mkdir(parents=True)
    return run


def test_a_run_that_was_moved_knows_its_best_score_only_with_its_best_checkpoint(tmp_path, run):
    best = BestCheckpoint(Run(tmp_path / "old"))
    best.score = 0.9
    here = BestCheckpoint(run)
    here.load_state_dict(best.state_dict())
    assert here.score == -math.inf  # another run that begins from that checkpoint
    run.checkpoint("best").touch()
    here.load_state_dict(best.state_dict())
    assert here.score == 0.9


@pytest.mark.parametrize("after", [0, 100, 150_000])
def test_a_full_disk_leaves_the_checkpoint_before(run, monkeypatch, tmp_path, after):
    files = CheckpointFiles(run)
    files.save_checkpoint(CONTENT | {"epoch": 1}, run.checkpoint("last"))
    assert (tmp_path / "runs/last").resolve() == run.path
    monkeypatch.setattr("ner_lightning.training.callbacks.checkpoints._Sink.write", full(after))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with pytest.raises(OSError, match="No space left"):
        write_checkpoint(CONTENT | {"epoch": 2}, run.checkpoint("last"))
    with pytest.raises(UserError, match="the checkpoint before it is untouched"):
        files.save_checkpoint(CONTENT | {"epoch": 2}, run.checkpoint("last"))
    assert load_checkpoint(run.checkpoint("last"))["epoch"] == 1
    assert [p.name for p in run.checkpoints.iterdir()] == ["last.ckpt"]


def test_a_checkpoint_with_no_room_is_kept_elsewhere(run, monkeypatch, tmp_path):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    run.checkpoints.rmdir()
    run.checkpoints.write_text("a file where the folder should be")
    with pytest.raises(UserError, match="It is saved as") as caught:
        CheckpointFiles(run).save_checkpoint(CONTENT, run.checkpoint("best"))
    (spare,) = tmp_path.glob("ner-lightning-*/best.ckpt")
    assert f"It is saved as {spare}. Fix that, copy it to best.ckpt and last.ckpt in" in str(caught.value)
    assert torch.equal(load_checkpoint(spare)["state_dict"]["a"], CONTENT["state_dict"]["a"])


def test_where_nothing_could_be_kept_no_one_is_told_to_continue(run, monkeypatch, tmp_path):
    monkeypatch.setattr("ner_lightning.training.callbacks.checkpoints._Sink.write", full(0))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with pytest.raises(UserError, match="Nothing of the run could be saved") as caught:
        CheckpointFiles(run).save_checkpoint(CONTENT, run.checkpoint("last"))
    assert "fit --run" not in str(caught.value)
    assert "untouched" not in str(caught.value)


def test_the_run_to_resume_is_named_as_elsewhere(run, monkeypatch):
    monkeypatch.chdir(run.path.parent)
    file = run.path.resolve() / "checkpoints" / "last.ckpt"
    said = _rescue({}, file, OSError(errno.ENOSPC, "full"), "fit")
    assert said.endswith(f"then: ner-lightning fit {run.path.name}")
