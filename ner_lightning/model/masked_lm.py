"""MaskedWords: a backbone learns to predict masked words, and so to read in both directions."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from ner_lightning.data.batching import Batch
from ner_lightning.data.configuration import check_unquantized, configuration
from ner_lightning.data.pretrained import Pretrained
from ner_lightning.errors import UserError
from ner_lightning.model.activation_checkpointing import checkpoint_activations
from ner_lightning.model.adapters import merge_adapters
from ner_lightning.model.backbone import Backbone
from ner_lightning.model.build import Target, set_up
from ner_lightning.model.devices import compiles
from ner_lightning.model.masks import run_on
from ner_lightning.model.quiet_transformers import quiet_transformers
from ner_lightning.model.tagger_settings import TaggerSettings
from ner_lightning.model.text_model import is_multimodal
from ner_lightning.model.weights import load_language_model
from ner_lightning.system.progress import stage


class MaskedWords(nn.Module):
    """Masked next-token prediction (BehnamGhader et al. 2024, LLM2Vec), with whole words masked.

    A language model that was trained from left to right sees text on both sides of the masked words. Each
    masked sub-token is predicted from the hidden state before it, as in its own training, so that its
    language-model head is used unchanged.

    Args:
        model: a transformers model with a language-model head.
        settings: its attention, layers, and what of it is trained.
        mask_ratio: share of the words that are masked, from 0 to 1.
        bf16: run it in bf16.
        packed: it will be given packed rows.
    """

    def __init__(
        self,
        model: nn.Module,
        settings: TaggerSettings,
        *,
        mask_ratio: float,
        bf16: bool = False,
        packed: bool = False,
    ) -> None:
        super().__init__()
        whole: Any = model
        self.name: str = whole.base_model_prefix
        whole.config.is_causal = False
        whole.config.use_cache = False
        model.requires_grad_(not settings.freeze_backbone)
        self.backbone = Backbone(getattr(model, self.name), bf16=bf16)
        set_up(self.backbone, settings, packed=packed)
        self.head: nn.Module = whole.get_output_embeddings()
        self.mask_ratio = mask_ratio
        # Layers beside the head, which some have.
        self.beside = nn.ModuleList(
            part for name, part in model.named_children() if name != self.name and part is not self.head
        )
        # Not a submodule: its parameters are those of the three above.
        self._whole = (model,)

    @classmethod
    @quiet_transformers
    def load(
        cls, pretrained: Pretrained, settings: TaggerSettings, target: Target, *, mask_ratio: float
    ) -> Self:
        """Loads a backbone with its language-model head; arguments as of `build_tagger`.

        Raises:
            UserError: it is an encoder, its files hold no language-model head, its attention is causal, it
                is already quantised or multimodal, or nothing of it is trained.
        """
        _check(pretrained, settings)
        stage(f"Loading {pretrained.label} with its language-model head ...")
        compiled = target.compiled and compiles(target.device_type)
        model = load_language_model(
            pretrained,
            dtype=torch.float32,
            purpose="learn to fill in words",
            implementation=settings.runtime.attn_implementation,
            bf16=target.bf16,
            device_type=target.device_type,
            trust_remote_code=settings.runtime.trust_remote_code,
        )
        masked = cls(model, settings, mask_ratio=mask_ratio, bf16=target.bf16, packed=target.packed)
        if not any(parameter.requires_grad for parameter in masked.parameters()):
            raise UserError(
                "nothing of the backbone would be trained; set model.freeze_backbone false or model.peft lora"
            )
        if settings.runtime.gradient_checkpointing:
            checkpoint_activations(masked.backbone.layers)
        if compiled:
            masked.backbone.compile_layers()
        return masked

    def forward(self, batch: Batch, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        """Masks words and predicts them.

        Args:
            batch: padded or packed.
            generator: of the draws, on the CPU; None takes the device's own.

        Returns:
            the cross-entropy summed over masked sub-tokens, and their number.
        """
        masked = masked_words(batch, self.mask_ratio, generator)  # (R, T)
        # The first sub-token of a text has none before it that could tell it.
        after = (
            torch.arange(masked.shape[1], device=masked.device)
            if batch.positions is None
            else batch.positions
        )
        wanted = (masked & (after > 0)).flatten().nonzero().squeeze(1)  # (N,)
        with zeroed(self.backbone, masked):
            scores = self._scores(batch, wanted - 1)  # (N, V)
        loss = cross_entropy(scores.float(), batch.input_ids.flatten()[wanted], reduction="sum")
        return loss, loss.new_tensor(len(wanted))

    def _scores(self, batch: Batch, indices: Tensor) -> Tensor:
        """The language model's scores of each token after some sub-tokens, computed for these alone.

        The language model's own forward is run, since what it does beside its head (scaling in Granite and
        Cohere, a soft limit in Gemma 2) belongs to what it predicts.

        Args:
            batch: padded or packed.
            indices: flat indices into R x T. *Shape:* (N,)

        Returns:
            *Shape:* (N, V)
        """
        hook = self.head.register_forward_pre_hook(
            lambda _head, given: (given[0].flatten(0, 1)[indices].unsqueeze(0),)
        )
        try:
            scores: Tensor = run_on(self._whole[0], batch, self.backbone).logits
        finally:
            hook.remove()
        return scores.squeeze(0)

    @quiet_transformers
    def save(self, folder: Path) -> None:
        """Writes the language model, adapters folded in, in the precision that it was run in."""
        whole: Any = self._whole[0]
        merge_adapters(self.backbone)
        setattr(whole, self.name, self.backbone.model)
        whole.to(torch.bfloat16 if self.backbone.bf16 else torch.float32).save_pretrained(folder)


def _check(pretrained: Pretrained, settings: TaggerSettings) -> None:
    """Raises UserError if a backbone cannot be pretrained, by its configuration and the settings."""
    if settings.attention == "causal":
        raise UserError(
            "model.attention is causal; masked words are predicted from both sides, so it must be "
            "bidirectional"
        )
    if settings.quantization != "none":
        raise UserError(
            f"model.quantization is {settings.quantization}; pretraining writes a whole model, so "
            "set it to none"
        )
    if settings.architecture.prepare is not None:
        raise UserError(
            "model.architecture.prepare does not go with pretraining: the model that it writes could not "
            "be told from one that is still to be prepared"
        )
    trust = settings.runtime.trust_remote_code
    check_unquantized(pretrained, trust_remote_code=trust)
    if is_multimodal(configuration(pretrained, trust_remote_code=trust)):
        raise UserError(
            f"model.backbone: {pretrained.label} reads more than text, and pretraining writes a whole "
            "model;\nname a model that reads text only"
        )


def masked_words(batch: Batch, p: float, generator: torch.Generator | None = None) -> Tensor:
    """Draws words with probability `p` each; true on all their sub-tokens.

    Args:
        batch: whose words.
        p: from 0 to 1.
        generator: on the CPU, for draws of their own; None takes the device's.

    Returns:
        *Shape:* (R, T)
    """
    device = batch.mask.device if generator is None else generator.device
    draws = torch.rand(batch.mask.shape, device=device, generator=generator).to(batch.mask.device)
    masked = (draws < p) & batch.mask  # (B, W)
    # Plus one where a masked word begins and minus one behind it: sums are zero outside. No boolean index,
    # for which the host would wait.
    steps = batch.input_ids.new_zeros(batch.input_ids.numel() + 1)
    ones = masked.flatten().to(steps.dtype)
    steps.index_add_(0, batch.first.flatten(), ones).index_add_(0, batch.last.flatten() + 1, ones, alpha=-1)
    return (steps[:-1].cumsum(0) != 0).view(batch.input_ids.shape)


@contextmanager
def zeroed(backbone: Backbone, masked: Tensor) -> Iterator[None]:
    """Within it the embeddings of some sub-tokens are zero, so that a word must be told from its context.

    Args:
        backbone: any.
        masked: true where the embedding is zero. *Shape:* (R, T)
    """
    visible = ~masked.unsqueeze(-1)  # (R, T, 1)
    embeddings = backbone.model.get_input_embeddings()
    hook = embeddings.register_forward_hook(lambda module, args, output: output * visible)
    try:
        yield
    finally:
        hook.remove()
