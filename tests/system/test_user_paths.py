import pathlib

import pytest

from ner_lightning.errors import UserError
from ner_lightning.system.user_paths import expanded


def test_the_home_directory_stands_for_its_sign(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert expanded("~/x") == tmp_path / "x"
    assert expanded(pathlib.Path("a/b")) == pathlib.Path("a/b")


def test_a_user_who_is_not_there_is_a_mistake():
    with pytest.raises(UserError, match=r"~nobody-of-this-name/x: there is no user nobody-of-this-name"):
        expanded("~nobody-of-this-name/x")
