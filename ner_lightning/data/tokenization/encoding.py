"""Encoder: tokenises sentences as running text, in overlapping windows where they are long."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, islice

import numpy as np

from ner_lightning.data.corpus_settings import Encoding
from ner_lightning.data.gguf import read_once
from ner_lightning.data.positions import DEFAULT
from ner_lightning.data.pretrained import Pretrained, load_errors_explained
from ner_lightning.data.tokenization.alignment import (
    Ints,
    Tokenizer,
    clip,
    space_before,
    special_tokens,
    word_starts,
)
from ner_lightning.data.tokenization.windows import owners, passages, windows
from ner_lightning.errors import UserError

NONE = np.zeros(0, dtype=np.int64)
CHUNK = 1024  # sentences per tokenizer call: enough to amortise it, little enough to show progress


@dataclass(frozen=True, slots=True)
class Encoded:
    """A passage, ready to be batched: a sentence, or consecutive sentences of one document.

    Attributes:
        index: indices of its sentences in their split. *Shape:* (S,)
        counts: number of words of each sentence. *Shape:* (S,)
        windows: sub-token ids of each window, special tokens included.
        window: index of the window from which each word is read. *Shape:* (W,)
        first: index of each word's first sub-token in that window. *Shape:* (W,)
        last: the same for its last sub-token. *Shape:* (W,)
        tags: tag ids, -1 where unknown, -2 in untagged text; None if the sentences have none. *Shape:* (W,)
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
    """A sentence's sub-tokens, without special tokens.

    Attributes:
        index: of the sentence in its split.
        ids: sub-token ids.
        starts: index of each word's first sub-token, and at the end their number. *Shape:* (W + 1,)
    """

    index: int
    ids: Ints
    starts: Ints


