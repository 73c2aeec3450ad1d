"""Sentences from an SQLite database: table `words` with split, sentence, position, word and tag."""

import sqlite3
from itertools import groupby

from ner_lightning import SentenceSource, Split, UserError

QUERY = "SELECT sentence, word, tag FROM words WHERE split = ? ORDER BY sentence, position"


class Database(SentenceSource):
    """Reads splits from a database.

    Args:
        file: the database.
    """

    def __init__(self, file: str) -> None:
        self.file = file

    def read(self, split: str) -> Split:
        """Reads one of train, valid and test."""
        with sqlite3.connect(f"file:{self.file}?mode=ro", uri=True) as database:
            rows = database.execute(QUERY, (split,)).fetchall()
        if not rows:
            raise UserError(f"{self.file} has no words whose split is {split!r}")
        sentences = []
        for _, group in groupby(rows, key=lambda row: row[0]):
            _, words, tags = zip(*group, strict=True)
            sentences.append((words, tags))
        return Split.of(sentences, origin=f"{self.file}:{split}")
