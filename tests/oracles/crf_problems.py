"""Random batches for the CRF, small enough to enumerate."""

import math
from typing import NamedTuple

import torch
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from oracles import enumeration
from torch import Tensor

INF = math.inf
# O, B-X, I-X, B-Y, I-Y: an inside tag follows its own type only.
BIO_STARTS = torch.tensor([True, True, False, True, False])
BIO_MOVES = torch.tensor(
    [[to in (0, 1, 3) or start in (to - 1, to) for to in range(5)] for start in range(5)]
)


hypothesis_settings = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


class Problem(NamedTuple):
    """Scores, mask and tags of a batch; `scores` are start, transitions and end."""

    emissions: Tensor
    mask: Tensor
    tags: Tensor
    scores: tuple[Tensor, Tensor, Tensor]

    def rows(self):
        """Emissions of each sentence without padding, and all its legal paths."""
        for emissions, mask in zip(self.emissions, self.mask, strict=True):
            words = emissions[mask].tolist()
            yield words, enumeration.legal_paths(words, *(score.tolist() for score in self.scores))


def double(rows: list[list[float]]) -> Tensor:
    return torch.tensor(rows, dtype=torch.float64)


def make(
    seed: int, lengths: list[int], tags: int, legal: str = "all", spread: float = 1.0, dtype=torch.float64
) -> Problem:
    """A random batch: `legal` is "all", "bio" (5 tags) or "random"."""
    g = torch.Generator().manual_seed(seed)
    mask = torch.arange(max(lengths)) < torch.tensor(lengths).unsqueeze(1)
    shapes = ((tags,), (tags, tags), (tags,))
    scores = [torch.randn(*shape, generator=g, dtype=dtype) * spread for shape in shapes]
    if legal == "random":
        scores = [x.masked_fill(torch.rand(x.shape, generator=g) < 0.4, -INF) for x in scores]
    elif legal == "bio":
        scores[0] = scores[0].masked_fill(~BIO_STARTS, -INF)
        scores[1] = scores[1].masked_fill(~BIO_MOVES, -INF)
    emissions = torch.randn(*mask.shape, tags, generator=g, dtype=dtype) * spread
    gold = torch.randint(0, tags, mask.shape, generator=g)
    return Problem(emissions, mask, gold, (scores[0], scores[1], scores[2]))


@st.composite
def problems(draw: st.DrawFn) -> Problem:
    legal = draw(st.sampled_from(["all", "bio", "random"]))
    tags = 5 if legal == "bio" else draw(st.integers(1, 4))
    lengths = draw(st.lists(st.integers(1, 4 if tags == 5 else 5), min_size=1, max_size=3))
    spread = draw(st.sampled_from([0.1, 1.0, 10.0, 100.0, 1e4]))
    return make(draw(st.integers(0, 2**31)), lengths, tags, legal, spread)
