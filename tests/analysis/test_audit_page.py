"""The page of an audit: what is said at the terminal of sentences where the model disagrees, and of none."""

from ner_lightning.analysis.audit_page import Doubt, audit_blocks
from ner_lightning.analysis.render.terminal_text import terminal


def _doubt(predicted):
    return Doubt("train.txt:1", ("Vera", "left"), ("B-PER", "O"), predicted, 1.5, 0)


def test_the_terminal_says_how_many_sentences_are_doubted():
    text = terminal(audit_blocks([_doubt(("O", "O")), *[_doubt(("B-PER", "O"))] * 3], "As told."))
    assert "sentences: 4\n" in text
    assert "where the model disagrees: 1 (25.0%)\n" in text
    assert "The most doubtful: 1 of 1\n" in text
    assert text.endswith("Sentences with mistakes\n\nThe HTML page shows them, their entities marked: 1.\n")


def test_without_a_disagreement_there_is_no_empty_table():
    text = terminal(audit_blocks([_doubt(("B-PER", "O"))] * 3, "As told."))
    assert "where the model disagrees: 0 (0.0%)\n" in text
    assert "most doubtful:" not in text
    assert "Sentences with mistakes" not in text
