"""Pins a trained tagger's backbone on the Hub to the commit that it was trained on: a branch moves on."""

import re
from collections.abc import Mapping
from typing import Any

JOINT = " + "  # between the fingerprints of an ensemble's members
_COMMIT = re.compile(r"commit:(\w+)")


def commit_in(fingerprint: str) -> str | None:
    """The Hub's commit in the fingerprint of a backbone; None if it was a file or a folder."""
    found = _COMMIT.match(fingerprint)
    return found and found[1]


def pinned(settings: Mapping[str, Any], origin: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a trained tagger, with the commit of its training as the revision of each backbone.

    Args:
        settings: as plain values: `backbone`, `revision`, and the `members` of an ensemble. Where `backbone`
            is another than in training, it keeps its revision.
        origin: the record of the training: `name`, and `weights`, the fingerprint.
    """
    members = settings.get("members") or ()
    first, *others = _fingerprints(origin, 1 + len(members))
    moved = None if settings["backbone"] == origin.get("name") else settings["backbone"]

    def at_commit(one: Mapping[str, Any], fingerprint: str) -> dict[str, Any]:
        commit = None if one["backbone"] == moved else commit_in(fingerprint)
        return {**one, "revision": commit or one.get("revision")}

    pinned_members = [at_commit(one, each) for one, each in zip(members, others, strict=True)]
    return at_commit(settings, first) | ({"members": pinned_members} if members else {})


def pin(config: Any, stored: Mapping[str, Any], origin: Mapping[str, Any]) -> None:
    """Pins the backbone of a command's options, unless they name another one or another revision.

    Args:
        config: the parsed options `model` and `data`, in place.
        stored: the options `model` of the training, as plain values.
        origin: as of `pinned`.
    """
    model = config.model
    if model.revision != stored.get("revision"):
        return
    settings = {name: model.get(name) for name in ("backbone", "revision", "members")}
    found = pinned(settings, origin)
    model.revision = config.data.backbone_revision = found["revision"]
    model.members = found["members"]


def _fingerprints(origin: Mapping[str, Any], count: int) -> list[str]:
    """The fingerprint of each member; empty ones where it cannot be told which is whose."""
    found = str(origin.get("weights") or "").split(JOINT)
    return found if len(found) == count else [""] * count
