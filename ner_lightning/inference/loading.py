"""Where a trained tagger is kept (a run, a checkpoint, an exported folder), and how it is made from there."""

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ner_lightning.data.positions import DEFAULT, positions
from ner_lightning.data.pretrained import Pretrained, locate, trained_on
from ner_lightning.data.schemes import LabelSet
from ner_lightning.data.settings import Encoding
from ner_lightning.data.tokenization.encoding import Encoder, load_tokenizer
from ner_lightning.errors import UserError
from ner_lightning.model.build import Target, build_tagger
from ner_lightning.model.checkpoint import (
    BACKBONE,
    EMITTER,
    check_backbone,
    check_names,
    kept_names,
)
from ner_lightning.model.decoder import Decoder
from ner_lightning.model.settings import TaggerSettings
from ner_lightning.model.tagger import Tagger
from ner_lightning.runs import checkpoint_file
from ner_lightning.runs import folder as runs
from ner_lightning.system.settings import build, select

MANIFEST = "ner_lightning.json"  # what makes a folder an exported one
WEIGHTS = "tagger.safetensors"  # head and CRF, and whole layers that were trained
ADAPTER = "adapter_model.safetensors"  # PEFT's name for its adapters
ONNX = "model.onnx"
CHECKPOINT, ADAPTERS, MERGED = "checkpoint", "adapter", "merged"
FORMAT = 1  # of the manifest
MEMBERS = "members"  # the setting with the other members of an ensemble
_PREFIX = "tagger."


@dataclass(frozen=True)
class TaggerFiles:
    """A trained tagger as it is kept.

    Attributes:
        form: `checkpoint`, or that of an exported folder: `adapter`, `merged`, `onnx`.
        path: the checkpoint or the folder.
        settings: those of `TaggerSettings`, as plain values.
        types: the entity types.
        encoding: how words become sub-tokens.
        bf16: whether the backbone runs in bf16.
        origin: name and exact weights of the backbone that it was trained on.
        state: parameters that were trained, under the tagger's names for them.
        pretrained: where the backbone is; for ONNX, where the tokenizer is.
        trust: run code that comes with the backbone or is named as its preparation; never read from a file.
        temperature: what scores are divided by before they become probabilities.
        about: what an exported folder says of its training.
    """

    form: str
    path: Path
    settings: Mapping[str, Any]
    types: tuple[str, ...]
    encoding: Encoding
    bf16: bool
    origin: Mapping[str, Any]
    state: Mapping[str, Tensor]
    pretrained: Pretrained
    trust: bool = False
    temperature: float = 1.0
    about: Mapping[str, Any] | None = None

    @property
    def members(self) -> Sequence[Mapping[str, Any]]:
        """The settings of an ensemble's members after the first; none of a single tagger."""
        return self.settings.get(MEMBERS) or ()

    def encoder(self) -> Encoder:
        """The way from words to sub-tokens."""
        encoding = self.encoding
        if self.form != "onnx":  # whose folder holds no backbone, and was written with what it has
            # A checkpoint of an earlier version may name windows that its backbone has no positions for.
            limit = positions(self.pretrained, self.trust)
            length = min(encoding.max_length or DEFAULT, limit or sys.maxsize)
            encoding = replace(encoding, max_length=length)
        return Encoder(load_tokenizer(self.pretrained, trust_remote_code=self.trust), encoding)

    def build(self, device: str, *, bf16: bool | None = None, merge: bool = True) -> Tagger:
        """Makes the tagger.

        Args:
            device: where it will run.
            bf16: run the backbone in bf16; None leaves it as it was trained.
            merge: fold adapters into the backbone.

        Raises:
            UserError: the backbone or the parameters are not those of the training.
        """
        labels = LabelSet(self.types)
        if self.form == "onnx":
            tagger = self._graph(labels)
        else:
            settings = TaggerSettings.read(self.settings, trust=self.trust)
            target = Target(
                bf16=self.bf16 if bf16 is None else bf16,
                device_type=torch.device(device).type,
                mergeable=self.form != MERGED,
            )
            members = [TaggerSettings.read(member, trust=self.trust) for member in self.members]
            tagger, identity = build_tagger(
                settings, labels, target, members=members, pretrained=self.pretrained
            )
            if self.form != MERGED:
                check_backbone(self.origin, settings.backbone, identity)
        check_names(self.state, kept_names(tagger))
        tagger.load_state_dict(self.state, strict=False)
        if merge:
            tagger.emitter.merge()
        return tagger.to("cpu" if self.form == "onnx" else device).eval()

    def _graph(self, labels: LabelSet) -> Tagger:
        from ner_lightning.inference.engines.onnx import GraphEmitter

        # What prepared the backbone of a graph is in the graph.
        architecture = {**self.settings["architecture"], "prepare": None}
        settings = TaggerSettings.read({**self.settings, "architecture": architecture})
        decoder = Decoder(
            labels,
            use_crf=settings.use_crf,
            constrained=settings.architecture.constrained,
            loss=settings.loss,
        )
        return Tagger(GraphEmitter(self.path / ONNX, settings.architecture.pooling), decoder)


