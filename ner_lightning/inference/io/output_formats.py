"""The formats that `predict` writes, and their file suffixes."""

from ner_lightning.data.readers.jsonl import JSON_SUFFIXES

_JSONL = dict.fromkeys(JSON_SUFFIXES, "jsonl")
_TABLES = {".csv": "csv", ".parquet": "parquet"}
WRITTEN = {**_JSONL, **_TABLES, ".spacy": "spacy", ".conll": "conll", ".txt": "text"}
TOOLS = ("doccano", "labelstudio", "prodigy")  # pre-annotations, which annotation tools import
OUTPUTS = (*dict.fromkeys(WRITTEN.values()), *TOOLS)
WIDE = ("csv", "parquet")  # can be a table with a column per type
TAGGED = ("conll", "spacy")  # have one tag per word, so that entities cannot share words
CONVERTED = ("parquet", "spacy", "labelstudio")  # from lines of JSON, at the end
