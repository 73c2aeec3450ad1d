"""Reads a trained tagger from a run, a checkpoint or an exported folder, and builds the model."""

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ner_lightning.data.corpus_settings import Encoding
from ner_lightning.data.positions import DEFAULT, positions
from ner_lightning.data.pretrained import Pretrained, folder_of, locate, trained_on
from ner_lightning.data.schemes import LabelSet
from ner_lightning.data.tokenization.encoding import Encoder, load_tokenizer
from ner_lightning.errors import UserError
from ner_lightning.model.build import Target, build_tagger, decoder_of
from ner_lightning.model.checkpoint import check_backbone, check_names, saved_names, tagger_name
from ner_lightning.model.tagger import Tagger
from ner_lightning.model.tagger_settings import TaggerSettings
from ner_lightning.runs.checkpoint_file import load_checkpoint
from ner_lightning.runs.folder import BEST, resolve
from ner_lightning.system.plain_settings import build, select
from ner_lightning.system.ranges import PositiveFloat, check

MANIFEST = "ner_lightning.json"  # a folder with this file is an exported one
WEIGHTS = "tagger.safetensors"  # head, CRF, and layers that were trained whole
ADAPTER_WEIGHTS = "adapter_model.safetensors"  # PEFT's name for it
GRAPH = "model.onnx"
CHECKPOINT, ADAPTER, MERGED, ONNX = "checkpoint", "adapter", "merged", "onnx"  # forms of a trained tagger
FORMAT = 1  # version of the manifest
MEMBERS = "members"  # the setting with the other members of an ensemble


@dataclass(frozen=True)
class TaggerFiles:
    """The files of a trained tagger.

    Attributes:
        form: `checkpoint`, or the form of an exported folder: `adapter`, `merged`, `onnx`.
        path: the checkpoint or the folder.
        settings: the settings of `TaggerSettings`, as plain values.
        types: the entity types.
        encoding: how words become sub-tokens.
        bf16: whether the backbone runs in bf16.
        origin: name and fingerprint of the backbone that it was trained on.
        state: the trained parameters, by their names in `Tagger`.
        pretrained: the files of the backbone; for ONNX, of the tokenizer.
        trust: whether code may run that comes with the backbone or prepares it; never read from a file.
        temperature: scores are divided by it before they become probabilities.
        about: what an exported folder says about its training.
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
        """The settings of an ensemble's members after the first; empty for a single tagger."""
        return self.settings.get(MEMBERS) or ()

    @property
    def quantized(self) -> bool:
        """Whether the backbone's weights are in few bits."""
        return str(self.settings.get("quantization", "none")) != "none"

    def encoder(self) -> Encoder:
        """The encoder, from words to sub-tokens."""
        encoding = self.encoding
        if self.form != ONNX:  # whose folder has no backbone; its length was limited at export
            # A checkpoint of an earlier version may have windows longer than its backbone's positions.
            limit = positions(self.pretrained, self.trust)
            length = min(encoding.max_length or DEFAULT, limit or sys.maxsize)
            encoding = replace(encoding, max_length=length)
        return Encoder(load_tokenizer(self.pretrained, trust_remote_code=self.trust), encoding)

    def build(
        self, device: str, *, bf16: bool | None = None, merge: bool = True, dequantize: bool = False
    ) -> Tagger:
        """Builds the model.

        Args:
            device: where it will run.
            bf16: run the backbone in bf16; None: as it was trained.
            merge: merge adapters into the backbone, unless it is quantised.
            dequantize: hold the values of quantised weights in fp32; `bf16` is what they were quantised from.

        Raises:
            UserError: the backbone or the parameters are not those of the training.
        """
        tagger = self._onnx() if self.form == ONNX else self._torch(device, bf16, dequantize)
        check_names(self.state, saved_names(tagger))
        tagger.load_state_dict(self.state, strict=False)
        if merge:
            tagger.emitter.merge()
        return tagger.to("cpu" if self.form == ONNX else device).eval()

    def _onnx(self) -> Tagger:
        from ner_lightning.inference.engines.onnx import GraphEmitter

        # The graph contains whatever prepared the backbone.
        architecture = {**self.settings["architecture"], "prepare": None}
        settings = TaggerSettings.read({**self.settings, "architecture": architecture})
        emitter = GraphEmitter(self.path / GRAPH, settings.architecture.pooling)
        return Tagger(emitter, decoder_of(settings, LabelSet(self.types)))

    def _torch(self, device: str, bf16: bool | None, dequantize: bool) -> Tagger:
        every = (self.settings, *self.members)
        settings, *members = (TaggerSettings.read(values, trust=self.trust) for values in every)
        target = Target(
            bf16=self.bf16 if bf16 is None else bf16,
            device_type=torch.device(device).type,
            mergeable=self.form != MERGED,
            dequantized=dequantize,
        )
        tagger, fingerprint = build_tagger(
            settings, LabelSet(self.types), target, members=members, pretrained=self.pretrained
        )
        if self.form != MERGED:
            check_backbone(self.origin, settings.backbone, fingerprint)
        return tagger


