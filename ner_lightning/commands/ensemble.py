"""`ner-lightning ensemble`: one tagger of several, with the mean of their scores or of their weights."""

import copy
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ner_lightning.commands.options.command_line import Parser
from ner_lightning.commands.taggers.members import (
    Combined,
    Member,
    check_precision,
    check_same,
    check_tokenizers,
    read,
    warn_of_equal,
    write,
)
from ner_lightning.commands.taggers.soup import check_soup, described, soup
from ner_lightning.errors import UserError
from ner_lightning.system.ranges import PositiveInt, check_options

WHAT = "scores"


def run(subcommand: str, args: Sequence[str]) -> None:
    """Runs the command; raises UserError at a user's mistake."""
    options = parser(subcommand).parse_args(args)
    if len(options.members) < 2:
        raise UserError("name two runs or more")
    if options.soup_rank is not None and not options.soup:
        raise UserError("--soup_rank has no effect here: it is for --soup; leave it out, or add that")
    check_options(options, soup_rank=PositiveInt)
    # Here and below: `--help` must not wait for torch.
    from ner_lightning.runs.folder import create, short

    root = Path(options.runs)
    members = read(options.members, root)
    fits = check_soup if options.soup else check_averageable
    for member in members[1:]:
        fits(members[0], member, trust=options.trust_remote_code)
    warn_of_equal(members)
    kind = "soup" if options.soup else "ensemble"
    made = soup(members, options.soup_rank) if options.soup else ensemble(members)
    run = create(root, options.name or kind)
    try:
        write(run, members, made, ["ner-lightning", subcommand, *args])
    except BaseException:
        shutil.rmtree(run.path, ignore_errors=True)  # it holds nothing else
        raise
    run.point_last()
    where, more = short(run.path), described(made.about["soup"]) if options.soup else ""
    sys.stdout.write(
        f"the {kind} of {len(members)} taggers is in {where}{f': {more}' if more else ''}; "
        f"next: ner-lightning validate --run {where}\n"
    )


def check_averageable(first: Member, other: Member, *, trust: bool = False) -> None:
    """Checks that scores of two taggers can be averaged: same tags, words, sub-tokens and kind of decoding.

    Args:
        first: one of them.
        other: the other one.
        trust: run code that comes with their tokenizers.

    Raises:
        UserError: they cannot.
    """
    encoding = [f"data.encoding.{name}" for name in first.settings("data")["encoding"]]
    keys = ("data.types", *encoding, "model.use_crf", "model.architecture.constrained")
    check_same(first, other, keys, WHAT)
    check_precision(first, other, WHAT)  # the first one's would count for all
    check_tokenizers(first, other, WHAT, trust=trust)


def ensemble(members: Sequence[Member]) -> Combined:
    """The tagger whose scores are the mean of the members'."""
    from ner_lightning.model.build import joined
    from ner_lightning.model.checkpoint import mean_state
    from ner_lightning.model.tagger_settings import TaggerSettings
    from ner_lightning.system.plain_settings import select

    # At their commits: members of one name, but of two commits of it, share no backbone.
    settings = [select(TaggerSettings, member.pinned()) for member in members]
    weights = joined([member.checkpoint["backbone"]["weights"] for member in members])
    state = mean_state([member.state() for member in members], settings)
    return Combined(_config(members[0], settings), weights, state, {})


def _config(first: Member, settings: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The first member's configuration, which names the others; `settings` are those of each."""
    config = copy.deepcopy(dict(first.checkpoint["config"]))
    config["model"] |= {"revision": settings[0]["revision"], "members": list(settings[1:])}
    config["model"]["cache"] = {**config["model"].get("cache", {}), "enabled": False}
    return config


def parser(name: str) -> Parser:
    """Its options."""
    parser = Parser(
        name,
        "Makes one tagger of several, such as seeds of a recipe: its scores are the mean of theirs, or its "
        "weights (--soup). It is a run of its own, for validate, test, predict, serve and report.",
    )
    parser.add_run("members", "*", "run folder or checkpoint, two or more")
    parser.add_argument(
        "--soup",
        action="store_true",
        help="average their weights instead of their scores: as fast as one of them, and can be exported",
    )
    text = "with --soup, adapters of this rank, close to the mean (default: exact, the sum of their ranks)"
    parser.add_argument("--soup_rank", type=int, metavar="N", help=text)
    text = "the run's name: RUNS/NAME/1, 2, ... (default: ensemble or soup)"
    parser.add_argument("--name", help=text)
    parser.add_trust()
    return parser
