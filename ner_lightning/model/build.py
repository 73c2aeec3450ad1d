"""Builds a tagger, or an ensemble, around its backbone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from ner_lightning.data.pretrained import Pretrained, locate
from ner_lightning.data.schemes import LabelSet
from ner_lightning.model.activation_checkpointing import checkpoint_activations
from ner_lightning.model.adapters import adapt, add_adapter, keeping_trained
from ner_lightning.model.attention import verify_attention
from ner_lightning.model.backbone import Backbone, saved_parts
from ner_lightning.model.decoder import Decoder
from ner_lightning.model.devices import compiles
from ner_lightning.model.emitter import BackboneEmitter, EnsembleEmitter
from ner_lightning.model.extensions import prepared
from ner_lightning.model.fused_projections import fuse_projections
from ner_lightning.model.outline import cut_layers
from ner_lightning.model.pinning import JOINT
from ner_lightning.model.quantization import check_products, dequantize, without_outliers
from ner_lightning.model.quiet_transformers import quiet_transformers
from ner_lightning.model.shared_adapters import AdapterBank, SharedEmitter
from ner_lightning.model.tagger import Tagger
from ner_lightning.model.tagger_settings import TaggerSettings
from ner_lightning.model.weights import load_backbone
from ner_lightning.system.plain_settings import to_plain
from ner_lightning.system.progress import stage, stage_if_slow


@dataclass(frozen=True)
class Target:
    """What a tagger is built for.

    Args:
        bf16: run the backbone in bf16, and keep in bf16 what of it is not trained.
        device_type: `cpu` or `cuda`, where it will run.
        packed: it will be given packed rows.
        mergeable: keep all weights in fp32, so that adapters can be merged into them; see
            `BackboneEmitter.merge`. Quantised weights stay as they are, and cannot be merged.
        dequantized: quantise the weights, but hold the values that result in fp32.
        compiled: compile each layer.
        cached: leave frozen layers uncompiled: their output is cached, so that they run only once.
        identified: compute the fingerprint of its weights, for which all their files are read.
    """

    bf16: bool = False
    device_type: str = "cpu"
    packed: bool = False
    mergeable: bool = False
    compiled: bool = False
    cached: bool = False
    dequantized: bool = False
    identified: bool = True


def build_tagger(
    settings: TaggerSettings,
    labels: LabelSet,
    target: Target = Target(),
    *,
    members: Sequence[TaggerSettings] = (),
    pretrained: Pretrained | None = None,
) -> tuple[Tagger, str]:
    """Loads the backbone and builds a tagger, or an ensemble if it has further members.

    Members that share a frozen backbone hold it once, each with adapters of its own in it.

    Args:
        settings: those of the tagger, or of an ensemble's first member, whose decoder is used.
        labels: the label set.
        target: what it is built for.
        members: the settings of an ensemble's other members.
        pretrained: where the backbone is, or that of the first member; None looks it up.

    Returns:
        the tagger, and the fingerprint of its backbone, or of each member's joined by `joined`; empty unless
        `target.identified`.

    Raises:
        UserError: a backbone cannot be had, or cannot be made what its settings say.
    """
    every = [settings, *members]
    backbones: dict[int, Backbone] = {}
    emitters: list[BackboneEmitter] = []
    identities: list[str] = []
    shares = backbone_owners(list(map(to_plain, every)))
    for number, owner in enumerate(shares):
        member, shared = every[number], shares.count(owner) > 1
        adapter = adapter_name(number) if shared and member.adapters is not None else None
        if number == owner:
            where = pretrained if number == 0 and pretrained else locate(member.backbone, member.revision)
            backbones[owner] = _backbone(where, member, target, shared)
        backbone = backbones[owner]
        if adapter is not None:
            _add_shared(backbone, member, adapter)
        emitters.append(BackboneEmitter(backbone, len(labels), member.architecture, adapter))
        if target.identified:
            prepared = member.architecture.prepare
            identities.append(backbone.identity + ("" if prepared is None else f" {prepared!r}"))
    emitter = EnsembleEmitter(emitters) if members else emitters[0]
    return Tagger(emitter, decoder_of(settings, labels)), joined(identities)


def decoder_of(settings: TaggerSettings, labels: LabelSet) -> Decoder:
    """The decoder that settings say."""
    constrained = settings.architecture.constrained
    return Decoder(labels, use_crf=settings.use_crf, constrained=constrained, loss=settings.loss)


def shared_part(settings: TaggerSettings) -> list[Any] | None:
    """What taggers have in common that can share a backbone; None if this one needs its own."""
    return _shared_part(to_plain(settings))


def load_shared(pretrained: Pretrained, settings: TaggerSettings, target: Target) -> Backbone:
    """Loads a backbone for several taggers, as the settings of one of them say, without adapters."""
    return _backbone(pretrained, settings, target, shared=True)


def build_on(bank: AdapterBank, settings: TaggerSettings, labels: LabelSet, name: str) -> Tagger:
    """Builds a tagger on a backbone that others use as well.

    Args:
        bank: of the backbone.
        settings: the tagger's, whose `shared_part` is that of the others.
        labels: its label set.
        name: of its adapters in the bank, if it has some.
    """
    adapters = None if settings.adapters is None else name
    emitter = SharedEmitter(bank, len(labels), settings.architecture, adapters)
    return Tagger(emitter, decoder_of(settings, labels))


def backbone_owners(members: Sequence[Mapping[str, Any]]) -> list[int]:
    """For each member of an ensemble, the first one with which it shares its backbone; often itself.

    A backbone can be shared where nothing of it is trained but adapters.

    Args:
        members: `TaggerSettings` of each, as plain values.
    """
    parts = [_shared_part(member) for member in members]
    return [number if part is None else parts.index(part) for number, part in enumerate(parts)]


def adapter_name(number: int) -> str:
    """PEFT's name for the adapters of a member that shares its backbone."""
    return f"member{number}"


