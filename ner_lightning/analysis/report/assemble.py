"""The experiment report: sections from a run's files, put together."""

from collections.abc import Mapping, Sequence
from typing import Any

from ner_lightning.analysis.compare import comparison, shared_split
from ner_lightning.analysis.experiment import Experiment
from ner_lightning.analysis.render.blocks import Block, Heading, Text
from ner_lightning.analysis.report import failures as failure_sections
from ner_lightning.analysis.report import prompting as prompt_sections
from ner_lightning.analysis.report import scores as score_sections
from ner_lightning.analysis.report import setup as setup_sections
from ner_lightning.analysis.report import training as training_sections
from ner_lightning.errors import UserError


def blocks(
    runs: Sequence[Experiment],
    *,
    split: str | None = None,
    text: bool = True,
    ladder: Sequence[Mapping[str, Any]] | None = None,
) -> list[Block]:
    """The report of a run; of several, their comparison and then the report of the first.

    Args:
        runs: at least one.
        split: whose failures are analysed; by default valid, so that test stays unseen by whoever
            mends the model.
        text: whether surface strings of the data may appear.
        ladder: measured rows that mitigations cite; None for none.

    Raises:
        UserError: a run lacks predictions of the split, or the runs cannot be compared.
    """
    run = runs[0]
    if split is not None and split not in run.files:
        raise UserError(f"{run.name} has no predictions of {split} (it has {', '.join(run.files)})")
    chosen = split or next(iter(run.files))
    found: list[Block] = [Heading(1, f"Report of {run.name}")]
    found.append(Text(_origin(run, text=text)))
    found += score_sections.key_figures(run)
    if len(runs) > 1:
        found += comparison(runs, shared_split(runs))
        found.append(Text(f"All that follows is about {run.name}."))
    if run.folder is not None:
        found += setup_sections.data(run)
        found += prompt_sections.prompting(run)
    if run.folder is not None and not run.prompted:
        found += setup_sections.model(run)
        found += setup_sections.objective(run)
        found += training_sections.training(run)
        found += training_sections.transitions(run)
    found += score_sections.scores(run)
    found += failure_sections.failures(run, chosen, text=text)
    found += failure_sections.reasons(run, chosen)
    found += failure_sections.mitigation(run, chosen, ladder)
    if run.folder is not None and not run.prompted:
        found += setup_sections.against_language_modelling(run)
    found += failure_sections.limitations(run, chosen, several=len(runs) > 1)
    return found


def _origin(run: Experiment, *, text: bool) -> str:
    if run.folder is None:
        said = "Made from a file of predictions alone: what was trained, and on what, is not known."
    else:
        when = str(run.about.get("started", ""))[:10]
        said = (
            f"Made from the files of the run{f' of {when}' if when else ''}; every figure is read from them."
        )
    return said if text else f"{said} Text of the data is left out."
