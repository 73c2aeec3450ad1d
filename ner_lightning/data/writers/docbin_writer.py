"""Writes texts with a tag for each word as spaCy's DocBin, through spaCy itself."""

from collections.abc import Iterable, Sequence
from itertools import accumulate
from pathlib import Path

from ner_lightning.data.running_text import Offsets
from ner_lightning.data.schemes import UNKNOWN, spans
from ner_lightning.system.atomic import replacing

TaggedWords = tuple[str, Sequence[Offsets], Iterable[int], Sequence[str]]


def doc_bin_of(texts: Iterable[TaggedWords], file: Path) -> None:
    """Writes texts as spaCy's DocBin, which holds all of them in memory.

    Args:
        texts: of each the text, the offsets of its words, the number of words in each sentence, and a tag
            for each word.
        file: the file, replaced in one step.
    """
    from spacy.tokens import Doc, DocBin, Span
    from spacy.vocab import Vocab

    vocab = Vocab()
    docs = DocBin(attrs=["ORTH", "SPACY", "ENT_IOB", "ENT_TYPE", "SENT_START"])
    for text, words, sizes, tags in texts:
        tokens, token_of = _tokens(text, words)
        first_words = set(accumulate(sizes, initial=0))
        first_tokens = {token_of[word] for word in first_words if word < len(words)} | {0}
        doc = Doc(
            vocab,
            words=[word for word, _ in tokens],
            spaces=[space for _, space in tokens],
            sent_starts=[index in first_tokens for index in range(len(tokens))],
        )
        doc.set_ents(
            [
                Span(doc, token_of[span.start], token_of[span.end - 1] + 1, label=span.type)
                for span in spans(tags)
            ],
            missing=[
                Span(doc, token_of[word], token_of[word] + 1)
                for word, tag in enumerate(tags)
                if tag == UNKNOWN
            ],
        )
        docs.add(doc)
    with replacing(file) as out:
        out.write(docs.to_bytes())


def _tokens(text: str, words: Sequence[tuple[int, int]]) -> tuple[list[tuple[str, bool]], list[int]]:
    """A text as spaCy's tokens, each with whether a space follows it, and the index of each word's token.

    Text between words, except for one space, becomes tokens as well, so that the tokens give the whole text.
    """
    tokens: list[tuple[str, bool]] = []
    token_of: list[int] = []
    done = 0
    for start, end in [*words, (len(text), len(text))]:
        gap = text[done:start]
        if gap.startswith(" ") and tokens:
            tokens[-1] = (tokens[-1][0], True)
            gap = gap[1:]
        if gap:
            tokens.append((gap, False))
        if start < end:
            token_of.append(len(tokens))
            tokens.append((text[start:end], False))
        done = end
    return tokens, token_of
