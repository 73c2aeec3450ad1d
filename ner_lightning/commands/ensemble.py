"""`ner-lightning ensemble`: one tagger of several, whose scores are the mean of theirs."""

import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ner_lightning.commands.options import Parser
from ner_lightning.errors import UserError

if TYPE_CHECKING:
    from ner_lightning.runs.folder import Run

# What an ensemble's checkpoint has of its first member's, since Lightning reads it.
SHARED = ("epoch", "global_step", "pytorch-lightning_version", "hyper_parameters", "random_states")


class Member(NamedTuple):
    """A trained tagger: its address as it was given, its checkpoint's path and content."""

    address: str
    path: Path
    checkpoint: Mapping[str, Any]

    def settings(self, section: str) -> Mapping[str, Any]:
        """Settings of `model` or `data`."""
        settings: Mapping[str, Any] = self.checkpoint["config"][section]
        return settings

    def setting(self, key: str) -> Any:
        """A setting by its dotted key."""
        value = self.checkpoint["config"]
        for name in key.split("."):
            value = value.get(name)
        return value


def run(subcommand: str, args: Sequence[str]) -> None:
    """Runs the command; raises UserError at a user's mistake."""
    options = parser(subcommand).parse_args(args)
    if len(options.members) < 2:
        raise UserError("name two runs or more")
    # Here and below: `--help` must not wait for torch.
    from ner_lightning.runs.checkpoint_file import load_checkpoint
    from ner_lightning.runs.folder import BEST, create, resolve, short

    root = Path(options.runs)
    paths = [resolve(address, BEST, root) for address in options.members]
    members = [
        Member(address, path, load_checkpoint(path))
        for address, path in zip(options.members, paths, strict=True)
    ]
    for member in members[1:]:
        check(members[0], member, trust=options.trust_remote_code)
    run = create(root, options.name)
    try:
        write(run.path, members, ["ner-lightning", subcommand, *args])
    except BaseException:
        shutil.rmtree(run.path, ignore_errors=True)  # it holds nothing else
        raise
    run.point_last()
    where = short(run.path)
    sys.stdout.write(
        f"the ensemble of {len(members)} taggers is in {where}; next: ner-lightning validate --run {where}\n"
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
        if member.settings("model").get("members"):
            raise UserError(f"{member.address} is an ensemble; name its members")
    encoding = [f"data.encoding.{name}" for name in first.settings("data")["encoding"]]
    for key in ("data.types", *encoding, "model.use_crf", "model.architecture.constrained"):
        one, two = (member.setting(key) for member in (first, other))
        if one != two:
            raise UserError(
                f"{first.address} and {other.address} differ in {key} ({one}, {two}), "
                "so there is no mean of their scores"
            )
    one, two = (member.settings("model") for member in (first, other))
    if any(one[name] != two[name] for name in ("backbone", "revision")):
        vocabularies = [
            load_tokenizer(
                locate(trained_on(model["backbone"], member.checkpoint["backbone"]), model["revision"]),
                trust_remote_code=trust,
            ).get_vocab()
            for member, model in ((first, one), (other, two))
        ]
        if vocabularies[0] != vocabularies[1]:
            raise UserError(
                f"the backbones of {first.address} and {other.address} have different tokenizers, "
                "so there is no mean of their scores"
            )


def write(folder: Path, members: Sequence[Member], command: Sequence[str]) -> None:
    """Writes a run folder with the ensemble as its checkpoint."""
    import yaml

    from ner_lightning.model.build import joined
    from ner_lightning.model.checkpoint import mean_state
    from ner_lightning.model.tagger_settings import TaggerSettings
    from ner_lightning.runs.folder import BEST, Run, run_of
    from ner_lightning.system.atomic import write_text
    from ner_lightning.system.plain_settings import select
    from ner_lightning.training.callbacks.checkpoints import write_checkpoint
    from ner_lightning.training.module import PREFIX

    settings = [select(TaggerSettings, member.settings("model")) for member in members]
    first, config = members[0].checkpoint, _config(members[0], settings[1:])
    weights = [
        {name.removeprefix(PREFIX): value for name, value in member.checkpoint["state_dict"].items()}
        for member in members
    ]
    backbones = [member.checkpoint["backbone"] for member in members]
    backbone = backbones[0] | {"weights": joined([backbone["weights"] for backbone in backbones])}
    checkpoint = {name: first[name] for name in SHARED} | {
        "config": config,
        "backbone": backbone,
        "state_dict": {PREFIX + name: value for name, value in mean_state(weights, settings).items()},
    }
    run, origins = Run(folder), [run_of(member.path) for member in members]
    run.write("run.json", _description(members, origins, config, backbone) | {"command": list(command)})
    if origins[0]:
        run.write("train_entities.json", origins[0].read("train_entities.json"))
    write_text(folder / "config.yaml", yaml.safe_dump(config, sort_keys=False))
    write_checkpoint(checkpoint, run.checkpoint(BEST))


def _config(first: Member, others: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The first member's configuration, which names the others."""
    import copy

    config = copy.deepcopy(dict(first.checkpoint["config"]))
    config["model"]["members"] = list(others)
    config["model"]["cache"] = {**config["model"].get("cache", {}), "enabled": False}
    return config


def _description(
    members: Sequence[Member],
    origins: Sequence["Run | None"],
    config: Mapping[str, Any],
    backbone: Mapping[str, Any],
) -> dict[str, Any]:
    """What `run.json` says of the ensemble."""
    from ner_lightning.runs.provenance import now, provenance

    runs = [origin.read("run.json") if origin else {} for origin in origins]
    return provenance() | {
        "started": now(),
        "seed": config["seed_everything"],
        "types": config["data"]["types"],
        "backbone": {name: backbone[name] for name in ("name", "weights")},
        "data": runs[0].get("data", {}),
        "members": [
            {"run": member.address, "seed": run.get("seed"), "command": run.get("command")}
            for member, run in zip(members, runs, strict=True)
        ],
    }


def parser(name: str) -> Parser:
    """Its options."""
    parser = Parser(
        name,
        "Makes one tagger of several, such as seeds of a recipe: its scores are the mean of theirs. "
        "It is a run of its own, for validate, test, predict, serve and report.",
    )
    parser.add_run("members", "*", "run folder or checkpoint, two or more")
    parser.add_argument("--name", default="ensemble", help="the run's name: RUNS/NAME/1, 2, ...")
    parser.add_trust()
    return parser
