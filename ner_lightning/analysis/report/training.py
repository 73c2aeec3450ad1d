"""The report's sections on training: curves, set-up, and the CRF's transitions."""

import shlex
from collections.abc import Iterator, Mapping

import numpy as np

from ner_lightning.analysis.experiment import Experiment
from ner_lightning.analysis.render import heat_maps, plots
from ner_lightning.analysis.render.blocks import Block, Code, Figure, Fold, Heading, Table, Text
from ner_lightning.analysis.render.style import svg
from ner_lightning.analysis.report.setup import UNKNOWN
from ner_lightning.data.schemes import LabelSet
from ner_lightning.system.precision import names_bf16
from ner_lightning.system.terminal import counted


def curves(run: Experiment) -> Iterator[Block]:
    """Loss and validation scores by step, with the best validation marked."""
    yield Heading(2, "Training")
    epochs = run.epochs()
    if not epochs:
        yield Text("There is no metrics.csv with a validation, so there are no curves.")
        return
    best = max(row["val/f1"] for _, row in epochs)
    at = next(step for step, row in epochs if row["val/f1"] == best)  # the first of equal ones
    logged = set().union(*run.history.values())
    parts = [
        name for name in ("train/loss", "train/ce", "train/crf", "train/ls", "train/kl") if name in logged
    ]
    if len(epochs) > 1:
        first, last = epochs[0][1]["val/f1"], epochs[-1][1]["val/f1"]
        yield Figure(
            svg(plots.validations(run.history, at)),
            f"Line plot of F1, precision and recall on validation by step; F1 is {first:.3f} at the first "
            f"validation, {best:.3f} at best and {last:.3f} at the last.",
            "Entity scores on validation; the star is the checkpoint that was kept.",
            _best_finding(run, at),
        )
    if parts:
        yield Figure(
            svg(plots.losses(run.history, parts, at)),
            "Line plot of the training loss and its parts, and of the loss on validation, by step.",
            "Loss per word in training and on validation (logarithmic).",
            _loss_finding(run),
        )
    yield Fold("Validations as a table", [_table(run, at)])


def _best_finding(run: Experiment, at: int) -> str:
    epochs = run.epochs()
    place = [step for step, _ in epochs].index(at)
    best = epochs[place][1]["val/f1"]
    equal = sum(row["val/f1"] == best for _, row in epochs)
    if equal == len(epochs):
        return f"F1 is {best:.2f} at every validation"
    name = _named(*epochs[place])
    if place == len(epochs) - 1:
        return f"F1 is best at the last validation, {name}: {best:.2f}; it may still rise"
    last = max((_epoch(row) for _, row in epochs), key=lambda epoch: int(epoch or 0))
    several = last and len({_epoch(row) for _, row in epochs}) < len(epochs)  # validations within an epoch
    of = f" of {last}" if last else ""
    of += f" (validation {place + 1} of {len(epochs)})" if several or not last else ""
    first = "first reaches its best" if equal > 1 else "is best"
    return f"F1 {first} at {name}{of}: {best:.2f}"


def _loss_finding(run: Experiment) -> str:
    """Whether the loss on validation falls to the end."""
    rows = [(step, row) for step, row in run.epochs() if "val/loss" in row]
    if not rows:
        return "The loss in training"
    losses = [row["val/loss"] for _, row in rows]
    lowest, first, last = min(losses), losses[0], losses[-1]
    if len(losses) == 1:
        return f"The loss on validation is {last:.3g}"
    if len(set(losses)) == 1:
        return f"The loss on validation is {last:.3g} each time"
    if last <= 1.05 * lowest and last < first:
        return f"The loss on validation falls from {first:.3g} to {last:.3g}"
    name = _named(*rows[losses.index(lowest)])
    return f"The loss on validation is lowest at {name}, {lowest:.3g}, and {last:.3g} at the end"


def _table(run: Experiment, best: int) -> Table:
    columns = ["loss", "precision", "recall", "f1"]
    return Table(
        "Validations by epoch; the best is marked",
        ["epoch", "step", "loss per word", "precision", "recall", "F1"],
        [
            [f"{_epoch(row)}{' (best)' if step == best else ''}", f"{step:,}"]
            + [f"{row[f'val/{name}']:.3f}" if f"val/{name}" in row else "" for name in columns]
            for step, row in run.epochs()
        ],
    )


