"""Writes annotated sentences in the formats of training data and of annotation tools."""

import csv
import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

from ner_lightning.data.partial_annotation import unknown_words
from ner_lightning.data.readers.column_cells import DOCSTART
from ner_lightning.data.readers.jsonl import write_jsonl
from ner_lightning.data.readers.record import CharSpan
from ner_lightning.data.running_text import Offsets, from_words
from ner_lightning.data.schemes import OUTSIDE, spans
from ner_lightning.data.sentence import Sentence
from ner_lightning.system.atomic import replacing, replacing_text
from ner_lightning.system.progress import warn

_BREAKS = str.maketrans(dict.fromkeys("\t\r\n", "_"))


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


def annotated_texts(sentences: Sequence[Sentence]) -> Iterator[AnnotatedText]:
    """Puts the sentences of each text together again."""
    for _, group in groupby(sentences, key=lambda s: id(s) if s.within is None else (s.document, s.line)):
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


def _with_tags(sentence: Sentence) -> Iterator[tuple[str, str]]:
    return zip(sentence.words, sentence.tags or (OUTSIDE,) * len(sentence.words), strict=True)


def _has_documents(sentences: Sequence[Sentence]) -> bool:
    return len({sentence.document for sentence in sentences}) > 1


def write_columns(path: Path, sentences: Sequence[Sentence]) -> None:
    """Writes words and tags: between spaces, or between tabs if a word or type contains a space."""
    between = "\t" if any(" " in cell for s in sentences for pair in _with_tags(s) for cell in pair) else " "
    several, document, changed = _has_documents(sentences), None, 0
    with replacing_text(path) as file:
        for sentence in sentences:
            if several and sentence.document != document:
                document = sentence.document
                file.write(f"{DOCSTART}{between}{OUTSIDE}\n\n")
            for word, tag in _with_tags(sentence):
                row = between.join(cell.translate(_BREAKS).strip(" ") for cell in (word, tag))
                changed += row != f"{word}{between}{tag}"
                file.write(row + "\n")
            file.write("\n")
    if changed:
        warn(f"{path}: tabs, line breaks and outer spaces of {changed:,} words cannot be written in columns.")


def write_table(path: Path, sentences: Sequence[Sentence]) -> None:
    """Writes CSV with a word per row: document, sentence, word, tag."""
    with replacing_text(path) as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(["document", "sentence", "word", "tag"])
        for number, sentence in enumerate(sentences, start=1):
            rows.writerows([sentence.document + 1, number, *pair] for pair in _with_tags(sentence))


def write_json(path: Path, sentences: Sequence[Sentence]) -> None:
    """Writes JSONL with a sentence per line: tokens, ner_tags and, of several documents, document."""
    write_jsonl(path, _token_rows(sentences))


def write_parquet(path: Path, sentences: Sequence[Sentence]) -> None:
    """Writes Parquet with the fields of `write_json`."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    words = pa.list_(pa.string())
    schema = pa.schema([("tokens", words), ("ner_tags", words), ("document", pa.int64())])
    rows = [row | {"document": row.get("document", 0)} for row in _token_rows(sentences)]
    with replacing(path) as file:
        pq.write_table(pa.Table.from_pylist(rows, schema), file)


def _token_rows(sentences: Sequence[Sentence]) -> Iterator[dict[str, Any]]:
    several = _has_documents(sentences)
    for sentence in sentences:
        tags = [tag for _, tag in _with_tags(sentence)]
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
        path,
        (
            ({} if text.id is None else {"id": text.id})
            | {"text": text.text, "label": [list(entity) for entity in text.entities]}
            | extra
            for text, extra in _texts(sentences)
        ),
    )


def write_label_studio(path: Path, sentences: Sequence[Sentence]) -> None:
    """Writes Label Studio's JSON: a list of tasks, each with one annotation."""
    tasks = [
        ({} if text.id is None else {"id": text.id})
        | {"data": {"text": text.text} | extra, "annotations": [{"result": _results(text)}]}
        for text, extra in _texts(sentences)
    ]
    with replacing_text(path) as file:
        json.dump(tasks, file, ensure_ascii=False, indent=1)
        file.write("\n")


def _results(text: AnnotatedText) -> list[dict[str, Any]]:
    return [
        {
            "value": {"start": start, "end": end, "text": text.text[start:end], "labels": [type_]},
            "from_name": "label",
            "to_name": "text",
            "type": "labels",
        }
        for start, end, type_ in text.entities
    ]


def write_prodigy(path: Path, sentences: Sequence[Sentence]) -> None:
    """Writes Prodigy's JSONL: text, tokens and spans."""
    write_jsonl(path, (_prodigy(text) | extra for text, extra in _texts(sentences)))


def _prodigy(text: AnnotatedText) -> dict[str, Any]:
    words = [offsets for sentence in text.offsets for offsets in sentence]
    first = {start: index for index, (start, _) in enumerate(words)}
    last = {end: index for index, (_, end) in enumerate(words)}
    tokens = [
        {"text": text.text[a:b], "start": a, "end": b, "id": index, "ws": text.text[b : b + 1] == " "}
        for index, (a, b) in enumerate(words)
    ]
    marked = [
        {"start": start, "end": end, "token_start": first[start], "token_end": last[end], "label": type_}
        for start, end, type_ in text.entities
    ]
    return {"text": text.text, "tokens": tokens, "spans": marked}


WRITERS: dict[str, Callable[[Path, Sequence[Sentence]], None]] = {
    "jsonl": write_json,
    "conll": write_columns,
    "csv": write_table,
    "parquet": write_parquet,
    "doccano": write_doccano,
    "labelstudio": write_label_studio,
    "prodigy": write_prodigy,
}
