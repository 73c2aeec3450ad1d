"""Reads spaCy's DocBin (.spacy), through spaCy itself."""

from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

from ner_lightning.data.invisible import is_invisible
from ner_lightning.data.readers.changes import Changes
from ner_lightning.data.readers.read_options import Opened, ReadOptions
from ner_lightning.data.readers.record import CharSpan, Record, rejected
from ner_lightning.data.running_text import words
from ner_lightning.data.sentence import DataError
from ner_lightning.errors import UserError

SUFFIX = ".spacy"
_MISSING = 0  # of a token's `ent_iob`: it was not annotated


def read_docbin(opened: Opened, options: ReadOptions) -> Iterator[Record]:
    """Reads texts with their words, entities and, where they are annotated, sentences.

    All of them are in memory, as spaCy has it.

    Args:
        opened: a file that spaCy's `DocBin.to_disk` wrote.
        options: how it is read; only `tagged` counts.

    Yields:
        A record for each Doc, a document of its own; `line` counts them from 1.

    Raises:
        UserError: spaCy is not installed.
        DataError: the file is not a complete DocBin.
    """
    check_spacy()
    changes = Changes()
    for number, doc in enumerate(_docs(opened), start=1):
        record = Record(opened.source, number, doc.text, starts_document=True)
        tokens = (token for token in doc if _is_word(token))
        record = record._replace(tokens=tuple((token.idx, token.idx + len(token.text)) for token in tokens))
        if doc.has_annotation("SENT_START"):
            record = record._replace(starts=tuple(token.idx for token in doc if token.is_sent_start))
        if not options.tagged:
            yield record
        elif not doc.has_annotation("ENT_IOB"):
            reason = "no entities in this Doc, not even none: set doc.ents, or [] if it has no entities"
            yield rejected(record, reason)
        else:
            changes.place = f"Doc {number}"
            _count_left_out(doc, changes)
            entities = tuple(CharSpan(ent.start_char, ent.end_char, ent.label_) for ent in doc.ents)
            yield record._replace(entities=entities)
    changes.report(opened.source)


def check_spacy() -> None:
    """Checks that spaCy is installed.

    Raises:
        UserError: it is not.
    """
    if find_spec("spacy") is None:
        raise UserError("a .spacy file needs spaCy: pip install 'ner-lightning[spacy]'")


def _docs(opened: Opened) -> Iterator[Any]:
    """The Docs of a file.

    Raises:
        DataError: the file is not a complete DocBin.
    """
    from spacy.tokens import DocBin
    from spacy.vocab import Vocab

    try:
        yield from DocBin().from_bytes(opened.file.read()).get_docs(Vocab())
    except Exception as error:  # of zlib, msgpack, numpy, or spaCy: it checks nothing itself
        what = str(error).partition("\n")[0] or type(error).__name__
        raise DataError(f"{opened.source}:1: not a complete DocBin of spaCy: {what:.80}") from None


def _is_word(token: Any) -> bool:
    """Whether a token is a word: visible, and of control characters alone only within an entity."""
    return not is_invisible(token.text) and bool(token.ent_type or words(token.text))


def _count_left_out(doc: Any, changes: Changes) -> None:
    """Counts the annotation of a Doc that is not read as it is."""
    for key, spans in doc.spans.items():
        for span in spans:
            changes(f"spans of group {key!r:.40} are left out; entities are read from doc.ents", span.text)
    for token in doc:
        if token.ent_iob == _MISSING and _is_word(token):
            changes("words were not annotated and were read as outside of entities", token.text)
