"""Checks the scores of a command: seqeval counts them again, from its prediction files."""

import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from textwrap import shorten
from typing import Any, NamedTuple

from ner_lightning.data.readers.column_cells import DOCSTART
from ner_lightning.data.readers.columns import UNWRITABLE
from ner_lightning.data.schemes import OUTSIDE, spans, split_tag, to_bio2
from ner_lightning.errors import UserError

TOLERANCE = 1e-9  # for rounding; both sides divide the same integers
_ADVICE = "Do not trust these scores; run the command again, and report it if this happens once more."
FIGURES = ("precision", "recall", "f1")


class TaggedSentence(NamedTuple):
    """A sentence of a prediction file: its index in the split, its words and tags."""

    sentence: int
    words: list[str]
    gold: list[str]
    predicted: list[str]


def agree(
    base: Path,
    metrics: Mapping[str, Any],
    by_type: Mapping[str, Mapping[str, float]],
    counts: Mapping[int, Sequence[int]],
) -> str | None:
    """Compares the metrics of a split with what seqeval counts in its prediction files.

    seqeval reads strict IOB2; where predicted tags are not legal, as they may be with `constrained: false`,
    it reads as conlleval does.

    Args:
        base: the prediction files, without `.jsonl` and `.conll`.
        metrics: micro `precision`, `recall` and `f1`.
        by_type: these and `gold`, the number of gold entities, of each type.
        counts: correct, predicted and gold entities of each sentence, by its index, as the metrics have
            counted them.

    Returns:
        a line that says that they agree; None for a split without sentences.

    Raises:
        UserError: a figure differs, or the two files do; the message names the first such sentence.
    """
    lines = _read(base)
    if not lines:
        return None
    strict = all(to_bio2(spans(line.predicted), len(line.predicted)) == line.predicted for line in lines)
    reading = "strict IOB2" if strict else "its default mode, since some predicted tags are not legal IOB2"
    recount = _Recount(lines, strict)
    figures, sentence = recount.differences(metrics, by_type), recount.first_difference(counts)
    if figures or sentence:
        problem = "the sums agree, the sentences do not"
        if figures:
            problem = "{} is {:.6g} by the metrics, {:.6g} by seqeval".format(*figures[0])
        raise UserError(
            f"{base.name}.jsonl: {problem} ({reading}).\n"
            f"{sentence or 'Each sentence agrees by itself: the sums over them are wrong.'}\n{_ADVICE}"
        )
    return f"seqeval agrees ({reading})"


class _Recount:
    """Entities and their scores according to seqeval.

    Types are numbered, since seqeval drops hyphens at the ends of their names.
    """

    def __init__(self, lines: Sequence[TaggedSentence], strict: bool) -> None:
        # seqeval imports scikit-learn, which takes a second.
        from seqeval.metrics.sequence_labeling import get_entities, precision_recall_fscore_support
        from seqeval.metrics.v1 import precision_recall_fscore_support as strict_scores
        from seqeval.scheme import IOB2, Entities

        self.lines = lines
        numbers: dict[str, str] = {}
        gold = [_numbered(line.gold, numbers) for line in lines]
        predicted = [_numbered(line.predicted, numbers) for line in lines]
        score: Callable[..., Any]
        if strict:
            sides = [Entities(tags, IOB2) for tags in (gold, predicted)]
            score = partial(strict_scores, scheme=IOB2, entities_true=sides[0], entities_pred=sides[1])
            entities = [[{e.to_tuple()[1:] for e in row} for row in side.entities] for side in sides]
        else:
            score = precision_recall_fscore_support
            entities = [[set(get_entities(tags)) for tags in side] for side in (gold, predicted)]
        self.gold, self.predicted = entities
        micro = score(gold, predicted, average="micro", zero_division=0)
        columns = score(gold, predicted, average=None, zero_division=0)
        names = sorted({entity[0] for side in entities for row in side for entity in row})
        kinds = {number: kind for kind, number in numbers.items()}
        self.micro = dict(zip(FIGURES, map(float, micro), strict=False))
        self.by_type = {
            kinds[name]: dict(zip((*FIGURES, "gold"), map(float, row), strict=True))
            for name, row in zip(names, zip(*columns, strict=True), strict=True)
        }

    def differences(
        self, metrics: Mapping[str, Any], by_type: Mapping[str, Mapping[str, float]]
    ) -> list[tuple[str, float, float]]:
        """The figures that differ: name, value by the metrics, value by seqeval."""
        nothing = dict.fromkeys((*FIGURES, "gold"), 0.0)
        pairs = [(name, metrics[name], self.micro[name]) for name in FIGURES]
        for kind in dict.fromkeys((*by_type, *self.by_type)):
            ours, theirs = by_type.get(kind, nothing), self.by_type.get(kind, nothing)
            pairs += [(f"{name} of {kind}", ours[name], theirs[name]) for name in nothing]
        return [pair for pair in pairs if abs(pair[1] - pair[2]) > TOLERANCE]

    def first_difference(self, counts: Mapping[int, Sequence[int]]) -> str | None:
        """The first sentence whose counts differ, with both counts."""
        form = "{} correct, {} predicted, {} gold entities"
        seen = set()
        for line, gold, predicted in zip(self.lines, self.gold, self.predicted, strict=True):
            ours = tuple(counts.get(line.sentence, ()))
            theirs = (len(gold & predicted), len(predicted), len(gold))
            text = shorten(" ".join(line.words), 60, placeholder=" ...")
            first = f"First at sentence {line.sentence + 1} ({text})"
            if line.sentence in seen:
                return f"{first}, which is there twice."
            if ours != theirs:
                metrics = form.format(*ours) if ours else "none"
                return f"{first}: {metrics} by the metrics, {form.format(*theirs)} by seqeval."
            seen.add(line.sentence)
        missing = sorted(counts.keys() - seen)
        return f"First at sentence {missing[0] + 1}, which the file lacks." if missing else None


def _numbered(tags: Sequence[str], numbers: dict[str, str]) -> list[str]:
    parts = map(split_tag, tags)
    return [
        OUTSIDE if not kind else f"{letter}-{numbers.setdefault(kind, f'T{len(numbers)}')}"
        for letter, kind in parts
    ]


def _read(base: Path) -> list[TaggedSentence]:
    """The sentences of `.jsonl`, after a check that `.conll` holds the same.

    Raises:
        UserError: it does not, or one of the two cannot be read.
    """
    file, columns = (base.with_name(base.name + suffix) for suffix in (".jsonl", ".conll"))
    try:
        rows = [json.loads(line) for line in file.read_text(encoding="utf-8").split("\n") if line]
        lines = [TaggedSentence(row["sentence"], row["words"], row["gold"], row["predicted"]) for row in rows]
        blocks = iter([*columns.read_text(encoding="utf-8").split("\n\n"), ""])
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{file} was changed since it was written: {error!r}") from None
    for line in lines:
        cells = zip(line.words, line.gold, line.predicted, strict=False)
        expected = "\n".join(" ".join(UNWRITABLE.sub("_", cell) for cell in each) for each in cells)
        block = next(blocks)
        if block != expected and block.startswith(DOCSTART):
            block = next(blocks)
        if block != expected:
            raise UserError(
                f"{file.name} and {columns.name} differ, first at sentence {line.sentence + 1}: "
                f"one of them was changed since it was written.\n{_ADVICE}"
            )
    return lines
