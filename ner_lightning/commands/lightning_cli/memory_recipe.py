"""What of a recipe decides on its memory: no data, and of the backbone the configuration alone."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ner_lightning.data.corpus_settings import Encoding
from ner_lightning.data.positions import window_length
from ner_lightning.data.pretrained import Pretrained, locate
from ner_lightning.data.schemes import LabelSet
from ner_lightning.errors import UserError
from ner_lightning.model.allocation import BatchShape
from ner_lightning.model.devices import runs_in_bf16
from ner_lightning.model.tagger_settings import TaggerSettings
from ner_lightning.system.plain_settings import to_plain
from ner_lightning.system.precision import names_bf16

TYPES = ("PER", "ORG", "LOC", "MISC")  # where the recipe names none; they take next to no memory
REMARKS: dict[str, Callable[[Any], bool]] = {
    "Layers are counted as without model.runtime.compile.": lambda config: config.model.runtime.compile,
    "model.architecture.prepare is left out.": lambda config: config.model.architecture.prepare is not None,
    "model.cache is left out: with it the frozen layers keep nothing in training.": lambda config: (
        config.model.cache.enabled
    ),
    "model.loss.parts is left out.": lambda config: bool(config.model.loss.parts),
    "A sentence longer than data.encoding.context is a row of its own, up to data.encoding.max_length.": (
        lambda config: config.data.encoding.context is not None
    ),
    "It is computed as in fp32; trainer.precision 64-true takes twice as much.": lambda config: (
        "64" in str(config.trainer.precision)
    ),
}


@dataclass(frozen=True)
class MemoryRequest:
    """What of a recipe decides on its memory.

    Attributes:
        settings: of the tagger.
        pretrained: where the backbone's configuration is.
        labels: the label set.
        bf16: the backbone runs in bf16.
        averaged: the trained weights are averaged.
        device_type: `cpu` or `cuda`.
        training: the largest training batch.
        prediction: the largest batch of a prediction.
        remarks: what of the recipe is not computed.
    """

    settings: TaggerSettings
    pretrained: Pretrained
    labels: LabelSet
    bf16: bool
    averaged: bool
    device_type: str
    training: BatchShape
    prediction: BatchShape
    remarks: tuple[str, ...] = ()


def memory_request(config: Any, device: str | None) -> MemoryRequest:
    """Reads a parsed recipe.

    Args:
        config: its options.
        device: `cpu` or `cuda`; None takes a GPU unless the recipe names the CPU.

    Raises:
        UserError: its backbone cannot be found, or a setting is not possible.
    """
    model, data = config.model, config.data
    if model.members:
        raise UserError("an ensemble is not trained; name the recipe of one of its members")
    trust = model.runtime.trust_remote_code
    values = to_plain(model.as_dict())
    values["architecture"]["prepare"] = None
    settings = TaggerSettings.read(values, trust=trust)
    pretrained = locate(settings.backbone, settings.revision, weights=False)
    length = row_length(
        data.encoding, window_length(data.encoding.max_length, pretrained, trust_remote_code=trust)
    )
    batches = data.batches
    rows = batches.size if batches.tokens is None else max(1, batches.tokens // length)
    evaluated = batches.eval_size if batches.tokens is None else rows
    half = names_bf16(config.trainer.precision)
    named = device or ("cpu" if config.trainer.accelerator == "cpu" else "cuda")
    return MemoryRequest(
        settings,
        pretrained,
        LabelSet(tuple(data.types or TYPES)),
        bf16=half if named == "cuda" else runs_in_bf16(half, named),  # the GPU may be in another machine
        averaged=model.optimizer.averaging > 0,
        device_type=named,
        training=BatchShape(rows, length, packed=batches.packing),
        prediction=BatchShape(evaluated, length, packed=batches.packing),
        remarks=tuple(text for text, holds in REMARKS.items() if holds(config)),
    )


def row_length(encoding: Encoding, window: int) -> int:
    """The sub-tokens of a full row: a window, or with `context` a passage with its margins and copies."""
    if encoding.context is None:
        return window
    read = (encoding.context + 2 * encoding.margin) * (encoding.repeats + 1)
    return min(window, read)
