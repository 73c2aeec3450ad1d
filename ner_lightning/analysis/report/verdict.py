"""The report's first section: scores, the costliest problems with an example each, and what to try next."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ner_lightning.analysis import mitigations
from ner_lightning.analysis.experiment import Experiment
from ner_lightning.analysis.failure import NOTHING, Analysis
from ner_lightning.analysis.gains import Gain, gains
from ner_lightning.analysis.mistakes import CLASSES
from ner_lightning.analysis.mitigations import Mitigation
from ner_lightning.analysis.numbers import bounds, decimals, with_bounds
from ner_lightning.analysis.problems import Problem, example, place_of, problems
from ner_lightning.analysis.render.blocks import Block, Code, Examples, Fact, Facts, Fold, Heading, Text
from ner_lightning.analysis.report.scores import NAMES, is_defined, main_split
from ner_lightning.system.terminal import counted

STEPS = 3  # mitigations that are not folded


def verdict(
    run: Experiment, split: str, ladder: Sequence[Mapping[str, Any]] | None, *, text: bool
) -> Iterator[Block]:
    """How good the run is, what costs most, and what to do about it.

    Args:
        run: the run.
        split: whose mistakes are shown.
        ladder: measured rows that mitigations cite; None for none.
        text: whether words of the data may appear.
    """
    yield Heading(2, "Verdict")
    yield Text(_sentence(run, split))
    yield _figures(run)
    analysis = run.splits[split]
    found = problems(analysis)
    if found:
        yield Heading(3, f"What costs most on {split}")
    for number, problem in enumerate(found, start=1):
        yield Heading(4, f"{number}. {_cost(problem)}")
        yield Text(f"{CLASSES[problem.error.kind].capitalize()}. {_pair(problem)}")
        if text:
            row = analysis.predictions.rows[problem.sentence]
            location = place_of(row, problem.sentence, split)
            yield Examples(f"problem-{number}", [example(row, problem.mistake, location)])
    yield from _next_steps(run, analysis, ladder)


def _sentence(run: Experiment, split: str) -> str:
    main = main_split(run)
    parts = [
        f"F1 {_f1(run.splits[name])} on the {_size(run.splits[name])} of {name}{_file(run, name)}"
        for name in sorted(run.splits, key=lambda name: name != main)
    ]
    mistakes = sum(map(len, run.splits[split].mistakes))
    costs = (
        f"The {counted(mistakes, 'mistake')} on {split} {'is' if mistakes == 1 else 'are'} analysed below."
        if mistakes
        else f"There is no mistake on {split}."
    )
    untested = "" if run.folder is None or "test" in run.splits else " It was not tested yet."
    return f"{', and '.join(parts)} (95% intervals).{untested} {costs}"


def _file(run: Experiment, split: str) -> str:
    """The file of a split, where it is not the recipe's own."""
    origin = str(run.about.get("data", {}).get(split, {}).get("origin", ""))
    return f" ({Path(origin).name})" if origin and run.is_of_other_data(split) else ""


def _size(analysis: Analysis) -> str:
    return counted(len(analysis.predictions.rows), "sentence")


def _f1(analysis: Analysis) -> str:
    if not is_defined(analysis, "f1"):
        return "is undefined, without an entity that is gold or predicted,"
    return f"is {with_bounds(analysis.scores['f1'])}"


def _figures(run: Experiment) -> Facts:
    split = main_split(run)
    analysis = run.splits[split]
    places = decimals(*analysis.scores.values())
    facts = []
    for name, label in NAMES.items():
        score = analysis.scores[name]
        value = f"{score.value:.{places}f}" if is_defined(analysis, name) else "undefined"
        facts.append(Fact(value, f"{label}, {split}", f"95%: {bounds(score, places)}"))
    return Facts(facts)


def _cost(problem: Problem) -> str:
    error = problem.error
    return f"{error.kind.capitalize()}: {counted(error.mistakes, 'mistake')}, which cost {error.gain:.3f} F1"


def _pair(problem: Problem) -> str:
    gold, predicted, times = problem.gold, problem.predicted, problem.times
    what = f"{gold} predicted as {predicted}"
    if NOTHING in (gold, predicted) or gold == predicted:
        what = predicted if gold == NOTHING else gold
    if problem.error.mistakes == 1:
        return f"It is {what}."
    most = "All are" if times == problem.error.mistakes else "Such as" if problem.is_tied else "Most often"
    return f"{most} {what}: {times:,}."


def _next_steps(
    run: Experiment, analysis: Analysis, ladder: Sequence[Mapping[str, Any]] | None
) -> Iterator[Block]:
    yield Heading(3, "What to try next")
    suitable = mitigations.suitable(run, analysis)
    if not suitable:
        yield Text(_nothing_to_try(run))
        return
    steps = [_step(mitigation, command, analysis, ladder) for mitigation, command in suitable]
    for step in steps[:STEPS]:
        yield from step
    if steps[STEPS:]:
        yield Fold("More to try", [block for step in steps[STEPS:] for block in step])
    if ladder is None:
        yield Text("What each has gained elsewhere is shown with measured rows: --ladder FILE.")


def _nothing_to_try(run: Experiment) -> str:
    if run.folder is None:
        return "The file of predictions does not say how the tagger was trained, so no command is suggested."
    if run.made_of:
        return f"Nothing was trained here ({run.made_of}): a report on one of the members says what to try."
    return "There is no config.yaml, so no command is suggested."


def _step(
    mitigation: Mitigation, command: str, analysis: Analysis, ladder: Sequence[Mapping[str, Any]] | None
) -> list[Block]:
    against = mitigations.targets(mitigation, analysis)
    found = gains(ladder, mitigation.control) if ladder is not None and mitigation.control else ()
    cited = f" Measured: {'; '.join(map(_gain, found))}." if found else ""
    aim = f" Aimed at: {against}." if against else ""
    return [Text(f"{mitigation.text}{aim}{cited}"), Code(command)]


def _gain(gain: Gain) -> str:
    return (
        f"{gain.with_ - gain.without:+.4f} ({gain.recipe}, {gain.split}, seed {gain.seed}: {gain.with_:.4f} "
        f"against {gain.without:.4f} without)"
    )
