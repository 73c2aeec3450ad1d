"""The text model of a multimodal backbone, which alone becomes the tagger's."""

from typing import Any

from torch import nn

from ner_lightning.errors import UserError

# What transformers sets on a model whose layers it has quantised; PEFT and `dequantize` read it.
QUANTIZED = ("is_quantized", "quantization_method", "hf_quantizer", "is_loaded_in_4bit", "is_loaded_in_8bit")


def is_multimodal(config: Any) -> bool:
    """Whether a configuration is that of a model which reads more than text; false for encoder-decoders."""
    if getattr(config, "is_encoder_decoder", False):
        return False
    try:
        return config.get_text_config() is not config
    except ValueError:  # it has several
        return True


def text_model(model: Any, label: str) -> tuple[str, nn.Module]:
    """What reads text in a transformers model: all of it, or the text model of a multimodal one.

    The text model is a model of its own, with its own configuration, by which transformers can load it alone.

    Args:
        model: without a head.
        label: its name, to say what cannot be done.

    Returns:
        its name within the model, which is empty if it is all of it; and itself.

    Raises:
        UserError: transformers cannot load its text model alone.
    """
    if not is_multimodal(model.config):
        return "", model
    from transformers import MODEL_MAPPING

    for name, part in model.named_modules():
        config: Any = getattr(part, "config", None)
        alone = type(config) in MODEL_MAPPING and MODEL_MAPPING[type(config)]
        classes = alone if isinstance(alone, tuple) else (alone,)
        if part is not model and type(part) in classes and config is model.config.get_text_config():
            for attribute in QUANTIZED:
                if attribute in vars(model):
                    setattr(part, attribute, vars(model)[attribute])
            if hasattr(model.config, "quantization_config"):
                config.quantization_config = model.config.quantization_config
            return name, part
    raise UserError(
        f"model.backbone: {label} is a {type(model).__name__}, which reads more than text, and transformers "
        "cannot load its text model alone;\nname a model that reads text only"
    )
