"""Rows of results whose file is damaged."""

import pytest

from ner_lightning.errors import UserError
from ner_lightning.runs.results import read_rows


@pytest.mark.parametrize(
    "text", ['[{"rows": 3}]', '[{"rows": [3]}]', '[{"value": 1}]', '[{"rows": [{}]}]', "[{"]
)
def test_a_damaged_file_is_named(tmp_path, text):
    file = tmp_path / "results.json"
    file.write_text(text)
    with pytest.raises(UserError, match=r"results.json: not [^;]*;\s+restore the file, or remove it"):
        read_rows(file)
