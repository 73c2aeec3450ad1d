"""Reads the rows of Parquet files and of data sets that Hugging Face's `save_to_disk` wrote."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ner_lightning.data.readers.json_rows import JsonRow
from ner_lightning.data.readers.json_shapes import with_names
from ner_lightning.data.readers.jsonl import records_from
from ner_lightning.data.readers.read_options import COLUMN_OPTIONS, Opened, ReadOptions
from ner_lightning.data.readers.record import Record
from ner_lightning.data.sentence import DataError

_ROWS = 256  # read at a time
_SPLITS = "dataset_dict.json"
_DATASET = ("dataset_info.json", "state.json")


class Rows(NamedTuple):
    """The rows of a table.

    Attributes:
        names: its columns.
        class_names: for each column of class labels, or of lists of them, the names of the numbers from 0;
            `column.field` for a field of the objects in a column.
        rows: each row as an object of its columns; reading them may raise DataError.
    """

    names: list[str]
    class_names: dict[str, tuple[str, ...]]
    rows: Iterator[dict[str, Any]]


def read_parquet(opened: Opened, options: ReadOptions) -> Iterator[Record]:
    """Reads a row of Parquet per record: words with tags, or a text with entities, as in JSON.

    Args:
        opened: the file, which can be read at any position.
        options: name the columns; whether tags are read.

    Raises:
        DataError: the file is not complete, or has no such column.
    """
    return _records(opened.source, parquet_rows(opened), options, "Parquet")


def read_saved(folder: Path, source: str, options: ReadOptions) -> Iterator[Record]:
    """Reads the rows of a data set that `save_to_disk` wrote, as `read_parquet` does.

    Raises:
        DataError: the folder is not complete, or has no such column.
    """
    return _records(source, saved_rows(folder), options, "a saved data set")


def _records(source: str, table: Rows, options: ReadOptions, kind: str) -> Iterator[Record]:
    for option in COLUMN_OPTIONS:
        column = getattr(options, option)
        if column is not None and column not in table.names:
            raise DataError(
                f"{source}:1: no column {column!r} (columns: {', '.join(table.names) or 'none'});\n"
                f"name one of them as data.files.{option}"
                + (" (predict: --words_column)" if option == "words_column" else "")
            )
    rows = (
        JsonRow(number, with_names(row, table.class_names)) for number, row in enumerate(table.rows, start=1)
    )
    yield from records_from(source, rows, options, kind)


def parquet_rows(opened: Opened) -> Rows:
    """The rows of a Parquet file.

    Args:
        opened: the file, which can be read at any position.

    Raises:
        DataError: the file is not complete; reading the rows raises it as well.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.ParquetFile(opened.file)
        schema = table.schema_arrow
    except (pa.ArrowException, OSError, ValueError) as error:
        raise _incomplete(opened.source, error) from None
    features = _features((schema.metadata or {}).get(b"huggingface", b""))

    def rows() -> Iterator[dict[str, Any]]:
        try:
            for batch in table.iter_batches(batch_size=_ROWS):
                yield from batch.to_pylist()
        except (pa.ArrowException, OSError, ValueError) as error:
            raise _incomplete(opened.source, error) from None

    return Rows(list(schema.names), class_names(features), rows())


def _incomplete(source: str, error: Exception) -> DataError:
    what = str(error).partition("\n")[0] or type(error).__name__
    return DataError(f"{source}:1: not a complete Parquet file: {what:.120}")


def _features(metadata: bytes) -> Any:
    """The features that the data set library writes into a Parquet file; None if there are none."""
    try:
        return json.loads(metadata)["info"]["features"]
    except (ValueError, TypeError, KeyError, RecursionError):
        return None


def class_names(features: Any) -> dict[str, tuple[str, ...]]:
    """The names of class labels, by column; those of a field of a column's objects by `column.field`.

    Args:
        features: what the data set library's `Features.to_dict` gives, or its JSON.
    """
    if not isinstance(features, Mapping):
        return {}
    named = {str(name): _names(feature) for name, feature in features.items()}
    for name, feature in features.items():
        fields = _inner(feature)
        if isinstance(fields, Mapping) and "_type" not in fields:
            named |= {f"{name}.{field}": _names(inner) for field, inner in fields.items()}
    return {name: names for name, names in named.items() if names}


def _inner(feature: Any) -> Any:
    """What a list in any of the library's forms holds; other features as they are."""
    for _ in range(3):
        if isinstance(feature, list) and len(feature) == 1:
            feature = feature[0]
        elif isinstance(feature, Mapping) and isinstance(feature.get("feature"), Mapping | list):
            feature = feature["feature"]
    return feature


def _names(feature: Any) -> tuple[str, ...]:
    """The names of a class label, or of a list of them; otherwise none."""
    feature = _inner(feature)
    names = feature.get("names") if isinstance(feature, Mapping) else None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        return ()
    return tuple(names) if feature.get("_type") == "ClassLabel" else ()


def is_saved_dataset(folder: Path) -> bool:
    """Whether `save_to_disk` wrote a folder: one data set, or several splits (see `saved_splits`)."""
    return all((folder / name).is_file() for name in _DATASET) or (folder / _SPLITS).is_file()


def saved_splits(folder: Path) -> dict[str, Path]:
    """The folder of each split of a folder that `save_to_disk` wrote; empty if it is one data set.

    Raises:
        DataError: the list of splits is malformed, or a split is missing.
    """
    listed = folder / _SPLITS
    if not listed.is_file():
        return {}
    try:
        names = json.loads(listed.read_text(encoding="utf-8"))["splits"]
        splits = {str(name): folder / str(name) for name in names}
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        raise DataError(f"{listed}:1: no list of splits; save the data set again with save_to_disk") from None
    for name, path in splits.items():
        if Path(name).name != name or not is_saved_dataset(path):
            raise DataError(f"{listed}:1: no split {name!r:.40} beside it; save the data set again")
    return splits


def saved_rows(folder: Path) -> Rows:
    """The rows of one data set that `save_to_disk` wrote.

    Raises:
        DataError: the folder is not complete; reading the rows raises it as well.
    """
    import datasets

    try:
        table = datasets.load_from_disk(str(folder))
        if not isinstance(table, datasets.Dataset):
            names = ", ".join(table)
            raise DataError(f"{folder}:1: several splits; name the folder of one of them ({names})")
        features = table.features
    except DataError:
        raise
    except Exception as error:  # of pyarrow, json, or the library, which checks nothing itself
        raise _broken(folder, error) from None

    def rows() -> Iterator[dict[str, Any]]:
        # As Arrow tables: the library would decode images and sound, for which it wants more packages.
        try:
            for batch in table.with_format("arrow").iter(batch_size=_ROWS):
                batch.validate(full=True)  # Arrow trusts the file, and would read beyond its end
                yield from batch.to_pylist()
        except Exception as error:
            raise _broken(folder, error) from None

    return Rows(list(features), class_names(features.to_dict()), rows())


def _broken(folder: Path, error: Exception) -> DataError:
    what = str(error).partition("\n")[0] or type(error).__name__
    return DataError(f"{folder}:1: not a complete data set of save_to_disk: {what:.120}")
