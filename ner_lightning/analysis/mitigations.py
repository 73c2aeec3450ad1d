"""Mitigations: what may help against the mistakes of a run, as commands for what it does not do yet."""

import shlex
from collections.abc import Callable
from dataclasses import dataclass

from ner_lightning.analysis.experiment import Experiment, settings_file
from ner_lightning.analysis.failure import Analysis
from ner_lightning.analysis.mistakes import NOISE
from ner_lightning.analysis.slices import CAPITALS, LENGTH, SEEN, SENTENCE
from ner_lightning.runs.folder import short

BOUNDARIES = frozenset({"too long", "too short", "shifted", "split", "merged"})
SMALL = 1e9  # parameters: a larger backbone is a matter of a GPU from here on

Options = Callable[[Experiment, Analysis], str | None]


def _bidirectional(run: Experiment, _: Analysis) -> str | None:
    """Where a layer is causal and the text is not repeated."""
    if run.data.get("encoding", {}).get("repeats"):
        return None
    if run.model.get("attention") == "causal":
        return "--model.attention bidirectional"
    below = run.model.get("architecture", {}).get("causal_below")
    return "--model.architecture.causal_below 0" if below else None


def _crf(run: Experiment, _: Analysis) -> str | None:
    if run.model.get("use_crf") is not False:
        return None
    weight = run.model.get("loss", {}).get("crf", 1.0)
    return "--model.use_crf true" + ("" if weight else " --model.loss.crf 1.0")


def _adapters(run: Experiment, _: Analysis) -> str | None:
    """Where a layer of the backbone is frozen and has no adapter."""
    if not run.model or not run.model.get("freeze_backbone", True):
        return None
    uncached = " --model.cache.enabled false" if run.model.get("cache", {}).get("enabled") else ""
    if run.model.get("peft") != "lora":
        return f"--model.peft lora{uncached}"
    return f"--model.lora.top null{uncached}" if (run.model.get("lora") or {}).get("top") else None


def _context(run: Experiment, analysis: Analysis) -> str | None:
    rows = analysis.predictions.rows
    several = 1 < len({row.document for row in rows}) < len(rows)  # and some of several sentences
    if not run.data or run.data.get("encoding", {}).get("context") or not several:
        return None
    if run.data.get("batches", {}).get("tokens"):
        return "--data.encoding.context 256"
    return "--config configs/with/document.yaml"


def _longer(run: Experiment, _: Analysis) -> str | None:
    """Where the last of several validations is the best."""
    epochs, planned = [row["val/f1"] for _, row in run.epochs()], run.trainer.get("max_epochs")
    rising = len(epochs) > 1 and epochs[-1] > max(epochs[:-1])
    return f"--trainer.max_epochs {2 * planned}" if rising and planned and planned > 0 else None


def _all_sentences(run: Experiment, _: Analysis) -> str | None:
    limit = run.data.get("limits", {}).get("train")
    had = run.about.get("data", {}).get("train", {}).get("sentences", limit)
    return "--data.limits.train null" if limit and had >= limit else None


def _half(run: Experiment, _: Analysis) -> str | None:
    """Half of the sentences: what the other half gains tells what more of them would."""
    sentences = run.about.get("data", {}).get("train", {}).get("sentences", 0)
    limited = run.data.get("limits", {}).get("train")
    return f"--data.limits.train {sentences // 2}" if sentences > 1 and not limited else None


def _larger(run: Experiment, _: Analysis) -> str | None:
    """The settings of a small backbone on a larger one, at a lower learning rate."""
    whole = not any(run.model.get("architecture", {}).get(name) for name in ("layers", "causal_below"))
    if (
        not run.parameters
        or run.parameters[0] >= SMALL
        or not whole
        or (run.model.get("lora") or {}).get("top")
    ):
        return None
    latest = " --model.revision null" if run.model.get("revision") else ""
    return f"--model.backbone Qwen/Qwen3-1.7B{latest} --model.optimizer.lr 1e-4"


def _another_seed(run: Experiment, _: Analysis) -> str | None:
    return f"--seed_everything {run.seed + 1}" if isinstance(run.seed, int) else None


