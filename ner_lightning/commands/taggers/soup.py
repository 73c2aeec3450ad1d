"""`ner-lightning ensemble --soup`: one tagger whose weights are the mean of those of several."""

import copy
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ner_lightning.commands.taggers.members import (
    Combined,
    Member,
    check_precision,
    check_same,
    check_tokenizers,
)
from ner_lightning.errors import UserError

if TYPE_CHECKING:
    from ner_lightning.model.adapters import Lora

# Settings that a checkpoint fixes, and in which members may differ: the mean takes them into account.
FREE = ("model.lora.rank", "model.lora.alpha", "model.lora.rslora")
WHAT = "weights"


def check_soup(first: Member, other: Member, *, trust: bool = False) -> None:
    """Checks that the weights of two taggers can be averaged: same backbone, and the same meaning of each.

    Args:
        first: one of them.
        other: the other one.
        trust: run code that comes with their tokenizers.

    Raises:
        UserError: they cannot.
    """
    from ner_lightning.training.resuming import FIXED

    encoding = [f"data.encoding.{name}" for name in first.settings("data")["encoding"]]
    keys = ["data.types", *encoding, *FIXED["weights"], "model.architecture.constrained"]
    if first.setting("model.quantization") not in (None, "none"):
        check_precision(first, other, WHAT)  # from which the weights are quantised
    adapted = any(member.setting("model.peft") == "lora" for member in (first, other))
    compared = [key for key in dict.fromkeys(keys) if adapted or not key.startswith("model.lora.")]
    check_same(first, other, (key for key in compared if key not in FREE), WHAT)
    if adapted and first.setting("model.lora.dora"):
        raise UserError(
            f"{first.address} and {other.address} have model.lora.dora true: DoRA sets the norms of the rows "
            "of\nweights, so the mean of such weights is no adapter; leave out --soup"
        )
    one, two = (member.checkpoint["backbone"] for member in (first, other))
    if one["weights"] != two["weights"]:
        raise UserError(
            f"{first.address} and {other.address} were trained on different backbones: {one['name']} "
            f"({one['weights']})\nand {two['name']} ({two['weights']}), so there is no mean of their weights"
        )
    check_tokenizers(first, other, WHAT, trust=trust)


def soup(members: Sequence[Member], rank: int | None) -> Combined:
    """The tagger with the mean of the members' weights.

    Args:
        members: taggers that go together.
        rank: of its adapters; None for the exact mean.

    Raises:
        UserError: the members have no adapters of such a rank in all, or other parameters.
    """
    from ner_lightning.model.mean_of_weights import mean_of_weights
    from ner_lightning.system.plain_settings import to_plain

    loras = [_lora(member) for member in members]
    _check_rank(rank, loras)
    mean = mean_of_weights([member.state() for member in members], loras, rank)
    config = copy.deepcopy(dict(members[0].checkpoint["config"]))
    if mean.lora is not None:
        config["model"]["lora"] = to_plain(mean.lora)
    made = {
        "members": len(members),
        "rank": mean.lora and mean.lora.rank,
        "lost": None if rank is None else mean.lost,
    }
    sizes = _sizes(members[0], sum(value.numel() for value in mean.state.values()))
    weights = members[0].checkpoint["backbone"]["weights"]
    return Combined(config, weights, mean.state, {"soup": made} | sizes)


def described(made: Mapping[str, Any]) -> str:
    """What a soup's adapters are, in a few words; empty if it has none."""
    if made["rank"] is None:
        return ""
    if made["lost"] is None:
        return f"adapters of rank {made['rank']}, the exact mean"
    return f"adapters of rank {made['rank']}, which differ from the mean by {made['lost']:.2%} of its norm"


def _lora(member: Member) -> "Lora | None":
    from ner_lightning.model.adapters import Lora
    from ner_lightning.system.plain_settings import build

    return build(Lora, member.setting("model.lora")) if member.setting("model.peft") == "lora" else None


def _check_rank(rank: int | None, loras: Sequence["Lora | None"]) -> None:
    if rank is None:
        return
    most = sum(lora.rank for lora in loras if lora is not None)
    if not most:
        raise UserError(f"--soup_rank {rank} has no effect here: the runs have no adapters; leave it out")
    if rank > most:
        raise UserError(
            f"--soup_rank is {rank}; the exact mean has rank {most}, the sum of the runs' ranks. "
            "Leave it out for that."
        )


def _sizes(first: Member, trained: int) -> dict[str, int]:
    """The numbers of all and of trained parameters, if the first member's run knows its own."""
    from ner_lightning.runs.folder import run_of

    origin = run_of(first.path)
    run = origin.read("run.json") if origin else {}
    if "parameters" not in run or "trained_parameters" not in run:
        return {}
    frozen = run["parameters"] - run["trained_parameters"]
    return {"parameters": frozen + trained, "trained_parameters": trained}
