"""A change of the whole process is undone after the last of those that need it, whatever their order."""

import threading
from contextlib import contextmanager

import pytest

from ner_lightning.system.shared_change import SharedChange

DONE: list[str] = []


@contextmanager
def change():
    DONE.append("made")
    try:
        yield
    finally:
        DONE.append("undone")


@pytest.fixture
def shared():
    DONE.clear()
    return SharedChange(change)


def test_it_may_be_entered_within_itself_and_again(shared):
    with shared, shared:
        assert DONE == ["made"]
    assert DONE == ["made", "undone"]
    with pytest.raises(ValueError, match="own"), shared:
        raise ValueError("own")
    assert DONE == ["made", "undone"] * 2


def test_the_last_thread_undoes_it(shared):
    inside, leave = threading.Event(), threading.Event()

    @shared
    def other():
        inside.set()
        leave.wait(10)

    thread = threading.Thread(target=other)
    with shared:
        thread.start()
        assert inside.wait(10)
    assert DONE == ["made"]
    leave.set()
    thread.join()
    assert DONE == ["made", "undone"]
