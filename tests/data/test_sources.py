"""Splits of local data: those that are there, and those that are held out of the training data."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ner_lightning.data import sources
from ner_lightning.data.corpus_settings import Files
from ner_lightning.data.readers.hub_dataset import HubSplit
from ner_lightning.data.sentence import Sentence
from ner_lightning.data.sources import SAMPLE, Source
from ner_lightning.errors import UserError

SPLITS = ("train", "valid", "test")


def block(number):
    kind = "B-PER" if number % 3 else "B-LOC"
    # Words of their own: sentences that differ in numbers alone are near-duplicates.
    return f"{chr(0x4E00 + number)} {kind}\n" + "".join(f"{chr(0x4E00 + number)}{k} O\n" for k in "vwxyz")


def content(count=60, start=0):
    return "\n".join(block(number) for number in range(start, start + count)) + "\n"


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def read(source, names=SPLITS):
    return {name: [s.words for s in source.read(name).sentences] for name in names}


@pytest.fixture(params=["a folder", "a file", "a folder with a folder", "a validation file by itself"])
def dataset(request, tmp_path):
    """Data sets with training data alone."""
    if request.param == "a file":
        return str(write(tmp_path / "all.conll", content()))
    if request.param == "a folder with a folder":
        for start in range(0, 60, 6):
            write(tmp_path / "train" / f"{start:02}.conll", content(6, start=start))
    elif request.param == "a validation file by itself":
        return str(write(tmp_path / "valid.conll", content()))
    else:
        write(tmp_path / "train.conll", content())
    return str(tmp_path)


def test_parts_are_held_out_of_training_data_that_stand_alone(dataset, caplog):
    caplog.set_level("INFO", "ner_lightning")
    found = read(Source(dataset, {}))
    everything = [words for part in found.values() for words in part]
    assert len(everything) == len(set(everything)) == 60
    assert all(found.values())
    said = [record.message for record in caplog.records if "is held out" in record.message]
    assert len(said) == 1  # once, though three are read
    assert "there is no valid and no test split; a tenth is held out for each: train " in said[0]


def test_held_out_parts_are_the_same_each_time_in_any_order(dataset):
    first = read(Source(dataset, {}))
    assert read(Source(dataset, {}), ("test", "valid", "train")) == first
    again = Source(dataset, {})
    assert read(again) == read(again) == first
    sizes = {name: len(part) for name, part in first.items()}
    if not Path(dataset, "train").is_dir():  # whose files are documents, which stay whole
        assert sizes == {"train": 48, "valid": 6, "test": 6}


def test_held_out_parts_share_the_types_and_say_where_they_are_from(tmp_path):
    rare = content() + "\nRare B-RARE\nwaits O\n"
    path = write(tmp_path / "train.conll", rare)
    source = Source(str(tmp_path), {})
    splits = {name: source.read(name) for name in SPLITS}
    assert {split.types for split in splits.values()} == {("LOC", "PER", "RARE")}
    for name, split in splits.items():
        assert split.origin == f"{path} ({name} part)"
        assert f"({name} of train 0.8, valid 0.1, test 0.1)" in split.fingerprint
    assert len({split.fingerprint for split in splits.values()}) == 3


def test_only_what_is_missing_is_held_out(tmp_path):
    write(tmp_path / "train.conll", content())
    write(tmp_path / "test.conll", content(5, start=100))
    found = read(Source(str(tmp_path), {}))
    assert [len(part) for part in found.values()] == [54, 6, 5]
    assert set(found["train"]).isdisjoint(found["valid"])


@pytest.mark.parametrize("how", ["in the folder", "named"])
def test_nothing_is_held_out_beside_a_validation_split(tmp_path, how):
    write(tmp_path / "train.conll", content())
    other = write(
        tmp_path / ("dev.conll" if how == "in the folder" else "mine/v.conll"), content(5, start=100)
    )
    source = Source(str(tmp_path), {} if how == "in the folder" else {"valid": str(other)})
    found = read(source, ("train", "valid"))
    assert [len(part) for part in found.values()] == [60, 5]
    with pytest.raises(UserError, match=r"has no test file; set data.test"):
        source.read("test")


def test_training_data_that_are_named_are_not_divided(tmp_path):
    path = write(tmp_path / "a.conll", content())
    (tmp_path / "empty").mkdir()
    source = Source(str(tmp_path / "empty"), {"train": str(path)})
    assert len(source.read("train").sentences) == 60
    with pytest.raises(UserError, match=r"has no valid file; set data.valid"):
        source.read("valid")


@pytest.mark.parametrize("count", [1, 2])
def test_too_few_sentences_to_hold_any_out(tmp_path, count):
    path = write(tmp_path / "train.conll", content(count))
    for name in SPLITS:
        with pytest.raises(UserError) as error:
            Source(str(tmp_path), {}).read(name)
        message = str(error.value)
        assert message.startswith(f"{path}: there is no valid and no test split, and none can be held out:\n")
        assert f"{count} sentences cannot be split into 3 parts" in message
        assert message.endswith("or set data.valid and data.test")
        assert len(message.splitlines()) <= 3


def test_a_file_is_read_as_its_settings_say(tmp_path):
    rows = content().replace(" ", " O ")
    path = write(tmp_path / "all.conll", rows)
    found = Source(str(path), {}, Files(tags_column="2")).read("train")
    assert found.types == ("LOC", "PER")
    assert Source(str(path), {}, Files(tags_column="1")).read("train").types is None


def test_two_files_of_one_split_are_refused(tmp_path):
    write(tmp_path / "train.conll", content())
    write(tmp_path / "train.jsonl", "{}")
    with pytest.raises(UserError, match=r"both look like the train split; set data.train"):
        Source(str(tmp_path), {}).read("train")


def parquet(path: Path, count: int, start: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    tags = {True: "B-PER", False: "B-LOC"}
    rows = [
        {"tokens": [chr(0x4E00 + n), "left"], "ner_tags": [tags[n % 3 > 0], "O"]}
        for n in range(start, start + count)
    ]
    pq.write_table(pa.Table.from_pylist(rows), path)
    return path


@pytest.mark.parametrize("inner", ["", "data"])
@pytest.mark.parametrize("digest", ["", "-6ef3991c06080e14"])
def test_shards_are_the_files_of_their_split(tmp_path, inner, digest):
    """As in a clone of a data set of the Hub."""
    place = tmp_path / inner
    write(tmp_path / "README.md", "About.")
    shards = [parquet(place / f"train-0000{n}-of-00002{digest}.parquet", 5, start=5 * n) for n in (0, 1)]
    parquet(place / f"validation-00000-of-00001{digest}.parquet", 3, start=50)
    source = Source(str(tmp_path), {})
    found = read(source, ("train", "valid"))
    assert [words[0] for words in found["train"]] == [chr(0x4E00 + n) for n in range(10)]
    assert len(found["valid"]) == 3
    train = source.read("train")
    assert train.origin == str(place / "train-*-of-00002.parquet")
    assert read(Source(str(tmp_path), {"train": train.origin}), ("train",))["train"] == found["train"]
    parquet(shards[1], 5, start=20)
    assert source.read("train").fingerprint != train.fingerprint
    shards[1].unlink()
    with pytest.raises(UserError, match=r"train-\*-of-00002.parquet: 1 of its files are missing; fetch them"):
        source.read("train")


@pytest.mark.parametrize(
    "names",
    [
        ["train-00000-of-00002.parquet", "train-00001-of-00002.parquet", "validation-00000-of-00001.parquet"],
        ["data/train-00000-of-00001.parquet", "data/test-00000-of-00001.parquet"],
        ["en/train.parquet", "en/dev.parquet", "de/train.parquet"],
        ["deep/er/train/a.parquet", "deep/er/Dev/a.parquet"],
        ["my_train.parquet", "my_dev.parquet", "my_test.parquet"],
    ],
)
def test_a_folder_with_several_splits_is_none_of_them(tmp_path, names):
    for number, name in enumerate(names):
        parquet(tmp_path / name, 5, start=5 * number)
    with pytest.raises(UserError, match=r"data.train: .* has files of several splits \(.*train"):
        Source(SAMPLE, {"train": str(tmp_path)}).read("train")


def test_a_folder_of_a_split_holds_no_other_splits(tmp_path):
    write(tmp_path / "train/train.conll", content(5))
    write(tmp_path / "train/dev.conll", content(5, start=10))
    with pytest.raises(UserError, match="has files of several splits"):
        Source(str(tmp_path), {}).read("train")


def test_files_of_documents_are_no_splits(tmp_path):
    for number, name in enumerate(("a_train_ride", "flight_test", "letter")):
        write(tmp_path / f"{name}.conll", content(2, start=2 * number))
    assert len(Source(SAMPLE, {"train": str(tmp_path)}).read("train").sentences) == 6


@pytest.mark.parametrize(
    ("train", "valid"),
    [
        ("Train.conll", "VALID.CONLL"),
        ("my_train.conll", "my_dev.conll"),
        ("eng.train", "eng.testa"),
        ("data/train.conll", "data/dev.conll"),
        ("data/de-train.jsonl.conll", "data/de-val.conll"),
        ("train.v2.conll", "development.val.v2.conll"),
        ("train.conll", "testa.conll"),
        ("train.conll", "my_dev.conll"),
        ("train.conll", "validation_set.conll"),
        ("my_train.conll", "dev/all.conll"),
    ],
)
def test_splits_are_known_by_a_part_of_their_names(tmp_path, train, valid, caplog):
    write(tmp_path / train, content(7))
    write(tmp_path / valid, content(3, start=10))
    write(tmp_path / "README.txt", "About.")
    source = Source(str(tmp_path), {})
    assert [len(part) for part in read(source, ("train", "valid")).values()] == [7, 3]
    assert source.read("valid").origin == str(tmp_path / Path(valid.replace("/all.conll", "")))
    assert not caplog.text


@pytest.mark.parametrize(
    "names",
    [
        ["en_train.conll", "de_train.conll", "en_dev.conll"],
        ["my_train.conll", "more.conll"],
        ["a_train_test.conll"],
        ["training.conll", "testing.conll"],
        ["a.conll", "b.conll", "c.conll", "d.conll", "e.conll"],
        ["notes.md"],
        [],
    ],
)
def test_names_that_leave_a_split_open_are_refused_with_what_is_there(tmp_path, names):
    for name in names:
        write(tmp_path / name, content(5))
    with pytest.raises(UserError) as error:
        Source(str(tmp_path), {}).read("train")
    message = str(error.value)
    assert message.startswith(f"data.dataset: {tmp_path}: no train, valid or test file in this folder (it ")
    assert all(name in message for name in sorted(names)[:4])
    assert ("..." in message) == (len(names) > 4)
    assert "it is empty" in message or names
    assert "--data.train, --data.valid, --data.test" in message
    assert f"ner-lightning data split {tmp_path} --output DIR" in message
    assert len(message.splitlines()) == 3


def test_exact_names_come_before_parts_of_names(tmp_path):
    write(tmp_path / "train.conll", content(7))
    write(tmp_path / "valid.conll", content(3, start=10))
    write(tmp_path / "predictions.test.conll", content(3, start=20))
    with pytest.raises(UserError, match=r"has no test file; set data.test"):
        Source(str(tmp_path), {}).read("test")


@pytest.mark.parametrize(
    ("names", "unread"),
    [
        (["train.conll", "test.conll", "train2.conll"], "train2.conll"),
        (["train.conll", "train2.conll", "my_dev.conll"], "my_dev.conll, train2.conll"),
        (["train.conll", "data/dev.conll"], "data/dev.conll"),
        (["train/a.conll", "more/dev.conll"], "more/dev.conll"),
        (["train-00000-of-00002.conll", "train-00001-of-00002.conll", "more.conll"], "more.conll"),
        (["train.conll", "predictions.test.conll"], "predictions.test.conll"),
    ],
)
def test_files_that_no_split_is_read_from_are_named_once(tmp_path, caplog, names, unread):
    for number, name in enumerate(names):
        write(tmp_path / name, content(20, start=20 * number))
    source = Source(str(tmp_path), {})
    read(source, ("train", "valid"))
    said = f"{tmp_path}: {unread.count(',') + 1} files are not read, as they are of no known split: {unread};"
    assert caplog.text.count(said) == 1
    caplog.clear()
    own = {"test": str(tmp_path / unread.split(", ")[0])}
    read(Source(str(tmp_path), own), ("train", "valid", "test"))
    assert own["test"] not in caplog.text


def test_a_file_that_is_named_exactly_and_one_in_part_are_two_of_a_split(tmp_path):
    write(tmp_path / "train/all.conll", content(7))
    write(tmp_path / "my_train.conll", content(7, start=10))
    with pytest.raises(UserError, match="both look like the train split"):
        Source(str(tmp_path), {}).read("train")


def test_the_sample_has_its_own_splits(caplog):
    caplog.set_level("INFO", "ner_lightning")
    found = read(Source(SAMPLE, {}))
    assert all(found.values())
    assert "held out" not in caplog.text


def test_configurations_of_a_hub_data_set_are_different_data(monkeypatch):
    """They share a commit; a training that goes on with another one would go on with other sentences."""

    def load(dataset, **_):
        sentences = [Sentence(("Tarvo",), ("B-LOC",), 0)]
        return HubSplit(sentences, None, dataset, None, "main", "abc", "train", 1, cached=False)

    monkeypatch.setattr(sources, "load_hub", load)
    plain, english, german = (
        Source("lab/names", {}, Files(config=config)).read("train") for config in (None, "en", "de")
    )
    assert len({split.fingerprint for split in (plain, english, german)}) == 3
    assert len({split.origin for split in (plain, english, german)}) == 3
    assert plain.fingerprint == "commit:abc (train)"