def set_up(run: Experiment) -> Iterator[Block]:
    """Command, optimiser, schedule, machine, duration."""
    if "command" in run.about:
        yield Code(shlex.join(run.about["command"]))
    rows = _set_up(run)
    if rows:
        yield Table("Set-up", ["", ""], rows, prose=True)


def _epoch(row: Mapping[str, float]) -> str:
    """The epoch of a validation, from 1; empty where the table does not have it."""
    return f"{row['epoch'] + 1:.0f}" if "epoch" in row else ""


def _named(step: int, row: Mapping[str, float]) -> str:
    return f"epoch {epoch}" if (epoch := _epoch(row)) else f"step {step:,}"


def transitions(run: Experiment) -> Iterator[Block]:
    """The CRF's transition scores, read from the best checkpoint."""
    best = run.best_checkpoint
    if best is None or not run.model.get("use_crf"):
        return
    from ner_lightning.runs.checkpoint_file import load_checkpoint  # with torch, for checkpoints alone

    state = load_checkpoint(best)["state_dict"]
    values = next(value for name, value in state.items() if name.endswith("crf.transitions"))
    labels = LabelSet(tuple(run.about["types"]))
    if len(labels) > heat_maps.LARGEST:
        yield Text(f"{len(labels):,} tags are too many for a picture of their transitions.")
        return
    scores, legal = values.float().numpy(), np.array(labels.legal_transitions())
    high = np.unravel_index(np.argmax(np.where(legal, scores, -np.inf)), scores.shape)
    before, after = (labels.tags[int(index)] for index in high)
    yield Figure(
        svg(heat_maps.transitions(scores, labels.tags, legal)),
        f"Matrix of the CRF's transition scores between {len(labels)} tags. The highest is that of {after} "
        f"after {before}.",
        "The CRF's transition scores from each tag (row) to the next (column): blue above zero, orange "
        "below; illegal ones are blank.",
        f"The CRF favours {after} after {before} most: {heat_maps.signed(scores[high])}",
    )


def _set_up(run: Experiment) -> list[list[str]]:
    rows = []
    if run.model:
        names = ("lr", "head_lr", *(("crf_lr",) if run.model.get("use_crf") else ()))
        optimizer = run.model["optimizer"]
        rates = {name: optimizer[name] for name in names}
        text = ", ".join(f"{name} {rate:g}" for name, rate in rates.items() if rate is not None)
        rows.append(["optimizer", f"AdamW; {text}; weight decay {optimizer['weight_decay']:g}"])
        rows.append(
            ["schedule", f"{optimizer['schedule']}, warm-up over {optimizer['warmup']:.0%} of the steps"]
        )
        if age := optimizer["averaging"]:
            rows.append(["weights", f"a running average, mean age {age:.0%} of the steps"])
    if run.data:
        batches = run.data["batches"]
        tokens = batches["tokens"]
        rows.append(["batches", f"{tokens:,} sub-tokens" if tokens else counted(batches["size"], "sentence")])
    if run.trainer:
        precision = str(run.trainer.get("precision") or "32-true")
        cannot = names_bf16(precision) and not (run.about or {}).get("backbone_in_bf16", True)
        rows.append(["precision", precision + "; the backbone in fp32, since bf16 is slower there" * cannot])
        clip = run.trainer.get("gradient_clip_val")
        rows.append(["gradient norm clipped at", f"{clip:g}" if clip else "not clipped"])
    if about := run.about:
        memory, steps = about.get("peak_memory_bytes"), about.get("steps")
        rows += [
            ["seed", run.made_of or str(about.get("seed", UNKNOWN))],
            ["epochs", str(about.get("epochs", UNKNOWN))],
            ["steps", UNKNOWN if steps is None else f"{steps:,}"],
            ["peak memory", UNKNOWN if memory is None else f"{memory / 2**30:.2f} GiB"],
            ["machine", str(about.get("machine", UNKNOWN))],
            ["git commit", str(about.get("commit") or UNKNOWN)],
            ["versions", ", ".join(f"{k} {v}" for k, v in about.get("versions", {}).items()) or UNKNOWN],
        ]
    for name, what, form in (
        ("train/words_per_second", "speed", "{:,.0f} words/s in training, mean of the epochs"),
        ("train/padding", "padding", "{:.1%} of the sub-tokens in batches, mean of the epochs"),
    ):
        values = [row[name] for row in run.history.values() if name in row]
        if values:
            rows.append([what, form.format(sum(values) / len(values))])
    return rows
