"""A full disk, and a file that cannot be written: no finished epoch is lost."""

import re
import shutil

import pytest
from faults.places import OWN_AGAIN, same

from ner_lightning.runs.checkpoint_file import load_checkpoint

pytestmark = [pytest.mark.faults, pytest.mark.timeout(600)]


def test_no_room_for_a_checkpoint(place, small, whole):
    runs = small / "runs"
    fill = {"name": "FillDisk", "folder": str(small), "epoch": 1, "at": "on_train_epoch_end", "leave": 8192}
    done = place.fit(fill, options=("--runs", str(runs)))
    run = runs / "recipe/1"
    assert done.code == 2, done.said
    assert "the checkpoint before it is untouched" in done.said
    assert "Traceback" not in done.said
    assert load_checkpoint(run / "checkpoints/last.ckpt")["epoch"] == 0
    assert load_checkpoint(run / "checkpoints/best.ckpt")["epoch"] == 0
    assert {p.name for p in (run / "checkpoints").iterdir()} == {"best.ckpt", "last.ckpt"}  # no draft
    spare = re.search(r"It is saved as (\S+)\.", done.said)[1]
    assert load_checkpoint(spare)["epoch"] == 1
    (small / "filling").unlink()
    for name in re.search(r"copy it to (.*) in ", done.said)[1].split(" and "):
        shutil.copy(spare, run / "checkpoints" / name)
    done = place.run("fit", "--run", str(run), "--ckpt_path", "last", *OWN_AGAIN)
    assert done.code == 0, done.said
    same(whole, run)


@pytest.mark.parametrize(
    ("at", "until", "lost"),
    [
        ("on_validation_start", "on_train_epoch_end", ("predictions.valid", "metrics.json")),
        ("on_train_epoch_end", "on_save_checkpoint", ("run.json", "metrics.csv")),
    ],
)
def test_no_room_for_predictions_and_logs(place, small, whole, at, until, lost):
    fill = {"name": "FillDisk", "folder": str(small), "epoch": 1, "at": at, "until": until}
    done = place.fit(fill, options=("--runs", str(small / "runs")))
    run = small / "runs/recipe/1"
    assert done.code == 0, done.said
    for name in lost:
        assert re.search(rf"{re.escape(name)} could not be written \(No space left on device\)", done.said)
    same(whole, run)  # later epochs write the same files again


def test_a_metrics_file_that_cannot_be_written(place, whole):
    done = place.fit({"name": "BlockFile", "path": str(place.first / "metrics.csv")})
    assert done.code == 0, done.said
    assert "metrics.csv could not be written (Is a directory)" in done.said
    (place.first / "metrics.csv").rmdir()
    done = place.run("fit", "--run", str(place.first), "--ckpt_path", "last", *OWN_AGAIN)
    assert done.code == 0, done.said
    same(whole, place.first)  # checkpoints hold the table


def test_a_terminal_that_is_full(place, whole, small):
    (small / "filling").write_bytes(bytes(590 * 1024))
    with (small / "log").open("wb") as log:
        import subprocess
        import sys

        words = ["-m", "ner_lightning", "fit", "--config", "recipe.yaml"]
        done = subprocess.run([sys.executable, *words], cwd=place.folder, stdout=log, stderr=subprocess.PIPE)
    assert b"Traceback" not in done.stderr
    same(whole, place.first)
