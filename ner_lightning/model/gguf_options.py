"""What `from_pretrained` must be told of a GGUF file, most of all of its rotary positions."""

from pathlib import Path
from typing import Any

from ner_lightning.data.pretrained import Pretrained
from ner_lightning.errors import UserError

FREQUENCIES = "rope_freqs.weight"  # divisors of RoPE's frequencies
# Where those are Llama 3's. Gemma 4's say what its configuration says already.
LLAMA3 = ("llama", "deci")
FACTORS = ("rope_factors_long.weight", "rope_factors_short.weight")  # Phi-3's for long texts
READ = ("gpt-oss",)  # whose stretched positions transformers reads from the file


def gguf_options(pretrained: Pretrained) -> dict[str, Any]:
    """What `from_pretrained` must be told to read a GGUF file right; nothing for other files.

    Raises:
        UserError: the file stretches rotary positions in a way that transformers does not read.
    """
    if pretrained.gguf_file is None:
        return {}
    from transformers import GgufConfig

    # Without dequantisation the weights stay packed: nothing could be trained or saved.
    packed = {"quantization_config": GgufConfig(dequantize=True)}
    return packed | _rope(Path(pretrained.name), pretrained.gguf_file)


def _rope(folder: Path, file: str) -> dict[str, Any]:
    """Restores Llama 3's stretched RoPE, which transformers loses when it reads a GGUF file.

    The file keeps the per-frequency divisors as a tensor; their maximum is the scaling factor. The
    other three numbers are the same for every Llama 3.1, 3.2 and 3.3.
    """
    import gguf

    reader = gguf.GGUFReader(folder / file)
    tensors = {tensor.name: tensor for tensor in reader.tensors}
    architecture = str(reader.fields["general.architecture"].contents())
    scaling = reader.fields.get(f"{architecture}.rope.scaling.type")
    how = "none" if scaling is None else str(scaling.contents())
    if architecture not in READ and (how != "none" or any(name in tensors for name in FACTORS)):
        raise UserError(
            f"model.backbone: {file} stretches its rotary positions "
            f"({'longrope' if how == 'none' else how}), which transformers does not read from a GGUF file "
            f"of {architecture};\nname the model's folder or Hub id instead"
        )
    if architecture not in LLAMA3 or FREQUENCIES not in tensors:
        return {}
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(folder, gguf_file=file, trust_remote_code=False)
    config.rope_parameters = {
        "rope_type": "llama3",
        "rope_theta": config.rope_parameters["rope_theta"],
        "factor": float(tensors[FREQUENCIES].data.max()),
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192,
    }
    return {"config": config}
