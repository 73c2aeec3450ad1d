"""A W&B workspace and a report of seeds as code: panels of what runs log; made without a network."""

import statistics
from collections.abc import Iterator, Sequence
from typing import Any

import wandb_workspaces.reports.v2 as reports
import wandb_workspaces.workspaces as workspaces
from wandb_workspaces import expr

from ner_lightning.analysis.compare import differing_settings, recipes, repeated_seeds
from ner_lightning.analysis.experiment import Experiment
from ner_lightning.analysis.render.blocks import Table, markdown, shown
from ner_lightning.runs.folder import STAGES

STEP = "trainer/global_step"
# A section's curves: a title, and the metrics in it; a pattern ends in `/`, and stands for all that begin so.
CURVES = {
    "Quality": {
        "F1": ["val/f1"],
        "Precision and recall": ["val/precision", "val/recall"],
        "Loss": ["val/loss"],
    },
    "By type": {"F1": ["val/f1/"], "Precision": ["val/precision/"], "Recall": ["val/recall/"]},
    "Errors": {},
    "Optimisation": {
        "Loss, and its parts": ["train/loss", "train/ce", "train/crf", "train/ls"],
        "Learning rates": ["lr/"],
        "Gradient norm": ["train/grad_norm"],
    },
    "Speed": {
        "Words/s": ["train/words_per_second"],
        "Sub-tokens/s": ["train/subtokens_per_second"],
        "Padding": ["train/padding"],
        "Peak memory, GiB": ["train/peak_memory_gib"],
    },
}
BARS = {"Quality": ["best/f1", "test/f1"]}
# The vega preset, the table and the columns of each interactive chart.
CHARTS = {
    "By type": [("wandb/bar/v0", "analysis/by_type_table", {"label": "type", "value": "f1"})],
    "Errors": [
        (
            "wandb/confusion_matrix/v1",
            "analysis/confusion_table",
            {"Actual": "gold", "Predicted": "predicted", "nPredictions": "entities"},
        ),
        ("wandb/line/v0", "analysis/calibration_table", {"x": "mean probability", "y": "share correct"}),
    ],
}
TABLES = {"By type": ["test/by_type"], "Errors": ["analysis/errors", "analysis/predictions", "test/errors"]}
PICTURES = {"Optimisation": ["analysis/transitions"]}
COLUMNS = ("best/f1", "best/precision", "best/recall", "best/epoch", "test/f1")


def workspace(entity: str, project: str) -> Any:
    """The workspace of a project: five sections, runs grouped by recipe."""
    return workspaces.Workspace(
        entity=entity,
        project=project,
        name="ner-lightning",
        sections=[
            workspaces.Section(name=name, panels=list(_panels(name)), is_open=name in ("Quality", "By type"))
            for name in CURVES
        ],
        settings=workspaces.WorkspaceSettings(x_axis=STEP, max_runs=100),
        runset_settings=workspaces.RunsetSettings(
            groupby=[expr.Metric("Group")],
            order=[expr.Ordering(expr.Summary("best/f1"), ascending=False)],
            pinned_columns=[f"summary:{name}" for name in COLUMNS],
        ),
    )


def report(entity: str, project: str, runs: Sequence[Experiment]) -> Any:
    """A report of seeds: its text says what the runs' files do, its charts show the project's runs.

    Args:
        entity: who owns the project.
        project: its name.
        runs: finished runs.
    """
    grid = reports.PanelGrid(
        runsets=[reports.Runset(groupby=["Group"])],  # of the report's project, which needs no look-up
        panels=[*_panels("Quality"), *_panels("By type")],
    )
    return reports.Report(
        entity=entity,
        project=project,
        title="Recipes over seeds",
        description="Mean and standard deviation of F1 over the seeds of each recipe.",
        blocks=[
            reports.MarkdownBlock(seeds_text(runs)),
            reports.H2("Curves"),
            grid,
        ],
    )


def seeds_text(runs: Sequence[Experiment]) -> str:
    """The figures of each recipe as Markdown, and in which settings they differ; no text of the data."""
    groups, rows = recipes(runs), []
    numbers = [f"{number}: " if len(groups) > 1 else "" for number in range(1, len(groups) + 1)]
    for number, group in zip(numbers, groups, strict=True):
        seeds = [run.made_of or str(run.name if run.seed is None else run.seed) for run in group]
        scores = [_scores(group, split, stage) for split, stage in STAGES.items()]
        rows.append([number + group[0].name.partition("/")[0], ", ".join(seeds), *scores])
    tables = [Table("Recipes", ["recipe", "seeds", "F1, best validation", "F1, test"], rows)]
    differing = differing_settings([group[0] for group in groups])
    if differing:
        settings = [[name, *map(shown, values)] for name, values in differing.items()]
        head = ["setting", *(row[0] for row in rows)]
        tables.append(Table("What differs between the first runs of recipes", head, settings, prose=True))
    return (
        "Each recipe is the same configuration with several seeds. F1 is over entities, as conlleval counts "
        "them: the mean over seeds, and their standard deviation.\n\n"
        f"{markdown(tables)}\n"
        "The validation set chose each run's epoch, so its figures are higher than those of unseen data. "
        "Differences that are smaller than the deviation say nothing about the recipes."
    )


def _scores(group: Sequence[Experiment], split: str, stage: str) -> str:
    """Mean and deviation of F1, if the runs were scored on the same data with different seeds."""
    data = [run.about.get("data", {}).get(split, {}).get("fingerprint") for run in group]
    if len({each for each in data if each}) > 1:
        return "of different data"
    if repeated_seeds(group):
        return "of one seed several times"
    return _spread([run.metrics.get(f"{stage}/f1") for run in group])


def specification(made: Any) -> dict[str, Any]:
    """A workspace or report as it would be sent, as plain values."""
    content: dict[str, Any] = made._to_model().model_dump(mode="json", by_alias=True, exclude_none=True)
    return content


def _spread(values: Sequence[float | None]) -> str:
    known = [value for value in values if value is not None]
    if len(known) < len(values):
        return "not scored" if not known else f"{len(known)} of {len(values)} runs scored"
    mean = f"{statistics.mean(known):.4f}"
    return f"{mean} ± {statistics.stdev(known):.4f}" if len(known) > 1 else f"{mean} (one run)"


def _panels(section: str) -> Iterator[Any]:
    for title, metrics in CURVES[section].items():
        groups: dict[str, Any] = {"groupby_aggfunc": "mean", "groupby_rangefunc": "stddev"}
        pattern = metrics[0] if metrics[0].endswith("/") else None
        which: dict[str, Any] = {"metric_regex": f"^{pattern}"} if pattern else {"y": metrics}
        yield reports.LinePlot(title=title, x=STEP, **which, **groups)
    for metric in BARS.get(section, ()):
        yield reports.BarPlot(title=metric, metrics=[metric], groupby_aggfunc="mean")
    for preset, table, columns in CHARTS.get(section, ()):
        query = {"summaryTable": {"tableKey": table}}
        yield reports.CustomChart(chart_name=preset, query=query, chart_fields=columns)
    for table in TABLES.get(section, ()):
        yield reports.WeavePanelSummaryTable(table_name=table)
    for picture in PICTURES.get(section, ()):
        yield reports.MediaBrowser(media_keys=[picture])
