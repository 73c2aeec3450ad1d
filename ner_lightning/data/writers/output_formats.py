"""The formats that `data convert` and `predict` write, and what the suffix of an output means."""

from collections.abc import Collection
from pathlib import Path

from ner_lightning.data.readers.formats import FORMATS, SUFFIXES
from ner_lightning.errors import UserError

_TOOLS = {"doccano": ".jsonl", "labelstudio": ".json", "prodigy": ".jsonl"}  # of annotation tools
# The suffix that files of annotated data get.
SUFFIX_OF = {name: FORMATS[name].suffixes[0] for name in ("jsonl", "conll", "csv", "parquet", "spacy")}
SUFFIX_OF |= _TOOLS
ANNOTATED = tuple(SUFFIX_OF)  # what `data convert` writes
PREDICTED = (*ANNOTATED, "text")  # what `predict` writes
# A suffix means for an output what it means for an input; `.txt`, which may be several, means none.
BY_SUFFIX = {suffix: name for suffix, name in SUFFIXES.items() if name in SUFFIX_OF}
_IN_TXT = {"conll": "columns", "text": "entities in brackets"}

# Of `predict`:
WIDE = ("csv", "parquet")  # can be a table with a column per type
TAGGED = ("conll", "spacy")  # have one tag per word, so that entities cannot share words
CONVERTED = ("parquet", "spacy", "labelstudio")  # from lines of JSON, at the end


def format_of(output: str, written: Collection[str]) -> str:
    """The format that the name of an output says.

    Args:
        output: the file, as `--output` names it.
        written: the formats that the command writes, `ANNOTATED` or `PREDICTED`.

    Raises:
        UserError: the name says none, or may say several.
    """
    suffix = Path(output).suffix.lower()
    if suffix == ".txt":
        ways = " or ".join(f"--to {name} ({what})" for name, what in _IN_TXT.items() if name in written)
        raise UserError(f"--output {output}: .txt may mean columns or text;\nsay which: {ways}")
    if suffix not in BY_SUFFIX:
        raise UserError(
            f"--output {output} ends in none of {', '.join(BY_SUFFIX)};\n"
            f"rename it, or name its format with --to ({', '.join(written)})"
        )
    return BY_SUFFIX[suffix]
