"""Parquet, and the folders of Hugging Face's `save_to_disk`."""

import random
from io import BytesIO

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from data.readers.mutations import damaged, opened

from ner_lightning.data.readers.arrow import (
    class_names,
    is_saved_dataset,
    parquet_rows,
    saved_rows,
    saved_splits,
)
from ner_lightning.data.readers.sentences import read_sentences
from ner_lightning.data.sentence import DataError

TAGS = ("O", "B-PER", "I-PER", "B-LOC")
COLUMNS = {"tokens": [["Brinda", "\U0001f600"], ["Tarvo"]], "ner_tags": [[1, 0], [3]], "id": ["a", "b"]}
ROWS = [
    {"tokens": ["Brinda", "\U0001f600"], "ner_tags": [1, 0], "id": "a"},
    {"tokens": ["Tarvo"], "ner_tags": [3], "id": "b"},
]


def saved():
    labels = datasets.ClassLabel(names=list(TAGS))
    text = datasets.Value("string")
    features = datasets.Features(
        {"tokens": datasets.List(text), "ner_tags": datasets.List(labels), "id": text}
    )
    return datasets.Dataset.from_dict(COLUMNS, features=features)


def parquet(table):
    file = BytesIO()
    pq.write_table(table, file)
    return file.getvalue()


def test_parquet_rows():
    names, classes, rows = parquet_rows(opened(parquet(pa.table(COLUMNS))))
    assert names == ["tokens", "ner_tags", "id"]
    assert classes == {}
    assert list(rows) == ROWS


def test_parquet_of_hugging_face_names_its_classes(tmp_path):
    saved().to_parquet(tmp_path / "x.parquet")
    names, classes, rows = parquet_rows(opened((tmp_path / "x.parquet").read_bytes()))
    assert names == ["tokens", "ner_tags", "id"]
    assert classes == {"ner_tags": TAGS}
    assert list(rows) == ROWS


def test_parquet_is_read_in_batches():
    table = pa.table({"text": [f"word {n}" for n in range(1000)]})
    rows = parquet_rows(opened(parquet(table))).rows
    assert next(rows) == {"text": "word 0"}
    assert [row["text"] for row in rows][-1] == "word 999"


LABEL = {"names": ["O", "B-PER"], "_type": "ClassLabel"}


@pytest.mark.parametrize(
    ("feature", "names"),
    [
        (LABEL, ("O", "B-PER")),
        ({"feature": LABEL, "_type": "List"}, ("O", "B-PER")),
        ({"feature": LABEL, "length": -1, "_type": "Sequence"}, ("O", "B-PER")),
        ([LABEL], ("O", "B-PER")),
        ({"feature": [LABEL], "_type": "LargeList"}, ("O", "B-PER")),
        ({"dtype": "string", "_type": "Value"}, None),
        ({"names": LABEL, "_type": "ClassLabel"}, None),
        ({"names": [1], "_type": "ClassLabel"}, None),
        ({"names": ["O"]}, None),
        ("ClassLabel", None),
        ([], None),
    ],
)
def test_class_names(feature, names):
    assert class_names({"tags": feature}).get("tags") == names
    assert class_names([feature]) == {}


SPANS = {
    "start": datasets.Value("int64"),
    "end": datasets.Value("int64"),
    "label": datasets.ClassLabel(names=["PER", "LOC"]),
}


@pytest.mark.parametrize("feature", [[SPANS], datasets.Sequence(SPANS)])
@pytest.mark.parametrize("saved", [True, False])
def test_the_types_of_entities_get_the_names_that_are_stored_with_them(tmp_path, feature, saved):
    values = {"start": [0, 5], "end": [4, 9], "label": [1, 0]}
    objects = [{name: value[row] for name, value in values.items()} for row in (0, 1)]
    features = datasets.Features({"text": datasets.Value("string"), "entities": feature})
    rows = {"text": ["Lima Vera"], "entities": [objects if isinstance(feature, list) else values]}
    path = tmp_path / ("x" if saved else "x.parquet")
    data = datasets.Dataset.from_dict(rows, features)
    (data.save_to_disk if saved else data.to_parquet)(path)
    (sentence,) = read_sentences(path)
    assert sentence.tags == ("B-LOC", "B-PER")


@pytest.mark.parametrize(
    "metadata", [b"", b"{", b"[]", b'{"info": 3}', b'{"info": {"features": []}}', b"\xff"]
)
def test_metadata_that_is_not_the_librarys_is_ignored(metadata):
    table = pa.table(COLUMNS).replace_schema_metadata({b"huggingface": metadata})
    assert parquet_rows(opened(parquet(table))).class_names == {}


