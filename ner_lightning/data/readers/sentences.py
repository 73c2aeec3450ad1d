"""Reads the annotated sentences of a file or folder, in whichever format, with BIO2 tags."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ner_lightning.data.readers.changes import Changes
from ner_lightning.data.readers.char_spans import SPLIT, tagged_sentences
from ner_lightning.data.readers.files import Inputs
from ner_lightning.data.readers.offset_causes import FEW, cause_of_all
from ner_lightning.data.readers.read_options import AnnotationRules, ReadOptions
from ner_lightning.data.readers.record import Record
from ner_lightning.data.readers.tag_labels import without_tag_labels
from ner_lightning.data.sentence import Converted, DataError, InText, Sentence, converted
from ner_lightning.data.tags.tag_forms import TagForm
from ner_lightning.data.tags.type_names import KEY, renamed_tags, unused
from ner_lightning.errors import UserError
from ner_lightning.system.progress import warn
from ner_lightning.system.shards import name_without_numbers
from ner_lightning.system.terminal import listed

LISTED = 5  # places of records that cannot be used, after the first
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


def read_with_scheme(path: str | Path, options: ReadOptions = ReadOptions()) -> Converted:
    """Reads sentences as `read_sentences` does; says also in which scheme their tags were."""
    return _converted(str(path), Inputs(str(path), options).read(), options)


def sentences_from(name: str, records: Iterable[Record], options: ReadOptions) -> list[Sentence]:
    """The sentences of records.

    Args:
        name: where they come from, for messages.
        records: the records.
        options: how they are read.

    Raises:
        DataError: a record cannot be used.
    """
    return _converted(name, records, options).sentences


def _converted(name: str, records: Iterable[Record], options: ReadOptions) -> Converted:
    usable, unusable = [], Unusable()
    for record in records:
        if record.reason:
            unusable(record, record.reason)
        else:
            usable.append(record)
    unusable.check()
    usable = without_tag_labels(name, usable) if options.tagged else usable
    tags = _named_tags(name, usable, options.rules) if options.tagged else {}
    if options.tagged and not any(isinstance(record.content, str) for record in usable):
        _warn_of_unused(name, options.rules, ("misaligned", "overlapping"), "no texts with entities")
    documents: dict[Any, int] = {}
    changes = Changes()
    sentences: list[Sentence] = []
    for number, record in enumerate(usable):
        key: Any = (name_without_numbers(record.source), record.document)  # shards are one table
        if isinstance(record.content, str) and record.document is None and not record.is_sentence:
            key = (number, "a text of its own")
        document = documents.setdefault(key, len(documents))
        if isinstance(record.content, str):
            within = InText(record.content, (), record.id, number)
            try:
                sentences += _of_text(record, within, document, options, changes)
            except UserError as error:
                unusable(record, str(error))
        else:
            named = record.tags and tuple([tags[tag] for tag in record.tags])
            sentences.append(Sentence(record.content, named, document, record.line))
    unusable.check(usable)
    changes.report(name)
    may_be_miscounted = options.rules.misaligned == "split" and changes.count(SPLIT) >= FEW
    miscounted = cause_of_all(usable) if may_be_miscounted else ""
    if len(sentences) == 1 and len(sentences[0].words) > _LONG:
        warn(
            f"{name}: all its {len(sentences[0].words):,} words are one sentence; "
            "separate sentences by blank lines."
        )
    read = converted(name, _renumbered(sentences))._replace(miscounted=miscounted)
    return _renamed(name, read, options.rules.renames)


def _renamed(name: str, read: Converted, renames: Mapping[str, str]) -> Converted:
    """Sentences with the new names of their types; a warning says which types there are not."""
    if not renames:
        return read
    if missing := unused(renames, (sentence.tags or () for sentence in read.sentences)):
        warn(f"{KEY}: {name} has no entity of {', '.join(missing)}.")
    sentences = [
        replace(sentence, tags=sentence.tags and renamed_tags(sentence.tags, renames))
        for sentence in read.sentences
    ]
    return read._replace(sentences=sentences)


class Unusable:
    """Collects the records that cannot be used, so that all can be corrected at once."""

    def __init__(self) -> None:
        self._first = ""
        self._others: list[str] = []

    def __call__(self, record: Record, reason: str) -> None:
        """Notes a record; `reason` is why it cannot be used."""
        if self._first:
            self._others.append(f"{record.source}:{record.line}")
        else:
            self._first = f"{record.source}:{record.line}: {reason}"

    def check(self, records: Sequence[Record] = ()) -> None:
        """Raises DataError with the first reason and where the others are, if any was noted.

        Args:
            records: all, those among them whose entities are the reason; their offsets may explain it.
        """
        if not self._others and not self._first:
            return
        cause = cause_of_all(records, few=1)
        more = f"\n{cause}" if cause else ""
        if self._others:
            more += f"\n{len(self._others):,} more cannot be used: {listed(self._others, LISTED)}"
        raise DataError(self._first + more)


def _renumbered(sentences: list[Sentence]) -> list[Sentence]:
    """Sentences whose documents have no gaps: only a document with a sentence counts."""
    used = dict.fromkeys(sentence.document for sentence in sentences)
    if len(used) == max(used, default=-1) + 1:
        return sentences
    numbers = {document: number for number, document in enumerate(used)}
    return [replace(sentence, document=numbers[sentence.document]) for sentence in sentences]


def _of_text(
    record: Record, whole: InText, document: int, options: ReadOptions, changes: Changes
) -> list[Sentence]:
    """The sentences of a record with a text.

    Args:
        record: the record.
        whole: its text.
        document: index of its document.
        options: how it is read.
        changes: called with what is left out or changed.

    Raises:
        UserError: its entities are malformed.
    """
    changes.place = str(record.line)
    sentences, text = [], whole.text
    starts = () if record.is_sentence else record.starts
    found = tagged_sentences(text, record.entities or (), options.rules, changes, record.tokens, starts)
    for offsets, tags in found:
        words = tuple([text[start:end] for start, end in offsets])
        named = tags if options.tagged else None
        within = whole._replace(offsets=offsets)
        sentences.append(Sentence(words, named, document, record.line, within))
    if not sentences:
        changes("texts have no words and are left out", text)
    return sentences


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
    if form.kind != "numbers":
        _warn_of_unused(name, rules, ("tag_names",), "no numbers for tags")
    for line in form.said(counts, rules.renames):
        warn(f"{name}: {line}.")
    return form.tags


def _warn_of_unused(name: str, rules: AnnotationRules, unused: Sequence[str], reason: str) -> None:
    for rule in unused:
        if getattr(rules, rule) != getattr(AnnotationRules(), rule):
            warn(f"data.files.{rule} has no effect on {name}, which has {reason}.")


def _first_problem(records: Sequence[Record], form: TagForm) -> str:
    for record in records:
        for index, tag in enumerate(record.tags or ()):
            if tag in form.problems:
                line = record.lines[index] if record.lines else record.line
                hint = ""
                is_first = record is records[0] and index == 0 and bool(record.lines)
                if is_first and len(form.problems) == 1 and form.kind != "numbers":
                    hint = "\nif this is a header, name its columns: data.files.words_column and tags_column"
                return f"{record.source}:{line}: {form.problems[tag]}{hint}"
    raise AssertionError("a problem belongs to a tag")
