"""The formats that are read: their names, readers and suffixes."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

from ner_lightning.data.readers import arrow, brat, columns, conll2012, conllu, docbin, pubtator, webanno
from ner_lightning.data.readers.filetype import head_of
from ner_lightning.data.readers.jsonl import JSON_SUFFIXES, read_json
from ner_lightning.data.readers.read_options import COLUMN_OPTIONS, Opened, ReadOptions
from ner_lightning.data.readers.record import Record, text_lines, whole_file
from ner_lightning.data.readers.table import CSV_SUFFIXES, read_table
from ner_lightning.data.readers.text_hints import why_no_annotation
from ner_lightning.data.sentence import DataError

Reader = Callable[[Opened, ReadOptions], Iterator[Record]]
COLUMN_SUFFIXES = (".conll", ".bio", ".iob", ".iob2", ".tsv")


class Format(NamedTuple):
    """A format.

    Attributes:
        read: its reader.
        what: what it is, for messages and docs.
        suffixes: of files that hold it.
        named: the options that name its columns or fields.
        binary: whether it is no text.
    """

    read: Reader
    what: str
    suffixes: tuple[str, ...] = ()
    named: tuple[str, ...] = ()
    binary: bool = False


def _read_text(opened: Opened, options: ReadOptions) -> Iterator[Record]:
    if options.tagged:
        head = head_of(opened.file)
        raise DataError(f"{opened.source}:1: {why_no_annotation(head) if head else 'the file is empty'}")
    return (
        whole_file(opened.file, opened.source)
        if options.whole_files
        else text_lines(opened.file, opened.source)
    )


FORMATS = {
    "conll": Format(columns.read_columns, "CoNLL columns", COLUMN_SUFFIXES, COLUMN_OPTIONS),
    "csv": Format(read_table, "CSV: a word, a sentence or a text per row", CSV_SUFFIXES, COLUMN_OPTIONS),
    "jsonl": Format(read_json, "JSON lines, or one JSON list", JSON_SUFFIXES, COLUMN_OPTIONS),
    "parquet": Format(arrow.read_parquet, "Parquet", (".parquet",), COLUMN_OPTIONS, binary=True),
    "spacy": Format(docbin.read_docbin, "spaCy's DocBin", (".spacy",), binary=True),
    "conllu": Format(conllu.read_conllu, "CoNLL-U with entities in MISC", (".conllu",), COLUMN_OPTIONS[1:2]),
    "conll2012": Format(
        conll2012.read_conll2012,
        "CoNLL-2012, entities in brackets",
        (".gold_conll", ".v4_gold_conll"),
        COLUMN_OPTIONS[:2],
    ),
    "webanno": Format(webanno.read_webanno, "WebAnno TSV 3, of INCEpTION", (), COLUMN_OPTIONS[1:2]),
    "pubtator": Format(pubtator.read_pubtator, "PubTator: titles and abstracts", (".pubtator",)),
    "brat": Format(brat.read_brat, "brat: a text with an .ann file beside it"),
    "txt": Format(_read_text, "running text", (".txt",)),
}
SUFFIXES = {suffix: name for name, format in FORMATS.items() for suffix in format.suffixes}
