"""A linear-chain CRF by writing out every legal path: slow, plain, and easy to believe.

Scores are nested lists of floats, -inf where illegal: `emissions[word][tag]`, `start[tag]`,
`transitions[from][to]`, `end[tag]`. Everything is about one sentence, without padding.
"""

import itertools
import math
from collections.abc import Sequence

Scores = Sequence[float]
Matrix = Sequence[Sequence[float]]
Path = tuple[int, ...]


def path_score(path: Path, emissions: Matrix, start: Scores, transitions: Matrix, end: Scores) -> float:
    """The score of one path."""
    score = start[path[0]] + end[path[-1]]
    score += math.fsum(emissions[word][tag] for word, tag in enumerate(path))
    return score + math.fsum(transitions[a][b] for a, b in itertools.pairwise(path))


def legal_paths(
    emissions: Matrix, start: Scores, transitions: Matrix, end: Scores
) -> list[tuple[float, Path]]:
    """Score and tags of every path whose score is above -inf, best first."""
    paths = itertools.product(range(len(start)), repeat=len(emissions))
    scored = [(path_score(path, emissions, start, transitions, end), path) for path in paths]
    return sorted((pair for pair in scored if pair[0] > -math.inf), key=lambda pair: -pair[0])


def log_sum(scores: Sequence[float]) -> float:
    """The logarithm of the sum of exponentials, -inf for none."""
    if not scores:
        return -math.inf
    top = max(scores)
    return top + math.log(math.fsum(math.exp(score - top) for score in scores))


def log_partition(paths: list[tuple[float, Path]]) -> float:
    """The log-partition over paths."""
    return log_sum([score for score, _ in paths])


def log_probs(paths: list[tuple[float, Path]]) -> list[float]:
    """The log-probability of each path, in order."""
    total = log_partition(paths)
    return [score - total for score, _ in paths]


def marginals(paths: list[tuple[float, Path]], words: int, tags: int) -> list[list[float]]:
    """The probability of each tag at each word, `[word][tag]`."""
    result = [[0.0] * tags for _ in range(words)]
    for log_prob, (_, path) in zip(log_probs(paths), paths, strict=True):
        for word, tag in enumerate(path):
            result[word][tag] += math.exp(log_prob)
    return result


def transition_counts(paths: list[tuple[float, Path]], tags: int) -> list[list[float]]:
    """The expected number of each transition, `[from][to]`."""
    result = [[0.0] * tags for _ in range(tags)]
    for log_prob, (_, path) in zip(log_probs(paths), paths, strict=True):
        for before, after in itertools.pairwise(path):
            result[before][after] += math.exp(log_prob)
    return result


def segment_log_prob(
    paths: list[tuple[float, Path]], start: int, end: int, first_tag: int, inner_tag: int
) -> float:
    """Log-probability that a segment begins at `start`, goes on up to `end`, and ends there."""

    def continues(path: Path, word: int) -> bool:
        before = path[word - 1] if word else None
        return word < len(path) and path[word] == inner_tag and before in (first_tag, inner_tag)

    wanted = [False, *[True] * (end - start - 1), False]
    scores = [
        score
        for score, path in paths
        if path[start] in (first_tag, inner_tag)
        and [continues(path, word) for word in range(start, end + 1)] == wanted
    ]
    return log_sum(scores) - log_partition(paths)
