"""Backbone: a transformers model, and what the tagger needs to know of it."""

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from ner_lightning.data.positions import positions
from ner_lightning.data.pretrained import Pretrained, weight_files
from ner_lightning.errors import UserError

Attention = Literal["causal", "bidirectional"]
AttentionImplementation = Literal["auto", "eager", "sdpa", "flash_attention_2", "flex_attention"]
# How a backbone is told about padding: by a mask of ours, a number for each pair of sub-tokens, or none where
# nothing is padded (none_if_unpadded); by such a mask in any case (4d); by which sub-tokens are real (2d).
MaskForm = Literal["none_if_unpadded", "4d", "2d"]
# What is in the names of configurations' lists with an entry per layer. A list that has one by chance stays.
PER_LAYER = ("layer", "indexer_types", "intermediate_size", "activation_sparsity_pattern")
_MODES = threading.RLock()  # held by who changes the mode of modules, which threads may share


class Backbone(nn.Module):
    """A transformers model without a head, and what the tagger needs to know of it.

    Args:
        model: the transformers model.
        bf16: it is run in bf16, whatever the type of its weights.
        pretrained: where its weights are; None for a model that was made in memory.

    Attributes:
        model: the transformers model, wrapped by PEFT if there are adapters.
        bf16: as above.
        layers: its stack of transformer layers, found by structure.
        final_norm: what runs after the last layer: a norm in most, nothing in some. `verify_attention`
            finds it by running the backbone, since names do not tell.
        rewritten: whether `model.architecture.prepare` changed its weights or its configuration, so that
            what is saved of it must not be prepared again.
        hidden_size: the size D of a hidden state that it returns: as its configuration says until
            `verify_attention` has run it, since some project it to the size of their embeddings.
        mask_form: how it is told about padding; None until `verify_attention` has found a form that works.
        lock: is held while it runs with the adapters of one of the taggers that share it.
    """

    model: Any

    def __init__(self, model: nn.Module, *, bf16: bool = False, pretrained: Pretrained | None = None) -> None:
        super().__init__()
        self.model = model
        self.bf16 = bf16
        self.pretrained = pretrained
        self.rewritten = False
        self.hidden_size: int = getattr(self.text_config, "hidden_size", 0)
        self.mask_form: MaskForm | None = None
        self.lock = BackboneLock()
        # Tuples, since modules that are attributes themselves would be in the state dict twice.
        self._layers = (find_layers(model),)
        self.final_norm: tuple[nn.Module, ...] = ()
        self.train(model.training)  # transformers loads models in evaluation mode, without their dropout

    @property
    def layers(self) -> nn.ModuleList:
        """The stack of transformer layers."""
        return self._layers[0]

    @property
    def config(self) -> Any:
        """The transformers configuration."""
        return self.model.config

    @property
    def text_config(self) -> Any:
        """The part of the configuration that is about text."""
        return self.model.config.get_text_config()

    @property
    def positions(self) -> int | None:
        """The most sub-tokens in one row; None where nothing limits them."""
        return None if self.pretrained is None else positions(self.pretrained)

    @cached_property
    def identity(self) -> str:
        """The fingerprint of its pretrained weights; see `fingerprint`."""
        assert self.pretrained is not None, "a model that was made in memory has no pretrained weights"
        return fingerprint(self.pretrained)

    def keep_layers(self, count: int) -> None:
        """Drops all layers above the first `count`: an early exit, faster and smaller.

        The norm above the layers stays, although it was trained for the last of them.

        Raises:
            UserError: the backbone has fewer layers, or transformers could not load it without the others.
        """
        depth = len(self.layers)
        if not 1 <= count <= depth:
            raise UserError(f"model.architecture.layers is {count}; the backbone has {depth} layers")
        del self.layers[count:]
        text = self.text_config
        for name, value in list(vars(text).items()):
            if isinstance(value, list | tuple) and len(value) == depth and any(k in name for k in PER_LAYER):
                setattr(text, name, value[:count])
        text.num_hidden_layers = count
        # What `prepare` changed is not loaded from its configuration, and never merged.
        problem = None if self.rewritten else loading_problem(self.model)
        if problem is not None:
            raise UserError(
                f"model.architecture.layers is {count}, but a {type(self.model).__name__} cannot be cut: "
                f"transformers would not load it again ({problem});\nset it to null, or name another backbone"
            )

    def frozen_depth(self) -> int:
        """How many layers at the bottom are not trained, together with all below them."""
        frozen = [not any(p.requires_grad for p in layer.parameters()) for layer in self.layers]
        depth = frozen.index(False) if False in frozen else len(frozen)
        above = {id(p) for part in (*self.layers, *self.final_norm) for p in part.parameters()}
        if any(p.requires_grad and id(p) not in above for p in self.parameters()):
            return 0  # embeddings, or a projection between them and the layers
        return depth

    def compile_layers(self, below: int = 0) -> None:
        """Compiles each transformer layer by itself: one compilation serves them all, for any length.

        Args:
            below: leave this many layers at the bottom as they are.
        """
        for layer in self.layers[below:]:
            layer.compile(dynamic=True)


