"""How much memory a training and a prediction need, computed from a backbone's configuration alone."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from ner_lightning.data.pretrained import Pretrained
from ner_lightning.data.schemes import LabelSet
from ner_lightning.model.allocation import (
    Allocations,
    BatchShape,
    LikeCuda,
    batch_without_values,
    without_values,
)
from ner_lightning.model.backbone import evaluating
from ner_lightning.model.decoder import Decoder
from ner_lightning.model.emitter import BackboneEmitter
from ner_lightning.model.outline import outline, run_explained
from ner_lightning.model.quantization import OutlinedLinear
from ner_lightning.model.tagger_settings import TaggerSettings

KEPT = 2  # layers of a kind that are run; what the others need is the difference to one more


@dataclass(frozen=True)
class MemoryNeed:
    """Bytes of each part of a training's memory, at the moment when most is needed.

    Attributes:
        frozen: weights that are not trained, and buffers.
        trained: weights that are trained, in fp32.
        gradients: of these.
        optimizer: AdamW's two averages of these gradients.
        average: the running average of the trained weights.
        activations: what the forward pass keeps for the backward pass.
        temporary: what else exists at that moment, such as a dequantised matrix or a matrix of attention.
    """

    frozen: int
    trained: int
    gradients: int
    optimizer: int
    average: int
    activations: int
    temporary: int

    @property
    def total(self) -> int:
        """The sum."""
        return sum(vars(self).values())


class Allocated(NamedTuple):
    """Bytes in a pass: kept after forward, the most during forward, and the most during backward."""

    kept: float
    forward: float
    backward: float

    def plus(self, other: "Allocated", times: float) -> "Allocated":
        """This and so many times the other."""
        return Allocated(*(one + times * more for one, more in zip(self, other, strict=True)))


class MemoryOutline:
    """A tagger without weights, whose passes allocate and compute nothing.

    Args:
        settings: what is trained.
        pretrained: where the backbone's configuration is.
        labels: the label set.
        bf16: the backbone runs in bf16.
        device_type: `cpu` or `cuda`, where it will run.

    Raises:
        UserError: the backbone cannot be made what the settings say, or not be run without weights.
    """

    def __init__(
        self,
        settings: TaggerSettings,
        pretrained: Pretrained,
        labels: LabelSet,
        *,
        bf16: bool = False,
        device_type: str = "cuda",
    ) -> None:
        self.settings = settings
        self.device_type = device_type
        self.backbone = outline(settings, pretrained, bf16=bf16, device_type=device_type)
        with torch.device("meta"):
            self.emitter = BackboneEmitter(self.backbone, len(labels), settings.architecture)
        loss = settings.loss
        self.decoder = Decoder(labels, use_crf=settings.use_crf, constrained=False, loss=loss)
        self.weights = weight_bytes(self.emitter, self.decoder)
        self._mode = FakeTensorMode()
        without_values(self.emitter, self._mode)

    def training(self, shape: BatchShape, *, averaged: bool = False) -> MemoryNeed:
        """What a training with such batches needs.

        Args:
            shape: of a batch.
            averaged: the trained weights are averaged.
        """
        return self._need(self.allocated(shape), averaged)

    def training_table(
        self, rows: Sequence[int], lengths: Sequence[int], *, averaged: bool = False, packed: bool = False
    ) -> list[list[int]]:
        """The total for each number of rows (down) and each length (across).

        Memory grows linearly with rows, so that only the least and the most are run; of rows that are packed
        into one, whose attention is that of their sum, all are.
        """
        if packed:
            shapes = [[BatchShape(count, length, packed=True) for length in lengths] for count in rows]
            return [[self.training(shape, averaged=averaged).total for shape in line] for line in shapes]
        least, most = min(rows), max(rows)
        columns = []
        for length in lengths:
            first = self.allocated(BatchShape(least, length))
            last = first if most == least else self.allocated(BatchShape(most, length))
            share = [(count - least) / max(most - least, 1) for count in rows]
            slope = last.plus(first, -1)
            columns.append([self._need(first.plus(slope, each), averaged).total for each in share])
        return [list(line) for line in zip(*columns, strict=True)]

    def prediction(self, shape: BatchShape) -> int:
        """What tagging such batches needs beside the weights."""
        return round(self.allocated(shape, train=False).forward)

    def allocated(self, shape: BatchShape, *, train: bool = True) -> Allocated:
        """What a pass allocates, from passes through a few layers of each kind."""
        layers = self.backbone.layers
        kinds: dict[Any, list[int]] = {}
        for index in range(len(layers)):
            kinds.setdefault(self._kind(index), []).append(index)
        if getattr(self.backbone.text_config, "num_hidden_layers", None) != len(layers):
            return self._run(shape, train)  # its layers are called in a way of its own
        base = sorted(index for same in kinds.values() for index in same[:KEPT])
        with self._only(base):
            allocated = least = self._run(shape, train)
        for same in kinds.values():
            if len(same) > KEPT:
                with self._only(sorted([*base, same[KEPT]])):
                    more = self._run(shape, train).plus(least, -1)
                allocated = allocated.plus(more, len(same) - KEPT)
        return allocated

    def _need(self, allocated: Allocated, averaged: bool) -> MemoryNeed:
        frozen, trained = self.weights
        # Lightning frees the last step's gradients after the forward pass, before the backward pass.
        peak = max(allocated.forward + trained, allocated.backward)
        temporary = max(0, round(peak - trained - allocated.kept))
        average = trained if averaged else 0
        return MemoryNeed(frozen, trained, trained, 2 * trained, average, round(allocated.kept), temporary)

    def _kind(self, index: int) -> Any:
        """What layers with as many allocations have in common."""
        layer = self.backbone.layers[index]
        types = getattr(self.backbone.text_config, "layer_types", None)
        weights = tuple((p.shape, p.dtype, p.requires_grad) for p in layer.parameters())
        causal = index < self.settings.architecture.causal_below
        return type(layer), types[index] if types else None, causal, weights

    @contextmanager
    def _only(self, indices: Sequence[int]) -> Iterator[None]:
        """Within it the backbone has only some of its layers."""
        layers, text = self.backbone.layers, self.backbone.text_config
        modules, types = dict(layers._modules), getattr(text, "layer_types", None)
        kept = [layers[index] for index in indices]
        layers._modules = {str(number): layer for number, layer in enumerate(kept)}
        text.num_hidden_layers = len(kept)
        if types:
            text.layer_types = [types[index] for index in indices]
        try:
            yield
        finally:
            layers._modules = modules
            text.num_hidden_layers = len(modules)
            if types:
                text.layer_types = types

    def _run(self, shape: BatchShape, train: bool) -> Allocated:
        """A training leaves modules in the modes that they are built in: frozen dropout is off."""
        weights = [*self.emitter.parameters(), *self.emitter.buffers()]
        decoder = [*self.decoder.parameters(), *self.decoder.buffers()]
        like = LikeCuda() if self.device_type == "cuda" else nullcontext()
        with self._mode:
            batch = batch_without_values(shape)
        tags = torch.zeros(shape.rows, shape.length, dtype=torch.long)
        try:
            allocations = Allocations([*weights, *decoder, tags])
            modes = nullcontext() if train else evaluating(self.emitter)
            gradients = torch.set_grad_enabled(train)
            with run_explained(self.backbone), modes, allocations as tracked, like, gradients:
                with self._mode:
                    emissions = self.emitter(batch)
                if not train:
                    return Allocated(tracked.now, tracked.peak, tracked.peak)
                return _with_loss(tracked, self._mode, emissions, self.decoder, tags)
        finally:
            for parameter in (*self.emitter.parameters(), *self.decoder.parameters()):
                parameter.grad = None


def _with_loss(
    tracked: Allocations, mode: FakeTensorMode, emissions: Tensor, decoder: Decoder, tags: Tensor
) -> Allocated:
    """Goes on from emissions to the loss, and back. The CRF needs values, so that its input has some."""
    given = torch.zeros(emissions.shape, requires_grad=True)
    loss = decoder.total(decoder.losses(given, tags, torch.ones_like(tags, dtype=torch.bool)))
    kept, forward = tracked.now, tracked.peak
    tracked.peak = tracked.now
    loss.backward()  # type: ignore[no-untyped-call]
    with mode:
        gradient = torch.empty(emissions.shape)
        del loss, given
        emissions.backward(gradient)  # type: ignore[no-untyped-call]
    return Allocated(kept, forward, tracked.peak)


def weight_bytes(*modules: nn.Module) -> tuple[int, int]:
    """Bytes of weights that are not trained (with buffers), and of those that are, each weight once."""
    frozen = trained = 0
    seen: set[int] = set()
    for part in (part for module in modules for part in module.modules()):
        for tensor in (*part.parameters(recurse=False), *part.buffers(recurse=False)):
            if id(tensor) in seen:
                continue
            seen.add(id(tensor))
            if isinstance(part, OutlinedLinear) and tensor is part.weight:
                frozen += part.weight_bytes
            elif tensor.requires_grad:
                trained += tensor.nbytes
            else:
                frozen += tensor.nbytes
    return frozen, trained
