"""Options win over config files wherever they stand, and later files over earlier ones."""

import pytest
import yaml

from ner_lightning.commands.lightning_cli.recipe import parser, recipe_words
from ner_lightning.commands.lightning_cli.start import find_start
from ner_lightning.commands.options.config_files import all_keys, find_configs
from ner_lightning.errors import UserError


@pytest.fixture(autouse=True)
def files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, rank in (("a", 2), ("b", 3)):
        (tmp_path / f"{name}.yaml").write_text(f"model:\n  lora:\n    rank: {rank}\n", encoding="utf-8")
    return tmp_path


def rank(words):
    reader = parser()
    reader.add_argument("-c", "--config", action="config")
    return reader.parse_args(words).model.lora.rank


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("--model.lora.rank 8 --config a.yaml", 8),
        ("--model.lora.rank=8 --config=a.yaml", 8),
        ("-c a.yaml --model.lora.rank 8 --config b.yaml", 8),
        ("--model.lora.rank 8 -c=a.yaml --model.lora.rank 9 -c b.yaml", 9),
        ("--config a.yaml --config=b.yaml", 3),
        ("-c b.yaml --config a.yaml", 2),
        ("--config a.yaml -c b.yaml", 3),
    ],
)
def test_options_win_over_files_and_later_files_over_earlier_ones(words, expected):
    assert rank(find_configs(words.split())) == expected
    with find_start("fit", words.split()) as start:
        assert rank(start.words) == expected
        first = words.split()[1 + words.split().index("-c")] if words.startswith("-c") else None
        assert first is None or f"--name={first[0]}" in start.words
    with recipe_words(words.split(), None, "x") as found:
        assert rank(found) == expected


def test_a_run_that_starts_again_reads_its_settings_first_then_files_then_options(files):
    run = files / "runs/tiny/1"
    run.mkdir(parents=True)
    (run / "config.yaml").write_text(yaml.safe_dump({"model": {"lora": {"rank": 5, "alpha": 7.0}}}))
    with find_start("fit", ["--model.lora.rank=8", "runs/tiny/1"]) as start:
        assert rank(start.words) == 8
    with find_start("fit", ["runs/tiny/1"]) as start:
        assert rank(start.words) == 5


def test_keys_of_all_files_are_found_and_a_file_must_be_named():
    words = find_configs(["--config", "a.yaml", "--config", "model: {lora: {rank: 1}}"])
    assert [key.name for _, key in all_keys(words)] == ["model", "model.lora", "model.lora.rank"]
    assert rank(words) == 1
    with pytest.raises(UserError, match="--config lacks its value"):
        find_configs(["--config"])
