"""Writes a trained tagger as a folder that others can load: adapter, merged model, or ONNX graph."""

import copy
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from ner_lightning.data.tokenization.encoding import Encoder
from ner_lightning.errors import UserError
from ner_lightning.export import card, graph
from ner_lightning.export.facts import facts
from ner_lightning.inference.loading import (
    ADAPTER,
    ADAPTERS,
    CHECKPOINT,
    FORMAT,
    MANIFEST,
    MERGED,
    ONNX,
    WEIGHTS,
    TaggerFiles,
    find,
)
from ner_lightning.model.checkpoint import BACKBONE, EMITTER, kept_names
from ner_lightning.model.emitter import BackboneEmitter
from ner_lightning.model.tagger import Tagger
from ner_lightning.runs.folder import run_of
from ner_lightning.runs.provenance import package_versions
from ner_lightning.system.progress import stage
from ner_lightning.system.settings import plain

Format = Literal["merged", "adapter", "onnx"]
Precision = Literal["auto", "float32", "bfloat16"]


def export(
    run: str | None,
    output: Path,
    *,
    form: Format = "merged",
    dtype: Precision = "auto",
    temperature: float | None = None,
    root: Path = Path("runs"),
    trust: bool = False,
) -> Path:
    """Writes a trained tagger as a folder.

    Args:
        run: a run folder, a checkpoint or an exported folder; None is the last run.
        output: the folder, which must not hold anything yet.
        form: `merged` (backbone with its adapters folded in), `adapter` (only what was trained) or `onnx`.
        dtype: of a merged backbone; `auto` is what it was trained to run in.
        temperature: what scores are divided by before they become probabilities; None leaves it.
        root: the folder of runs, for None.
        trust: run code that comes with the run's backbone, or that the run names.

    Returns:
        the folder.

    Raises:
        UserError: the run cannot be used, the folder is taken, or this form cannot be had from it.
    """
    _check(output)
    source = find(run, root, trust=trust)
    if source.form == "onnx" or (form == ADAPTERS and source.form == MERGED):
        raise UserError(
            f"{source.path} is {'an ONNX graph' if source.form == 'onnx' else 'a merged model'}, of which no "
            f"--format {form} can be made; name the run that it came from"
        )
    if source.members:
        raise UserError(
            f"{source.path} is an ensemble: several models, where an exported folder holds one; "
            "export a member, or use the ensemble itself with `predict` and `serve`"
        )
    if dtype != "auto" and form != MERGED:
        raise UserError(f"--dtype is for --format merged; {form} keeps fp32")
    bf16 = form == MERGED and (source.bf16 if dtype == "auto" else dtype == "bfloat16")
    # All sums are made in fp32, and only their results are rounded.
    tagger = source.build("cpu", bf16=False, merge=form != ADAPTERS)
    draft = output.with_name(f".{output.name}.{os.getpid()}.tmp")
    draft.mkdir(parents=True)
    try:
        stage(f"Writing {output} ...")
        settings, origin = dict(source.settings), dict(source.origin)
        if form == ADAPTERS:
            bf16 = source.bf16
            _write_adapter(tagger, source, draft)
        else:
            _write_whole(tagger, source, draft, form, bf16)
            settings |= {"peft": "none", "freeze_backbone": True, "backbone": ".", "revision": None}
            settings["architecture"] = {**settings["architecture"], "unfreeze_top": 0}
            origin["name"] = card.public_name(origin.get("name"))
            origin.pop("folder", None)
        encoder = source.encoder()
        _write_tokenizer(encoder, draft)
        training = run_of(source.path) if source.form == CHECKPOINT else None
        about = dict(source.about or facts(training.path if training else None))
        loads = (draft / "config.json").is_file() and "ForTokenClassification" in (
            (draft / "config.json").read_text(encoding="utf-8")
        )
        held = {
            "format": FORMAT,
            "form": form,
            "types": list(source.types),
            "encoding": plain(source.encoding) | {"max_length": encoder.max_length},
            "bf16": bf16,
            "temperature": source.temperature if temperature is None else temperature,
            "settings": settings,
            "origin": origin,
            "versions": package_versions(),
            "about": about,
        }
        page = card.model_card(held, output.name, loads=loads)
        (draft / "README.md").write_text(page, encoding="utf-8")
        text = json.dumps(held, indent=2, ensure_ascii=False) + "\n"
        (draft / MANIFEST).write_text(text, encoding="utf-8")
        for file in draft.iterdir():  # safetensors lets only its writer read what it writes
            file.chmod((draft / MANIFEST).stat().st_mode)
        draft.replace(output)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise
    return output


