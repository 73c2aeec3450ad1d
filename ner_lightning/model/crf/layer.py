"""CRF: the torch module, its parameters and legality masks, around the sums and maxima over paths."""

import math
from typing import TYPE_CHECKING, Self

import torch
from torch import Tensor, nn

from ner_lightning.model.crf import sums
from ner_lightning.model.crf.candidates import Candidates, Kinds, candidate_segments
from ner_lightning.model.crf.evidence import evidence_log_likelihood
from ner_lightning.model.crf.segments import Segments, segment_log_probs
from ner_lightning.model.crf.viterbi import n_best, viterbi

if TYPE_CHECKING:
    import torchcrf

# The parameters, named as in pytorch-crf, and how many dimensions of size C each has.
_DIMENSIONS = {"start_transitions": 1, "end_transitions": 1, "transitions": 2}


class CRF(nn.Module):
    """Conditional random field over tag sequences (Lafferty et al. 2001).

    Parameters have pytorch-crf's names, shapes and initial values, so that a state dict moves
    between the two, and without a legality mask so do values and gradients. With one, only legal
    paths exist: an illegal path has probability zero, whatever the parameters say.

    Emissions and parameters are cast to fp32, also under autocast, or to fp64 if one of them is. Sums and
    maxima over paths are computed in fp64 (in fp32 on MPS, which has no fp64), and rounded to that type.

    Compared with pytorch-crf, illegal transitions are excluded from sums and decoding, and the gradient in
    closed form makes it four times as fast (docs/explanations/crf.md has the measurements).

    Args:
        num_tags: number of tags, C, at least 1.
        legal_starts: which tags may be first; None allows all, here and below. *Shape:* (C,)
        legal_transitions: which tags may follow which (from, to). *Shape:* (C, C)
        legal_ends: which tags may be last. *Shape:* (C,)

    Raises:
        ValueError: `num_tags` is below 1, or a mask has another type or shape.

    Example:
        >>> crf = CRF(num_tags=3)
        >>> emissions, mask = torch.zeros(1, 2, 3), torch.ones(1, 2, dtype=torch.bool)
        >>> crf.decode(emissions, mask).shape
        torch.Size([1, 2])
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
        """A CRF with a copy of the weights of one of pytorch-crf, of their device and type.

        Args:
            other: with `batch_first` or without.
            legal_starts: as for `CRF`, here and below.
            legal_transitions: *Shape:* (C, C)
            legal_ends: *Shape:* (C,)

        Raises:
            TypeError: `other` is not a `torchcrf.CRF`.
            ValueError: its weights or a mask do not have the shapes of `num_tags` tags.
        """
        tags, parameters = getattr(other, "num_tags", None), dict(getattr(other, "named_parameters", dict)())
        if tags is None or parameters.keys() != _DIMENSIONS.keys():
            raise TypeError(f"expected a torchcrf.CRF, got {type(other).__module__}.{type(other).__name__}")
        for name, dims in _DIMENSIONS.items():
            if parameters[name].shape != (tags,) * dims:
                got = tuple(parameters[name].shape)
                raise ValueError(f"expected {name} to have shape {(tags,) * dims} for {tags} tags, got {got}")
        crf = cls(tags, legal_starts, legal_transitions, legal_ends).to(parameters["transitions"])
        crf.load_state_dict(parameters)
        return crf

    def to_pytorch_crf(self) -> "torchcrf.CRF":
        """A `torchcrf.CRF` (`batch_first`) with a copy of these weights, of their device and type.

        It has no legality mask: set the weights of illegal transitions to, say, -1e4.

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
        """The arguments that `repr` shows."""
        return f"num_tags={self.num_tags}"

    def path_scores(
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

        An illegal gold path has log-likelihood -inf and adds nothing to any gradient: exclude it from the
        loss, or correct it. On CUDA, nothing here synchronizes. There are no second derivatives: a backward
        pass with `create_graph` raises RuntimeError.

        Args:
            emissions: score of each tag at each word. *Shape:* (B, W, C)
            tags: gold tags; any value on padding. *Shape:* (B, W)
            mask: prefix mask, True on words. *Shape:* (B, W)

        Returns:
            The log-likelihoods; negate them for a loss. *Shape:* (B,)
        """
        with torch.autocast(emissions.device.type, enabled=False):
            emissions, scores = self.path_scores(emissions)
            return sums.log_likelihood(emissions, mask, tags, *scores)

    def evidence_log_likelihood(self, emissions: Tensor, evidence: Tensor, mask: Tensor) -> Tensor:
        """Log-probability of what is known of each word's tag; see `evidence.evidence_log_likelihood`.

        *Shape:* `emissions` and `evidence` (B, W, C), the log-weight of each tag, such as 0, or -inf where
        it is not possible; `mask` (B, W); the result (B,).
        """
        with torch.autocast(emissions.device.type, enabled=False):
            emissions, scores = self.path_scores(emissions)
            return evidence_log_likelihood(emissions, mask, evidence, *scores)

    @torch.no_grad()
    def decode(self, emissions: Tensor, mask: Tensor) -> Tensor:
        """The most probable legal path, computed on the host; see `viterbi`.

        Args:
            emissions: score of each tag at each word. *Shape:* (B, W, C)
            mask: prefix mask, True on words. *Shape:* (B, W)

        Returns:
            Tags on the device of `emissions`, 0 on padding. *Shape:* (B, W)
        """
        emissions, scores = self.path_scores(emissions)
        return viterbi(emissions, mask, *scores)

    @torch.no_grad()
    def marginals(self, emissions: Tensor, mask: Tensor, temperature: float = 1.0) -> Tensor:
        """Probability of each tag at each word.

        Args:
            emissions: score of each tag at each word. *Shape:* (B, W, C)
            mask: prefix mask, True on words. *Shape:* (B, W)
            temperature: divides all scores, above 0; above 1, probabilities are less extreme.

        Returns:
            Probabilities, 0 on padding. *Shape:* (B, W, C)
        """
        with torch.autocast(emissions.device.type, enabled=False):
            emissions, scores = self.path_scores(emissions, temperature)
            return sums.posterior(emissions, mask, *scores).marginals

    @torch.no_grad()
    def segment_log_probs(
        self, emissions: Tensor, mask: Tensor, segments: Segments, temperature: float = 1.0
    ) -> Tensor:
        """Log-probability that a path contains exactly a segment, *shape (S,)*; see `segments`."""
        with torch.autocast(emissions.device.type, enabled=False):
            emissions, scores = self.path_scores(emissions, temperature)
            return segment_log_probs(emissions, mask, segments, *scores)

    @torch.no_grad()
    def candidates(
        self, emissions: Tensor, mask: Tensor, kinds: Kinds, temperature: float = 1.0
    ) -> Candidates:
        """All segments of at least a given probability, on the CPU; see `candidates.candidate_segments`."""
        with torch.autocast(emissions.device.type, enabled=False):
            emissions, scores = self.path_scores(emissions, temperature)
            return candidate_segments(emissions, mask, kinds, *scores)

    @torch.no_grad()
    def n_best(
        self, emissions: Tensor, mask: Tensor, n: int, temperature: float = 1.0
    ) -> tuple[Tensor, Tensor]:
        """The n most probable legal paths, best first; see `viterbi.n_best`.

        Args:
            emissions: score of each tag at each word. *Shape:* (B, W, C)
            mask: prefix mask, True on words. *Shape:* (B, W)
            n: number of paths, N, at least 1.
            temperature: as for `marginals`.

        Returns:
            Tags *Shape:* (B, N, W) and log-probabilities *Shape:* (B, N), -inf where there is no such path.
        """
        with torch.autocast(emissions.device.type, enabled=False):
            emissions, scores = self.path_scores(emissions, temperature)
            return n_best(emissions, mask, n, *scores)