def joined(identities: Sequence[str]) -> str:
    """The fingerprints of several backbones as one."""
    return JOINT.join(identities)


def set_up(
    backbone: Backbone, settings: TaggerSettings, *, packed: bool = False, adapted: bool = True
) -> None:
    """Makes a loaded backbone what the settings say: its layers, their attention, what is trained.

    Args:
        backbone: from `load_backbone`, in place.
        settings: what to make of it.
        packed: it will be given packed rows.
        adapted: decide what is trained, and add adapters.

    Raises:
        UserError: it is an encoder-decoder, or cannot be made what the settings say.
    """
    architecture = settings.architecture
    cut_layers(backbone, architecture)
    checking = stage_if_slow(f"Checking that its attention is {settings.attention} ...")
    with checking, without_outliers(backbone):
        verify_attention(backbone, settings.attention, packed=packed, causal_below=architecture.causal_below)
    adapt(
        backbone,
        freeze=settings.freeze_backbone,
        lora=settings.adapters if adapted else None,
        unfreeze_top=architecture.unfreeze_top,
    )


@quiet_transformers
def _backbone(pretrained: Pretrained, settings: TaggerSettings, target: Target, shared: bool) -> Backbone:
    asks_hub = pretrained.on_hub and not pretrained.kwargs["local_files_only"]
    stage(f"Loading {pretrained.label}{', downloading what the cache lacks' if asks_hub else ''} ...")
    compiled = target.compiled and compiles(target.device_type)
    quantized = settings.quantization != "none"
    mergeable = target.mergeable and not shared and not quantized
    backbone = load_backbone(
        pretrained,
        attention=settings.attention,
        dtype=torch.bfloat16 if target.bf16 and not mergeable else torch.float32,
        implementation=settings.runtime.attn_implementation,
        bf16=target.bf16,
        device_type=target.device_type,
        trust_remote_code=settings.runtime.trust_remote_code,
        quantization=settings.quantization,
    )
    if quantized and target.dequantized:
        backbone = Backbone(dequantize(backbone.model), pretrained=pretrained)
    elif quantized and target.device_type == "cpu":
        check_products(settings.quantization)
        stage(f"Weights in {settings.quantization} are slow on a CPU; an exported tagger has none.")
    prepare = settings.architecture.prepare
    if prepare is not None:
        before = saved_parts(backbone.model)
        backbone = Backbone(prepared(backbone.model, prepare), bf16=target.bf16, pretrained=pretrained)
        backbone.rewritten = saved_parts(backbone.model) != before
    # Autocast would convert weights in fp32 anew for each of the check's passes.
    backbone.bf16 = target.bf16 and not mergeable
    set_up(backbone, settings, packed=target.packed, adapted=not shared)
    backbone.bf16 = target.bf16
    if compiled and target.device_type == "cpu":
        fuse_projections(backbone)
    if settings.runtime.gradient_checkpointing:
        checkpoint_activations(backbone.layers)
    if compiled:
        backbone.compile_layers(below=backbone.frozen_depth() if target.cached else 0)
    return backbone


def _shared_part(settings: Mapping[str, Any]) -> list[Any] | None:
    """What members that share a backbone have in common; None if this one needs its own."""
    architecture = settings["architecture"]
    if not settings["freeze_backbone"] or architecture["unfreeze_top"]:
        return None
    return [
        *(settings[name] for name in ("backbone", "revision", "attention", "peft")),
        settings.get("quantization", "none"),
        *(architecture[name] for name in ("layers", "causal_below", "prepare")),
        settings["runtime"]["attn_implementation"],
    ]


def _add_shared(backbone: Backbone, member: TaggerSettings, name: str) -> None:
    assert member.adapters is not None
    before = {id(parameter) for parameter in backbone.parameters()}
    with keeping_trained(backbone):
        add_adapter(backbone, member.adapters, name=name)
    for parameter in backbone.parameters():
        if id(parameter) not in before:
            parameter.data = parameter.data.float()
            parameter.requires_grad_(True)
