"""Writes the weights and the tokenizer of an exported folder."""

import copy
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ner_lightning.data.tokenization.encoding import Encoder
from ner_lightning.export import graph
from ner_lightning.inference.loading import ADAPTER_WEIGHTS, GRAPH, WEIGHTS, TaggerFiles
from ner_lightning.model.checkpoint import BACKBONE, EMITTER, saved_names
from ner_lightning.model.emitter import BackboneEmitter
from ner_lightning.model.tagger import Tagger


def write_adapter(tagger: Tagger, files: TaggerFiles, folder: Path) -> None:
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
            config.revision = str(files.origin.get("weights")).removeprefix("commit:")
        config.inference_mode = True
        config.save_pretrained(str(folder))
    _save(trained, folder / WEIGHTS)


def write_graph(tagger: Tagger, folder: Path) -> None:
    """Writes backbone and head as an ONNX graph, and the CRF beside it."""
    graph.write(_emitter(tagger), folder / GRAPH)
    state = tagger.state_dict()
    _save({name: state[name] for name in state if not name.startswith(EMITTER)}, folder / WEIGHTS)


def write_merged(tagger: Tagger, files: TaggerFiles, folder: Path, bf16: bool) -> bool:
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


def write_tokenizer(encoder: Encoder, folder: Path) -> None:
    """Writes the tokenizer as it was used: with the BOS that some files forget, and padding on the right.

    Offsets of byte-level tokenizers leave out the space before a word, which is what others cut texts by.
    """
    from tokenizers.processors import Sequence, TemplateProcessing
    from transformers import PreTrainedTokenizerFast

    used: Any = encoder.tokenizer
    backend = used.backend_tokenizer
    bare = used("a", add_special_tokens=False)["input_ids"]
    if used("a")["input_ids"] != [*encoder.prefix.tolist(), *bare, *encoder.suffix.tolist()]:
        bos = TemplateProcessing(
            single=f"{used.bos_token} $A", special_tokens=[(used.bos_token, used.bos_token_id)]
        )
        backend.post_processor = Sequence([p for p in (backend.post_processor, bos) if p is not None])
    trims = _trims_offsets(used)
    if trims is not None:
        backend.post_processor = Sequence([p for p in (trims, backend.post_processor) if p is not None])
    special = {k: v for k, v in used.special_tokens_map.items() if isinstance(v, str)}
    special.setdefault("pad_token", special.get("eos_token", ""))
    written = PreTrainedTokenizerFast(
        tokenizer_object=backend,
        padding_side="right",
        model_input_names=used.model_input_names,
        **{name: token for name, token in special.items() if token},
    )
    written.save_pretrained(folder)


def offsets_have_spaces(tokenizer: Any) -> bool:
    """Whether the offsets of a fast tokenizer count the space before a word as part of it."""
    text = "a a"
    coded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    return any(text[start:end].startswith(" ") for start, end in coded["offset_mapping"])


def _trims_offsets(tokenizer: Any) -> Any:
    """What makes a byte-level tokenizer leave spaces out of its offsets; None if it does or cannot."""
    from tokenizers.processors import ByteLevel

    if tokenizer.backend_tokenizer.pre_tokenizer is None or not offsets_have_spaces(tokenizer):
        return None
    steps = json.loads(tokenizer.backend_tokenizer.pre_tokenizer.__getstate__())
    byte_level = [step for step in steps.get("pretokenizers", [steps]) if step["type"] == "ByteLevel"]
    if not byte_level:
        return None
    return ByteLevel(add_prefix_space=byte_level[0]["add_prefix_space"], trim_offsets=True, use_regex=False)


def _emitter(tagger: Tagger) -> BackboneEmitter:
    assert isinstance(tagger.emitter, BackboneEmitter), "ensembles and graphs are not exported"
    return tagger.emitter


def _save(state: Mapping[str, Tensor], file: Path) -> None:
    from safetensors.torch import save_file

    save_file({k: v.detach().cpu().clone().contiguous() for k, v in state.items()}, file, {"format": "pt"})