def is_exported(path: Path) -> bool:
    """Whether a folder was written by `export`."""
    return (path / MANIFEST).is_file()


def find(address: str | None, root: Path, *, trust: bool = False) -> TaggerFiles:
    """Reads a trained tagger.

    Args:
        address: a run folder, a checkpoint file or an exported folder; None is the last run.
        root: the folder of runs, for None.
        trust: run code that comes with it, or that it names.

    Raises:
        UserError: there is none, or it cannot be read.
    """
    if address is not None and is_exported(Path(address).expanduser()):
        return read_folder(Path(address).expanduser(), trust=trust)
    return read_checkpoint(runs.resolve(address, runs.BEST, root), trust=trust)


def read_checkpoint(path: Path, *, trust: bool = False) -> TaggerFiles:
    """Reads a checkpoint; code that it names is run only if it is trusted, whatever its own settings say.

    Raises:
        UserError: it cannot be used.
    """
    checkpoint = checkpoint_file.load_checkpoint(path)
    try:
        return _source_of(checkpoint, path, trust)
    except (AttributeError, KeyError, TypeError) as error:
        raise UserError(
            f"{path}: its configuration is none of a tagger ({type(error).__name__}: {error})"
        ) from None


def _source_of(checkpoint: Mapping[str, Any], path: Path, trust: bool) -> TaggerFiles:
    config: dict[str, Any] = checkpoint["config"]
    model, data = config["model"], config["data"]
    return TaggerFiles(
        form=CHECKPOINT,
        path=path,
        settings=select(TaggerSettings, model) | {MEMBERS: model.get(MEMBERS)},
        types=tuple(data["types"]),
        encoding=build(Encoding, data["encoding"]),
        bf16="bf16" in str(config["trainer"]["precision"]),
        origin=checkpoint["backbone"],
        state={name.removeprefix(_PREFIX): value for name, value in checkpoint["state_dict"].items()},
        pretrained=locate(trained_on(model["backbone"], checkpoint["backbone"]), model["revision"]),
        trust=trust,
    )


def read_folder(folder: Path, *, trust: bool = False) -> TaggerFiles:
    """Reads an exported folder; code that lies in it is run only if it is trusted.

    Raises:
        UserError: it is none, lacks a file, or is of a later version.
    """
    from safetensors.torch import load_file

    if not is_exported(folder):
        raise UserError(f"{folder} holds no {MANIFEST}: `ner-lightning export` writes such folders")
    try:
        held = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        if held["format"] > FORMAT:
            raise UserError(f"{folder} was exported by a later ner-lightning; upgrade this one")
        form, settings = held["form"], held["settings"]
        state = load_file(folder / WEIGHTS)
        if (folder / ADAPTER).is_file():
            state |= {ours(name): value for name, value in load_file(folder / ADAPTER).items()}
        return TaggerFiles(
            form=form,
            path=folder,
            settings=settings,
            types=tuple(held["types"]),
            encoding=build(Encoding, held["encoding"]),
            bf16=held["bf16"],
            origin=held["origin"],
            state=state,
            pretrained=locate(trained_on(settings["backbone"], held["origin"]), settings["revision"])
            if form == ADAPTERS
            else Pretrained(str(folder)),
            trust=trust,
            temperature=held["temperature"],
            about=held["about"],
        )
    except UserError:
        raise
    except Exception as error:
        raise UserError(
            f"{folder} is not a whole exported folder ({type(error).__name__}: {error}); export it again"
        ) from None


def ours(name: str) -> str:
    """The tagger's name for a parameter of an adapter, from PEFT's name for it on disk."""
    stem = name.removesuffix(".weight")
    whole = stem != name or stem.endswith("lora_magnitude_vector")  # which some versions write without it
    return f"{EMITTER}{BACKBONE}model.{stem}.default{'.weight' if whole else ''}"
