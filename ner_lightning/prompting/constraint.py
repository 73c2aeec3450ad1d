"""Constrained decoding: at each step, the tokens that can still lead to an answer of the required form."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from ner_lightning.data.schemes import Span
from ner_lightning.errors import UserError
from ner_lightning.prompting.prompt import NONE, read_lines

LONGEST = 48  # bytes of a token; longer ones are ignored, since shorter ones write the same text
_END = b"\n"
_HEAD = b":"


class Vocabulary(NamedTuple):
    """The bytes that a tokenizer's tokens stand for.

    Attributes:
        ids: the tokens that stand for exactly these bytes, which may be part of a character.
        written: the bytes of each token, without special tokens.
    """

    ids: Mapping[bytes, Sequence[int]]
    written: Mapping[int, bytes]

    @classmethod
    def of(cls, tokenizer: Any) -> "Vocabulary":
        """Reads it from a fast tokenizer.

        Raises:
            UserError: its tokens are neither byte-level nor SentencePiece's.
        """
        kinds = _decoders(json.loads(tokenizer.backend_tokenizer.to_str())["decoder"])
        if not kinds & {"ByteLevel", "Metaspace", "Replace"}:
            raise UserError(
                "--constrained: the tokenizer is neither byte-level nor SentencePiece's; leave it out"
            )
        table = _byte_table() if "ByteLevel" in kinds else None
        added = tokenizer.added_tokens_decoder
        written: dict[int, bytes] = {}
        for token, index in tokenizer.get_vocab().items():
            if index not in added:
                written[index] = _bytes(token, table)
            elif not added[index].special:
                written[index] = added[index].content.encode()
        ids: dict[bytes, list[int]] = {}
        for index, text in sorted(written.items()):
            if 0 < len(text) <= LONGEST:
                ids.setdefault(text, []).append(index)
        return cls(ids, written)

    def writes(self, text: str) -> bool:
        """Whether it can write a text from any index on: each character, or each byte of it, is a token."""
        return all(
            char in self.ids or all(bytes([byte]) in self.ids for byte in char)
            for char in (character.encode() for character in text)
        )


class Continuation(NamedTuple):
    """A text that may follow, and the offsets in it at which a line may end."""

    text: bytes
    ends: frozenset[int]


class AnswerForm:
    """The answer to one sentence while it is written: lines `TYPE: words`, or `NONE`.

    The words of a line are consecutive whole words that no earlier line has taken. The constraint follows
    the text, not its tokens: words alone may have other tokens than within the sentence. An answer ends
    with one of the model's end tokens or with a blank line.

    Args:
        vocabulary: the bytes of the tokens.
        words: the sentence.
        types: the entity types.
        ends: tokens that end an answer.

    Raises:
        UserError: a type cannot stand before a colon, or the tokenizer cannot write a line.
    """

    def __init__(
        self, vocabulary: Vocabulary, words: Sequence[str], types: Sequence[str], ends: Sequence[int]
    ) -> None:
        for name in types:
            if re.search(r"[:\n]|^\s|\s$", name) or not vocabulary.writes(name):
                raise UserError(f"--constrained: no line can begin with the type {name!r}; leave it out")
        if not vocabulary.writes(f"{NONE}: \n"):
            raise UserError("--constrained: the tokenizer cannot write NONE and a line break; leave it out")
        self.vocabulary = vocabulary
        self.words = words
        self.types = types
        self.ends = list(ends)
        self.text = b""
        self.done = False
        self._runs = self._free_runs()
        self._heads = self._first_heads()

    def allowed(self) -> list[int]:
        """The tokens that may come next; none once the answer has ended."""
        if self.done:
            return []
        line = self.text.rpartition(_END)[2]
        tokens: set[int] = set()
        if self.text and not line:  # after a line break
            tokens = {*self.ends, *self._lookup(_END), *self._lookup(_END * 2)}
        for run, offset in self._continuations(line):
            tokens.update(self._steps(run, offset))
        return sorted(tokens)

    def push(self, token: int) -> None:
        """Adds one of the allowed tokens."""
        if token in self.ends:
            self.done = True
            return
        self.text += self.vocabulary.written[token]
        self.done = _END * 2 in self.text or self.text.strip(b" ") == NONE.encode() + _END
        if self.text.endswith(_END) and not self.done:
            self._runs = self._free_runs()
            self._heads = self._type_heads()

    def answer(self) -> str:
        """The text so far, without a blank line or part of a character at its end."""
        return self.text.decode(errors="ignore").strip(" \n")

    def _continuations(self, line: bytes) -> Iterator[tuple[Continuation, int]]:
        """The texts that the line can become, with its current offset in them."""
        head, colon, rest = line.partition(_HEAD)
        started, runs = (rest, self._runs) if colon else (head, self._heads)
        return ((run, len(started)) for run in runs if run.text.startswith(started))

    def _steps(self, run: Continuation, offset: int) -> Iterator[int]:
        """The tokens that continue one of the texts, or end the line there."""
        for end in range(offset, min(len(run.text), offset + LONGEST) + 1):
            piece = run.text[offset:end]
            yield from self._lookup(piece)
            if end in run.ends:
                yield from self._lookup(piece + _END)
                yield from self._lookup(piece + _END * 2)
                if end == offset:
                    yield from self.ends

    def _lookup(self, text: bytes) -> Sequence[int]:
        return self.vocabulary.ids.get(text, ())

    def _first_heads(self) -> list[Continuation]:
        """Beginnings of the first line; SentencePiece models put a space before it."""
        heads = [*self._type_heads(), Continuation(NONE.encode(), frozenset({len(NONE)}))]
        spaced = [Continuation(b" " + head.text, frozenset(end + 1 for end in head.ends)) for head in heads]
        return heads + spaced if self._lookup(b" ") else heads

    def _type_heads(self) -> list[Continuation]:
        return [Continuation(f"{name}:".encode(), frozenset()) for name in self.types if self._runs]

    def _free_runs(self) -> list[Continuation]:
        """From each free word, the words up to the next one that is taken or cannot be written."""
        taken: set[int] = set()
        for span in self._entities():
            taken.update(range(span.start, span.end))
        runs: list[Continuation] = []
        text, ends = b"", frozenset[int]()
        for index in reversed(range(len(self.words))):
            word = self.words[index]
            if index in taken or re.search(r"[ \n]", word) or not self.vocabulary.writes(word):
                text, ends = b"", frozenset()
                continue
            before = f" {word}".encode()
            text, ends = before + text, frozenset({len(before), *(end + len(before) for end in ends)})
            runs.append(Continuation(text, ends))
        return runs

    def _entities(self) -> list[Span]:
        return read_lines(self.text.decode(errors="ignore"), self.words, self.types).entities


def _bytes(token: str, table: Mapping[str, int] | None) -> bytes:
    """The bytes of a token of the vocabulary."""
    if table is not None:
        return bytes(table[char] for char in token) if table.keys() >= set(token) else token.encode()
    byte = re.fullmatch(r"<0x([0-9A-F]{2})>", token)
    return bytes([int(byte[1], 16)]) if byte else token.replace("\u2581", " ").encode()


def _byte_table() -> dict[str, int]:
    """Bytes by GPT-2's characters for them: printable ones stand for themselves, others begin at U+0100."""
    shown = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in shown]
    return {chr(byte): byte for byte in shown} | {chr(256 + i): byte for i, byte in enumerate(others)}


def _decoders(decoder: Mapping[str, Any] | None) -> set[str]:
    """The types of a tokenizer's decoder and of its parts."""
    if decoder is None:
        return set()
    parts = decoder.get("decoders") or []
    return {decoder["type"]}.union(*(_decoders(part) for part in parts))
