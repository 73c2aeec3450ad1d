import io
import re

from rich.console import Console

from ner_lightning.training.callbacks.live import LiveTable, _duration


def drawn(table):
    out = io.StringIO()
    Console(file=out, width=120).print(table.render())
    return out.getvalue()


def test_the_table_shows_epochs_the_best_and_the_time_left():
    table = LiveTable(Console(file=io.StringIO()), steps=40, first=0)
    epoch = {
        "loss": 0.5,
        "train/ce": 0.2,
        "train/crf": 0.3,
        "val/f1": 0.8,
        "words": 1234.0,
        "minutes": 0.5,
    }
    table.add(epoch, "1")
    table.add(epoch | {"val/f1": 0.7}, "2")
    table.step = 25
    table.now({"train/loss": 0.25, "train/ce": 0.15, "train/crf": 0.1, "val/f1": 0.7}, "3")
    lines = drawn(table).splitlines()
    assert lines[0].split() == [
        "epoch",
        "loss",
        "val",
        "loss",
        "P",
        "R",
        "F1",
        "words/s",
        "min",
    ]
    assert lines[1].split() == ["1", "0.5000", "0.8000", "1234", "0.5"], "a mean, not the last step's parts"
    # The F1 of the epoch before is not this one's.
    assert lines[3].split() == ["3", "0.2500"]
    assert re.fullmatch(r"step 25 of 40 · best F1 0.8000 \(epoch 1\) · about \d+:\d\d left", lines[4])


def test_it_stays_when_it_stops():
    out = io.StringIO()
    table = LiveTable(Console(file=out, force_terminal=True, width=100), steps=2, first=0)
    table.start()
    table.add({"loss": 0.5, "val/f1": 0.25}, "1")
    table.step = 2
    table.stop()
    last = out.getvalue().rsplit("val loss", 1)[1]
    assert "0.2500" in last
    assert "step 2 of 2 · best F1 0.2500 (epoch 1)" in out.getvalue()
    assert "left" not in last


def test_durations():
    assert [_duration(s) for s in (5, 65, 3725)] == ["0:05", "1:05", "1:02:05"]
