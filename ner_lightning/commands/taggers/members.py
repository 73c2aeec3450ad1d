"""Trained taggers that become one: what is read of each, how two are compared, how the result is written."""

import hashlib
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ner_lightning.errors import UserError
from ner_lightning.system.precision import names_bf16
from ner_lightning.system.terminal import printable, write_line

if TYPE_CHECKING:
    from torch import Tensor

    from ner_lightning.runs.folder import Run

# What the checkpoint has of its first member's, since Lightning reads it.
SHARED = ("epoch", "global_step", "pytorch-lightning_version", "hyper_parameters", "random_states")
NESTED = ("soup", "members", "teacher")  # what run.json says of a member that was made of others


class Member(NamedTuple):
    """A trained tagger: its address as it was given, its checkpoint's path and content."""

    address: str
    path: Path
    checkpoint: Mapping[str, Any]

    def settings(self, section: str) -> Mapping[str, Any]:
        """Settings of `model` or `data`."""
        settings: Mapping[str, Any] = self.checkpoint["config"][section]
        return settings

    def pinned(self) -> dict[str, Any]:
        """Settings of `model`, with the commit of its training as the revision of a backbone on the Hub."""
        from ner_lightning.model.pinning import pinned

        return pinned(self.settings("model"), self.checkpoint["backbone"])

    def setting(self, key: str) -> Any:
        """A setting by its dotted key."""
        value = self.checkpoint["config"]
        for name in key.split("."):
            value = value.get(name)
        return value

    def state(self) -> dict[str, "Tensor"]:
        """Its trained parameters, by their names in `Tagger`."""
        from ner_lightning.model.checkpoint import PREFIX

        state = self.checkpoint["state_dict"]
        return {name.removeprefix(PREFIX): value for name, value in state.items()}

    def digest(self) -> str:
        """SHA-256 of its trained parameters and its backbone's fingerprint."""
        from ner_lightning.model.checkpoint import state_digest

        digest = state_digest(self.state())
        digest.update(str(self.checkpoint["backbone"]["weights"]).encode())
        return digest.hexdigest()

    def about(self) -> dict[str, Any]:
        """What `run.json` of the result says of it."""
        from ner_lightning.runs.folder import run_of

        origin = run_of(self.path)
        run = origin.read("run.json") if origin else {}
        with self.path.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        return {
            "run": self.address,
            "seed": run.get("seed"),
            "command": run.get("command"),
            "checkpoint": f"sha256:{digest}",
            "train": self.checkpoint.get("data", {}).get("train"),
        } | {name: run[name] for name in NESTED if name in run}


class Combined(NamedTuple):
    """The tagger that several become.

    Attributes:
        config: its configuration.
        weights: the fingerprint of its backbone.
        state: its trained parameters, by their names in `Tagger`.
        about: what checkpoint and `run.json` say of it beside what every such tagger has.
    """

    config: Mapping[str, Any]
    weights: str
    state: Mapping[str, "Tensor"]
    about: Mapping[str, Any]


def read(addresses: Sequence[str], root: Path) -> list[Member]:
    """Reads taggers.

    Raises:
        UserError: there is no such run or checkpoint, it is an ensemble, or two addresses name the same one.
    """
    from ner_lightning.runs.checkpoint_file import load_checkpoint
    from ner_lightning.runs.folder import BEST, resolve

    paths = [resolve(address, BEST, root) for address in addresses]
    named: dict[Path, str] = {}
    for address, path in zip(addresses, paths, strict=True):
        other = named.get(path.resolve())
        if other is not None:
            same = "is named twice" if other == address else f"and {other} are the same run"
            raise UserError(f"{address} {same}, and an ensemble is of different taggers; name each once")
        named[path.resolve()] = address
    members = [
        Member(address, path, load_checkpoint(path)) for address, path in zip(addresses, paths, strict=True)
    ]
    for member in members:
        if member.settings("model").get("members"):
            raise UserError(f"{member.address} is an ensemble; name its members")
    return members


def warn_of_equal(members: Sequence[Member]) -> None:
    """Says which taggers have the same weights, as a run and its copy."""
    first: dict[str, str] = {}
    for member in members:
        other = first.setdefault(member.digest(), member.address)
        if other != member.address:
            line = f"{other} and {member.address} have the same weights, which count twice; leave one out."
            write_line(sys.stderr, printable(line))


