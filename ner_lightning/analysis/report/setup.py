"""The report's sections on data, model and objective, and how they differ from language modelling."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ner_lightning.analysis.experiment import Experiment
from ner_lightning.analysis.render.blocks import Block, Table, Text
from ner_lightning.runs.fingerprints import shortened
from ner_lightning.system.terminal import counted, most_frequent

UNKNOWN = "not recorded"
TYPES = 10  # with a column of their own
PARTS = {"ce": "CE", "crf": "NLL of the CRF", "ls": "LS", "kl": "KL divergence from the teacher"}


def data(run: Experiment) -> Iterator[Block]:
    """Origin and sizes of each split, and its entities by type."""
    splits: Mapping[str, Any] = run.about.get("data", {})
    if not splits:
        yield Text("run.json does not describe the data.")
        return
    named = [run.about.get("types", ()), *(split["entities"] for split in splits.values())]
    types = list(dict.fromkeys(kind for kinds in named for kind in kinds))
    totals = {kind: sum(split["entities"].get(kind, 0) for split in splits.values()) for kind in types}
    shown = most_frequent(totals, TYPES)[:TYPES]
    which = f"; entities of the {TYPES} most frequent types of {len(types):,}" if len(types) > TYPES else ""
    yield Table(
        f"Sizes of the splits{which}",
        ["split", "sentences", "words", "entities", *shown],
        [
            [
                name,
                *_numbers(s["sentences"], s["words"], sum(s["entities"].values())),
                *_numbers(*(s["entities"].get(kind, 0) for kind in shown)),
            ]
            for name, s in splits.items()
        ],
    )
    yield Table(
        "Sources of the splits",
        ["split", "origin", "fingerprint"],
        [[name, Path(s["origin"]).name, shortened(s["fingerprint"])] for name, s in splits.items()],
        prose=True,
    )
    if "test" not in splits:
        yield Text("This run was not tested, so its test set is unknown.")


def model(run: Experiment) -> Iterator[Block]:
    """Sizes, and what is frozen and trained."""
    backbone: Mapping[str, Any] = run.about.get("backbone", {})
    rows = [
        ["backbone", _last(backbone.get("name", UNKNOWN))],
        ["fingerprint", str(backbone.get("weights", UNKNOWN))[:40]],
    ]
    if run.parameters:
        total, trained = run.parameters
        rows += [
            ["parameters", f"{total:,}"],
            ["trained parameters", f"{trained:,} ({trained / total:.2%})"],
            ["frozen parameters", f"{total - trained:,}"],
        ]
    if run.model:
        rows.append(["what is trained", _trained(run.model)])
        if others := run.model.get("members"):  # absent from older runs
            rows.append(["members", f"an ensemble of {1 + len(others)}; this table describes the first"])
        if made := run.about.get("soup"):
            rows += _soup(made, run.about["members"])
    if best := run.best_checkpoint:
        rows.append(["checkpoint", f"{best.stat().st_size / 1e6:,.1f} MB, only what was trained"])
    yield Table("The model", ["", ""], rows, prose=True)


def _soup(made: Mapping[str, Any], members: Sequence[Mapping[str, Any]]) -> Iterator[list[str]]:
    """What a soup was made of, and how far it is from the mean of that."""
    yield ["members", f"a soup of {len(members)}: the mean of their weights"]
    for number, member in enumerate(members, 1):
        seed = UNKNOWN if member["seed"] is None else member["seed"]
        yield [
            f"member {number}",
            f"{_last(member['run'])}, seed {seed}, checkpoint {member['checkpoint'][:23]}",
        ]
    if made["rank"]:
        lost = "the exact mean" if made["lost"] is None else f"{made['lost']:.2%} of the mean's norm is lost"
        yield ["mean of the adapters", f"rank {made['rank']}, {lost}"]


def _trained(settings: Mapping[str, Any]) -> str:
    parts = []
    if settings.get("peft") == "lora":
        parts.append("adapters")
    if not settings.get("freeze_backbone", True):
        parts.append("the whole backbone")
    if top := settings.get("architecture", {}).get("unfreeze_top"):
        parts.append(f"the backbone's last {counted(top, 'layer')}")
    return ", ".join([*parts, "the head"] + (["the CRF"] if settings.get("use_crf") else []))


def objective(run: Experiment) -> Iterator[Block]:
    """Architecture, and the loss with the weights that were used."""
    settings = run.model
    if not settings:
        yield Text("There is no config.yaml, so the architecture is unknown.")
        return
    yield Text(
        f"{_reading(run.data)} A linear layer maps each word vector to the scores of {_tags(run)} tags: O, "
        "and B- and I- of each entity type."
    )
    architecture = settings["architecture"]
    below, layers = architecture["causal_below"], architecture["layers"]
    causal = f", causal in the lowest {counted(below, 'layer')}"
    rows = [
        ["attention", settings["attention"] + (causal if below else "")],
        *([["layers", f"the lowest {layers}"]] if layers else []),
        ["word vector", f"{architecture['pooling']} sub-token, dropout {architecture['dropout']}"],
    ]
    if settings["peft"] == "lora":
        lora = settings["lora"]
        scale = "rank-stabilised, " if lora["rslora"] else ""
        kind = "DoRA" if lora["dora"] else "LoRA"
        top = f", in the last {counted(lora['top'], 'layer')}" if lora.get("top") else ""
        where = lora["targets"] if isinstance(lora["targets"], str) else ", ".join(lora["targets"])
        rows.append(
            [
                "adapters",
                f"{kind}, rank {lora['rank']}, alpha {lora['alpha']:g}, {scale}dropout {lora['dropout']:g}, "
                f"on {where}{top}",
            ]
        )
    legal = "legal BIO2 sequences only" if architecture["constrained"] else "any sequence"
    rows.append(["decoding", f"{'CRF' if settings['use_crf'] else 'softmax'}, {legal}"])
    rows.append(["objective, per word", _loss(settings)])
    if teacher := run.about.get("teacher"):
        rows.append(["teacher", _teacher(teacher)])
    yield Table("Architecture", ["", ""], rows, prose=True)


def _tags(run: Experiment) -> int:
    """The number of BIO2 tags."""
    return 1 + 2 * len(run.about.get("types", ()))


def _reading(data: Mapping[str, Any]) -> str:
    """How text is tokenised and what the backbone reads at once."""
    text = "A sentence is tokenised as running text and read by the backbone"
    encoding = data.get("encoding", {})
    if context := encoding.get("context"):
        text += f", together with its neighbours in the document up to {context:,} sub-tokens"
    if repeats := encoding.get("repeats"):
        text += f"; the text is given {repeats + 1} times, and the last copy is tagged"
    return f"{text}."


def _teacher(teacher: Mapping[str, Any]) -> str:
    """Who taught, and on how many sentences."""
    who, untagged = teacher["teacher"], teacher["text_sentences"]
    members = len(who.get("members", ()))
    return (
        f"{who['run']}{f', an ensemble of {members}' if members else ''}, at temperature "
        f"{teacher['temperature']:g}: {counted(teacher['sentences'], 'training sentence')}"
        + (f" and {untagged:,} without tags" if untagged else "")
    )


def _loss(settings: Mapping[str, Any]) -> str:
    weights = settings["loss"]
    used = [
        f"{weights[part]:g} · {name}"
        for part, name in PARTS.items()
        if weights.get(part) and (part != "crf" or settings["use_crf"])
    ]
    own = [str(part["class_path"]).rpartition(".")[2] for part in weights.get("parts") or ()]
    return " + ".join([*used, *own])


def against_language_modelling(run: Experiment) -> Iterator[Block]:
    """How this training differs from pretraining."""
    settings = run.model
    if not settings:
        yield Text("There is no config.yaml, so this is unknown.")
        return
    encoding = run.data.get("encoding", {})
    causal = settings["attention"] == "causal" and not encoding.get("repeats")
    unit = "passage" if encoding.get("context") else "sentence"
    share = UNKNOWN
    if run.parameters:
        total, trained = run.parameters
        share = f"{trained / total:.2%} of the parameters"
    yield Table(
        "What differs",
        ["", "language modelling", "this run"],
        [
            ["prediction", "the next sub-token", "the tag of each word"],
            ["out of", "the vocabulary", f"{_tags(run)} tags"],
            ["context", "on the left", "on the left" if causal else f"the whole {unit}"],
            ["objective", "cross-entropy of the next sub-token", _loss(settings)],
            ["unit of the loss", "sub-token", "word, however many sub-tokens it has"],
            ["trained", "all weights", share],
            ["output", "one sub-token after another", "one decoding of the whole sentence"],
            ["score", "perplexity", "F1 of whole entities"],
        ],
        prose=True,
    )


def _numbers(*values: int) -> list[str]:
    return [f"{value:,}" for value in values]


def _last(name: str) -> str:
    """A backbone's name without the folders of the machine it was read on."""
    return name if not name.startswith("/") else Path(name).name
