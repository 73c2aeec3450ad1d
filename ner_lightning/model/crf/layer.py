"""CRF: the torch module around the sums and maxima over paths."""

import math
from typing import TYPE_CHECKING, Self

import torch
from torch import Tensor, nn

from ner_lightning.model.crf import sums

if TYPE_CHECKING:
    import torchcrf
from ner_lightning.model.crf.viterbi import _SHAPES, Segments, n_best, segment_log_probs, viterbi


class CRF(nn.Module):
    """Conditional random field over tag sequences (Lafferty et al. 2001).

    Parameters have pytorch-crf's names, shapes and initial values, so that a state dict moves
    between the two, and without a legality mask so do values and gradients. With one, only legal
    paths exist: an illegal path has probability zero, whatever the parameters say.

    Emissions and parameters are taken as fp32 whatever autocast and the type of its inputs say, or as fp64
    if they are; sums and maxima over paths are in fp64 (in fp32 on MPS, which has no other), and results
    are rounded to the type that emissions were taken as.

    Why not pytorch-crf itself: it knows no illegal transitions, neither in its sums nor in decoding; its
    gradient goes through every step of the recursion, where this one is in closed form, and it takes four
    times as long (docs/explanations/crf.md has the measurements). `from_pytorch_crf` and `to_pytorch_crf`
    exchange weights with it.

    Args:
        num_tags: number of tags, C.
        legal_starts: which tags may be first; None allows all, here and below. *Shape:* (C,)
        legal_transitions: which tags may follow which (from, to). *Shape:* (C, C)
        legal_ends: which tags may be last. *Shape:* (C,)
    """

    legal_starts: Tensor | None
    legal_transitions: Tensor | None
    legal_ends: Tensor | None

    def __init__(
        self,
        num_tags: int,
        legal_starts: Tensor | None = None,
        legal_transitions: Tensor | None = None,
        legal_ends: Tensor | None = None,
    ) -> None:
        super().__init__()
        if num_tags < 1:
            raise ValueError(f"expected at least one tag, got num_tags={num_tags}")
        self.num_tags = num_tags
        self.start_transitions = nn.Parameter(torch.empty(num_tags))
        self.end_transitions = nn.Parameter(torch.empty(num_tags))
        self.transitions = nn.Parameter(torch.empty(num_tags, num_tags))
        legal = {
            "legal_starts": (legal_starts, (num_tags,)),
            "legal_transitions": (legal_transitions, (num_tags, num_tags)),
            "legal_ends": (legal_ends, (num_tags,)),
        }
        for name, (allowed, shape) in legal.items():
            if allowed is not None and (allowed.dtype != torch.bool or allowed.shape != shape):
                got = f"{allowed.dtype} {tuple(allowed.shape)}"
                raise ValueError(f"expected {name} to be torch.bool {shape}, got {got}")
            self.register_buffer(name, allowed, persistent=False)
        self.reset_parameters()

    @classmethod
    def from_pytorch_crf(
        cls,
        other: "torchcrf.CRF",
        legal_starts: Tensor | None = None,
        legal_transitions: Tensor | None = None,
        legal_ends: Tensor | None = None,
    ) -> Self:
        """A CRF with a copy of the weights of one of pytorch-crf, on its device and in its type.

        Args:
            other: with `batch_first` or without: that says how its inputs lie, while here sentences always
                come first.
            legal_starts: as at `CRF`, here and below; pytorch-crf has none, so None computes as it does.
            legal_transitions: *Shape:* (C, C)
            legal_ends: *Shape:* (C,)

        Raises:
            TypeError: `other` is no `torchcrf.CRF`.
            ValueError: its weights do not have the shapes of `num_tags` tags, or a mask does not.
        """
        tags, parameters = getattr(other, "num_tags", None), dict(getattr(other, "named_parameters", dict)())
        if tags is None or parameters.keys() != _SHAPES.keys():
            raise TypeError(f"expected a torchcrf.CRF, got {type(other).__module__}.{type(other).__name__}")
        for name, dims in _SHAPES.items():
            if parameters[name].shape != (tags,) * dims:
                got = tuple(parameters[name].shape)
                raise ValueError(f"expected {name} to have shape {(tags,) * dims} for {tags} tags, got {got}")
        crf = cls(tags, legal_starts, legal_transitions, legal_ends).to(parameters["transitions"])
        crf.load_state_dict(parameters)
        return crf

    def to_pytorch_crf(self) -> "torchcrf.CRF":
        """A CRF of pytorch-crf with a copy of these weights, `batch_first`, of their device and type.

        It does not know what is illegal here: give illegal transitions weights such as -1e4 where it must
        not take them.

        Raises:
            ImportError: pytorch-crf is not installed.
        """
        try:
            import torchcrf
        except ImportError as error:
            raise ImportError("pytorch-crf is not installed: pip install pytorch-crf") from error

        other = torchcrf.CRF(self.num_tags, batch_first=True).to(self.transitions)
        other.load_state_dict(self.state_dict())
        return other

    def reset_parameters(self) -> None:
        """Draw all parameters uniformly from -0.1 to 0.1."""
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -0.1, 0.1)

    def extra_repr(self) -> str:
        """What `print` shows between the brackets."""
        return f"num_tags={self.num_tags}"

    def _inputs(
        self, emissions: Tensor, temperature: float = 1.0
    ) -> tuple[Tensor, tuple[Tensor, Tensor, Tensor]]:
        """Emissions, and start, transition and end scores with -inf where illegal, in fp32 or fp64."""
        double = torch.float64 in (emissions.dtype, self.transitions.dtype)
        dtype = torch.float64 if double else torch.float32
        scores = []
        for parameter, legal in (
            (self.start_transitions, self.legal_starts),
            (self.transitions, self.legal_transitions),
            (self.end_transitions, self.legal_ends),
        ):
            score = parameter.to(dtype)
            scores.append(score if legal is None else torch.where(legal, score, -math.inf))
        if temperature != 1:
            emissions = emissions.to(dtype) / temperature
            scores = [score / temperature for score in scores]
        return emissions.to(dtype), (scores[0], scores[1], scores[2])

    def log_likelihood(self, emissions: Tensor, tags: Tensor, mask: Tensor) -> Tensor:
        """Log-probability of the gold path among all legal paths; its gradient is in closed form.

        A gold path that is illegal has log-likelihood -inf and adds nothing to any gradient: leave
        it out of the loss, or repair it. On CUDA nothing waits for the device.

        Args:
            emissions: score of each tag at each word. *Shape:* (B, W, C)
            tags: gold tags; anything on padding. *Shape:* (B, W)
            mask: prefix mask, True on words. *Shape:* (B, W)

        Returns:
            The log-likelihoods; negate them for a loss. *Shape:* (B,)
        """
        with torch.autocast(emissions.device.type, enabled=False):
            emissions, scores = self._inputs(emissions)
            return sums.log_likelihood(emissions, mask, tags, *scores)

    @torch.no_grad()
    def decode(self, emissions: Tensor, mask: Tensor) -> Tensor:
        """The most probable legal path, computed on the host; see `viterbi`.

        Args:
            emissions: score of each tag at each word. *Shape:* (B, W, C)
            mask: prefix mask, True on words. *Shape:* (B, W)

        Returns:
            Tags on the device of `emissions`, 0 on padding. *Shape:* (B, W)
        """
        emissions, scores = self._inputs(emissions)
        return viterbi(emissions, mask, *scores)

    @torch.no_grad()
    def marginals(self, emissions: Tensor, mask: Tensor, temperature: float = 1.0) -> Tensor:
        """Probability of each tag at each word.

        Args:
            emissions: score of each tag at each word. *Shape:* (B, W, C)
            mask: prefix mask, True on words. *Shape:* (B, W)
            temperature: what all scores are divided by first; above 1, probabilities are less extreme.

        Returns:
            Probabilities, 0 on padding. *Shape:* (B, W, C)
        """
        with torch.autocast(emissions.device.type, enabled=False):
            emissions, scores = self._inputs(emissions, temperature)
            return sums.posterior(emissions, mask, *scores).nodes

    @torch.no_grad()
    def segment_log_probs(
        self, emissions: Tensor, mask: Tensor, segments: Segments, temperature: float = 1.0
    ) -> Tensor:
        """Log-probability that a path holds a segment exactly; see the function of this name.

        Args:
            emissions: score of each tag at each word. *Shape:* (B, W, C)
            mask: prefix mask, True on words. *Shape:* (B, W)
            segments: what to score. *Shape:* (S,) each
            temperature: as at `marginals`.

        Returns:
            The log-probabilities. *Shape:* (S,)
        """
        with torch.autocast(emissions.device.type, enabled=False):
            emissions, scores = self._inputs(emissions, temperature)
            return segment_log_probs(emissions, mask, segments, *scores)

    @torch.no_grad()
    def n_best(
        self, emissions: Tensor, mask: Tensor, n: int, temperature: float = 1.0
    ) -> tuple[Tensor, Tensor]:
        """The n most probable legal paths, best first; see the function of this name.

        Args:
            emissions: score of each tag at each word. *Shape:* (B, W, C)
            mask: prefix mask, True on words. *Shape:* (B, W)
            n: how many paths, N.
            temperature: as at `marginals`.

        Returns:
            Tags *Shape:* (B, N, W) and log-probabilities *Shape:* (B, N); -inf: no such path.
        """
        with torch.autocast(emissions.device.type, enabled=False):
            emissions, scores = self._inputs(emissions, temperature)
            return n_best(emissions, mask, n, *scores)