def test_a_file_that_is_not_complete_is_refused():
    data = parquet(pa.table(COLUMNS))
    for broken in (b"", b"Brinda", data[:-5], data[: len(data) // 2]):
        with pytest.raises(DataError, match="x:1: not a complete Parquet file: "):
            parquet_rows(opened(broken))
    rows = parquet_rows(opened(data[:4] + b"\x00" * 60 + data[64:])).rows
    with pytest.raises(DataError, match="x:1: not a complete Parquet file: "):
        list(rows)


def test_damaged_parquet_gives_rows_or_errors():
    data = parquet(pa.table(COLUMNS))
    rng = random.Random(2)
    errors = 0
    for _ in range(300):
        try:
            assert all(isinstance(row, dict) for row in parquet_rows(opened(damaged(data, rng))).rows)
        except DataError:
            errors += 1
    assert errors > 100


def test_a_saved_data_set(tmp_path):
    saved().save_to_disk(tmp_path / "one")
    assert is_saved_dataset(tmp_path / "one")
    assert saved_splits(tmp_path / "one") == {}
    names, classes, rows = saved_rows(tmp_path / "one")
    assert names == ["tokens", "ner_tags", "id"]
    assert classes == {"ner_tags": TAGS}
    assert list(rows) == ROWS


def test_a_saved_selection_has_its_rows_alone(tmp_path):
    saved().select([1]).save_to_disk(tmp_path / "one")
    assert list(saved_rows(tmp_path / "one").rows) == ROWS[1:]


def test_saved_splits(tmp_path):
    both = datasets.DatasetDict({"train": saved(), "test": saved().select([1])})
    both.save_to_disk(tmp_path / "all")
    assert is_saved_dataset(tmp_path / "all")
    splits = saved_splits(tmp_path / "all")
    assert splits == {"train": tmp_path / "all" / "train", "test": tmp_path / "all" / "test"}
    assert list(saved_rows(splits["test"]).rows) == ROWS[1:]
    with pytest.raises(
        DataError, match=r"all:1: several splits; name the folder of one of them \(train, test\)"
    ):
        saved_rows(tmp_path / "all")


def test_images_stay_encoded(tmp_path):
    features = datasets.Features({"text": datasets.Value("string"), "scan": datasets.Image()})
    rows = {"text": ["Tarvo"], "scan": [{"bytes": b"no image", "path": None}]}
    datasets.Dataset.from_dict(rows, features=features).save_to_disk(tmp_path / "one")
    assert next(saved_rows(tmp_path / "one").rows)["text"] == "Tarvo"


def test_other_folders_are_no_saved_data_sets(tmp_path):
    assert not is_saved_dataset(tmp_path)
    assert not is_saved_dataset(tmp_path / "absent")
    (tmp_path / "state.json").touch()
    assert not is_saved_dataset(tmp_path)


def test_a_folder_that_is_not_complete_is_refused(tmp_path):
    folder = tmp_path / "one"
    saved().save_to_disk(folder)
    (arrow,) = folder.glob("*.arrow")
    for name in (arrow.name, "state.json", "dataset_info.json"):
        before = (folder / name).read_bytes()
        for broken in (b"", before[: len(before) // 2]):
            (folder / name).write_bytes(broken)
            with pytest.raises(DataError, match="one:1: not a complete data set of save_to_disk: "):
                list(saved_rows(folder).rows)
        (folder / name).write_bytes(before)
    assert list(saved_rows(folder).rows) == ROWS


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"splits": 3}', '{"splits": ["../x"]}', '{"splits": ["a"]}']
)
def test_a_malformed_list_of_splits_is_refused(tmp_path, content):
    (tmp_path / "dataset_dict.json").write_text(content)
    with pytest.raises(DataError, match=r"dataset_dict\.json:1: no (list of splits|split)"):
        saved_splits(tmp_path)


def test_damaged_folders_give_rows_or_errors(tmp_path):
    folder = tmp_path / "one"
    saved().save_to_disk(folder)
    rng = random.Random(4)
    files = {path: path.read_bytes() for path in folder.iterdir()}
    errors = 0
    for _ in range(100):
        path = rng.choice(list(files))
        path.write_bytes(damaged(files[path], rng))
        try:
            assert all(isinstance(row, dict) for row in saved_rows(folder).rows)
        except DataError:
            errors += 1
        path.write_bytes(files[path])
    assert errors > 20
