"""Writes the weights of an exported folder."""

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ner_lightning.export import graph, openvino_graph
from ner_lightning.inference.loading import ADAPTER_WEIGHTS, WEIGHTS
from ner_lightning.inference.tagger_files import ADAPTER, GRAPH, ONNX, OPENVINO_GRAPH, TaggerFiles
from ner_lightning.model.checkpoint import BACKBONE, EMITTER, saved_names
from ner_lightning.model.emitter import BackboneEmitter
from ner_lightning.model.pinning import commit_in
from ner_lightning.model.quiet_transformers import quiet_transformers
from ner_lightning.model.tagger import Tagger


def write(tagger: Tagger, files: TaggerFiles, folder: Path, manifest: Mapping[str, Any]) -> bool:
    """Writes the weights in the form that the manifest names.

    Returns:
        whether transformers alone loads the folder.
    """
    if manifest["form"] == ADAPTER:
        _write_adapter(tagger, files, folder)
    elif manifest["form"] == ONNX:
        _write_graph(tagger, folder)
    else:
        if "engines" in manifest:
            openvino_graph.write(_emitter(tagger), folder / OPENVINO_GRAPH, half=manifest["bf16"])
        return _write_merged(tagger, files, folder, manifest["bf16"])
    return False


def _write_adapter(tagger: Tagger, files: TaggerFiles, folder: Path) -> None:
    """Writes what was trained: adapters in PEFT's format, other parameters by their names in `Tagger`.

    PEFT finds a local backbone from any working folder, and that of the Hub at the commit of the training.
    """
    state = tagger.state_dict()
    trained = {name: state[name] for name in saved_names(tagger) if ".lora_" not in name}
    model = _emitter(tagger).backbone.model
    peft: Any = getattr(model, "peft_config", None)
    if peft is not None:
        from peft import get_peft_model_state_dict

        adapter = get_peft_model_state_dict(model, save_embedding_layers=False)
        _save(adapter, folder / ADAPTER_WEIGHTS)
        config = copy.copy(peft["default"])
        config.base_model_name_or_path = files.origin.get("folder") or files.settings["backbone"]
        if files.pretrained.on_hub:
            config.revision = commit_in(str(files.origin.get("weights")))
        config.inference_mode = True
        config.save_pretrained(str(folder))
    _save(trained, folder / WEIGHTS)


def _write_graph(tagger: Tagger, folder: Path) -> None:
    """Writes backbone and head as an ONNX graph, and the CRF beside it."""
    graph.write(_emitter(tagger), folder / GRAPH)
    state = tagger.state_dict()
    _save({name: state[name] for name in state if not name.startswith(EMITTER)}, folder / WEIGHTS)


def _write_merged(tagger: Tagger, files: TaggerFiles, folder: Path, bf16: bool) -> bool:
    """Writes the backbone with its adapters merged, and head and CRF.

    Where transformers' own model for token classification computes the same scores, the backbone is written
    as a part of such a model.

    Returns:
        whether transformers alone loads the folder.
    """
    state = tagger.state_dict()
    backbone = EMITTER + BACKBONE
    _save({name: state[name] for name in state if not name.startswith(backbone)}, folder / WEIGHTS)
    model = _emitter(tagger).backbone.model
    if bf16:
        model.to(torch.bfloat16)
    architecture = files.settings["architecture"]
    # What transformers alone would not do: repeat the text, prepare the backbone, make lower layers causal.
    ours = files.encoding.repeats or architecture.get("prepare") or architecture.get("causal_below")
    whole: Any = None if ours or tagger.decoder.crf is not None else token_classifier(tagger)
    with quiet_transformers:
        (model if whole is None else whole).save_pretrained(folder)
    return whole is not None


def token_classifier(tagger: Tagger) -> nn.Module | None:
    """The tagger as transformers' own model for token classification.

    Args:
        tagger: its adapters merged.

    Returns:
        None if transformers has no such model for this backbone, or puts more than one linear layer on top.
    """
    from transformers import AutoModelForTokenClassification

    emitter = _emitter(tagger)
    backbone = emitter.backbone.model
    config = copy.deepcopy(backbone.config)
    config.id2label = dict(enumerate(tagger.labels.tags))
    config.label2id = {tag: number for number, tag in enumerate(tagger.labels.tags)}
    try:
        with torch.device("meta"):
            whole: Any = AutoModelForTokenClassification.from_config(config, trust_remote_code=False)
    except ValueError:  # transformers has none
        return None
    prefix = whole.base_model_prefix
    on_top = [
        name
        for name, module in whole.named_modules()
        if isinstance(module, nn.Linear) and not name.startswith(f"{prefix}.")
    ]
    if len(on_top) != 1 or type(getattr(whole, prefix, None)) is not type(backbone):
        return None
    setattr(whole, prefix, backbone)
    whole.set_submodule(on_top[0], emitter.head)
    return None if any(p.is_meta for p in whole.parameters()) else whole


def _emitter(tagger: Tagger) -> BackboneEmitter:
    assert isinstance(tagger.emitter, BackboneEmitter), "ensembles and graphs are not exported"
    return tagger.emitter


def _save(state: Mapping[str, Tensor], file: Path) -> None:
    from safetensors.torch import save_file

    save_file({k: v.detach().cpu().clone().contiguous() for k, v in state.items()}, file, {"format": "pt"})
