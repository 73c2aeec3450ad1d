"""Fingerprints and origins of splits: how they are written and read, and what two of them have in common."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

# The data, then a part of a file or a Hub split in brackets, then what is read or learned beside it.
_FORM = re.compile(r"(?P<data>\w+:\w+)(?: \((?:(?P<part>\w+) of (?P<rule>[^)]*)|(?P<split>[^)]*))\))?.*")
_PART = re.compile(r" \(\w+ part\)$")
MEMBERS_DATA = "members_data"  # what a checkpoint that was made of several has instead of `data`
DIGITS = 12  # of a digest, where it is shown
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


def of_part(data: str, part: str, rule: str) -> str:
    """The fingerprint of a part of a file.

    Args:
        data: the fingerprint of the whole.
        part: which one it is: `train`, `valid` or `test`.
        rule: the names and shares of all parts.
    """
    return f"{data} ({part} of {rule})"


def is_part(fingerprint: str) -> bool:
    """Whether it is that of a part of a file."""
    return bool(_origin(fingerprint).part)


def of_hub_split(commit: str, split: str) -> str:
    """The fingerprint of a split on the Hub, named with its configuration if it has one."""
    return f"commit:{commit} ({split})"


def limited(fingerprint: str, sentences: int) -> str:
    """The fingerprint of the first sentences of a split."""
    return f"{fingerprint}[:{sentences}]"


def with_note(fingerprint: str, name: str, digest: str, more: str = "") -> str:
    """The fingerprint of a split and something else that is read or learned beside it.

    Args:
        fingerprint: that of the split.
        name: what it is, such as `weights`.
        digest: of its content, at least 12 digits.
        more: what else decides, such as a factor.
    """
    return f"{fingerprint}, {name} {digest[:DIGITS]}" + (f" {more}" if more else "")


def digest_in(fingerprint: str) -> str:
    """The digest of a file, or the commit of a data set on the Hub; whole if it has another form."""
    return _origin(fingerprint).data.rpartition(":")[2]


def shortened(fingerprint: str, digits: int = DIGITS) -> str:
    """A fingerprint with some digits of its digest and all that follows, in which two may differ.

    Example:
        >>> shortened("sha256:1234567890abcdef (train of train 0.9, valid 0.1)[:300]", 8)
        'sha256:12345678 (train of train 0.9, valid 0.1)[:300]'
    """
    data = _origin(fingerprint).data
    kind, colon, digest = data.partition(":")
    return f"{kind}:{digest[:digits]}{fingerprint[len(data) :]}" if colon else fingerprint


def part_origin(file: str, part: str) -> str:
    """The origin of a part of a file, for messages."""
    return f"{file} ({part} part)"


def file_in(origin: str) -> str:
    """The file of an origin, also of a part of it."""
    return _PART.sub("", origin)


def training_data(checkpoint: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The fingerprints of the data of a training; of a tagger that was made of several, those of each."""
    return checkpoint.get(MEMBERS_DATA) or [checkpoint.get("data") or {}]


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
