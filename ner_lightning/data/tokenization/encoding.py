"""Encoder: tokenises sentences as running text, in overlapping windows where they are long."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, islice

import numpy as np

from ner_lightning.data.gguf import read_once
from ner_lightning.data.positions import DEFAULT
from ner_lightning.data.pretrained import Pretrained, no_foreign_code
from ner_lightning.data.settings import Encoding
from ner_lightning.data.tokenization.alignment import (
    Ints,
    Tokenizer,
    clip,
    special_tokens,
    word_starts,
)
from ner_lightning.data.tokenization.windows import owners, passages, windows
from ner_lightning.errors import UserError

CHUNK = 1024  # sentences per tokenizer call: enough to amortise it, little enough to show progress


@dataclass(frozen=True, slots=True)
class Encoded:
    """A passage, ready to be batched: a sentence, or consecutive sentences of one document.

    Attributes:
        index: its sentences' positions in their split. *Shape:* (S,)
        counts: how many words each sentence has. *Shape:* (S,)
        windows: sub-token ids of each window, special tokens included.
        window: for each word, the window that its vector is read from. *Shape:* (W,)
        first: for each word, the place of its first sub-token in that window. *Shape:* (W,)
        last: the same for its last sub-token. *Shape:* (W,)
        tags: tag ids, None where the sentences have none. *Shape:* (W,)
    """

    index: Ints
    counts: Ints
    windows: tuple[Ints, ...]
    window: Ints
    first: Ints
    last: Ints
    tags: Ints | None = None

    @property
    def longest(self) -> int:
        """Sub-tokens in the longest window."""
        return max(len(ids) for ids in self.windows)


@dataclass(frozen=True, slots=True)
class _Tokenised:
    """A sentence's sub-tokens, special tokens not among them.

    Attributes:
        index: its position in its split.
        ids: sub-token ids.
        starts: each word's first sub-token, and at the end their number. *Shape:* (W + 1,)
    """

    index: int
    ids: Ints
    starts: Ints


def load_tokenizer(pretrained: Pretrained, *, trust_remote_code: bool = False) -> Tokenizer:
    """Loads a backbone's fast tokenizer.

    Raises:
        UserError: it has no fast form, without which words cannot be aligned, or needs code of its own that
            is not trusted.
    """
    from transformers import AutoTokenizer

    with read_once(pretrained.gguf_file is not None), no_foreign_code(pretrained):
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
        settings: windows, context and copies; without `max_length`, 512.

    Raises:
        UserError: `max_length`, `overlap` and `context` do not fit together.
    """

    def __init__(self, tokenizer: Tokenizer, settings: Encoding = Encoding()) -> None:
        self.tokenizer = tokenizer
        self.prefix, self.suffix = special_tokens(tokenizer)
        line = tokenizer("\n", add_special_tokens=False)["input_ids"]
        self.line = np.array([i for i in line if i != tokenizer.unk_token_id], dtype=np.int64)
        self.max_length = settings.max_length or DEFAULT
        self.overlap, self.context, self.repeats = settings.overlap, settings.context, settings.repeats
        special = len(self.prefix) + len(self.suffix) + self.repeats * len(self.line)
        self.capacity = (self.max_length - special) // (self.repeats + 1)
        copies = f", for each of {self.repeats + 1} copies" if self.repeats else ""
        if self.capacity < 2 or not 0 <= self.overlap <= self.capacity // 2:
            raise UserError(
                f"data.encoding.max_length {self.max_length} and data.encoding.overlap {self.overlap} do not "
                f"fit together: overlap may be at most half of max_length less {special} special "
                f"tokens{copies}"
            )
        if self.context is not None and not 1 <= self.context <= self.capacity:
            raise UserError(
                f"data.encoding.context is {self.context}; it must be at least 1 and at most "
                f"{self.capacity}, which is data.encoding.max_length less {special} special tokens{copies}"
            )
        pad = (tokenizer.pad_token_id, tokenizer.eos_token_id, 0)
        self.pad_id = next(token for token in pad if token is not None)  # masked, so any id will do

    def encode(
        self, sentences: Sequence[Sequence[str]], documents: Sequence[int] | None = None
    ) -> Iterator[Encoded]:
        """Encodes sentences in order, none of them empty; `Encoded.tags` is None.

        Args:
            sentences: the words of each.
            documents: the document of each, for `context`; without it each is read alone.

        Yields:
            one `Encoded` for each passage; without `context` that is each sentence.
        """
        tokenised = self._tokenise(sentences)
        if self.context is None or documents is None:
            for sentence in tokenised:
                yield self._passage([sentence])
            return
        for _, members in groupby(tokenised, key=lambda sentence: documents[sentence.index]):
            whole = list(members)
            lengths = [len(sentence.ids) + len(self.line) for sentence in whole]
            for begin, end in passages(lengths, self.context):
                yield self._passage(whole[begin:end])

    def _tokenise(self, sentences: Sequence[Sequence[str]]) -> Iterator[_Tokenised]:
        numbered = enumerate(sentences)
        while chunk := list(islice(numbered, CHUNK)):
            texts = [" ".join(words) for _, words in chunk]
            coded = self.tokenizer(
                texts, add_special_tokens=False, return_offsets_mapping=True, return_attention_mask=False
            )
            for (index, words), ids, offsets in zip(
                chunk, coded["input_ids"], coded["offset_mapping"], strict=True
            ):
                starts = word_starts(words, offsets)
                pieces = (
                    self._word_by_word(words) if starts is None else (np.array(ids, dtype=np.int64), starts)
                )
                yield _Tokenised(index, *self._clipped(*pieces))

    def _clipped(self, ids: Ints, starts: Ints) -> tuple[Ints, Ints]:
        return clip(ids, starts, self.capacity)

    def _passage(self, sentences: Sequence[_Tokenised]) -> Encoded:
        """Puts sentences, each on a line of its own, into one window; one that is too long, into several.

        Places of sub-tokens are counted in the passage's text first, then in each word's own window.
        """
        text = np.concatenate([part for s in sentences for part in (self.line, s.ids)][1:])
        lengths = np.array([len(s.ids) + len(self.line) for s in sentences])
        offsets = np.cumsum(lengths) - lengths  # where each sentence begins in the text. (S,)
        numbered = list(zip(sentences, offsets, strict=True))
        first = np.concatenate([s.starts[:-1] + offset for s, offset in numbered])  # in the text. (W,)
        last = np.concatenate([s.starts[1:] - 1 + offset for s, offset in numbered])  # (W,)
        ranges = [(0, len(first))]  # of words, one for each window
        if len(sentences) == 1:
            ranges = windows(sentences[0].starts, self.capacity, self.overlap)
        begins = first[[low for low, _ in ranges]]  # where each window begins in the text. (windows,)
        bodies = [text[first[low] : last[high - 1] + 1] for low, high in ranges]
        before = np.array(
            [self._before(body) for body in bodies]
        )  # sub-tokens ahead of each body. (windows,)
        owner = owners(ranges, len(first))  # the window that each word is read from. (W,)
        return Encoded(
            index=np.array([s.index for s in sentences]),
            counts=np.array([len(s.starts) - 1 for s in sentences]),
            windows=tuple(map(self._window, bodies)),
            window=owner,
            first=first - begins[owner] + before[owner],
            last=last - begins[owner] + before[owner],
        )

    def _before(self, body: Ints) -> int:
        """How many sub-tokens stand before the copy of a window's text that words are read from."""
        return len(self.prefix) + self.repeats * (len(body) + len(self.line))

    def _window(self, body: Ints) -> Ints:
        copies = [body, self.line] * self.repeats
        return np.concatenate([self.prefix, *copies, body, self.suffix])

    def _word_by_word(self, words: Sequence[str]) -> tuple[Ints, Ints]:
        """Each word tokenised with the space before it; a word that gives nothing becomes unknown."""
        unknown = self.tokenizer.unk_token_id
        blank = [self.pad_id if unknown is None else unknown]
        texts = [(" " if number else "") + word for number, word in enumerate(words)]
        coded = self.tokenizer(texts, add_special_tokens=False)["input_ids"]
        pieces = [ids or blank for ids in coded]
        starts = np.cumsum([0, *map(len, pieces)])
        return np.concatenate([np.array(piece, dtype=np.int64) for piece in pieces]), starts
