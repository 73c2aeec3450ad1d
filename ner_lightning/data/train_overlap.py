"""Which sentences of a split are training sentences: a run keeps digests of those that it was trained on."""

from collections.abc import Collection, Iterable, Sequence
from hashlib import blake2b
from typing import NamedTuple

from ner_lightning.data.near_duplicates import SHORTEST, normalised
from ner_lightning.runs.folder import Run

FILE = "train_sentences.json"  # in a run folder: `{"digests": [...]}`
KEY = "training_sentences"  # in run.json's description of a split: `TrainOverlap` as a list
MANY = 0.2  # share of the compared sentences; CoNLL-2003's validation has 0.11
_BYTES = 6  # with a million sentences on each side, one pair is equal by chance with a probability of 0.4%


class TrainOverlap(NamedTuple):
    """How many sentences of a split are training sentences.

    Attributes:
        copies: those that are, apart from case and digits.
        compared: those that are long enough to be compared.
    """

    copies: int
    compared: int

    @property
    def are_many(self) -> bool:
        """Whether scores are likely to be too high for other text."""
        return self.copies > MANY * self.compared

    def text(self, split: str) -> str:
        """What to say of them.

        Args:
            split: `valid` or `test`.
        """
        which = {"valid": "validation"}.get(split, split)
        compared = f"{self.compared:,} {which} sentences of at least {SHORTEST} words"
        return f"{self.copies:,} of {compared} are training sentences as well"


def read_digests(run: Run) -> set[str]:
    """The digests of the sentences that a run was trained on; none if it was not trained."""
    return set(run.read(FILE).get("digests", ()))


def write_digests(run: Run, of: Iterable[str]) -> None:
    """Keeps digests of training sentences in a run folder."""
    run.write(FILE, {"digests": sorted(of)})


def digests(sentences: Iterable[Sequence[str]]) -> set[str]:
    """Digests of the sentences of at least 5 words, in lower case and with 0 for each digit.

    Args:
        sentences: the words of each.
    """
    return {_digest(words) for words in sentences if len(words) >= SHORTEST}


def overlap_with_train(sentences: Iterable[Sequence[str]], trained: Collection[str]) -> TrainOverlap:
    """How many sentences are training sentences.

    Args:
        sentences: the words of each.
        trained: the digests of the training sentences.
    """
    compared, learned = [_digest(words) for words in sentences if len(words) >= SHORTEST], frozenset(trained)
    return TrainOverlap(sum(each in learned for each in compared), len(compared))


def _digest(words: Sequence[str]) -> str:
    return blake2b(normalised(words).encode("utf-8", "surrogatepass"), digest_size=_BYTES).hexdigest()
