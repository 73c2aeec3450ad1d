"""Aligns words with their sub-tokens by character offsets."""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]


class Tokenizer(Protocol):
    """The interface of a Hugging Face fast tokenizer that is used here."""

    is_fast: bool
    bos_token_id: int | None
    pad_token_id: int | None
    eos_token_id: int | None
    unk_token_id: int | None

    def __call__(self, text: Any, **kwargs: Any) -> Any:
        """Encodes texts."""

    def get_vocab(self) -> dict[str, int]:
        """All sub-tokens and their ids."""


def word_starts(words: Sequence[str], offsets: Sequence[tuple[int, int]]) -> Ints | None:
    """First sub-token of each word, from character offsets; None unless each word has its own.

    A word's region is its characters and the space before it: byte-level tokenizers give that space
    to the word's first sub-token, and some give it a sub-token of its own.
    """
    if not offsets:
        return None
    lengths = np.array([len(word) + 1 for word in words])
    ends = np.cumsum(lengths) - 1  # where each word's last character ends
    spans = np.array(offsets, dtype=np.int64)
    word = np.searchsorted(ends, np.maximum(spans[:, 1], 1))
    steps = np.diff(word)
    covers_all = word[0] == 0 and word[-1] == len(words) - 1 and bool((steps >= 0).all())
    if not covers_all or (steps > 1).any() or (spans[:, 0] < (ends - lengths)[word]).any():
        return None
    return np.append(np.flatnonzero(np.append(1, steps)), len(word))


def clip(ids: Ints, starts: Ints, capacity: int) -> tuple[Ints, Ints]:
    """Shortens words that alone exceed a window to their first `capacity` sub-tokens."""
    lengths = np.diff(starts)
    if int(lengths.max()) <= capacity:
        return ids, starts
    within = np.arange(len(ids)) - np.repeat(starts[:-1], lengths)
    return ids[within < capacity], np.append(0, np.cumsum(np.minimum(lengths, capacity)))


def space_before(tokenizer: Tokenizer) -> str:
    """What to put before a word that is tokenised alone, to get its sub-tokens within a text.

    A space; nothing where the tokenizer adds one to any text, as those of Llama 2 do, or drops it.
    """
    alone, twice = tokenizer(["a", "a a"], add_special_tokens=False)["input_ids"]
    return "" if twice[len(alone) :] == alone else " "


def special_tokens(tokenizer: Tokenizer) -> tuple[Ints, Ints]:
    """The ids that a tokenizer adds before and after a text; BOS if it adds nothing before.

    Llama-style models use the first token as an attention sink, so they get a BOS even if the
    tokenizer's file omits it, as GGUF conversions do.
    """
    bare = tokenizer("a", add_special_tokens=False)["input_ids"]
    full = tokenizer("a", add_special_tokens=True)["input_ids"]
    begin = next((i for i in range(len(full) - len(bare) + 1) if full[i : i + len(bare)] == bare), len(full))
    prefix, suffix = full[:begin], full[begin + len(bare) :]
    if not prefix and tokenizer.bos_token_id is not None:
        prefix = [tokenizer.bos_token_id]
    return np.array(prefix, dtype=np.int64), np.array(suffix, dtype=np.int64)