@dataclass(frozen=True)
class Mitigation:
    """Something to try.

    Attributes:
        text: the advice.
        options: what is added to the run's own configuration; None if the run does it already, or its
            settings do not tell.
        kinds: classes of mistakes that it addresses.
        properties: properties whose harder groups it addresses.
        control: the config overlay that turns it off, for rows measured with and without it.
        always: whether it is for every run, after what addresses its mistakes.
        command: the command that takes the options.
    """

    text: str
    options: Options
    kinds: frozenset[str] = frozenset()
    properties: frozenset[str] = frozenset()
    control: str | None = None
    always: bool = False
    command: str = "fit"


ALL = (
    Mitigation(
        "Train on all sentences: this run had only the first of them.",
        _all_sentences,
        kinds=frozenset({"missed", "wrong type"}),
    ),
    Mitigation(
        "Train longer: the last validation was the best one.",
        _longer,
        kinds=frozenset({"missed", "wrong type"}),
    ),
    Mitigation(
        "Let each word see its right context: bidirectional attention instead of causal.",
        _bidirectional,
        kinds=frozenset({"wrong type", "type and boundary", "missed", "spurious"}),
        control="causal",
    ),
    Mitigation(
        "Score whole tag sequences instead of single words: the CRF instead of a softmax.",
        _crf,
        kinds=BOUNDARIES | {"type and boundary"},
        properties=frozenset({LENGTH}),
        control="softmax",
    ),
    Mitigation(
        "Train adapters in every layer.",
        _adapters,
        kinds=frozenset({"missed", "wrong type"}),
        control="frozen",
    ),
    Mitigation(
        "Show the model the surrounding sentences of the document.",
        _context,
        kinds=frozenset({"wrong type", "missed"}),
        properties=frozenset({SENTENCE}),
    ),
    Mitigation(
        "Look for labels that are probably wrong: this trains five times, and ranks the training sentences.",
        lambda run, analysis: "",
        kinds=BOUNDARIES | {NOISE},
        properties=frozenset({CAPITALS}),
        command="data audit",
    ),
    Mitigation(
        "Learn whether more annotation would pay: train on half of it. If the other half gained "
        "little, so will more.",
        _half,
        kinds=frozenset({"missed", "spurious", "wrong type"}),
        properties=frozenset({SEEN}),
    ),
    Mitigation(
        "Take a larger backbone, on a GPU.",
        _larger,
        kinds=frozenset({"wrong type", "missed", "type and boundary"}),
    ),
    Mitigation(
        "Train another seed: a gain counts if it is larger than the difference between seeds. The two can "
        "also be combined (ner-lightning ensemble).",
        _another_seed,
        always=True,
    ),
)

TRAINING = Mitigation("Train the backbone instead of prompting it.", lambda run, analysis: "")


def suitable(run: Experiment, analysis: Analysis) -> list[tuple[Mitigation, str]]:
    """Mitigations for the mistakes of a run, those for the costliest class first, each with its command.

    Args:
        run: the run; what it does already is not advised, and nothing if there is no training to repeat.
        analysis: of one of its splits.
    """
    if run.folder is None or not run.config or run.made_of:
        return []
    if run.prompted:
        return [(TRAINING, _command(run, "fit", ""))]
    harder = {reason.property for reason in analysis.reasons if reason.difference.value > 0}
    rank = {c.kind: index for index, c in enumerate(analysis.classes)}
    fitting = []
    for each in ALL:
        aimed = each.always or each.kinds & rank.keys() or each.properties & harder
        options = each.options(run, analysis) if aimed else None
        if options is not None:
            order = (each.always, min((rank[kind] for kind in each.kinds & rank.keys()), default=len(rank)))
            fitting.append((order, each, _command(run, each.command, options)))
    return [(each, command) for _, each, command in sorted(fitting, key=lambda one: one[0])]


def _command(run: Experiment, name: str, options: str) -> str:
    file = f"{short(run.folder)}/{settings_file(run.folder).name}" if run.folder else run.name
    config = shlex.quote(file)
    return f"ner-lightning {name} --config {config} {options}".rstrip()


def targets(mitigation: Mitigation, analysis: Analysis) -> str:
    """The classes and groups of this analysis that a mitigation addresses."""
    kinds = [c.kind for c in analysis.classes if c.kind in mitigation.kinds]
    harder = [
        f"{r.property}: {r.group}"
        for r in analysis.reasons
        if r.difference.value > 0 and r.property in mitigation.properties
    ]
    return ", ".join([*kinds, *harder])
