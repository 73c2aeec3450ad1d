"""Writes the tokenizer of an exported folder."""

import json
from pathlib import Path
from typing import Any

from ner_lightning.data.tokenization.encoding import Encoder


def write(encoder: Encoder, folder: Path) -> bool:
    """Writes the tokenizer as it was used: with the BOS that some files forget, and padding on the right.

    Offsets of byte-level tokenizers leave out the space before a word, since others cut texts by them.

    Returns:
        whether its offsets still count that space as part of the word.
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
    return _offsets_have_spaces(written)


def _offsets_have_spaces(tokenizer: Any) -> bool:
    """Whether the offsets of a fast tokenizer count the space before a word as part of it."""
    text = "a a"
    coded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    return any(text[start:end].startswith(" ") for start, end in coded["offset_mapping"])


def _trims_offsets(tokenizer: Any) -> Any:
    """What makes a byte-level tokenizer leave spaces out of its offsets; None if it does or cannot."""
    from tokenizers.processors import ByteLevel

    if tokenizer.backend_tokenizer.pre_tokenizer is None or not _offsets_have_spaces(tokenizer):
        return None
    steps = json.loads(tokenizer.backend_tokenizer.pre_tokenizer.__getstate__())
    byte_level = [step for step in steps.get("pretokenizers", [steps]) if step["type"] == "ByteLevel"]
    if not byte_level:
        return None
    return ByteLevel(add_prefix_space=byte_level[0]["add_prefix_space"], trim_offsets=True, use_regex=False)
