"""A linear-chain CRF over words: likelihood, Viterbi, marginals, n best paths, segments.

The maxima over paths are here, the sums over paths in `chain`. Nothing here knows label names: what
is legal comes as bool tensors. Shape legend: B sentences, W words, C tags, S segments, N paths.
"""

import math
from typing import TYPE_CHECKING, NamedTuple, Self

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ner_lightning.model import chain

if TYPE_CHECKING:
    import torchcrf

# The parameters of a CRF, as in pytorch-crf, and how many dimensions of C each has.
_SHAPES = {"start_transitions": 1, "end_transitions": 1, "transitions": 2}


class Segments(NamedTuple):
    """Stretches of words and their tags: `first_tag` at `start`, `inner_tag` from there to `end`.

    `end` is exclusive. `not_next` is the tag that would continue the segment at `end` and must not
    stand there; -1 allows all. It plays no part where the segment ends its sentence.

    *Shape:* each (S,), long.
    """

    sentence: Tensor
    start: Tensor
    end: Tensor
    first_tag: Tensor
    inner_tag: Tensor
    not_next: Tensor


def viterbi(emissions: Tensor, mask: Tensor, start: Tensor, transitions: Tensor, end: Tensor) -> Tensor:
    """The best path of each sentence (Viterbi 1967), computed on the host in numpy.

    All scores may be -inf. Of equally good paths it takes the one that pytorch-crf takes: the
    lowest last tag, then the lowest tag before it, and so on.

    *Shape:* `emissions` (B, W, C); `mask` (B, W), True on words, a prefix of each row; `start` (C,);
    `transitions` (C, C), from (row) to (column); `end` (C,). The result is (B, W), 0 on padding, on
    the device of `emissions`.
    """
    mask = mask.cpu()
    chain.check_inputs(emissions, mask, len(start))
    b, w, c = emissions.shape
    first, moves, last = (t.detach().cpu().double().numpy() for t in (start, transitions, end))
    lengths = mask.numpy().sum(1)  # (B,)
    order = np.argsort(-lengths, kind="stable")  # the sentences that go on are then a prefix
    active = (lengths > np.arange(w)[:, None]).sum(1).tolist()  # (W,)

    # Tags before sentences: a maximum over tags is then one over rows.
    best, by_sentence = chain.scratch.take((w, c, b), (w, b, c))
    by_sentence[:] = emissions.detach().cpu().double().numpy()[order].transpose(1, 0, 2)
    best[:] = by_sentence.transpose(0, 2, 1)
    best[0] += first[:, None]
    spread = moves[:, :, None]  # (C from, C to, 1)
    for word in range(1, active.index(0) if 0 in active else w):
        now = active[word]
        best[word, :, :now] += (best[word - 1, :, None, :now] + spread).max(0)  # (C, now)

    # Backpointers only for the tags on the path, not for all tags.
    by_sentence[:] = best.transpose(0, 2, 1)
    into = np.ascontiguousarray(moves.T)  # (C to, C from)
    path = np.zeros((w, b), dtype=np.int64)
    tag = (by_sentence[lengths[order] - 1, np.arange(b)] + last).argmax(1)  # (B,)
    for word in range(w - 1, -1, -1):
        after = active[word + 1] if word + 1 < w else 0
        tag[:after] = (by_sentence[word, :after] + into[tag[:after]]).argmax(1)
        path[word, : active[word]] = tag[: active[word]]
    result = np.empty((b, w), dtype=np.int64)
    result[order] = path.T
    return torch.from_numpy(result).to(emissions.device)


