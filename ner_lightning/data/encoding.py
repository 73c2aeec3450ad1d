"""From words to sub-tokens: running-text tokenisation, alignment, and windows for long sentences."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, pairwise
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ner_lightning.data.pretrained import Pretrained
from ner_lightning.errors import UserError

Ints = NDArray[np.int64]
CHUNK = 1024  # sentences per tokenizer call: enough to amortise it, little enough to show progress


class Tokenizer(Protocol):
    """What is used of a Hugging Face fast tokenizer."""

    is_fast: bool
    bos_token_id: int | None
    pad_token_id: int | None
    eos_token_id: int | None
    unk_token_id: int | None

    def __call__(self, text: Any, **kwargs: Any) -> Any:
        """Encodes texts."""


@dataclass(frozen=True, slots=True)
class Encoded:
    """One sentence, ready to be batched.

    Attributes:
        index: the sentence's position in its split.
        windows: sub-token ids of each window, special tokens included.
        window: for each word, the window that its vector is read from. *Shape:* (W,)
        first: for each word, the place of its first sub-token in that window. *Shape:* (W,)
        last: the same for its last sub-token. *Shape:* (W,)
        tags: tag ids, None where the sentence has none. *Shape:* (W,)
    """

    index: int
    windows: tuple[Ints, ...]
    window: Ints
    first: Ints
    last: Ints
    tags: Ints | None = None

    @property
    def longest(self) -> int:
        """Sub-tokens in the longest window."""
        return max(len(ids) for ids in self.windows)


def load_tokenizer(pretrained: Pretrained, *, trust_remote_code: bool = False) -> Tokenizer:
    """Loads a backbone's fast tokenizer.

    Raises:
        UserError: it has no fast form, without which words cannot be aligned.
    """
    from transformers import AutoTokenizer

    tokenizer: Tokenizer = AutoTokenizer.from_pretrained(
        pretrained.name, trust_remote_code=trust_remote_code, **pretrained.kwargs
    )
    if not tokenizer.is_fast:
        raise UserError(f"model.backbone: {pretrained.name} has no fast tokenizer to align words with")
    return tokenizer


class Encoder:
    """Encodes sentences of words as their running text would be encoded.

    The words are joined by single spaces and tokenised as one text; character offsets then say which
    word a sub-token belongs to. So every family of tokenizers (byte-level BPE with its leading space,
    SentencePiece, WordPiece) sees what it saw in pre-training. Words that vanish or melt into a
    neighbour in that text are tokenised one by one instead, so each word has a sub-token of its own.

    Args:
        tokenizer: a fast tokenizer.
        max_length: the most sub-tokens in a window, special tokens included.
        overlap: sub-tokens that consecutive windows of a long sentence share, words permitting.
    """

    def __init__(self, tokenizer: Tokenizer, *, max_length: int = 512, overlap: int = 64) -> None:
        self.tokenizer = tokenizer
        self.prefix, self.suffix = _special_tokens(tokenizer)
        self.capacity = max_length - len(self.prefix) - len(self.suffix)
        self.overlap = overlap
        if self.capacity < 2 or not 0 <= overlap <= self.capacity // 2:
            raise UserError(
                f"data.max_length {max_length} and data.overlap {overlap} do not fit together: "
                f"overlap may be at most half of max_length less {max_length - self.capacity} special tokens"
            )
        pad = (tokenizer.pad_token_id, tokenizer.eos_token_id, 0)
        self.pad_id = next(token for token in pad if token is not None)  # masked, so any id will do

    def encode(self, sentences: Sequence[Sequence[str]]) -> Iterator[Encoded]:
        """Encodes sentences in order, none of them empty; `Encoded.tags` is None.

        Args:
            sentences: the words of each.

        Yields:
            one `Encoded` for each sentence.
        """
        numbered = enumerate(sentences)
        while chunk := list(islice(numbered, CHUNK)):
            texts = [" ".join(words) for _, words in chunk]
            coded = self.tokenizer(
                texts, add_special_tokens=False, return_offsets_mapping=True, return_attention_mask=False
            )
            for (index, words), ids, offsets in zip(
                chunk, coded["input_ids"], coded["offset_mapping"], strict=True
            ):
                yield self._encode(index, words, np.array(ids, dtype=np.int64), offsets)

    def _encode(
        self, index: int, words: Sequence[str], ids: Ints, offsets: Sequence[tuple[int, int]]
    ) -> Encoded:
        starts = _word_starts(words, offsets)
        if starts is None:
            ids, starts = self._word_by_word(words)
        ids, starts = _clip(ids, starts, self.capacity)
        cuts = windows(starts, self.capacity, self.overlap)
        owner = _owners(cuts, len(words))
        begin = starts[[low for low, _ in cuts]] - len(self.prefix)  # where each window's row starts
        return Encoded(
            index=index,
            windows=tuple(
                np.concatenate([self.prefix, ids[starts[low] : starts[high]], self.suffix])
                for low, high in cuts
            ),
            window=owner,
            first=starts[:-1] - begin[owner],
            last=starts[1:] - 1 - begin[owner],
        )

    def _word_by_word(self, words: Sequence[str]) -> tuple[Ints, Ints]:
        """Each word tokenised with the space before it; a word that gives nothing becomes unknown."""
        unknown = self.tokenizer.unk_token_id
        blank = [self.pad_id if unknown is None else unknown]
        texts = [word if place == 0 else " " + word for place, word in enumerate(words)]
        coded = self.tokenizer(texts, add_special_tokens=False)["input_ids"]
        pieces = [ids or blank for ids in coded]
        starts = np.cumsum([0, *map(len, pieces)])
        return np.concatenate([np.array(piece, dtype=np.int64) for piece in pieces]), starts


def windows(starts: Ints, capacity: int, overlap: int) -> list[tuple[int, int]]:
    """Cuts a sentence into overlapping windows of whole words.

    Args:
        starts: each word's first sub-token, and at the end their number. *Shape:* (W + 1,)
        capacity: the most sub-tokens in a window; no word is longer.
        overlap: sub-tokens shared with the window before, as far as words and progress permit.

    Returns:
        word ranges (low, high), high exclusive; together they cover every word.
    """
    count = len(starts) - 1
    cuts: list[tuple[int, int]] = []
    low = 0
    while True:
        high = int(np.searchsorted(starts, starts[low] + capacity, side="right")) - 1
        cuts.append((low, high))
        if high >= count:
            return cuts
        back = int(np.searchsorted(starts, starts[high] - overlap))
        # The next window must hold a word more than this one, or it would repeat it for ever.
        reach = int(np.searchsorted(starts, starts[high + 1] - capacity))
        low = max(low + 1, reach, min(back, high))


def _owners(cuts: Sequence[tuple[int, int]], count: int) -> Ints:
    """Gives each word to one window: of two that share it, the one with more context around it."""
    owner = np.zeros(count, dtype=np.int64)
    for number, ((_, high), (low, _)) in enumerate(pairwise(cuts), start=1):
        owner[(low + high + 1) // 2 :] = number
    return owner


def _word_starts(words: Sequence[str], offsets: Sequence[tuple[int, int]]) -> Ints | None:
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


def _clip(ids: Ints, starts: Ints, capacity: int) -> tuple[Ints, Ints]:
    """Shortens words that alone exceed a window to their first `capacity` sub-tokens."""
    lengths = np.diff(starts)
    if int(lengths.max()) <= capacity:
        return ids, starts
    within = np.arange(len(ids)) - np.repeat(starts[:-1], lengths)
    return ids[within < capacity], np.append(0, np.cumsum(np.minimum(lengths, capacity)))


def _special_tokens(tokenizer: Tokenizer) -> tuple[Ints, Ints]:
    """What the tokenizer puts before and after a text; a decoder that puts nothing gets its BOS.

    Llama-style models park attention on the first token, so they are given one even where the
    tokenizer's file forgot it (GGUF conversions do).
    """
    bare = tokenizer("a", add_special_tokens=False)["input_ids"]
    full = tokenizer("a", add_special_tokens=True)["input_ids"]
    at = next((i for i in range(len(full) - len(bare) + 1) if full[i : i + len(bare)] == bare), len(full))
    prefix, suffix = full[:at], full[at + len(bare) :]
    if not full[:at] and tokenizer.bos_token_id is not None:
        prefix = [tokenizer.bos_token_id]
    return np.array(prefix, dtype=np.int64), np.array(suffix, dtype=np.int64)
