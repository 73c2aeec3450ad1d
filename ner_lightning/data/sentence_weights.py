"""Weights of training sentences, as an audit writes them: a JSON object per line, with words and weight."""

import hashlib
import json
import math
from collections import defaultdict, deque
from collections.abc import Iterable, Sequence
from pathlib import Path

from ner_lightning.data.sentence import DataError, Sentence, read_lines
from ner_lightning.errors import UserError
from ner_lightning.system.atomic import write_text
from ner_lightning.system.progress import stage
from ner_lightning.system.user_paths import expanded

OPTION = "data.supervision.sentence_weights"
# What CrossWeigh (Wang et al. 2019) gives a sentence with which all of its three models disagree.
LEAST = 0.7**3


def weight_of(margin: float) -> float:
    """The weight of a sentence in training, from its margin in an audit.

    That is how probable its gold tags are beside the model's own, and at least `LEAST`: a doubtful sentence
    still teaches.

    Args:
        margin: the difference of their log-probabilities, at least 0.
    """
    return max(LEAST, math.exp(-margin))


def write_weights(path: Path, sentences: Iterable[Sentence], weights: Iterable[float]) -> None:
    """Writes a weight for each sentence."""
    rows = (
        json.dumps({"weight": round(weight, 4), "words": sentence.words}, ensure_ascii=False)
        for sentence, weight in zip(sentences, weights, strict=True)
    )
    write_text(path, "".join(f"{row}\n" for row in rows))


def read_weights(path: str, sentences: Sequence[Sentence], origin: str) -> tuple[list[float], str]:
    """The weight of each sentence, found by its words: their order and tags may have changed since.

    Sentences of the same words take the weights of such rows in order.

    Args:
        path: a file that `write_weights` wrote, or one like it.
        sentences: all of the training data.
        origin: where they come from, for messages.

    Returns:
        weights of at least 0, and the file's SHA-256.

    Raises:
        UserError: a line is not such a row, a sentence has no weight, or all weights are 0.
    """
    file = expanded(path)
    rows: defaultdict[tuple[str, ...], deque[float]] = defaultdict(deque)
    for number, line in enumerate(read_lines(file), start=1):
        if line.strip():
            words, weight = _row(f"{path}:{number}", line)
            rows[words].append(weight)
    found = [rows[sentence.words].popleft() if rows[sentence.words] else None for sentence in sentences]
    weights = [weight for weight in found if weight is not None]
    if missing := len(found) - len(weights):
        first = sentences[found.index(None)]
        where = f"{origin}:{first.line}" if first.line else f"sentence {found.index(None) + 1} of {origin}"
        raise UserError(
            f"{OPTION}: {path} has no weight for {missing:,} of {len(found):,} training sentences, the first "
            f"is {where} ({' '.join(first.words)!r:.40});\n"
            "add a line for each, with its words and weight 1, or audit these data again"
        )
    if not any(weights):
        raise UserError(f"{OPTION}: all weights in {path} are 0, so there is nothing to train on")
    more = sum(map(len, rows.values()))
    stage(
        f"{path}: {len(weights):,} training sentences have weights, {sum(weights) / len(weights):.2f} on "
        f"average, {sum(weight < 0.5 for weight in weights):,} below 0.5"
        + (f"; {more:,} weights are of sentences that are not there" if more else "")
    )
    return weights, hashlib.sha256(file.read_bytes()).hexdigest()


def _row(where: str, line: str) -> tuple[tuple[str, ...], float]:
    try:
        row = json.loads(line)
    except ValueError:
        row = None
    words, weight = (row.get("words"), row.get("weight")) if isinstance(row, dict) else (None, None)
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise DataError(f'{where}: expected a line like {{"weight": 0.5, "words": ["EU", "rejects"]}}')
    if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0 <= weight < math.inf:
        raise DataError(f"{where}: weight is {json.dumps(weight)}; it must be a number of at least 0")
    return tuple(words), float(weight)