@torch.no_grad()
def n_best(
    emissions: Tensor, mask: Tensor, n: int, start: Tensor, transitions: Tensor, end: Tensor
) -> tuple[Tensor, Tensor]:
    """The n most probable legal paths, best first: Viterbi that keeps n scores for each tag.

    *Shape:* as for `viterbi`; the result is tags (B, N, W), 0 on padding and for paths that do not
    exist, and log-probabilities (B, N), -inf for paths that do not exist.
    """
    if n < 1:
        raise ValueError(f"expected n to be at least 1, got {n}")
    chain.check_inputs(emissions, mask, len(start))
    matrix = chain.transition_matrix(start, transitions, end)  # (K, K)
    w, c = emissions.shape[1:]
    moves = matrix[:c, None, :c]  # (C from, 1, C to)
    scores = emissions.to(matrix.dtype)
    best = F.pad((matrix[c, :c] + scores[:, 0]).unsqueeze(-1), (0, n - 1), value=-math.inf)
    stay = torch.arange(c * n, device=best.device).view(c, n)
    origins = []
    for word in range(1, w):
        candidates = (best.unsqueeze(-1) + moves).flatten(1, 2)  # (B, C * N from, C to)
        top, origin = candidates.topk(n, dim=1)  # (B, N, C to)
        real = mask[:, word].view(-1, 1, 1)
        best = torch.where(real, top.transpose(1, 2) + scores[:, word].unsqueeze(-1), best)
        origins.append(torch.where(real, origin.transpose(1, 2), stay).flatten(1))  # (B, C * N)
    score, slot = (best + matrix[:c, c:]).flatten(1).topk(n)  # (B, N)
    path = [slot]
    for origin in reversed(origins):
        path.append(origin.gather(1, path[-1]))
    tags = torch.stack(path[::-1], -1) // n  # (B, N, W)
    exists = (score > -math.inf).unsqueeze(-1) & mask.unsqueeze(1)  # (B, N, W)
    log_partition = chain.log_partition(emissions, mask, start, transitions, end)
    log_probs = chain.log_ratio(score, log_partition.unsqueeze(-1))  # (B, N)
    return tags.masked_fill(~exists, 0), log_probs.to(emissions.dtype)


@torch.no_grad()
def segment_log_probs(
    emissions: Tensor,
    mask: Tensor,
    segments: Segments,
    start: Tensor,
    transitions: Tensor,
    end: Tensor,
) -> Tensor:
    """Log-probability that a legal path holds a segment exactly, for each segment on its own.

    The forward message at its first word, the scores inside, and the backward messages after it but
    for `not_next` (Culotta and McCallum 2004). Emissions on words must be finite.

    *Shape:* as for `viterbi`; `segments` (S,) each; the result (S,).
    """
    chain.check_inputs(emissions, mask, len(start))
    sentence, first, stop, first_tag, inner_tag, not_next = segments
    if bool(((first < 0) | (stop <= first) | (stop > mask.sum(1)[sentence])).any()):
        raise ValueError("expected 0 <= start < end <= words of the sentence for every segment")
    matrix = chain.transition_matrix(start, transitions, end)  # (K, K)
    log_partition, left, right = chain.log_messages(emissions, mask, matrix)
    words = emissions.to(matrix.dtype).masked_fill(~mask.unsqueeze(-1), 0)  # (B, W, C)
    before = F.pad(words.cumsum(1), (0, 0, 1, 0))  # (B, W + 1, C): sums up to each word
    inside = before[sentence, stop, inner_tag] - before[sentence, first + 1, inner_tag]  # (S,)
    length = stop - first
    repeats = torch.where(length > 2, matrix[inner_tag, inner_tag] * (length - 2), 0)
    inside += torch.where(length > 1, matrix[first_tag, inner_tag] + repeats, 0)
    last = torch.where(length > 1, inner_tag, first_tag)  # (S,)
    after = matrix[last] + right[stop, sentence]  # (S, K): the end of the sentence is a tag as well
    banned = torch.arange(len(matrix), device=after.device) == not_next.unsqueeze(-1)  # (S, K)
    after = after.masked_fill(banned, -math.inf).logsumexp(-1)  # (S,)
    score = left[first, sentence, first_tag] + inside + after
    return chain.log_ratio(score, log_partition[sentence]).to(emissions.dtype)


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
            return chain.log_likelihood(emissions, mask, tags, *scores)

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
            return chain.posterior(emissions, mask, *scores).nodes

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
