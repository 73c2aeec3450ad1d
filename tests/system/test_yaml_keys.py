"""Keys that stand twice, of which PyYAML would keep the last."""

import pytest
import yaml

from ner_lightning.system.yaml_keys import read_yaml


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("a: 1\nb:\n  a: 2\n", None),
        ("", None),
        ("a: 1\nb: 2\na: 3\n", ("a", 3, 1)),
        ("model:\n  lora: {rank: 1}\n  lora: {rank: 2}\n", ("model.lora", 3, 2)),
        ("a:\n- {b: 1}\n- {b: 1, b: 2}\n", ("a.b", 3, 3)),
        ("base: &x {a: 1}\nb:\n  <<: *x\n  a: 2\n", None),
    ],
)
def test_the_first_one_is_named_with_both_lines(text, found):
    content, twice = read_yaml(text)
    assert twice == found
    assert content == yaml.safe_load(text)