class BackboneLock:
    """A reentrant lock that can be copied and pickled, unlike Python's: the copy is a lock of its own."""

    def __init__(self) -> None:
        self._lock = threading.RLock()

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    def __reduce__(self) -> tuple[type["BackboneLock"], tuple[()]]:
        return BackboneLock, ()


@contextmanager
def evaluating(*modules: nn.Module) -> Iterator[None]:
    """Within it modules are in evaluation mode; afterwards each of their parts is in its own mode again.

    If one was not, other threads wait to enter until its mode is restored.
    """
    with _MODES:
        if any(map(_trains, modules)):
            modes = {part: part.training for module in modules for part in module.modules()}
            for module in modules:
                module.eval()
            try:
                yield
            finally:
                for part, training in modes.items():
                    part.training = training
            return
    yield


def _trains(module: nn.Module) -> bool:
    """Whether a part is in training mode; `modules()` would take several times as long as this."""
    return module.training or any(_trains(part) for part in module._modules.values() if part is not None)


def find_layers(model: nn.Module) -> nn.ModuleList:
    """The stack of transformer layers: the longest list of modules in the model."""
    stacks = [module for module in model.modules() if isinstance(module, nn.ModuleList)]
    return max(stacks, key=len, default=nn.ModuleList())


def loading_problem(model: Any) -> str | None:
    """Why transformers could not load a model by the configuration that it has now; None if it can.

    Args:
        model: a transformers model without adapters.
    """
    try:
        config = type(model.config).from_dict(model.config.to_dict())
        with torch.device("meta"):
            loaded = type(model)(config)
    except Exception as error:  # of the model's own code
        return " ".join(str(error).split()[:40]) or type(error).__name__
    for found, expected in ((model, loaded), (loaded, model)):
        known = dict(expected.named_parameters())
        for name, parameter in found.named_parameters():
            if name not in known and not name.startswith("pooler."):  # which is left out
                return f"{name} would be another one"
            # Those in few bits are packed, and those of GPT-2 transposed.
            sizes = [
                sorted(p.shape) for p in (parameter, known.get(name, parameter)) if p.is_floating_point()
            ]
            if sizes[1:] and sizes[0] != sizes[1]:
                return f"{name} would have another size"
    return None


def saved_parts(model: Any) -> Any:
    """What is saved of a model: its configuration, and a sum over each of its tensors."""
    sums = {
        name: (tuple(tensor.shape), float(tensor.sum(dtype=torch.float64)))
        for name, tensor in model.state_dict().items()
    }
    return model.config.to_dict(), sums


def fingerprint(pretrained: Pretrained) -> str:
    """A fingerprint of pretrained weights: the Hub's commit, or a digest of config and weight files on disk.

    Raises:
        UserError: an index of weights cannot be read.
    """
    if pretrained.on_hub:
        return f"commit:{pretrained.kwargs['revision']}"
    folder = Path(pretrained.name)
    if pretrained.gguf_file is not None:
        files = [folder / pretrained.gguf_file]
    else:
        files = [folder / "config.json", *weight_files(folder)]
    digest = hashlib.sha256()
    for file in files:
        with file.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return f"sha256:{digest.hexdigest()}"
