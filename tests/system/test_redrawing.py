"""What a terminal is sent: colours, and what is drawn again."""

import io
import os
import sys

import pytest

from ner_lightning.commands import main
from ner_lightning.system.terminal import in_colour, redraws

NOTEBOOKS = ("JPY_PARENT_PID", "COLAB_RELEASE_TAG", "KAGGLE_KERNEL_RUN_TYPE")


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture(autouse=True)
def _plain(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    for name in ("NO_COLOR", *NOTEBOOKS):
        monkeypatch.delenv(name, raising=False)


def test_colours_are_left_out_if_asked(monkeypatch):
    assert in_colour(Terminal())
    assert not in_colour(io.StringIO())
    monkeypatch.setenv("NO_COLOR", "1")
    assert not in_colour(Terminal())
    assert redraws(Terminal())


def test_a_dumb_terminal_gets_lines(monkeypatch):
    assert redraws(Terminal())
    assert not redraws(io.StringIO())
    monkeypatch.setenv("TERM", "dumb")
    assert not redraws(Terminal())
    assert not in_colour(Terminal())


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_gets_lines_with_colours(name, monkeypatch):
    monkeypatch.setenv(name, "1")
    assert not redraws(Terminal())
    assert in_colour(Terminal())


@pytest.mark.parametrize("notebook", [False, True])
def test_bars_of_libraries(notebook, monkeypatch):
    monkeypatch.delenv("TQDM_DISABLE", raising=False)
    monkeypatch.setattr(sys, "stderr", Terminal())
    seen = []
    monkeypatch.setattr(main, "_exit_code", lambda *_: seen.append("TQDM_DISABLE" in os.environ) or 0)
    if notebook:
        monkeypatch.setenv("JPY_PARENT_PID", "1")
    assert main.main(["fit"]) == 0
    assert seen == [notebook]
