"""Collected lines that were damaged before they are converted."""

import pytest

from ner_lightning.errors import UserError
from ner_lightning.inference.io.columnar import doc_bin, parquet, schema


@pytest.mark.parametrize("line", [b"\0\0\0", b'{"text": "Ve', b"[]", b'{"text": "Z\xfcrich"}'])
@pytest.mark.parametrize("convert", [doc_bin, lambda lines, file: parquet(lines, file, schema())])
def test_a_damaged_line_is_named(tmp_path, convert, line):
    lines = tmp_path / "out.partial"
    lines.write_bytes(line + b"\n")
    with pytest.raises(
        UserError, match=r"out.partial:1: the line is damaged; give the same command with --rest"
    ):
        convert(lines, tmp_path / "out")
    assert [file.name for file in tmp_path.iterdir()] == ["out.partial"]