def is_exported(path: Path) -> bool:
    """Whether a path is a folder that `export` wrote."""
    return (path / MANIFEST).is_file()


def find(address: str | None, root: Path, *, backbone: str | None = None, trust: bool = False) -> TaggerFiles:
    """Reads a trained tagger.

    Args:
        address: a run folder, a checkpoint file or an exported folder; None: the last run.
        root: the folder of runs, for None.
        backbone: where its backbone is now; None: where it was.
        trust: run code that comes with it, or that it names.

    Raises:
        UserError: there is no such run or folder, or it cannot be read.
    """
    if address is not None and is_exported(Path(address).expanduser()):
        return read_folder(Path(address).expanduser(), backbone=backbone, trust=trust)
    return read_checkpoint(resolve(address, BEST, root), backbone=backbone, trust=trust)


def read_checkpoint(path: Path, *, backbone: str | None = None, trust: bool = False) -> TaggerFiles:
    """Reads a checkpoint; code that it names runs only with `trust`, whatever its own settings say.

    Raises:
        UserError: it cannot be used.
    """
    checkpoint = load_checkpoint(path)
    try:
        return _from_checkpoint(checkpoint, path, backbone, trust)
    except (AttributeError, KeyError, TypeError) as error:
        raise UserError(
            f"{path}: its configuration is not a tagger's ({type(error).__name__}: {error})"
        ) from None


def _from_checkpoint(
    checkpoint: Mapping[str, Any], path: Path, backbone: str | None, trust: bool
) -> TaggerFiles:
    config: dict[str, Any] = checkpoint["config"]
    model, data = config["model"], config["data"]
    stored = select(TaggerSettings, model) | {MEMBERS: model.get(MEMBERS)}
    settings, origin, pretrained = _located(stored, checkpoint["backbone"], backbone)
    return TaggerFiles(
        form=CHECKPOINT,
        path=path,
        settings=settings,
        types=tuple(data["types"]),
        encoding=build(Encoding, data["encoding"]),
        bf16="bf16" in str(config["trainer"]["precision"]),
        origin=origin,
        state={name.removeprefix("tagger."): value for name, value in checkpoint["state_dict"].items()},
        pretrained=pretrained,
        trust=trust,
    )


def read_folder(folder: Path, *, backbone: str | None = None, trust: bool = False) -> TaggerFiles:
    """Reads an exported folder; code that is in it runs only with `trust`.

    Raises:
        UserError: it is not an exported folder, lacks a file, or is of a later version.
    """
    from safetensors.torch import load_file

    if not is_exported(folder):
        raise UserError(f"{folder} holds no {MANIFEST}: `ner-lightning export` writes such folders")
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        if manifest["format"] > FORMAT:
            raise UserError(f"{folder} was exported by a later ner-lightning; upgrade this one")
        check(f"{folder / MANIFEST}: temperature", PositiveFloat, manifest["temperature"])
        form, settings, origin = manifest["form"], manifest["settings"], manifest["origin"]
        if form == ADAPTER:
            settings, origin, pretrained = _located(settings, origin, backbone)
        elif backbone is None:
            pretrained = Pretrained(str(folder))
        else:
            raise UserError(f"{folder} holds its own backbone; leave out --backbone {backbone}")
        state = load_file(folder / WEIGHTS)
        if (folder / ADAPTER_WEIGHTS).is_file():
            adapter = load_file(folder / ADAPTER_WEIGHTS)
            state |= {tagger_name(name): value for name, value in adapter.items()}
        return TaggerFiles(
            form=form,
            path=folder,
            settings=settings,
            types=tuple(manifest["types"]),
            encoding=build(Encoding, manifest["encoding"]),
            bf16=manifest["bf16"],
            origin=origin,
            state=state,
            pretrained=pretrained,
            trust=trust,
            temperature=manifest["temperature"],
            about=manifest["about"],
        )
    except UserError:
        raise
    except Exception as error:
        raise UserError(
            f"{folder} is not a complete exported folder ({type(error).__name__}: {error}); export it again"
        ) from None


def _located(
    settings: Mapping[str, Any], origin: Mapping[str, Any], backbone: str | None
) -> tuple[Mapping[str, Any], Mapping[str, Any], Pretrained]:
    """Settings and record of a backbone, also those of an ensemble's members, as it is found now."""
    was, now = settings["backbone"], trained_on(settings["backbone"], origin, backbone)
    pretrained = locate(now, settings["revision"])
    members = [m | {"backbone": now} if m["backbone"] == was else m for m in settings.get(MEMBERS) or ()]
    found = {**settings, "backbone": now, MEMBERS: members or None}
    return found, {**origin, "folder": folder_of(now, pretrained)}, pretrained