def load_tokenizer(pretrained: Pretrained, *, trust_remote_code: bool = False) -> Tokenizer:
    """Loads a backbone's fast tokenizer.

    Raises:
        UserError: it is not a fast one, without which words cannot be aligned, or it needs code that is not
            trusted.
    """
    from transformers import AutoTokenizer

    with read_once(pretrained.gguf_file is not None), load_errors_explained(pretrained):
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
    SentencePiece, WordPiece) sees text as in pre-training. Words that vanish or merge with a neighbour in
    that text are tokenised one by one instead, so each word has a sub-token of its own.

    Args:
        tokenizer: a fast tokenizer.
        settings: windows, context and copies; without `max_length`, 512.

    Raises:
        UserError: `max_length`, `overlap` and `context` do not fit together.
    """

    def __init__(self, tokenizer: Tokenizer, settings: Encoding = Encoding()) -> None:
        self.tokenizer = tokenizer
        self.prefix, self.suffix = special_tokens(tokenizer)
        self._space = space_before(tokenizer)
        line = tokenizer("\n", add_special_tokens=False)["input_ids"]
        self.line = np.array([i for i in line if i != tokenizer.unk_token_id], dtype=np.int64)
        self.max_length = settings.max_length or DEFAULT
        self.overlap, self.context, self.repeats = settings.overlap, settings.context, settings.repeats
        self.margin = settings.margin
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
        if self.margin and (self.context is None or self.context + 2 * self.margin > self.capacity):
            raise UserError(
                f"data.encoding.margin is {self.margin}, which needs data.encoding.context; context and "
                f"twice the margin may be at most {self.capacity} sub-tokens together"
            )
        pad = (tokenizer.pad_token_id, tokenizer.eos_token_id, 0)
        self.pad_id = next(token for token in pad if token is not None)  # masked, so any id will do

    def encode(
        self, sentences: Sequence[Sequence[str]], documents: Sequence[int] | None = None
    ) -> Iterator[Encoded]:
        """Encodes sentences in order, none of them empty; `Encoded.tags` is None.

        Args:
            sentences: the words of each.
            documents: the document of each, for `context`; without it each is encoded alone.

        Yields:
            One `Encoded` for each passage; without `context`, for each sentence.
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
                yield self._passage(whole[begin:end], *self._margins(whole, begin, end))

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
                yield _Tokenised(index, *clip(*pieces, self.capacity))

    def _margins(self, document: Sequence[_Tokenised], begin: int, end: int) -> tuple[Ints, Ints]:
        """What is read of a document before some of its sentences, and after them; whole words."""
        size = sum(len(sentence.ids) + len(self.line) for sentence in document[begin:end])
        most = min(self.margin, (self.capacity - size) // 2)  # a single long sentence leaves less room
        before = after = NONE
        for sentence in (document[index] for index in range(begin - 1, -1, -1)):
            left = most - len(before) - len(self.line)
            low = int(np.searchsorted(sentence.starts, len(sentence.ids) - left))
            if low < len(sentence.starts) - 1:
                before = np.concatenate([sentence.ids[sentence.starts[low] :], self.line, before])
            if low > 0:  # not the whole of it
                break
        for sentence in (document[index] for index in range(end, len(document))):
            left = most - len(after) - len(self.line)
            high = int(np.searchsorted(sentence.starts, left, side="right")) - 1
            if high > 0:
                after = np.concatenate([after, self.line, sentence.ids[: sentence.starts[high]]])
            if high < len(sentence.starts) - 1:  # not the whole of it
                break
        return before, after

    def _passage(self, sentences: Sequence[_Tokenised], before: Ints = NONE, after: Ints = NONE) -> Encoded:
        """Encodes sentences, each on a line of its own, as one window; a single long one as several.

        What is read before and after them has no words to tag; a long sentence is read without.

        Indices of sub-tokens refer to the passage's text first, and then to each word's own window.
        """
        text = np.concatenate([part for s in sentences for part in (self.line, s.ids)][1:])
        lengths = np.array([len(s.ids) + len(self.line) for s in sentences])
        offsets = np.cumsum(lengths) - lengths  # of each sentence in the text. (S,)
        numbered = list(zip(sentences, offsets, strict=True))
        first = np.concatenate([s.starts[:-1] + offset for s, offset in numbered])  # in the text. (W,)
        last = np.concatenate([s.starts[1:] - 1 + offset for s, offset in numbered])  # (W,)
        ranges = [(0, len(first))]  # of words, one for each window
        if len(sentences) == 1:
            ranges = windows(sentences[0].starts, self.capacity, self.overlap)
        bodies = [text[first[low] : last[high - 1] + 1] for low, high in ranges]
        ahead = [len(self.prefix)] * len(bodies)
        if len(bodies) == 1:
            bodies = [np.concatenate([before, bodies[0], after])]
            ahead = [len(self.prefix) + len(before)]
        # In each window, words are read from the last copy of the body.
        copies = [self.repeats * (len(body) + len(self.line)) for body in bodies]
        ahead = [start + more for start, more in zip(ahead, copies, strict=True)]
        shifts = np.array(ahead) - first[[low for low, _ in ranges]]  # from text to window. (windows,)
        owner = owners(ranges, len(first))  # the window from which each word is read. (W,)
        return Encoded(
            index=np.array([s.index for s in sentences]),
            counts=np.array([len(s.starts) - 1 for s in sentences]),
            windows=tuple(map(self._window, bodies)),
            window=owner,
            first=first + shifts[owner],
            last=last + shifts[owner],
        )

    def _window(self, body: Ints) -> Ints:
        copies = [body, self.line] * self.repeats
        return np.concatenate([self.prefix, *copies, body, self.suffix])

    def _word_by_word(self, words: Sequence[str]) -> tuple[Ints, Ints]:
        """Tokenises each word as after a space in a text; a word without sub-tokens becomes unknown."""
        unknown = self.tokenizer.unk_token_id
        blank = [self.pad_id if unknown is None else unknown]
        texts = [(self._space if number else "") + word for number, word in enumerate(words)]
        coded = self.tokenizer(texts, add_special_tokens=False)["input_ids"]
        pieces = [ids or blank for ids in coded]
        starts = np.cumsum([0, *map(len, pieces)])
        return np.concatenate([np.array(piece, dtype=np.int64) for piece in pieces]), starts
