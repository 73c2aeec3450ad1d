"""Families of backbones as configurations of small random models."""

from collections.abc import Callable

import transformers
from tiny import SMALL

SIZES = {"vocab_size": 420, **SMALL}
GROUPED = SIZES | {"num_key_value_heads": 2}
HEADS = GROUPED | {"head_dim": 8}
NAMED = {"n_embd": 32, "n_layer": 2, "n_head": 4, "vocab_size": 420, "initializer_range": 0.2}
FALCON = {k: v for k, v in SIZES.items() if k != "intermediate_size"}
BLOOM = {"hidden_size": 32, "n_layer": 2, "n_head": 4, "vocab_size": 420, "initializer_range": 0.2}
MPT = {"d_model": 32, "n_layers": 2, "n_heads": 4, "vocab_size": 420, "initializer_range": 0.2}
OPT = {"ffn_dim": 64, "word_embed_proj_dim": 32, "init_std": 0.2}
DISTIL = {"dim": 32, "hidden_dim": 64, "n_layers": 2, "n_heads": 4, "initializer_range": 0.2}
SPECIAL = {"pad_token_id": 1, "cls_token_id": 0, "sep_token_id": 1, "bos_token_id": 0, "eos_token_id": 1}
WINDOWS = {"sliding_window": 8, "layer_types": ["sliding_attention", "full_attention"]}
RELATIVE = {"relative_attention": True, "pos_att_type": ["p2c", "c2p"]}
DEBERTA3 = RELATIVE | {
    "position_buckets": 16,
    "norm_rel_ebd": "layer_norm",
    "share_att_key": True,
    "position_biased_input": False,
}
t = transformers

ENCODERS: dict[str, Callable[[], transformers.PreTrainedConfig]] = {
    "deberta": lambda: t.DebertaConfig(**SIZES, **RELATIVE),
    "deberta-v2": lambda: t.DebertaV2Config(**SIZES, **RELATIVE, conv_kernel_size=3, conv_act="gelu"),
    "deberta-v3": lambda: t.DebertaV2Config(**SIZES, **DEBERTA3),
    "bert": lambda: t.BertConfig(**SIZES),
    "roberta": lambda: t.RobertaConfig(**SIZES),
    "xlm-roberta": lambda: t.XLMRobertaConfig(**SIZES),
    "distilbert": lambda: t.DistilBertConfig(vocab_size=420, **DISTIL),
    "electra": lambda: t.ElectraConfig(**SIZES, embedding_size=16),
    "albert": lambda: t.AlbertConfig(**SIZES, embedding_size=16),
    "mpnet": lambda: t.MPNetConfig(**SIZES),
    "modernbert": lambda: t.ModernBertConfig(
        **SIZES, local_attention=8, initializer_cutoff_factor=2.0, **SPECIAL
    ),
    "xlnet": lambda: t.XLNetConfig(vocab_size=420, d_model=32, n_layer=2, n_head=4, d_inner=64),
}
DECODERS: dict[str, Callable[[], transformers.PreTrainedConfig]] = {
    "gpt2": lambda: t.GPT2Config(**NAMED),
    "gptj": lambda: t.GPTJConfig(**NAMED, rotary_dim=4),
    "gpt_neox": lambda: t.GPTNeoXConfig(**SIZES),
    "llama": lambda: t.LlamaConfig(**GROUPED),
    "qwen2": lambda: t.Qwen2Config(**GROUPED),
    "qwen3": lambda: t.Qwen3Config(**HEADS),
    "gemma": lambda: t.GemmaConfig(**HEADS),
    "gemma2": lambda: t.Gemma2Config(**HEADS, sliding_window=8),
    "gemma3": lambda: t.Gemma3TextConfig(**HEADS, **WINDOWS),
    "phi": lambda: t.PhiConfig(**SIZES),
    "phi3": lambda: t.Phi3Config(**GROUPED, pad_token_id=0),
    "falcon": lambda: t.FalconConfig(**FALCON),
    "falcon-alibi": lambda: t.FalconConfig(**FALCON, alibi=True),
    "mistral": lambda: t.MistralConfig(**GROUPED),
    "mpt": lambda: t.MptConfig(**MPT),
    "bloom": lambda: t.BloomConfig(**BLOOM),
    "opt": lambda: t.OPTConfig(
        vocab_size=420, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, **OPT
    ),
    "granite": lambda: t.GraniteConfig(**GROUPED, logits_scaling=4.0),
    "smollm3": lambda: t.SmolLM3Config(**GROUPED, pad_token_id=0),
    "olmo2": lambda: t.Olmo2Config(**GROUPED),
    "cohere": lambda: t.CohereConfig(**GROUPED),
    "stablelm": lambda: t.StableLmConfig(**GROUPED),
}
CONFIGS = ENCODERS | DECODERS
# What runs after the last layer of each, by its own code; the others' last layer ends in a norm of its own.
NORMS = {
    "modernbert": "final_norm",
    "gpt2": "ln_f",
    "gptj": "ln_f",
    "gpt_neox": "final_layer_norm",
    "phi": "final_layernorm",
    "falcon": "ln_f",
    "falcon-alibi": "ln_f",
    "mpt": "norm_f",
    "bloom": "ln_f",
    "opt": "decoder.final_layer_norm",
    **dict.fromkeys(
        ("llama", "qwen2", "qwen3", "gemma", "gemma2", "gemma3", "phi3", "mistral", "granite", "smollm3"),
        "norm",
    ),
    **dict.fromkeys(("olmo2", "cohere", "stablelm"), "norm"),
}
