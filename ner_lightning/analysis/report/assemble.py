"""The experiment report: puts the sections together, all made from a run's files."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ner_lightning.analysis.compare import shared_split
from ner_lightning.analysis.experiment import Experiment
from ner_lightning.analysis.render.blocks import Block, Fold, Heading, Text
from ner_lightning.analysis.report.comparison import comparison
from ner_lightning.analysis.report.contrasts import reasons
from ner_lightning.analysis.report.failures import failures, sentences
from ner_lightning.analysis.report.limitations import limitations
from ner_lightning.analysis.report.prompting import prompting
from ner_lightning.analysis.report.scores import scores
from ner_lightning.analysis.report.setup import against_language_modelling, data, model, objective
from ner_lightning.analysis.report.threshold_scores import threshold_scores
from ner_lightning.analysis.report.training import curves, set_up, transitions
from ner_lightning.analysis.report.verdict import verdict
from ner_lightning.errors import UserError


def report_blocks(
    runs: Sequence[Experiment],
    *,
    split: str | None = None,
    text: bool = True,
    ladder: Sequence[Mapping[str, Any]] | None = None,
) -> list[Block]:
    """The report of a run; of several runs, their comparison and then the report of the first.

    Args:
        runs: at least one.
        split: whose failures are analysed; by default valid, so that whoever fixes the model does
            not see the test set.
        text: whether surface strings of the data may appear.
        ladder: measured rows that mitigations cite; None for none.

    Raises:
        UserError: a run lacks predictions of the split, or the runs cannot be compared.
    """
    run = runs[0]
    if split is not None and split not in run.files:
        raise UserError(f"{run.name} has no predictions of {split} (it has {', '.join(run.files)})")
    requested, split = split, split or next(iter(run.files))
    several, trained = len(runs) > 1, run.folder is not None and not run.prompted
    blocks: list[Block] = [Heading(1, _title(runs)), Text(_origin(run, text=text))]
    if several:
        blocks += comparison(runs, shared_split(runs, requested), text=text)
        blocks.append(Text(f"All that follows is about {run.name}."))
    blocks += [*verdict(run, split, ladder, text=text), *scores(run)]
    if trained:
        blocks += curves(run)
    blocks += [*failures(run, split, text=text), *reasons(run, split)]
    if text:
        blocks += sentences(run, split)
    blocks += limitations(run, split, several=several)
    return [*blocks, *_folds(run, trained=trained)]


def _title(runs: Sequence[Experiment]) -> str:
    first, *others = (run.name for run in runs)
    return f"{first} against {' and '.join(others)}" if others else f"Report of {first}"


def _folds(run: Experiment, *, trained: bool) -> Iterator[Block]:
    """Thresholds and the set-up, each folded."""
    sections: dict[str, Iterable[Block]] = {"Precision, recall and F1 by threshold": threshold_scores(run)}
    if run.folder is not None:
        sections |= {"Data": data(run), "Prompt": prompting(run)}
    if trained:
        sections |= {
            "Model": model(run),
            "Architecture and objective": objective(run),
            "Training set-up": set_up(run),
            "CRF transitions": transitions(run),
            "Training against ordinary language modelling": against_language_modelling(run),
        }
    for title, content in sections.items():
        if blocks := list(content):
            yield Fold(title, blocks, 2)


def _origin(run: Experiment, *, text: bool) -> str:
    if run.folder is None:
        origin = "Made from a file of predictions alone: the model and its training data are unknown."
    else:
        date = str(run.about.get("started", ""))[:10]
        origin = (
            f"Made from the files of the run{f' of {date}' if date else ''}; every figure is read from them."
        )
        if scored := run.about.get("scored"):
            file, step = Path(str(scored["checkpoint"])), scored["step"]
            origin += f" Its checkpoint is {file.stem}, step {step}: not the best of its training."
    return origin if text else f"{origin} Text of the data is left out."
