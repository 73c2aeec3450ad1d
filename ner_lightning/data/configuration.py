"""The transformers configuration of a backbone, and whether its files are quantised already."""

from typing import Any

from ner_lightning.data.gguf import read_once
from ner_lightning.data.pretrained import Pretrained, load_errors_explained
from ner_lightning.errors import UserError


def configuration(pretrained: Pretrained, *, trust_remote_code: bool = False) -> Any:
    """Reads a backbone's transformers configuration.

    Raises:
        UserError: the backbone needs code of its own, which is not trusted.
    """
    from transformers import AutoConfig

    with read_once(pretrained.gguf_file is not None), load_errors_explained(pretrained):
        return AutoConfig.from_pretrained(
            pretrained.name, trust_remote_code=trust_remote_code, **pretrained.kwargs
        )


def check_unquantized(pretrained: Pretrained, *, trust_remote_code: bool = False) -> None:
    """Checks that a backbone's weights are not quantised in its files; those of a GGUF file are unpacked.

    Adapters could not be merged into them, and training all of them would train only some.

    Raises:
        UserError: they are.
    """
    if pretrained.gguf_file is not None:
        return
    config = configuration(pretrained, trust_remote_code=trust_remote_code)
    parts = [config, *vars(config).values()]  # a multimodal model has a configuration for its text model
    found = next(filter(None, (getattr(part, "quantization_config", None) for part in parts)), None)
    if found is None:
        return
    method = found.get("quant_method") if isinstance(found, dict) else getattr(found, "quant_method", None)
    raise UserError(
        f"model.backbone: {pretrained.label} is already quantised "
        f"({getattr(method, 'value', method) or 'bitsandbytes'}), so adapters could not be merged into it.\n"
        "Name the model that it was made from; model.quantization nf4 or int8 quantises that one in memory."
    )
