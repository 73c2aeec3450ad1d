"""Adapters of several taggers in one backbone, at inference: each row of a batch has those of its tagger."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import groupby
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ner_lightning.data.batching import Batch
from ner_lightning.errors import UserError
from ner_lightning.model.adapters import Lora
from ner_lightning.model.backbone import Backbone
from ner_lightning.model.emitter import BackboneEmitter
from ner_lightning.model.tagger_settings import Architecture

# What PEFT calls a parameter, around the name of the layer that it adapts.
_BEFORE = "emitter.backbone.model.base_model.model."
_DOWN, _UP = ".lora_A.default.weight", ".lora_B.default.weight"


class RowsLost(Exception):  # noqa: N818  (not a failure: each tagger's rows are run apart)
    """A layer is called with something else than the rows of the batch."""


class TaggerRows(NamedTuple):
    """Consecutive rows of a batch that are for the same tagger.

    Attributes:
        number: how many.
        adapters: the name of its adapters; None for a tagger without.
    """

    number: int
    adapters: str | None


def joined_rows(rows: Sequence[TaggerRows]) -> list[TaggerRows]:
    """The same with neighbours of one tagger as one."""
    groups = groupby(rows, key=lambda each: each.adapters)
    return [TaggerRows(sum(each.number for each in own), adapters) for adapters, own in groups]


class SharedLinear(nn.Module):
    """A linear layer, and what the adapters of each tagger add to it.

    PEFT's own layers would scale, add and copy whole activations once more for each adapter; here the second
    product is added in place.

    Args:
        base: the layer.
        bank: whose batch is run.
    """

    def __init__(self, base: nn.Linear, bank: "AdapterBank") -> None:
        super().__init__()
        self.base = base
        self.down: dict[str, Tensor] = {}  # *Shape:* (K, D) each, K the rank
        self.up: dict[str, Tensor] = {}  # scaled. *Shape:* (K, D') each
        self._bank = (bank,)  # in a tuple, since the layer is no part of it

    def forward(self, hidden: Tensor) -> Tensor:
        """*Shape:* (R, T, D) to (R, T, D')."""
        result: Tensor = self.base(hidden)
        rows = self._bank[0].rows
        if len(rows) > 1 and len(hidden) != sum(each.number for each in rows):
            raise RowsLost
        start = 0
        for number, name in rows:
            end = start + number if len(rows) > 1 else len(hidden)
            if name is not None and name in self.down:
                part = hidden[start:end].flatten(0, -2)
                added = result[start:end].flatten(0, -2)  # a view: the result is contiguous
                added.addmm_(nn.functional.linear(part, self.down[name]), self.up[name])
            start = end
        return result


class AdapterBank:
    """The adapters of several taggers in a backbone.

    Args:
        backbone: without adapters; layers that adapters are added to are wrapped, in place.

    Attributes:
        rows: whose rows the batch that runs has, in order.
    """

    def __init__(self, backbone: Backbone) -> None:
        self.backbone = backbone
        self.rows: Sequence[TaggerRows] = ()
        self._layers: dict[str, SharedLinear] = {}

    @contextmanager
    def running(self, rows: Sequence[TaggerRows]) -> Iterator[None]:
        """Within it the backbone runs a batch of such rows."""
        self.rows = rows
        try:
            yield
        finally:
            self.rows = ()

    def add(self, name: str, state: Mapping[str, Tensor], lora: Lora, *, bf16: bool) -> None:
        """Adds a tagger's adapters.

        Args:
            name: by which rows name them.
            state: its trained parameters, by their names in `Tagger`; others than adapters are ignored.
            lora: its settings, without DoRA.
            bf16: the backbone runs in bf16.

        Raises:
            UserError: the backbone has no layer of a name, or of another size.
        """
        dtype = torch.bfloat16 if bf16 else torch.float32
        scale = lora.alpha / (lora.rank**0.5 if lora.rslora else lora.rank)
        for key in (key for key in state if key.endswith(_DOWN)):
            path = key.removeprefix(_BEFORE).removesuffix(_DOWN)
            down, up = state[key], scale * state[key.removesuffix(_DOWN) + _UP]
            layer = self._layer(path, (up.shape[0], down.shape[1]))
            device = next(layer.base.parameters()).device
            layer.down[name] = down.to(device, dtype).contiguous()
            layer.up[name] = up.T.to(device, dtype).contiguous()

    def remove(self, name: str) -> None:
        """Removes a tagger's adapters."""
        for layer in self._layers.values():
            layer.down.pop(name, None)
            layer.up.pop(name, None)

    def _layer(self, path: str, size: tuple[int, int]) -> SharedLinear:
        model = self.backbone.model
        known = self._layers.get(path)
        base = dict(model.named_modules()).get(path) if known is None else known.base
        if not isinstance(base, nn.Linear) or (base.out_features, base.in_features) != size:
            raise UserError(f"the backbone has no layer {path} of the size that the adapters have")
        if known is None:
            known = self._layers[path] = SharedLinear(base, self)
            model.set_submodule(path, known)
        return known


class SharedEmitter(BackboneEmitter):
    """An emitter whose adapters are in a bank.

    Args:
        bank: of the backbone.
        tags: number of tags, C.
        architecture: pooling is taken from it.
        adapters: their name in the bank; None for a tagger without.
    """

    def __init__(
        self, bank: AdapterBank, tags: int, architecture: Architecture, adapters: str | None
    ) -> None:
        super().__init__(bank.backbone, tags, architecture)
        self.bank, self.adapters = bank, adapters

    def hidden(self, batch: Batch) -> Tensor:
        """The backbone's last hidden states. *Shape:* (R, T, D)."""
        with self.bank.running([TaggerRows(len(batch.input_ids), self.adapters)]):
            return super().hidden(batch)

    def merge(self) -> None:
        """Does nothing: others use the backbone."""
