"""Writes annotated sentences in the formats of training data and of annotation tools."""

import csv
import json
from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import replace
from itertools import chain, groupby
from pathlib import Path
from typing import Any, NamedTuple

from ner_lightning.data.partial_annotation import unknown_words
from ner_lightning.data.readers.column_cells import DOCSTART
from ner_lightning.data.readers.docbin import check_spacy
from ner_lightning.data.readers.jsonl import write_jsonl
from ner_lightning.data.readers.record import CharSpan
from ner_lightning.data.running_text import Offsets, from_words
from ner_lightning.data.schemes import OUTSIDE, spans
from ner_lightning.data.sentence import InText, Sentence
from ner_lightning.data.writers.annotation_tools import (
    doccano_row,
    label_studio_results,
    label_studio_task,
    prodigy_task,
)
from ner_lightning.data.writers.column_writer import has_documents, pairs, write_columns
from ner_lightning.data.writers.docbin_writer import doc_bin_of
from ner_lightning.system.atomic import replacing, replacing_text
from ner_lightning.system.progress import warn


class AnnotatedText(NamedTuple):
    """A text with its entities: the sentences of one text that was read, or a sentence of words.

    Attributes:
        text: the text; words of a sentence are joined by single spaces.
        offsets: start and end of each word of each sentence.
        entities: its entities, from the left.
        document: index of its document.
        id: its id in its file, or None.
        tags: the tag of each word.
    """

    text: str
    offsets: tuple[tuple[Offsets, ...], ...]
    entities: tuple[CharSpan, ...]
    document: int
    id: Any
    tags: tuple[str, ...]


def text_key(sentence: Sentence) -> Hashable:
    """What sentences of one text have in common; each sentence that was read as words has its own."""
    return id(sentence) if sentence.within is None else (sentence.document, sentence.within.number)


def cut_texts(sentences: Sequence[Sentence], part: Sequence[int]) -> list[Sentence]:
    """Some of the sentences, to be written without the others.

    A text of which only some sentences are among them is cut: each becomes a text of its own.

    Args:
        sentences: all of them.
        part: indices of those that are kept.
    """
    sizes = Counter(map(text_key, sentences))
    kept = Counter(text_key(sentences[index]) for index in part)
    return [
        sentence if kept[text_key(sentence)] == sizes[text_key(sentence)] else _cut(sentence, index)
        for index, sentence in ((index, sentences[index]) for index in part)
    ]


def _cut(sentence: Sentence, number: int) -> Sentence:
    """A sentence with a text of its own."""
    assert sentence.within is not None
    start, end = sentence.within.offsets[0][0], sentence.within.offsets[-1][1]
    offsets = tuple((first - start, last - start) for first, last in sentence.within.offsets)
    # Numbers below zero belong to no text that was read.
    within = InText(sentence.within.text[start:end], offsets, None, -1 - number)
    return replace(sentence, within=within)


def annotated_texts(sentences: Sequence[Sentence]) -> Iterator[AnnotatedText]:
    """Puts the sentences of each text together again."""
    for _, group in groupby(sentences, key=text_key):
        together = list(group)
        first = together[0]
        offsets: tuple[tuple[Offsets, ...], ...]
        if first.within is None:
            document = from_words(first.words)
            text, offsets, name = document.text, (tuple(document.offsets),), None
        else:
            text, name = first.within.text, first.within.id
            offsets = tuple(s.within.offsets for s in together if s.within is not None)
        entities = [
            CharSpan(words[span.start][0], words[span.end - 1][1], span.type)
            for sentence, words in zip(together, offsets, strict=True)
            for span in spans(sentence.tags or ())
        ]
        tags = tuple(tag for s in together for tag in s.tags or (OUTSIDE,) * len(s.words))
        yield AnnotatedText(text, offsets, tuple(entities), first.document, name, tags)


def write_table(path: Path, sentences: Sequence[Sentence]) -> None:
    """Writes CSV with a word per row: document, sentence, word, tag; words without spaces at their ends."""
    # Python's csv does not quote a carriage return that is no line end of its own, and readers take a quote
    # before a line break for a word where other cells have none.
    breaks = any(not {"\r", "\n"}.isdisjoint(cell) for s in sentences for pair in pairs(s) for cell in pair)
    with replacing_text(path) as file:
        quoted = csv.writer(file, lineterminator="\n", quoting=csv.QUOTE_ALL)
        rows = quoted if breaks else csv.writer(file, lineterminator="\n")
        rows.writerow(["document", "sentence", "word", "tag"])
        for number, sentence in enumerate(sentences, start=1):
            rows.writerows([sentence.document + 1, number, w.strip(" "), tag] for w, tag in pairs(sentence))
    changed = sum(word != word.strip(" ") for sentence in sentences for word in sentence.words)
    if changed:
        warn(f"{path}: outer spaces cannot be written in CSV: {changed:,} words are changed.")


