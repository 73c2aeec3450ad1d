"""Writes the weights and the tokenizer of an exported folder."""

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ner_lightning.data.tokenization.encoding import Encoder
from ner_lightning.export import graph
from ner_lightning.inference.loading import ADAPTER_WEIGHTS, GRAPH, WEIGHTS, TaggerFiles
from ner_lightning.model.checkpoint import BACKBONE, kept_names
from ner_lightning.model.tagger import Tagger


def write_adapter(tagger: Tagger, files: TaggerFiles, folder: Path) -> None:
    """Writes what was trained: adapters in PEFT's format, other parameters by their names in `Tagger`."""
    state = tagger.state_dict()
    trained = {name: state[name] for name in kept_names(tagger) if ".lora_" not in name}
    peft: Any = getattr(tagger.backbone, "peft_config", None)
    if peft is not None:
        from peft import get_peft_model_state_dict

        adapter = get_peft_model_state_dict(tagger.backbone, save_embedding_layers=False)
        _save(adapter, folder / ADAPTER_WEIGHTS)
        config = copy.copy(peft["default"])
        config.base_model_name_or_path = str(files.settings["backbone"])
        config.inference_mode = True
        config.save_pretrained(str(folder))
    _save(trained, folder / WEIGHTS)


def write_graph(tagger: Tagger, folder: Path) -> None:
    """Writes backbone and head as an ONNX graph, and the CRF beside it."""
    graph.write(tagger, folder / GRAPH)
    on_top = _without_backbone(tagger)
    _save({name: on_top[name] for name in on_top if not name.startswith("head.")}, folder / WEIGHTS)


def write_merged(tagger: Tagger, files: TaggerFiles, folder: Path, bf16: bool) -> bool:
    """Writes the backbone with its adapters merged, and head and CRF.

    Where transformers' own model for token classification computes the same scores, the backbone is written
    as a part of such a model.

    Returns:
        whether transformers alone loads the folder.
    """
    _save(_without_backbone(tagger), folder / WEIGHTS)
    backbone: Any = tagger.backbone
    if bf16:
        backbone.to(torch.bfloat16)
    encoding = files.encoding
    # What transformers alone would not do: repeat the text, leave out a prefix space, prepare the backbone.
    ours = encoding.get("repeats") or not encoding.get("prefix_space", True)
    ours = ours or files.settings.get("prepare") is not None
    whole: Any = None if ours or tagger.crf is not None else token_classifier(tagger)
    (backbone if whole is None else whole).save_pretrained(folder)
    return whole is not None


def token_classifier(tagger: Tagger) -> nn.Module | None:
    """The tagger as transformers' own model for token classification.

    Args:
        tagger: its adapters merged.

    Returns:
        None if transformers has no such model for this backbone, puts more than one linear layer on top, or
        cannot make only the lower layers causal.
    """
    if tagger.causal_below:
        return None
    from transformers import AutoModelForTokenClassification

    backbone: Any = tagger.backbone
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
    whole.set_submodule(on_top[0], tagger.head)
    return None if any(p.is_meta for p in whole.parameters()) else whole


def write_tokenizer(encoder: Encoder, folder: Path) -> None:
    """Writes the tokenizer as it was used: with the BOS that some files forget, and padding on the right."""
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
    special = {k: v for k, v in used.special_tokens_map.items() if isinstance(v, str)}
    special.setdefault("pad_token", special.get("eos_token", ""))
    written = PreTrainedTokenizerFast(
        tokenizer_object=backend,
        padding_side="right",
        model_input_names=used.model_input_names,
        **{name: token for name, token in special.items() if token},
    )
    written.save_pretrained(folder)


def _without_backbone(tagger: Tagger) -> dict[str, Tensor]:
    return {name: value for name, value in tagger.state_dict().items() if not name.startswith(BACKBONE)}


def _save(state: Mapping[str, Tensor], file: Path) -> None:
    from safetensors.torch import save_file

    save_file({k: v.detach().cpu().clone().contiguous() for k, v in state.items()}, file, {"format": "pt"})