def check_same(first: Member, other: Member, keys: Iterable[str], what: str) -> None:
    """Checks that two taggers have the same values of some settings.

    Args:
        first: one of them.
        other: the other one.
        keys: dotted keys of the settings.
        what: of what there is no mean if they differ.

    Raises:
        UserError: they have not.
    """
    for key in keys:
        values = [member.setting(key) for member in (first, other)]
        if values[0] != values[1]:
            raise _difference(first, other, key, values, what)


def check_precision(first: Member, other: Member, what: str) -> None:
    """Checks that the backbones of two taggers both run in bf16, or neither; arguments as of `check_same`."""
    precisions = [str(member.setting("trainer.precision")) for member in (first, other)]
    if len(set(map(names_bf16, precisions))) > 1:
        raise _difference(first, other, "trainer.precision", precisions, what)


def _difference(first: Member, other: Member, key: str, values: Sequence[Any], what: str) -> UserError:
    """Why two taggers do not become one: the values of a setting; further arguments as of `check_same`."""
    return UserError(
        f"{first.address} and {other.address} differ in {key} ({', '.join(map(str, values))}), "
        f"so there is no mean of their {what}"
    )


def check_tokenizers(first: Member, other: Member, what: str, *, trust: bool) -> None:
    """Checks that two taggers split words into the same sub-tokens.

    Args:
        first: one of them.
        other: the other one.
        what: of what there is no mean if they do not.
        trust: run code that comes with their tokenizers.

    Raises:
        UserError: they do not.
    """
    from ner_lightning.data.pretrained import locate, trained_on
    from ner_lightning.data.tokenization.encoding import load_tokenizer

    one, two = (member.pinned() for member in (first, other))
    if all(one[name] == two[name] for name in ("backbone", "revision")):
        return
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
            f"so there is no mean of their {what}"
        )


def write(run: "Run", members: Sequence[Member], made: Combined, command: Sequence[str]) -> None:
    """Writes a run folder with the tagger as its checkpoint `best`."""
    import yaml

    from ner_lightning.commands.options.found_paths import with_found_paths
    from ner_lightning.data.train_overlap import read_digests, write_digests
    from ner_lightning.model.checkpoint import PREFIX
    from ner_lightning.model.tagger_settings import TaggerSettings
    from ner_lightning.runs.fingerprints import MEMBERS_DATA, training_data
    from ner_lightning.runs.folder import BEST, run_of
    from ner_lightning.runs.provenance import now, run_provenance
    from ner_lightning.system.atomic import write_text
    from ner_lightning.system.plain_settings import select
    from ner_lightning.training.callbacks.checkpoints import write_checkpoint

    first, origin = members[0].checkpoint, run_of(members[0].path)
    config = with_found_paths(made.config, origin)
    described = run_provenance() | {
        "started": now(),
        "command": list(command),
        "seed": config.get("seed_everything"),
        "types": config["data"]["types"],
        "backbone": {"name": first["backbone"]["name"], "weights": made.weights},
        "data": origin.read("run.json").get("data", {}) if origin else {},
        "members": [member.about() for member in members],
    }
    if origins := [found for member in members if (found := run_of(member.path))]:
        run.write("train_entities.json", _entities([each.read("train_entities.json") for each in origins]))
        write_digests(run, set().union(*map(read_digests, origins)))
    write_text(run.path / "config.yaml", yaml.safe_dump(config, sort_keys=False))
    checkpoint = {name: first[name] for name in SHARED} | {
        "config": config,
        "backbone": first["backbone"] | {"weights": made.weights},
        MEMBERS_DATA: [dict(data) for member in members for data in training_data(member.checkpoint)],
        "state_dict": {PREFIX + name: value for name, value in made.state.items()},
    }
    settings = select(TaggerSettings, config["model"])
    checkpoint["hyper_parameters"] = first["hyper_parameters"] | {"lora": settings["lora"]}
    write_checkpoint(checkpoint | dict(made.about), run.checkpoint(BEST))
    run.write("run.json", described | dict(made.about))  # last: what has it is complete


def _entities(counts: Sequence[Mapping[str, Mapping[str, int]]]) -> dict[str, dict[str, int]]:
    """How often each entity is in the training data, in those of the member that have it most often."""
    merged: dict[str, dict[str, int]] = {}
    for kind, surfaces in (item for each in counts for item in each.items()):
        own = merged.setdefault(kind, {})
        own.update({name: max(count, own.get(name, 0)) for name, count in surfaces.items()})
    return merged