def _check(output: Path) -> None:
    if output.exists() and not (output.is_dir() and not any(output.iterdir())):
        raise UserError(f"--output {output} is there already; name a new folder")
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"--output {output}: {error.strerror}") from None
    if not os.access(output.parent, os.W_OK):
        raise UserError(f"--output {output}: no folder can be made there")


def _write_adapter(tagger: Tagger, source: TaggerFiles, folder: Path) -> None:
    """Only what was trained: adapters as PEFT keeps them, everything else under the tagger's own names."""
    if not source.settings["freeze_backbone"]:
        raise UserError("the whole backbone was trained, so there is no small form of it: --format merged")
    state = tagger.state_dict()
    kept = {name: state[name] for name in kept_names(tagger) if ".lora_" not in name}
    assert isinstance(tagger.emitter, BackboneEmitter)
    model = tagger.emitter.backbone.model
    peft: Any = getattr(model, "peft_config", None)
    if peft is not None:
        from peft import get_peft_model_state_dict

        adapters = get_peft_model_state_dict(model, save_embedding_layers=False)
        _save(adapters, folder / ADAPTER)
        config = copy.copy(peft["default"])
        config.base_model_name_or_path = str(source.settings["backbone"])
        config.inference_mode = True
        config.save_pretrained(str(folder))
    _save(kept, folder / WEIGHTS)


def _write_whole(tagger: Tagger, source: TaggerFiles, folder: Path, form: str, bf16: bool) -> None:
    """The backbone with its adapters folded in, and what stands on top of it."""
    emitter = tagger.emitter
    assert isinstance(emitter, BackboneEmitter)
    whole_backbone = EMITTER + BACKBONE
    state = {
        name: value for name, value in tagger.state_dict().items() if not name.startswith(whole_backbone)
    }
    if form == "onnx":
        graph.write(emitter, folder / ONNX)
        _save({k: v for k, v in state.items() if not k.startswith(EMITTER)}, folder / WEIGHTS)
        return
    _save(state, folder / WEIGHTS)
    model = emitter.backbone.model
    if bf16:
        model.to(torch.bfloat16)
    architecture = source.settings["architecture"]
    # Copies of the text, and what prepared or masked the backbone, only this package does again.
    usual = not (source.encoding.repeats or architecture.get("prepare") or architecture.get("causal_below"))
    whole: Any = token_classifier(tagger) if usual and tagger.decoder.crf is None else None
    (model if whole is None else whole).save_pretrained(folder)


def token_classifier(tagger: Tagger) -> nn.Module | None:
    """The tagger as transformers' own model for token classification.

    Args:
        tagger: its adapters merged.

    Returns:
        None where transformers has none for this backbone, or puts more than one linear layer on top.
    """
    from transformers import AutoModelForTokenClassification

    assert isinstance(tagger.emitter, BackboneEmitter)
    backbone = tagger.emitter.backbone.model
    config = copy.deepcopy(backbone.config)
    config.id2label = dict(enumerate(tagger.labels.tags))
    config.label2id = {tag: number for number, tag in enumerate(tagger.labels.tags)}
    try:
        with torch.device("meta"):
            whole: Any = AutoModelForTokenClassification.from_config(config, trust_remote_code=False)
    except ValueError:  # transformers knows none
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
    whole.set_submodule(on_top[0], tagger.emitter.head)
    return None if any(p.is_meta for p in whole.parameters()) else whole


def _write_tokenizer(encoder: Encoder, folder: Path) -> None:
    """The tokenizer, as it was used: with the BOS that some files forget, and padding on the right."""
    from tokenizers.processors import Sequence, TemplateProcessing
    from transformers import PreTrainedTokenizerFast

    before: Any = encoder.tokenizer
    backend = before.backend_tokenizer
    bare = before("a", add_special_tokens=False)["input_ids"]
    if before("a")["input_ids"] != [*encoder.prefix.tolist(), *bare, *encoder.suffix.tolist()]:
        bos = TemplateProcessing(
            single=f"{before.bos_token} $A", special_tokens=[(before.bos_token, before.bos_token_id)]
        )
        backend.post_processor = Sequence([p for p in (backend.post_processor, bos) if p is not None])
    special = {k: v for k, v in before.special_tokens_map.items() if isinstance(v, str)}
    special.setdefault("pad_token", special.get("eos_token", ""))
    after = PreTrainedTokenizerFast(
        tokenizer_object=backend,
        padding_side="right",
        model_input_names=before.model_input_names,
        **{name: token for name, token in special.items() if token},
    )
    after.save_pretrained(folder)


def _save(state: Mapping[str, Tensor], file: Path) -> None:
    from safetensors.torch import save_file

    save_file({k: v.detach().cpu().clone().contiguous() for k, v in state.items()}, file, {"format": "pt"})
