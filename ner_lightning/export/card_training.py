"""How a tagger was trained, as its model card says it: settings, versions, machine."""

from collections.abc import Iterator, Mapping
from typing import Any

from ner_lightning.analysis.experiment import Experiment
from ner_lightning.analysis.render.blocks import Block, Heading, Table, Text

# Keys of a recipe, and what a card calls them; those that are not set have no row.
_SETTINGS = {
    "trainer.max_epochs": "epochs",
    "trainer.max_steps": "most optimizer steps",
    "data.batches.size": "sentences in a batch",
    "data.batches.tokens": "sub-tokens in a batch",
    "trainer.accumulate_grad_batches": "batches of a step",
    "model.peft": "trained of the backbone",
    "model.lora.rank": "rank of adapters",
    "model.lora.alpha": "alpha of adapters",
    "model.optimizer.lr": "learning rate",
    "model.optimizer.head_lr": "learning rate of the head",
    "model.optimizer.crf_lr": "learning rate of the CRF",
    "model.optimizer.schedule": "schedule",
    "model.optimizer.warmup": "warm-up, fraction of the steps",
    "model.optimizer.weight_decay": "weight decay",
    "model.optimizer.averaging": "average of weights: mean age, fraction of the steps",
    "model.architecture.dropout": "dropout",
    "trainer.precision": "precision",
    "data.encoding.max_length": "longest window, sub-tokens",
}
_UNSET = (None, -1, 0, 0.0)


def training_facts(run: Experiment) -> dict[str, Any]:
    """What a manifest keeps of a run's training: `settings` by key, `versions`, `machine`."""
    settings = {key: value for key in _SETTINGS if (value := _setting(run.config, key)) not in _UNSET}
    if settings.get("model.peft") == "none":
        settings = {key: value for key, value in settings.items() if not key.startswith("model.lora.")}
    return {
        "settings": settings,
        "versions": dict(run.about.get("versions") or {}),
        "machine": run.about.get("machine"),
    }


def training(about: Mapping[str, Any]) -> Iterator[Block]:
    """The section of the card; nothing if the run is not known."""
    known = about.get("training") or {}
    rows = [
        [_SETTINGS[key], f"{value}"]
        for key, value in (known.get("settings") or {}).items()
        if key in _SETTINGS
    ]
    if not rows:
        return
    yield Heading(2, "Training")
    if about.get("made_of"):
        yield Text(f"It is a {about['made_of']}; the settings are those of its first member.")
    if about.get("seed") is not None and not about.get("made_of"):
        rows.append(["seed", str(about["seed"])])
    yield Table("Settings", ["setting", "value"], rows)
    versions = ", ".join(f"{name} {number}" for name, number in (known.get("versions") or {}).items())
    if versions:
        yield Text(
            f"Trained with {versions}" + (f", on {known['machine']}." if known.get("machine") else ".")
        )


def _setting(config: Mapping[str, Any], key: str) -> Any:
    value: Any = config
    for part in key.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value
