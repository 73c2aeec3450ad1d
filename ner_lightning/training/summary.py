"""What fit, validate and test print at their end: scores by type, the worst errors, what to do next."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from ner_lightning.analysis.mistakes import all_mistakes, describe, worst
from ner_lightning.analysis.rows import read_predictions
from ner_lightning.data.train_overlap import KEY, TrainOverlap
from ner_lightning.data.word_agreement import WITHIN_WORDS, not_found_in_use
from ner_lightning.runs.folder import BEST, LAST, SPLIT_OF, Run, run_path, short
from ner_lightning.system.console import say
from ner_lightning.system.terminal import in_colour, most_frequent
from ner_lightning.training.callbacks.throughput import peak_memory
from ner_lightning.training.seqeval_check import FIGURES

ERRORS = 5
TYPES = 30  # with a row of scores


def show(
    run: Run, stage: str, device: torch.device, *, fitted: bool = False, agreement: str | None = None
) -> None:
    """Prints the scores of `val` or `test`, if the run has them.

    Args:
        run: the run folder.
        stage: `val` or `test`; errors are shown for the latter.
        device: where it ran.
        fitted: whether it is the end of a fit.
        agreement: what seqeval says of the scores.
    """
    if fitted and not run.checkpoint(BEST).is_file():
        _without_best(run)
        return
    metrics = run.read("metrics.json")
    if f"{stage}/by_type" not in metrics:
        return
    if fitted:
        say(f"\nBest epoch: {metrics[f'{stage}/epoch'] + 1}, saved as the checkpoint `best`")
    say(f"\n{stage + ' entities':<16}{'precision':>10}{'recall':>8}{'F1':>8}{'gold':>7}")
    for name, row in by_type_and_all(metrics, stage).items():
        scores = f"{row['precision']:>10.4f}{row['recall']:>8.4f}{row['f1']:>8.4f}"
        say(f"{name:<16}{scores}{row['gold']:>7}")
    if cut := types_left_out(metrics, stage):
        say(cut)
    described = run.read("run.json")["data"].get(SPLIT_OF[stage], {})
    if within := described.get(WITHIN_WORDS):
        say(not_found_in_use(within, sum(row["gold"] for row in metrics[f"{stage}/by_type"].values())) + ".")
    found = TrainOverlap(*described.get(KEY, (0, 0)))
    if found.are_many:
        say(f"{found.text(SPLIT_OF[stage])}, so scores come out too high.")
    if agreement:
        say(agreement)
    say(f"word accuracy {metrics[f'{stage}/accuracy']:.4f}")
    if stage == "test":
        _errors(run)
    say(f"peak memory {peak_memory(device) / 2**30:.1f} GiB")
    following = _next(run, "test" if fitted else "report")
    say(f"\nEverything is in {short(run.path)}; next: {following}")


def by_type_and_all(metrics: Mapping[str, Any], stage: str) -> dict[str, dict[str, Any]]:
    """Precision, recall, F1 and the number of gold entities: of each type (or the most frequent) and all."""
    by_type: dict[str, dict[str, Any]] = metrics[f"{stage}/by_type"]
    micro = {name: metrics[f"{stage}/{name}"] for name in FIGURES}
    shown = most_frequent({name: row["gold"] for name, row in by_type.items()}, TYPES)[:TYPES]
    return {name: by_type[name] for name in shown} | {
        "all": micro | {"gold": sum(row["gold"] for row in by_type.values())}
    }


def types_left_out(metrics: Mapping[str, Any], stage: str) -> str:
    """What to say beside `by_type_and_all` where it has not all types; empty where it has."""
    more = len(metrics[f"{stage}/by_type"]) - TYPES
    return f"These are the {TYPES} most frequent types; metrics.json has {more:,} more." if more > 0 else ""


def _without_best(run: Run) -> None:
    """Prints what there is of a fit that ended before a validation."""
    where = short(run.path)
    if run.checkpoint(LAST).is_file():
        say(
            "\nIt ended before a validation, so there is no checkpoint `best`. `last` is saved; "
            f"score it with: ner-lightning validate --run {where} --ckpt_path last"
        )
    else:
        say("\nNo checkpoint was saved, so there is nothing to validate, test or predict with.")
    say(f"Everything else is in {where}")


def _next(run: Run, command: str) -> str:
    folder = run.path.resolve()
    if folder == run_path(None, Path("runs")).resolve():
        return f"ner-lightning {command}"
    named = "--run " if command == "test" else ""
    return f"ner-lightning {command} {named}{short(folder)}"


def _errors(run: Run) -> None:
    predictions = read_predictions(run.path / "predictions.test.jsonl", run.read("train_entities.json"))
    shown = worst(predictions, all_mistakes(predictions), ERRORS)
    if shown:
        one = "\nThe most confident mistake:"
        say(one if len(shown) == 1 else f"\nThe {len(shown)} most confident mistakes:")
    for row, mistakes in shown:
        for line in describe(row, mistakes, colour=in_colour(sys.stdout)):
            say("  " + line, keep="\x1b")  # its words are escaped already
