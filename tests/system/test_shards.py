"""Shards: names with numbers, and the one name that stands for them."""

from pathlib import Path

import pytest

from ner_lightning.system.shards import missing_shards, name_without_numbers, shards_of, with_its_shards


@pytest.mark.parametrize(
    ("name", "plain", "one"),
    [
        ("train-00000-of-00002.parquet", "train.parquet", "train-*-of-00002.parquet"),
        ("train-00001-of-00002-6ef3991c06080e14.parquet", "train.parquet", "train-*-of-00002.parquet"),
        ("a-train-00009-of-00010.jsonl", "a-train.jsonl", "a-train-*-of-00010.jsonl"),
        ("train-00000-of-00001.csv", "train.csv", "train-00000-of-00001.csv"),
        ("train-0-of-2.csv", "train-0-of-2.csv", "train-0-of-2.csv"),
        ("train.csv", "train.csv", "train.csv"),
        ("train-00000-of-00002", "train-00000-of-00002", "train-00000-of-00002"),
    ],
)
def test_names(name, plain, one):
    assert name_without_numbers(name) == plain
    assert name_without_numbers(f"a/{name}") == f"a/{plain}"
    assert with_its_shards(Path("a", name)) == Path("a", one)


def test_the_files_of_a_name(tmp_path):
    names = [f"train-0000{number}-of-00003.csv" for number in (0, 2)]
    for name in (*names, "train-00000-of-00002.csv", "train-00000-of-00003.json", "train.csv"):
        (tmp_path / name).touch()
    assert [path.name for path in shards_of(tmp_path / "train-*-of-00003.csv")] == names
    assert missing_shards(tmp_path / "train-*-of-00003.csv") == 1
    assert missing_shards(tmp_path / "train.csv") == 0
    for path in (tmp_path / "train.csv", tmp_path / "no/train-*-of-00003.csv", tmp_path / names[0]):
        assert shards_of(path) == []
