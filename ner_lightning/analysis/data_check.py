"""The data check: what somebody should know of a data set before a model is trained on it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ner_lightning.analysis.data_boundaries import boundaries
from ner_lightning.analysis.data_consistency import consistency
from ner_lightning.analysis.data_duplicates import duplicates
from ner_lightning.analysis.data_entities import forms
from ner_lightning.analysis.data_reading import ReadingFacts, reading
from ner_lightning.analysis.data_sizes import sizes, trainable, types
from ner_lightning.analysis.findings import DataView, Finding, Level, Location, locations
from ner_lightning.data.schemes import spans
from ner_lightning.data.sentence import Sentence

ORDER = list(Level)


@dataclass(frozen=True)
class DataCheck:
    """The result of a data check.

    Attributes:
        origins: the file of each split.
        findings: what there is to report: problems first, then what to look at, then facts.
        passed: titles of the checks that have nothing to report.
        lengths: how many sentences have how many words, by split.
    """

    origins: Mapping[str, str]
    findings: tuple[Finding, ...]
    passed: tuple[str, ...]
    lengths: Mapping[str, Mapping[int, int]]

    @property
    def problems(self) -> tuple[Finding, ...]:
        """What makes training impossible; if there is none, a model can be trained."""
        return self.at(Level.PROBLEM)

    def at(self, level: Level) -> tuple[Finding, ...]:
        """The findings of a level."""
        return tuple(finding for finding in self.findings if finding.level is level)

    def finding(self, key: str) -> Finding | None:
        """The finding of a check; None if there is nothing to report."""
        return next((finding for finding in self.findings if finding.key == key), None)

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "trainable": not self.problems,
            "origins": dict(self.origins),
            "findings": [finding.to_dict() for finding in self.findings],
            "clear": list(self.passed),
            "sentence_lengths": {
                split: {str(words): count for words, count in sorted(counts.items())}
                for split, counts in self.lengths.items()
            },
        }


def check_data(
    splits: Mapping[str, Sequence[Sentence]],
    origins: Mapping[str, str],
    *,
    facts: ReadingFacts | None = None,
    location: Location | None = None,
) -> DataCheck:
    """Inspects a data set.

    Args:
        splits: sentences with BIO2 tags of train, valid and test; some may be missing.
        origins: the file of each split.
        facts: what reading and encoding told; None for nothing.
        location: says where a sentence is, from its split and index; by default `file:line`, or file and
            number where sentences do not know their line.
    """
    view = DataView(
        splits,
        {split: [spans(each.tags or ()) for each in sentences] for split, sentences in splits.items()},
        location or locations(splits, origins),
    )
    known = forms(view.splits, view.entities)
    made = [
        *trainable(view),
        *sizes(view),
        *types(view),
        *duplicates(view),
        consistency(view, known),
        *boundaries(view, known),
        *reading(view, facts or ReadingFacts()),
    ]
    reported = [finding for finding in made if finding.count]
    return DataCheck(
        dict(origins),
        tuple(sorted(reported, key=lambda finding: ORDER.index(finding.level))),
        tuple(finding.title for finding in made if not finding.count and finding.level is not Level.FACT),
        {split: _lengths(sentences) for split, sentences in splits.items()},
    )


def _lengths(sentences: Iterable[Sentence]) -> dict[int, int]:
    counts: dict[int, int] = {}
    for sentence in sentences:
        counts[len(sentence.words)] = counts.get(len(sentence.words), 0) + 1
    return counts
