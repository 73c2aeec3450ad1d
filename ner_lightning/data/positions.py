"""The number of positions of a backbone, which limits the window length."""

from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from ner_lightning.data.configuration import configuration
from ner_lightning.data.gguf import read_once
from ner_lightning.data.pretrained import Pretrained
from ner_lightning.errors import UserError

DEFAULT = 512  # sub-tokens in a window, where a backbone has as many positions
# Names of the number of positions in configurations.
NAMES = ("max_position_embeddings", "n_positions", "max_seq_len")


def window_length(asked: int | None, pretrained: Pretrained, *, trust_remote_code: bool = False) -> int:
    """The most sub-tokens in a window.

    Args:
        asked: `data.encoding.max_length`; None takes 512, or what the backbone has where that is less.
        pretrained: the backbone.
        trust_remote_code: run code that comes with it.

    Raises:
        UserError: the backbone has fewer positions than requested.
    """
    limit = positions(pretrained, trust_remote_code)
    if asked is None:
        return DEFAULT if limit is None else min(DEFAULT, limit)
    if limit is not None and asked > limit:
        raise UserError(
            f"data.encoding.max_length is {asked}, but {pretrained.label} has positions for {limit} "
            f"sub-tokens; set data.encoding.max_length to {limit} or less"
        )
    return asked


@cache
def positions(pretrained: Pretrained, trust_remote_code: bool = False) -> int | None:
    """The most sub-tokens that a backbone accepts in one row; None if nothing limits them.

    Rotary positions continue beyond the configured number, but were not trained there, so that number
    counts for them too. For other models the limit is found by running their code without weights.
    """
    if pretrained.gguf_file is not None:
        return _in_gguf(Path(pretrained.name) / pretrained.gguf_file)
    config = configuration(pretrained, trust_remote_code=trust_remote_code)
    text = config.get_text_config()
    named = next((value for name in NAMES if isinstance(value := getattr(text, name, None), int)), None)
    if named is None or named < 1:
        return None
    if getattr(text, "rope_parameters", None) is not None:
        return named
    return _of_code(config, named, trust_remote_code)


def _in_gguf(file: Path) -> int | None:
    with read_once():
        import gguf

        fields = gguf.GGUFReader(file).fields
    architecture = fields["general.architecture"].contents()
    length = fields.get(f"{architecture}.context_length")
    return None if length is None else int(length.contents())


def _of_code(config: Any, named: int, trust_remote_code: bool) -> int | None:
    """The limit found by running a backbone on the meta device, which computes shapes only.

    Args:
        config: of a backbone whose positions are not rotary.
        named: the number of positions in its configuration.
        trust_remote_code: run code that comes with it.
    """
    import torch
    from torch import nn
    from transformers import AutoModel

    limits: list[int] = []  # of the embedding tables that are used

    def record(table: nn.Embedding, _inputs: Any) -> None:
        if table.num_embeddings >= named and table is not model.get_input_embeddings():
            # Some tables begin with rows that are not positions: RoBERTa's are for padding.
            padding = -1 if table.padding_idx is None else table.padding_idx
            limits.append(table.num_embeddings - int(getattr(table, "offset", padding + 1)))

    def runs(length: int) -> bool:
        ids = torch.zeros((1, length), dtype=torch.long)
        # Without a mask, some models read values, which the meta device does not have.
        for masks in ({}, {"attention_mask": torch.ones_like(ids)}):
            with suppress(Exception):
                model(input_ids=ids, **masks)
                return True
        return False

    try:
        with torch.device("meta"), torch.no_grad():
            model: Any = AutoModel.from_config(config, trust_remote_code=trust_remote_code).eval()
            model.config.use_cache = False
            for module in model.modules():
                if isinstance(module, nn.Embedding):
                    module.register_forward_pre_hook(record)
            fits, exceeds = runs(named), not runs(named + 1)
    except Exception:  # an unknown model: trust its configuration
        return named
    if limits:
        return min(limits)
    sinusoids = any(buffer.dim() > 1 and len(buffer) == named for buffer in model.buffers())
    return named if sinusoids or exceeds or not fits else None
