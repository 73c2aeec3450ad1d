"""Reads the annotated sentences of a file or folder, in whichever format, with BIO2 tags."""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ner_lightning.data.readers.changes import Changes
from ner_lightning.data.readers.char_spans import tagged_sentences
from ner_lightning.data.readers.files import Inputs
from ner_lightning.data.readers.options import AnnotationRules, ReadOptions
from ner_lightning.data.readers.record import Record
from ner_lightning.data.sentence import DataError, Sentence, in_bio2
from ner_lightning.data.tag_forms import TagForm
from ner_lightning.errors import UserError
from ner_lightning.system.progress import warn

_LONG = 1000  # words of the only sentence of a file, which then probably lacks blank lines


def read_sentences(path: str | Path, options: ReadOptions = ReadOptions()) -> list[Sentence]:
    """Reads sentences.

    Texts are split into words and sentences as prediction splits them, so that training and use agree.

    Args:
        path: a file, or a folder of files; `-` for standard input.
        options: how it is read.

    Raises:
        DataError: it is missing or malformed; the message begins with the file and the line.
    """
    return sentences_from(str(path), Inputs(str(path), options).read(), options)


def sentences_from(name: str, records: Iterator[Record], options: ReadOptions) -> list[Sentence]:
    """The sentences of records.

    Args:
        name: where they come from, for messages.
        records: the records.
        options: how they are read.

    Raises:
        DataError: a record cannot be used.
    """
    changes = Changes()
    usable = []
    for record in records:
        if record.reason:
            raise DataError(f"{record.source}:{record.line}: {record.reason}")
        usable.append(record)
    tags = _named_tags(name, usable, options.rules) if options.tagged else {}
    documents: dict[Any, int] = {}
    sentences = []
    for record in usable:
        key: Any = (record.source, record.document)
        if isinstance(record.content, str) and record.document is None:
            key = (record.source, record.line, "a text of its own")
        document = documents.setdefault(key, len(documents))
        for words, named in _tagged(record, tags, options, changes):
            sentences.append(Sentence(words, named, document, record.line))
    changes.report(name)
    if len(sentences) == 1 and len(sentences[0].words) > _LONG:
        warn(
            f"{name}: all its {len(sentences[0].words):,} words are one sentence; "
            "separate sentences by blank lines."
        )
    return in_bio2(name, _renumbered(sentences))


def _renumbered(sentences: list[Sentence]) -> list[Sentence]:
    """Sentences whose documents have no gaps: only a document with a sentence counts."""
    used = dict.fromkeys(sentence.document for sentence in sentences)
    if len(used) == max(used, default=-1) + 1:
        return sentences
    numbers = {document: number for number, document in enumerate(used)}
    return [Sentence(s.words, s.tags, numbers[s.document], s.line) for s in sentences]


def _tagged(
    record: Record, tags: dict[Any, str], options: ReadOptions, changes: Changes
) -> Iterator[tuple[tuple[str, ...], tuple[str, ...] | None]]:
    """Words and tags of each sentence of a record.

    Raises:
        DataError: its entities are malformed.
    """
    if not isinstance(record.content, str):
        named = record.tags if record.tags is None else tuple([tags[tag] for tag in record.tags])
        yield record.content, named
        return
    changes.place = str(record.line)
    entities = record.entities or ()
    try:
        read = list(tagged_sentences(record.content, entities, options.rules, changes, record.tokens))
    except UserError as error:
        raise DataError(f"{record.source}:{record.line}: {error}") from None
    for words, found in read:
        yield words, found if options.tagged else None


def _named_tags(name: str, records: Sequence[Record], rules: AnnotationRules) -> dict[Any, str]:
    """The tag of each cell that occurs in the column of tags.

    Raises:
        DataError: one is no tag.
    """
    counts: Counter[Any] = Counter()
    for record in records:
        try:
            counts.update(record.tags or ())
        except TypeError:  # a list or an object
            raise DataError(f"{record.source}:{record.line}: a tag is not text; write tag names") from None
    form = TagForm.of(counts, rules.tag_names, first_of_several=rules.several_tags == "first")
    if form.problems:
        raise DataError(_first_problem(records, form))
    for line in form.said(counts):
        warn(f"{name}: {line}.")
    return form.tags


def _first_problem(records: Sequence[Record], form: TagForm) -> str:
    for record in records:
        for index, tag in enumerate(record.tags or ()):
            if tag in form.problems:
                line = record.lines[index] if record.lines else record.line
                return f"{record.source}:{line}: {form.problems[tag]}"
    raise AssertionError("a problem belongs to a tag")
