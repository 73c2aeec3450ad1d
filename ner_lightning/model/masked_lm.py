"""A backbone that is taught to fill in hidden words, which makes it read both ways before it is a tagger."""

from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from ner_lightning.data.batching import Batch
from ner_lightning.data.pretrained import Pretrained
from ner_lightning.errors import UserError
from ner_lightning.model.adapters import merge_adapters
from ner_lightning.model.backbone import (
    AttentionImplementation,
    checkpoint_activations,
    compile_layers,
    load_language_model,
)
from ner_lightning.model.build import quiet_loading, set_up
from ner_lightning.model.dropout import hidden_words, unread
from ner_lightning.model.masks import run_on
from ner_lightning.model.settings import Architecture
from ner_lightning.system.progress import stage


class MaskedWords(nn.Module):
    """Masked next-token prediction (BehnamGhader et al. 2024, LLM2Vec), with whole words hidden.

    A language model that was trained to read from left to right is shown text with some words hidden, and
    all the rest on both sides. Each hidden sub-token is predicted from the hidden state before it, as
    in its own training, so that its language-model head goes on as it is.

    Args:
        model: a transformers model with a language-model head.
        architecture: its attention, layers, and what of it is trained.
        share: of the words that are hidden, from 0 to 1.
        bf16: run it in bf16.
        packed: it will be given packed rows.
    """

    def __init__(
        self,
        model: nn.Module,
        architecture: Architecture,
        *,
        share: float,
        bf16: bool = False,
        packed: bool = False,
    ) -> None:
        super().__init__()
        whole: Any = model
        self.name: str = whole.base_model_prefix
        whole.config.is_causal = False
        whole.config.use_cache = False
        model.requires_grad_(not architecture.freeze_backbone)
        self.backbone = set_up(getattr(model, self.name), architecture, bf16=bf16, packed=packed)
        self.head: nn.Module = whole.get_output_embeddings()
        self.share = share
        self.bf16 = bf16
        # Layers beside the head, which some have.
        self.beside = nn.ModuleList(
            part for name, part in model.named_children() if name != self.name and part is not self.head
        )
        # Not a submodule: its parameters are those of the three above.
        self._whole = (model,)

    @classmethod
    def load(
        cls,
        pretrained: Pretrained,
        architecture: Architecture,
        *,
        share: float,
        bf16: bool = False,
        implementation: AttentionImplementation = "auto",
        device_type: str = "cpu",
        checkpointing: bool = False,
        compiled: bool = False,
        packed: bool = False,
        trust_remote_code: bool = False,
    ) -> Self:
        """Loads a backbone with its language-model head; arguments as of `build_tagger`.

        Raises:
            UserError: it is an encoder, its files hold no language-model head, its attention is causal, or
                nothing of it is trained.
        """
        if architecture.attention == "causal":
            raise UserError(
                "model.attention is causal; hidden words are filled in from both sides, so it must be "
                "bidirectional"
            )
        if architecture.prepare is not None:
            raise UserError(
                "model.prepare: what is written could not be told from what is still to be prepared"
            )
        quiet_loading()
        stage(f"Loading {pretrained.label} with its language-model head ...")
        model = load_language_model(
            pretrained,
            dtype=torch.float32,
            purpose="learn to fill in words",
            implementation=implementation,
            bf16=bf16,
            device_type=device_type,
            trust_remote_code=trust_remote_code,
        )
        masked = cls(model, architecture, share=share, bf16=bf16, packed=packed)
        if not any(parameter.requires_grad for parameter in masked.parameters()):
            raise UserError(
                "nothing of the backbone would be trained; set model.freeze_backbone false or model.peft lora"
            )
        if checkpointing:
            checkpoint_activations(masked.backbone)
        if compiled:
            compile_layers(masked.backbone)
        return masked

    def forward(self, batch: Batch, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        """Hides words and predicts them.

        Args:
            batch: padded or packed.
            generator: of the draws, on the CPU; None takes the device's own.

        Returns:
            the cross-entropy summed over hidden sub-tokens, and their number.
        """
        hidden = hidden_words(batch, self.share, generator)  # (R, T)
        # The first sub-token of a text has none before it that could tell it.
        after = (
            torch.arange(hidden.shape[1], device=hidden.device)
            if batch.positions is None
            else batch.positions
        )
        wanted = (hidden & (after > 0)).flatten().nonzero().squeeze(1)  # (N,)
        with unread(self.backbone, hidden):
            scores = self._scores(batch, wanted - 1)  # (N, V)
        loss = cross_entropy(scores.float(), batch.input_ids.flatten()[wanted], reduction="sum")
        return loss, loss.new_tensor(len(wanted))

    def _scores(self, batch: Batch, places: Tensor) -> Tensor:
        """The language model's scores of each token after some sub-tokens, computed for these alone.

        The language model's own forward is run, since what it does beside its head (scaling in Granite and
        Cohere, a soft limit in Gemma 2) belongs to what it predicts.

        Args:
            batch: padded or packed.
            places: flat places in R x T. *Shape:* (N,)

        Returns:
            *Shape:* (N, V)
        """
        hook = self.head.register_forward_pre_hook(
            lambda _head, given: (given[0].flatten(0, 1)[places].unsqueeze(0),)
        )
        try:
            scores: Tensor = run_on(self._whole[0], batch, like=self.backbone, bf16=self.bf16).logits
        finally:
            hook.remove()
        return scores.squeeze(0)

    def save(self, folder: Path) -> None:
        """Writes the language model, adapters folded in, in the precision that it was run in."""
        whole: Any = self._whole[0]
        setattr(whole, self.name, merge_adapters(self.backbone))
        whole.to(torch.bfloat16 if self.bf16 else torch.float32).save_pretrained(folder)
