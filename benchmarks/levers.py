"""What a change to the tagger gains: python benchmarks/levers.py --lever bilstm --record docs/results.json.

Trains a recipe with several seeds and one change that the package does not offer: a mixture of all layers
instead of the last, a BiLSTM below the CRF, BIOES tags inside, noise on the embeddings against the tagger
(FGM), or two passes with different dropout that must agree (R-Drop). `none` changes nothing. A change
replaces parts of the package within this process, so a process has one. A cell is a seed; it is skipped if
it has rows.
"""

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from cells import add_options, cells_of
from torch import Tensor, nn

from ner_lightning.data.batching import Batch
from ner_lightning.data.schemes import LabelSet
from ner_lightning.model import build
from ner_lightning.model.backbone import Backbone
from ner_lightning.model.crf.layer import CRF
from ner_lightning.model.decoder import Decoder
from ner_lightning.model.emitter import BackboneEmitter
from ner_lightning.model.entity_spans import CandidateSpan, EntitySpan
from ner_lightning.model.loss import Loss
from ner_lightning.model.tagger_settings import Architecture
from ner_lightning.training.module import NERModule

CONFIG = "lever"
RECIPE = ("configs/own_data.yaml",)
NOISE = 0.1  # the norm of FGM's noise, as a share of the norm of a row's embeddings
AGREEMENT = 1.0  # the weight of R-Drop's divergence


class MixedHead(nn.Linear):
    """A linear layer, and the mixture's weights, which are trained at the same rate."""

    def __init__(self, size: int, tags: int, layers: int) -> None:
        super().__init__(size, tags)
        self.mixture = nn.Parameter(torch.zeros(layers))


class MixtureOfLayers(BackboneEmitter):
    """The final norm is given a learned mixture of all layers, each normalised (Peters et al. 2018)."""

    def __init__(
        self, backbone: Backbone, tags: int, architecture: Architecture, adapter: str | None = None
    ) -> None:
        super().__init__(backbone, tags, architecture, adapter)
        self.head = MixedHead(backbone.hidden_size, tags, len(backbone.layers))
        outputs: dict[int, Tensor] = {}
        for place, layer in enumerate(backbone.layers):
            layer.register_forward_hook(
                lambda _layer, _given, output, place=place: outputs.update({place: output})
            )

        def mix(*_: Any) -> tuple[Tensor]:
            assert isinstance(self.head, MixedHead)
            weights = (10 * self.head.mixture).softmax(0)  # a head's rate is low for logits
            means = [outputs[place].float() for place in range(len(weights))]
            scaled = [each * each.square().mean(-1, keepdim=True).add(1e-6).rsqrt() for each in means]
            return (torch.stack(scaled, -1) @ weights,)

        backbone.final_norm[0].register_forward_pre_hook(mix)


