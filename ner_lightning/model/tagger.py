"""Tagger: an emitter and a decoder, a whole NER model that needs no Lightning."""

import torch
from torch import Tensor, nn

from ner_lightning.data.batching import Batch
from ner_lightning.data.schemes import LabelSet
from ner_lightning.errors import UserError
from ner_lightning.model.decoder import Decoder
from ner_lightning.model.emitter import Emitter


class Tagger(nn.Module):
    """An emitter, from a batch to emissions, and a decoder, from emissions to loss, tags and probabilities.

    Args:
        emitter: the first half.
        decoder: the second half.
    """

    def __init__(self, emitter: Emitter, decoder: Decoder) -> None:
        super().__init__()
        self.emitter = emitter
        self.decoder = decoder

    @property
    def labels(self) -> LabelSet:
        """The label set."""
        return self.decoder.labels

    @property
    def device(self) -> torch.device:
        """Where it runs. An emitter may have no parameters, and a softmax has none."""
        return self.decoder.start_scores.device

    def forward(self, batch: Batch) -> Tensor:
        """Emissions, the scores of each tag for each word. *Shape:* (B, W, C)."""
        emissions: Tensor = self.emitter(batch)
        return emissions

    def scores(self, batch: Batch) -> Tensor:
        """Emissions that are decoded, and not trained on; see `checked`."""
        return self.checked(self(batch), batch.mask)

    def checked(self, emissions: Tensor, mask: Tensor) -> Tensor:
        """Emissions as they are, if they say something: NaN would become O without a word.

        Args:
            emissions: *Shape:* (B, W, C)
            mask: true on real words. *Shape:* (B, W)

        Raises:
            UserError: some of a word's, or of the CRF's own scores, are NaN or infinite.
        """
        # One look for all of them: on a GPU each would wait for the batch.
        finite = [torch.isfinite(parameter).all() for parameter in self.decoder.parameters()]
        finite.append((torch.isfinite(emissions) | ~mask.unsqueeze(-1)).all())
        if not torch.stack(finite).all():
            raise UserError(
                "the tagger's scores are not finite (NaN or infinite), and say nothing of entities.\n"
                "Its weights are damaged, or too large for bf16: try another checkpoint or fp32."
            )
        return emissions
