"""Each example of docs/formats.md is read as the same two sentences."""

import pytest
from data.readers.examples import EXAMPLES, TAGS, WORDS

from ner_lightning.data.corpus_settings import Files
from ner_lightning.data.readers.files import Inputs
from ner_lightning.data.readers.formats import FORMATS
from ner_lightning.data.readers.sentences import read_sentences
from ner_lightning.errors import UserError


@pytest.fixture
def written(request, tmp_path, monkeypatch):
    """An example, and the file or folder with it."""
    example = EXAMPLES[request.param]
    monkeypatch.chdir(tmp_path)
    if example.code:
        exec(example.code, {})
        return example, tmp_path / example.name
    for name, text in example.files.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return example, path.parent if len(example.files) > 1 else path


@pytest.mark.parametrize("written", EXAMPLES, indirect=True)
def test_an_example_is_read(written):
    example, path = written
    options = Files(**example.options).options()
    read = read_sentences(path, options)
    assert [sentence.words for sentence in read] == WORDS
    assert [sentence.tags for sentence in read] == TAGS
    (file,) = Inputs(str(path), options).files()
    assert Inputs(str(path), options).format_of(file) == example.format


@pytest.mark.parametrize("written", [key for key, each in EXAMPLES.items() if each.options], indirect=True)
def test_the_options_of_an_example_are_needed(written):
    with pytest.raises(UserError):
        read_sentences(written[1])


@pytest.mark.parametrize("written", EXAMPLES, indirect=True)
def test_a_format_may_be_named(written):
    example, path = written
    if path.is_file():
        options = Files(format=example.format, **example.options).options()
        assert [sentence.tags for sentence in read_sentences(path, options)] == TAGS


def test_every_format_with_annotation_has_an_example():
    assert {example.format for example in EXAMPLES.values()} == FORMATS.keys() - {"txt"}


@pytest.mark.parametrize(
    "written",
    [
        key
        for key, example in EXAMPLES.items()
        if (example.format in ("conll", "conllu", "conll2012", "pubtator") and not example.options)
        or (
            example.format == "jsonl"
            and not example.options
            and all(text.startswith('{"') for text in example.files.values())
        )
    ],
    indirect=True,
)
def test_byte_order_marks_of_joined_files_are_no_text(written):
    """As `cat` leaves them in the middle of a file."""
    _, path = written
    text = path.read_text(encoding="utf-8")
    before = [sentence.words for sentence in read_sentences(path)]
    end = "" if text.endswith("\n\n") or path.suffix.startswith(".json") else "\n"
    path.write_text(f"\ufeff{text}{end}\ufeff{text}", encoding="utf-8")
    assert [sentence.words for sentence in read_sentences(path)] == before * 2
