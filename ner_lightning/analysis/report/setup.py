"""The report's sections on what was trained: data, model, objective, and what is unlike a language model."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ner_lightning.analysis.experiment import Experiment
from ner_lightning.analysis.render.blocks import Block, Heading, Table, Text

UNKNOWN = "not recorded"
PARTS = {"ce": "CE", "crf": "NLL of the CRF", "ls": "LS"}


def data(run: Experiment) -> Iterator[Block]:
    """Origin and sizes of each split, and its entities by type."""
    splits: Mapping[str, Any] = run.about.get("data", {})
    yield Heading(2, "Data")
    if not splits:
        yield Text("The run folder does not tell of its data.")
        return
    named = [run.about.get("types", ()), *(split["entities"] for split in splits.values())]
    types = list(dict.fromkeys(kind for kinds in named for kind in kinds))
    yield Table(
        "Sizes of the splits",
        ["split", "sentences", "words", "entities", *types],
        [
            [
                name,
                *_numbers(s["sentences"], s["words"], sum(s["entities"].values())),
                *_numbers(*(s["entities"].get(kind, 0) for kind in types)),
            ]
            for name, s in splits.items()
        ],
    )
    yield Table(
        "Where they come from",
        ["split", "origin", "fingerprint"],
        [[name, Path(s["origin"]).name, s["fingerprint"][:23]] for name, s in splits.items()],
        prose=True,
    )
    if "test" not in splits:
        yield Text("This run was not tested, so nothing is said about a test set.")


def model(run: Experiment) -> Iterator[Block]:
    """Sizes, and what is frozen and trained."""
    yield Heading(2, "Model")
    total, trained = run.about.get("parameters"), run.about.get("trained_parameters")
    backbone: Mapping[str, Any] = run.about.get("backbone", {})
    rows = [
        ["backbone", _last(backbone.get("name", UNKNOWN))],
        ["its weights", str(backbone.get("weights", UNKNOWN))[:40]],
    ]
    if total and trained is not None:
        rows += [
            ["parameters", f"{total:,}"],
            ["of them trained", f"{trained:,} ({trained / total:.2%})"],
            ["left as they are", f"{total - trained:,}"],
        ]
    if run.model:
        rows.append(["what is trained", _trained(run.model)])
        if others := run.model.get("members"):  # absent from older runs
            rows.append(
                ["members", f"an ensemble of {1 + len(others)} taggers; what is said here is the first's"]
            )
    best = run.folder / "checkpoints" / "best.ckpt" if run.folder else None
    if best is not None and best.is_file():
        rows.append(["checkpoint", f"{best.stat().st_size / 1e6:,.1f} MB, with only what was trained"])
    yield Table("The model", ["", ""], rows, prose=True)


def _trained(settings: Mapping[str, Any]) -> str:
    parts = []
    if settings.get("peft") == "lora":
        parts.append("adapters")
    if not settings.get("freeze_backbone", True):
        parts.append("the whole backbone")
    if top := settings.get("architecture", {}).get("unfreeze_top"):
        parts.append(f"the backbone's last {top} layers")
    return ", ".join([*parts, "the head"] + (["the CRF"] if settings.get("use_crf") else []))


def objective(run: Experiment) -> Iterator[Block]:
    """Architecture, and the loss with the weights that were used."""
    yield Heading(2, "Architecture and objective")
    settings = run.model
    if not settings:
        yield Text("There is no config.yaml, so the architecture is unknown.")
        return
    tags = 1 + 2 * len(run.about.get("types", ()))
    yield Text(
        f"{_reading(run.data)} A linear layer scores {tags} tags of each word's vector: O, and B- and I- of "
        "each entity type."
    )
    architecture = settings["architecture"]
    below, layers = architecture["causal_below"], architecture["layers"]
    rows = [
        ["attention", settings["attention"] + (f", causal in the lowest {below} layers" if below else "")],
        *([["layers", f"the lowest {layers}"]] if layers else []),
        ["word vector", f"{architecture['pooling']} sub-token, dropout {architecture['dropout']}"],
    ]
    if settings["peft"] == "lora":
        lora = settings["lora"]
        scale = "rank-stabilised, " if lora["rslora"] else ""
        kind = "DoRA" if lora["dora"] else "LoRA"
        where = lora["targets"] if isinstance(lora["targets"], str) else ", ".join(lora["targets"])
        rows.append(
            [
                "adapters",
                f"{kind}, rank {lora['rank']}, alpha {lora['alpha']:g}, {scale}dropout {lora['dropout']:g}, "
                f"on {where}{f', in the last {top} layers' if (top := lora.get('top')) else ''}",
            ]
        )
    legal = "legal BIO2 sequences only" if architecture["constrained"] else "any sequence"
    rows.append(["decoding", f"{'CRF' if settings['use_crf'] else 'softmax'}, {legal}"])
    rows.append(["objective, per word", _loss(settings)])
    yield Table("Architecture", ["", ""], rows, prose=True)


def _reading(data: Mapping[str, Any]) -> str:
    """How a text comes to the backbone."""
    read = "A sentence is tokenised as running text and read by the backbone"
    encoding = data.get("encoding", {})
    if context := encoding.get("context"):
        read += f", together with its neighbours in the document up to {context:,} sub-tokens"
    if repeats := encoding.get("repeats"):
        read += f"; the text is written {repeats + 1} times, and its last copy is tagged"
    return f"{read}."


def _loss(settings: Mapping[str, Any]) -> str:
    weights = settings["loss"]
    used = [
        f"{weights[part]:g} · {name}"
        for part, name in PARTS.items()
        if weights[part] and (part != "crf" or settings["use_crf"])
    ]
    own = [str(part["class_path"]).rpartition(".")[2] for part in weights.get("parts") or ()]
    return " + ".join([*used, *own])


def against_language_modelling(run: Experiment) -> Iterator[Block]:
    """How this training differs from the one that made the backbone."""
    yield Heading(2, "Training against ordinary language modelling")
    settings = run.model
    if not settings:
        yield Text("There is no config.yaml, so this cannot be said.")
        return
    tags = 1 + 2 * len(run.about.get("types", ()))
    encoding = run.data.get("encoding", {})
    causal = settings["attention"] == "causal" and not encoding.get("repeats")
    unit = "passage" if encoding.get("context") else "sentence"
    total, trained = run.about.get("parameters"), run.about.get("trained_parameters")
    share = f"{trained / total:.2%} of the parameters" if total and trained is not None else UNKNOWN
    yield Table(
        "What differs",
        ["", "language modelling", "this run"],
        [
            ["a prediction", "the next sub-token", "the tag of each word"],
            ["out of", "the vocabulary", f"{tags} tags"],
            ["context", "what is on the left", "what is on the left" if causal else f"the whole {unit}"],
            ["objective", "cross-entropy of the next sub-token", _loss(settings)],
            ["a step's unit", "sub-token", "word: how it is cut into sub-tokens changes no weight"],
            ["trained", "every weight", share],
            ["output", "one sub-token after another", "decoded once for the sentence"],
            ["score", "perplexity", "F1 of whole entities"],
        ],
        prose=True,
    )


def _numbers(*values: int) -> list[str]:
    return [f"{value:,}" for value in values]


def _last(name: str) -> str:
    """A backbone's name without the folders of the machine it was read on."""
    return name if not name.startswith("/") else Path(name).name
