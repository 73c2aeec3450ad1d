"""What the fingerprints of two splits tell: whether one has sentences of the other."""

import re
from collections.abc import Sequence
from typing import Literal, NamedTuple

# The data, then a part of a file or a Hub split in brackets, then what is read or learned beside it.
_FORM = re.compile(r"(?P<data>\w+:\w+)(?: \((?:(?P<part>\w+) of (?P<rule>[^)]*)|(?P<split>[^)]*))\))?.*")
Shared = Literal["same", "parts", "changed"]


class _Origin(NamedTuple):
    """What a fingerprint is of.

    Attributes:
        data: digest of a file, or commit of a data set on the Hub.
        split: the configuration and split on the Hub; empty for a file.
        part: which part of the file it is; empty for the whole.
        rule: how large the parts are, which decides what is in them.
    """

    data: str
    split: str
    part: str
    rule: str


def shared(scored: str, trained: Sequence[str]) -> Shared | None:
    """Which sentences a split that is scored may have in common with training data.

    Args:
        scored: its fingerprint.
        trained: those of the training data, of each member of an ensemble.

    Returns:
        `same`: it is these data, or the whole file of which they are a part; `parts`: it is a part of a file
        that was trained on whole, or was divided in another way; `changed`: both are parts of files, of
        different content; None: nothing tells of any.
    """
    found = {_shared(_origin(scored), _origin(each)) for each in trained if each}
    order: tuple[Shared, ...] = ("changed", "parts", "same")
    return next((each for each in order if each in found), None)


def _origin(fingerprint: str) -> _Origin:
    match = _FORM.fullmatch(fingerprint)
    if match is None:
        return _Origin(fingerprint, "", "", "")
    return _Origin(match["data"], match["split"] or "", match["part"] or "", match["rule"] or "")


def _shared(scored: _Origin, trained: _Origin) -> Shared | None:
    if scored[:2] != trained[:2]:
        return "changed" if scored.part and trained.part else None
    if not scored.part or scored == trained:
        return "same"
    return None if scored.rule == trained.rule else "parts"