def write_json(path: Path, sentences: Sequence[Sentence]) -> None:
    """Writes JSONL with a sentence per line: tokens, ner_tags and, of several documents, document."""
    write_jsonl(path, _token_rows(sentences))
    _warn_of_marks(path, sentences)


def write_parquet(path: Path, sentences: Sequence[Sentence]) -> None:
    """Writes Parquet with the fields of `write_json`."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    words = pa.list_(pa.string())
    schema = pa.schema([("tokens", words), ("ner_tags", words), ("document", pa.int64())])
    rows = [row | {"document": row.get("document", 0)} for row in _token_rows(sentences)]
    with replacing(path) as file:
        pq.write_table(pa.Table.from_pylist(rows, schema), file)
    _warn_of_marks(path, sentences)


def _warn_of_marks(path: Path, sentences: Sequence[Sentence]) -> None:
    if marks := sum(sentence.words == (DOCSTART,) for sentence in sentences):
        warn(
            f"{path}: {marks:,} sentences are the word {DOCSTART} alone, which is read as a document's begin."
        )


def _token_rows(sentences: Sequence[Sentence]) -> Iterator[dict[str, Any]]:
    several = has_documents(sentences)
    for sentence in sentences:
        tags = [tag for _, tag in pairs(sentence)]
        row: dict[str, Any] = {"tokens": list(sentence.words), "ner_tags": tags}
        yield row | ({"document": sentence.document} if several else {})


def _texts(sentences: Sequence[Sentence]) -> Iterator[tuple[AnnotatedText, dict[str, Any]]]:
    """Each text, with its document where a document has several texts."""
    unknown = unknown_words(sentences)
    if unknown:
        warn(f"{unknown:,} words have an unknown tag (?), which this format cannot say: they are outside.")
    found = list(annotated_texts(sentences))
    counts = Counter(text.document for text in found)
    for text in found:
        is_shared = len(counts) > 1 and max(counts.values()) > 1
        yield text, {"document": text.document} if is_shared else {}


def write_doccano(path: Path, sentences: Sequence[Sentence]) -> None:
    """Writes doccano's JSONL: text, and label with [start, end, type]."""
    write_jsonl(
        path, (_id(text) | doccano_row(text.text, text.entities) | extra for text, extra in _texts(sentences))
    )


def write_label_studio(
    path: Path, sentences: Sequence[Sentence], predicted: Sequence[Sentence] | None = None
) -> None:
    """Writes Label Studio's JSON: a list of tasks, each with one annotation.

    Args:
        path: the file, replaced in one step.
        sentences: the sentences.
        predicted: the same with the tags of a model, which the tool shows beside the annotation.
    """
    tasks = [
        _id(text) | label_studio_task(text.text, extra, annotations=_results(text))
        for text, extra in _texts(sentences)
    ]
    for task, text in zip(tasks, annotated_texts(predicted or ()), strict=False):
        task["predictions"] = [_results(text)]
    with replacing_text(path) as file:
        json.dump(tasks, file, ensure_ascii=False, indent=1)
        file.write("\n")


def _results(text: AnnotatedText) -> dict[str, Any]:
    return {"result": label_studio_results(text.text, text.entities)}


def _id(text: AnnotatedText) -> dict[str, Any]:
    return {} if text.id is None else {"id": text.id}


def write_prodigy(path: Path, sentences: Sequence[Sentence]) -> None:
    """Writes Prodigy's JSONL: text, tokens and spans."""
    write_jsonl(
        path,
        (
            prodigy_task(text.text, [*chain(*text.offsets)], text.entities) | extra
            for text, extra in _texts(sentences)
        ),
    )


def write_doc_bin(path: Path, sentences: Sequence[Sentence]) -> None:
    """Writes spaCy's DocBin: texts with words, sentences and tags; raises UserError if there is no spaCy."""
    check_spacy()
    doc_bin_of(
        (
            (text.text, [*chain(*text.offsets)], map(len, text.offsets), text.tags)
            for text in annotated_texts(sentences)
        ),
        path,
    )


WRITERS: dict[str, Callable[[Path, Sequence[Sentence]], None]] = {
    "jsonl": write_json,
    "conll": write_columns,
    "csv": write_table,
    "parquet": write_parquet,
    "spacy": write_doc_bin,
    "doccano": write_doccano,
    "labelstudio": write_label_studio,
    "prodigy": write_prodigy,
}
