"""`ner-lightning ensemble`: several trained taggers become one, whose scores are the mean of theirs."""

import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ner_lightning.commands.options import Parser, add_trust
from ner_lightning.errors import UserError

# What of the first member's checkpoint an ensemble's has as well, since Lightning reads it.
KEPT = ("epoch", "global_step", "pytorch-lightning_version", "hyper_parameters", "random_states")


class Member(NamedTuple):
    """A trained tagger.

    Attributes:
        address: as it was given.
        path: its checkpoint.
        held: what is in it.
    """

    address: str
    path: Path
    held: Mapping[str, Any]

    @property
    def model(self) -> Mapping[str, Any]:
        """Settings of the model."""
        found: Mapping[str, Any] = self.held["config"]["model"]
        return found

    @property
    def data(self) -> Mapping[str, Any]:
        """Settings of the data."""
        found: Mapping[str, Any] = self.held["config"]["data"]
        return found


def run(subcommand: str, args: Sequence[str]) -> None:
    """Runs the command.

    Raises:
        UserError: a run cannot be used, or the runs do not go together.
    """
    options = parser(subcommand).parse_args(args)
    if len(options.members) < 2:
        raise UserError("name two runs or more to make one tagger of")
    # Here and below: `--help` must not wait for torch.
    from ner_lightning.runs import checkpoint_file
    from ner_lightning.runs import folder as runs

    root = Path(options.runs)
    paths = [runs.resolve(address, runs.BEST, root) for address in options.members]
    members = [
        Member(address, path, checkpoint_file.load_checkpoint(path))
        for address, path in zip(options.members, paths, strict=True)
    ]
    for member in members[1:]:
        check(members[0], member, trust=options.trust_remote_code)
    run = runs.create(root, options.name)
    command = ["ner-lightning", subcommand, *args]
    try:
        write(run.path, members, command)
    except BaseException:
        shutil.rmtree(run.path, ignore_errors=True)  # nothing but what was just begun
        raise
    run.point_last()
    where = runs.short(run.path)
    sys.stdout.write(
        f"{len(members)} taggers as one are in {where}; next: ner-lightning validate --run {where}\n"
    )


def check(first: Member, other: Member, *, trust: bool = False) -> None:
    """Checks that two taggers can be averaged: same tags, same words and sub-tokens, same kind of decoding.

    Args:
        first: one of them.
        other: the other one.
        trust: run code that comes with their tokenizers.

    Raises:
        UserError: they cannot.
    """
    from ner_lightning.data.pretrained import locate, trained_on
    from ner_lightning.data.tokenization.encoding import load_tokenizer

    for member in (first, other):
        if member.model.get("members"):
            raise UserError(f"{member.address} is an ensemble; name its members")
    pairs = [("data.types", first.data["types"], other.data["types"])]
    pairs += [
        (f"data.encoding.{name}", value, other.data["encoding"].get(name))
        for name, value in first.data["encoding"].items()
    ]
    pairs += [("model.use_crf", first.model["use_crf"], other.model["use_crf"])]
    constrained = (member.model["architecture"]["constrained"] for member in (first, other))
    pairs += [("model.architecture.constrained", *constrained)]
    for name, one, two in pairs:
        if one != two:
            raise UserError(
                f"{first.address} and {other.address} differ in {name} ({one}, {two}), "
                "so there is no mean of their scores"
            )
    if any(first.model[name] != other.model[name] for name in ("backbone", "revision")):
        one, two = (
            load_tokenizer(
                locate(trained_on(m.model["backbone"], m.held["backbone"]), m.model["revision"]),
                trust_remote_code=trust,
            )
            for m in (first, other)
        )
        if one.get_vocab() != two.get_vocab():
            raise UserError(
                f"the backbones of {first.address} and {other.address} have different tokenizers, "
                "so there is no mean of their scores"
            )


def write(folder: Path, members: Sequence[Member], command: Sequence[str]) -> None:
    """Writes a run folder with the ensemble as its checkpoint."""
    import copy

    import yaml

    from ner_lightning.model.build import joined
    from ner_lightning.model.checkpoint import mean_state
    from ner_lightning.model.settings import TaggerSettings
    from ner_lightning.runs import folder as runs
    from ner_lightning.runs import provenance
    from ner_lightning.system import atomic
    from ner_lightning.system.settings import select
    from ner_lightning.training.callbacks.checkpoints import write_checkpoint
    from ner_lightning.training.module import PREFIX

    first = members[0]
    config = copy.deepcopy(dict(first.held["config"]))
    chosen = [select(TaggerSettings, member.model) for member in members]
    config["model"]["members"] = chosen[1:]
    config["model"]["cache"] = {**config["model"].get("cache", {}), "enabled": False}
    states = [
        {name.removeprefix(PREFIX): value for name, value in member.held["state_dict"].items()}
        for member in members
    ]
    backbone = first.held["backbone"] | {"weights": joined([m.held["backbone"]["weights"] for m in members])}
    checkpoint = {name: first.held[name] for name in KEPT} | {
        "config": config,
        "backbone": backbone,
        "state_dict": {PREFIX + name: value for name, value in mean_state(states, chosen).items()},
    }
    run = runs.Run(folder)
    origins = [runs.run_of(member.path) for member in members]
    about = [origin.read("run.json") if origin else {} for origin in origins]
    run.write(
        "run.json",
        provenance.provenance()
        | {
            "command": list(command),
            "started": provenance.now(),
            "seed": config["seed_everything"],
            "types": first.data["types"],
            "backbone": {name: backbone[name] for name in ("name", "weights")},
            "data": about[0].get("data", {}),
            "members": [
                {"run": member.address, "seed": told.get("seed"), "command": told.get("command")}
                for member, told in zip(members, about, strict=True)
            ],
        },
    )
    if origins[0]:
        run.write("train_entities.json", origins[0].read("train_entities.json"))
    atomic.write_text(folder / "config.yaml", yaml.safe_dump(config, sort_keys=False))
    write_checkpoint(checkpoint, run.checkpoint(runs.BEST))


def parser(name: str) -> Parser:
    """Its options."""
    parser = Parser(
        prog=f"ner-lightning {name}",
        description="Makes one tagger of several, such as seeds of a recipe: its scores are the mean of "
        "theirs. It is a run of its own, for validate, test, predict, serve and report.",
    )
    parser.add_run("members", "*", text="run folder or checkpoint, two or more")
    parser.add_argument("--name", default="ensemble", help="the run's name: RUNS/NAME/1, 2, ...")
    parser.add_argument("--runs", default="runs", help="the folder of run folders")
    add_trust(parser)
    return parser
