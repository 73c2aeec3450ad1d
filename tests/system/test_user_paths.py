import pathlib

import pytest

from ner_lightning.errors import UserError
from ner_lightning.system.user_paths import expanded, is_repo_id, may_be_on_hub


def test_the_home_directory_stands_for_its_sign(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert expanded("~/x") == tmp_path / "x"
    assert expanded(pathlib.Path("a/b")) == pathlib.Path("a/b")


def test_a_user_who_is_not_there_is_a_mistake():
    with pytest.raises(UserError, match=r"~nobody-of-this-name/x: there is no user nobody-of-this-name"):
        expanded("~nobody-of-this-name/x")


@pytest.mark.parametrize(
    ("name", "on_hub", "repo"),
    [
        ("org/name", True, True),
        ("gpt2", True, False),
        ("runs/a/1", False, False),
        ("./name", False, False),
        ("~/name", False, False),
        ("/name", False, False),
        ("org/", False, False),
    ],
)
def test_what_may_be_on_the_hub(name, on_hub, repo):
    assert may_be_on_hub(name) is on_hub
    assert is_repo_id(name) is repo
