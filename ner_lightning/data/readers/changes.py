"""Counts what readers change in a file's annotation, and says it once with the first examples."""

from collections import Counter

from ner_lightning.system.progress import warn

EXAMPLES = 3  # of each kind of change that are listed


class Changes:
    """Counts what was changed in a file's annotation, with the first examples of each kind.

    Attributes:
        place: the line or item that is being read.
    """

    def __init__(self) -> None:
        self.place = ""
        self._counts: Counter[str] = Counter()
        self._examples: dict[str, list[str]] = {}

    def __call__(self, kind: str, text: str) -> None:
        """Adds a change.

        Args:
            kind: what was changed, as it follows a number: "entities overlap another one, which was kept".
            text: the text where it was.
        """
        self._counts[kind] += 1
        if self._counts[kind] <= EXAMPLES:
            self._examples.setdefault(kind, []).append(f"{text!r:.40} ({self.place})")

    def count(self, kind: str) -> int:
        """How often anything was changed whose kind begins so."""
        return sum(count for each, count in self._counts.items() if each.startswith(kind))

    def report(self, path: object) -> None:
        """Prints one warning for each kind of change."""
        for kind, count in self._counts.items():
            listed = ", ".join(self._examples[kind]) + (", ..." if count > EXAMPLES else "")
            warn(f"{path}: {count:,} {kind}: {listed}")