class LSTMHead(nn.Linear):
    """A linear layer above a bidirectional LSTM over the words."""

    def __init__(self, size: int, tags: int) -> None:
        super().__init__(size, tags)
        self.lstm = nn.LSTM(size, size // 2, bidirectional=True, batch_first=True)
        self.lengths = torch.empty(0)

    def forward(self, vectors: Tensor) -> Tensor:
        """*Shape:* (B, W, D) to (B, W, C)."""
        packed = nn.utils.rnn.pack_padded_sequence(
            vectors, self.lengths, batch_first=True, enforce_sorted=False
        )
        read, _ = nn.utils.rnn.pad_packed_sequence(self.lstm(packed)[0], batch_first=True)
        return super().forward(read)


class BiLSTM(BackboneEmitter):
    """A bidirectional LSTM between word vectors and emissions."""

    def __init__(
        self, backbone: Backbone, tags: int, architecture: Architecture, adapter: str | None = None
    ) -> None:
        super().__init__(backbone, tags, architecture, adapter)
        self.head = LSTMHead(backbone.hidden_size, tags)

    def forward(self, batch: Batch) -> Tensor:
        """*Shape:* (B, W, C)."""
        assert isinstance(self.head, LSTMHead)
        self.head.lengths = batch.mask.sum(1).cpu()
        return super().forward(batch)


def bioes_ids(tags: Tensor, mask: Tensor) -> Tensor:
    """The BIOES ids of BIO2 ids: O is 0, type k has B, I, E and S from 1 + 4k. *Shape:* (B, W)."""
    after = nn.functional.pad(torch.where(mask, tags, 0)[:, 1:], (0, 1))
    kind, inside = (tags - 1) // 2, tags % 2 == 0
    goes_on = after == 2 + 2 * kind
    letter = torch.where(inside, torch.where(goes_on, 1, 2), torch.where(goes_on, 0, 3))
    return torch.where(mask & (tags > 0), 1 + 4 * kind + letter, 0)


def bio2_ids(tags: Tensor) -> Tensor:
    """The BIO2 ids of BIOES ids. *Shape:* (B, W)."""
    kind, letter = (tags - 1) // 4, (tags - 1) % 4
    return torch.where(tags > 0, 1 + 2 * kind + ((letter == 1) | (letter == 2)).long(), 0)


class BIOESEmitter(BackboneEmitter):
    """An emission of each BIOES tag."""

    def __init__(
        self, backbone: Backbone, tags: int, architecture: Architecture, adapter: str | None = None
    ) -> None:
        super().__init__(backbone, 2 * tags - 1, architecture, adapter)


class BIOESDecoder(Decoder):
    """A CRF over BIOES tags for data and scores in BIO2; it gives entities no probabilities."""

    def __init__(
        self, labels: LabelSet, *, use_crf: bool = True, constrained: bool = True, loss: Loss | None = None
    ) -> None:
        super().__init__(labels, use_crf=use_crf, constrained=constrained, loss=loss)
        number = torch.arange(1 + 4 * len(labels.types))
        kind, letter = (number - 1) // 4, (number - 1) % 4
        closed = (number == 0) | (letter >= 2)  # what follows begins anew
        opens = (number == 0) | (letter == 0) | (letter == 3)
        same = kind.unsqueeze(1) == kind
        moves = torch.where(closed.unsqueeze(1), opens, same & ~opens)
        self.crf = CRF(len(number), opens, moves, closed)

    def losses(self, emissions: Tensor, tags: Tensor, mask: Tensor, **how: Any) -> dict[str, Tensor]:
        """As those of BIO2."""
        return super().losses(emissions, bioes_ids(tags, mask), mask, **how)

    def decode(self, emissions: Tensor, mask: Tensor) -> Tensor:
        """BIO2 ids. *Shape:* (B, W)."""
        return bio2_ids(super().decode(emissions, mask))

    def span_probabilities(
        self, emissions: Tensor, mask: Tensor, indices: Tensor, temperature: float | None = None
    ) -> Tensor:
        """Ones. *Shape:* (S,)."""
        return emissions.new_ones(len(indices))

    def candidates(
        self, emissions: Tensor, mask: Tensor, min_probs: Sequence[float]
    ) -> list[list[CandidateSpan]]:
        """The entities of the best sequence."""
        found: list[list[EntitySpan]] = self.entities(emissions, mask, self.decode(emissions, mask))
        return [[CandidateSpan(*entity, 1.0) for entity in entities] for entities in found]


def fgm_step(module: NERModule, batch: Batch) -> dict[str, Tensor]:
    """The loss, and that with noise on the embeddings along their gradient (Miyato et al. 2017)."""
    emitter = module.built.emitter
    assert isinstance(emitter, BackboneEmitter)
    embeddings = emitter.backbone.model.get_input_embeddings()
    heard: list[Tensor] = []

    def listen(_: nn.Module, __: Any, output: Tensor) -> Tensor:
        heard.append(output.requires_grad_())
        return output

    with hooked(embeddings, listen):
        clean = plain_step(module, batch)
    (gradient,) = torch.autograd.grad(clean["loss"], heard[0], retain_graph=True)
    along, size = gradient.float(), heard[0].detach().float().flatten(1).norm(dim=1)  # (R, T, D), (R,)
    size = NOISE * size / along.flatten(1).norm(dim=1).clamp(min=1e-12)
    noise = (along * size[:, None, None]).to(gradient.dtype)
    with hooked(embeddings, lambda _, __, output: output + noise):
        disturbed = plain_step(module, batch)
    return clean | {"loss": clean["loss"] + disturbed["loss"]}


def r_drop_step(module: NERModule, batch: Batch) -> dict[str, Tensor]:
    """Two passes with different dropout, and the divergence of their tag probabilities (Liang et al. 2021).

    Returns:
        the mean of both losses, and the mean of either's divergence from the other, per word.
    """
    passes: list[Tensor] = []
    with hooked(module.built, lambda _, __, output: passes.append(output)):
        first, second = plain_step(module, batch), plain_step(module, batch)
    one, other = (torch.log_softmax(each[batch.mask], -1) for each in passes)
    apart = ((one.exp() - other.exp()) * (one - other)).sum() / (2 * len(one))
    return first | {"loss": (first["loss"] + second["loss"]) / 2 + AGREEMENT * apart}


@contextmanager
def hooked(module: nn.Module, hook: Callable[..., Any]) -> Iterator[None]:
    """Within it a hook sees, and may replace, a module's output."""
    handle = module.register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()


plain_step: Callable[[NERModule, Batch], dict[str, Tensor]] = NERModule.training_step
# What each replaces: the module or class, the name in it, and what it gets.
Change = tuple[object, str, object]
LEVERS: dict[str, list[Change]] = {
    "none": [],
    "mixture": [(build, "BackboneEmitter", MixtureOfLayers)],
    "bilstm": [(build, "BackboneEmitter", BiLSTM)],
    "bioes": [(build, "BackboneEmitter", BIOESEmitter), (build, "Decoder", BIOESDecoder)],
    "fgm": [(NERModule, "training_step", fgm_step)],
    "r-drop": [(NERModule, "training_step", r_drop_step)],
}


def main(args: Sequence[str] | None = None) -> int:
    """Trains the seeds that have no rows yet."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    add_options(parser, RECIPE)
    parser.add_argument("--lever", choices=LEVERS, default="none", help="what is changed")
    words = list(sys.argv[1:] if args is None else args)
    options = parser.parse_args(words)
    for change in LEVERS[options.lever]:
        setattr(*change)
    cells = cells_of(CONFIG, "levers.py", options, words)
    for seed in options.seeds:
        cells.run([options.lever], seed, {})
    return 0


if __name__ == "__main__":
    sys.exit(main())
