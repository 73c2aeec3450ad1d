"""The experiment report: puts the sections together, all made from a run's files."""

from collections.abc import Mapping, Sequence
from typing import Any

from ner_lightning.analysis.compare import comparison, shared_split
from ner_lightning.analysis.experiment import Experiment
from ner_lightning.analysis.render.blocks import Block, Heading, Text
from ner_lightning.analysis.report.failures import failures, limitations, mitigation, reasons
from ner_lightning.analysis.report.prompting import prompting
from ner_lightning.analysis.report.scores import key_figures, scores
from ner_lightning.analysis.report.setup import against_language_modelling, data, model, objective
from ner_lightning.analysis.report.threshold_scores import threshold_scores
from ner_lightning.analysis.report.training import training, transitions
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
    split = split or next(iter(run.files))
    several, trained = len(runs) > 1, run.folder is not None and not run.prompted
    blocks: list[Block] = [Heading(1, f"Report of {run.name}"), Text(_origin(run, text=text))]
    blocks += key_figures(run)
    if several:
        blocks += comparison(runs, shared_split(runs))
        blocks.append(Text(f"All that follows is about {run.name}."))
    if run.folder is not None:
        blocks += [*data(run), *prompting(run)]
    if trained:
        blocks += [*model(run), *objective(run), *training(run), *transitions(run)]
    blocks += [*scores(run), *threshold_scores(run), *failures(run, split, text=text), *reasons(run, split)]
    blocks += mitigation(run, split, ladder)
    if trained:
        blocks += against_language_modelling(run)
    return [*blocks, *limitations(run, split, several=several)]


def _origin(run: Experiment, *, text: bool) -> str:
    if run.folder is None:
        origin = "Made from a file of predictions alone: the model and its training data are unknown."
    else:
        date = str(run.about.get("started", ""))[:10]
        origin = (
            f"Made from the files of the run{f' of {date}' if date else ''}; every figure is read from them."
        )
    return origin if text else f"{origin} Text of the data is left out."
