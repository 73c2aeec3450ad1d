"""Adapters of several taggers in one backbone, at inference: each row of a batch has those of its tagger."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from ner_lightning.data.batching import Batch
from ner_lightning.errors import UserError
from ner_lightning.model.adapters import Lora, scale_of
from ner_lightning.model.backbone import Backbone, evaluating
from ner_lightning.model.emitter import BackboneEmitter
from ner_lightning.model.masks import hidden_states
from ner_lightning.model.tagger_settings import Architecture

# What PEFT calls a parameter, around the name of the layer that it adapts.
_BEFORE = "emitter.backbone.model.base_model.model."
_DOWN, _UP = ".lora_A.default.weight", ".lora_B.default.weight"


class RowsLost(Exception):  # noqa: N818  (not a failure: each tagger's rows are run apart)
    """A layer is called with something else than the rows of the batch, or may be."""


class SharedLinear(nn.Module):
    """A linear layer, and what the adapters of each tagger add to it.

    The adapters of all taggers are in one stack, filled up with zeros to the highest rank. A mixed batch
    takes those of each row's tagger, so that its products have the same few shapes, whatever taggers it has:
    a CPU compiles a kernel for each shape, and a service keeps only a few of them.

    Args:
        base: the layer.
        bank: whose batch is run.
        slots: size of the stack, N; all are empty.
        dtype: of the adapters.
    """

    def __init__(self, base: nn.Linear, bank: "AdapterBank", slots: int, dtype: torch.dtype) -> None:
        super().__init__()
        self.base = base
        options: Any = {"dtype": dtype, "device": next(base.parameters()).device}
        # The first one stays empty, for rows without adapters. K is the highest rank.
        self.down = torch.zeros(slots, 0, base.in_features, **options)  # *Shape:* (N, K, D)
        self.up = torch.zeros(slots, 0, base.out_features, **options)  # scaled. *Shape:* (N, K, D')
        self._bank = (bank,)  # in a tuple, since the layer is no part of it

    def forward(self, hidden: Tensor) -> Tensor:
        """*Shape:* (R, T, D) to (R, T, D')."""
        result: Tensor = self.base(hidden)
        slots = self._bank[0].slots
        if isinstance(slots, Tensor):
            if hidden.dim() != 3 or len(hidden) != len(slots):
                raise RowsLost
            down, up = (each.index_select(0, slots) for each in (self.down, self.up))
            return result.baddbmm_(torch.bmm(hidden, down.mT), up)
        if slots:
            added = result.flatten(0, -2)  # a view: the result is contiguous
            added.addmm_(hidden.flatten(0, -2) @ self.down[slots].T, self.up[slots])
        return result

    def append(self, down: Tensor, up: Tensor) -> None:
        """Adds the adapters of a further tagger. *Shape:* (K, D) and (K, D')."""
        self.down = pad_sequence([*self.down, down.to(self.down)], batch_first=True)
        self.up = pad_sequence([*self.up, up.to(self.up)], batch_first=True)

    def drop(self, slot: int) -> None:
        """Removes the adapters of a tagger."""
        self.down, self.up = (torch.cat([each[:slot], each[slot + 1 :]]) for each in (self.down, self.up))


class AdapterBank:
    """The adapters of several taggers in a backbone.

    Args:
        backbone: without adapters; layers that adapters are added to are wrapped, in place.
        bf16: the backbone runs in bf16.

    Attributes:
        slots: which adapters in the layers' stacks the batch that runs needs: for each row, or for all of it.
            *Shape:* (R,)
        mixes: whether a batch may have rows of different taggers. Not if the backbone calls an adapted layer
            with something else than rows, such as XLNet, whose first dimension is sub-tokens.
    """

    def __init__(self, backbone: Backbone, *, bf16: bool) -> None:
        self.backbone = backbone
        self.slots: Tensor | int = 0
        self._dtype = torch.bfloat16 if bf16 else torch.float32
        self._names: list[str | None] = [None]
        self._layers: dict[str, SharedLinear] = {}
        self.mixes = True

    @contextmanager
    def running(self, rows: Sequence[str | None]) -> Iterator[None]:
        """Within it the backbone runs a batch, and other threads wait.

        Args:
            rows: the adapters of each row by name; None: those of a tagger without.

        Raises:
            RowsLost: rows are of different taggers, which this backbone does not mix.
        """
        with self.backbone.lock:
            slots = [self._names.index(name) for name in rows]
            if not self.mixes and len(set(slots)) > 1:
                raise RowsLost
            device = next(self.backbone.parameters()).device
            self.slots = slots[0] if len(set(slots)) == 1 else torch.tensor(slots, device=device)
            try:
                yield
            finally:
                self.slots = 0

    def takes(self, state: Mapping[str, Tensor]) -> bool:
        """Whether all adapters of a tagger are on linear layers, and not on embeddings or GPT-2's Conv1D.

        Args:
            state: its trained parameters, by their names in `Tagger`.
        """
        keys = [key for key in state if ".lora_" in key]
        paths = {key.removeprefix(_BEFORE).removesuffix(_DOWN) for key in keys if key.endswith(_DOWN)}
        modules = dict(self.backbone.model.named_modules())
        linear = all(isinstance(modules.get(path), nn.Linear | SharedLinear) for path in paths)
        return linear and all(key.endswith((_DOWN, _UP)) for key in keys)

    def add(self, name: str, state: Mapping[str, Tensor], lora: Lora) -> None:
        """Adds a tagger's adapters.

        Args:
            name: by which rows name them.
            state: its trained parameters, by their names in `Tagger`; others than adapters are ignored.
            lora: its settings, without DoRA.

        Raises:
            UserError: the backbone has no layer of a name, or of another size.
        """
        scale = scale_of(lora)
        found: dict[str, tuple[Tensor, Tensor]] = {}
        with evaluating(self.backbone), self.backbone.lock:
            known = len(self._layers)
            for key in (key for key in state if key.endswith(_DOWN)):
                path = key.removeprefix(_BEFORE).removesuffix(_DOWN)
                found[path] = state[key], scale * state[key.removesuffix(_DOWN) + _UP].T
                self._wrap(path, *(each.shape[1] for each in found[path]))
            self._names.append(name)
            for path, layer in self._layers.items():
                layer.append(*found.get(path, (layer.down[0, :0], layer.up[0, :0])))
            if self.mixes and len(self._layers) > known:
                self.mixes = self._keeps_rows(name)

    def remove(self, name: str) -> None:
        """Removes a tagger's adapters, if it has some."""
        with self.backbone.lock:
            if name in self._names:
                slot = self._names.index(name)
                del self._names[slot]
                for layer in self._layers.values():
                    layer.drop(slot)

    @torch.no_grad()
    def _keeps_rows(self, name: str) -> bool:
        """Whether every layer gets the rows of a batch, shown by one of more sub-tokens than rows."""
        device = next(self.backbone.parameters()).device
        ids = torch.zeros(2, 3, dtype=torch.long, device=device)
        none = ids[:, :0]
        try:
            with self.running([None, name]):
                hidden_states(self.backbone, Batch(ids, ids == 0, none, none, none, None, none))
        except RowsLost:
            return False
        return True

    def _wrap(self, path: str, size_in: int, size_out: int) -> None:
        """Makes a layer of the backbone a shared one."""
        model = self.backbone.model
        known = self._layers.get(path)
        base = dict(model.named_modules()).get(path) if known is None else known.base
        if not isinstance(base, nn.Linear) or (base.in_features, base.out_features) != (size_in, size_out):
            raise UserError(f"the backbone has no layer {path} of the size that the adapters have")
        if known is None:
            self._layers[path] = SharedLinear(base, self, len(self._names), self._dtype).train(base.training)
            model.set_submodule(path, self._layers[path])


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
        with self.bank.running([self.adapters]):
            return super().hidden(batch)

    def merge(self) -> bool:
        """Does nothing: others use the backbone."""
        return False
