"""CoNLL columns and JSONL: reading, writing, and where errors are said to be."""

import bz2
import gzip
import io
import json
import lzma
import pickle
import tarfile

import pyarrow as pa
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from pyarrow import feather as arrow_feather

from ner_lightning.data.readers.columns import write_conll
from ner_lightning.data.readers.jsonl import write_jsonl
from ner_lightning.data.readers.read_options import ReadOptions
from ner_lightning.data.readers.sentences import read_sentences
from ner_lightning.data.schemes import Span, to_bio2
from ner_lightning.data.sentence import DataError, Sentence
from ner_lightning.errors import UserError

ODD_WORDS = ["#", "#hashtag", "# ", "a\x85b", "x\u2028y", "c\u00a0d", "\x0ce", "O", "-", "\u200bz"]
ZERO_WIDTH = "\u200b\u200c\u200d\ufeff\u2060\u00ad"


@st.composite
def words(draw, spaces=False):
    """Words that the format can hold and that are visible."""
    characters = st.characters(exclude_categories=["Cs"], exclude_characters="\r\n")
    word = draw(st.sampled_from(ODD_WORDS) | st.text(characters, min_size=1, max_size=6))
    if not spaces:
        word = word.replace(" ", "").replace("\t", "")
    seen = [c for c in word if not c.isspace() and c not in ZERO_WIDTH]
    # A byte order mark at the start of a file is none of the first word.
    return "w" if not seen or word.startswith("\ufeff") else word


@st.composite
def data(draw, spaces=False):
    """Sentences of several documents, with legal BIO2 tags."""
    sentences = []
    for document in range(draw(st.integers(1, 3))):
        for _ in range(draw(st.integers(1, 3))):
            row = draw(st.lists(words(spaces), min_size=1, max_size=5))
            start = draw(st.integers(0, len(row) - 1))
            end = draw(st.integers(start + 1, len(row)))
            tags = to_bio2([Span(draw(st.sampled_from(["A", "b-c"])), start, end)], len(row))
            sentences.append(Sentence(tuple(row), tuple(tags), document))
    return sentences


@pytest.fixture
def file(tmp_path):
    def make(content, name="x.conll"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return make


def feather():
    held = io.BytesIO()
    arrow_feather.write_feather(pa.table({"word": ["a"], "tag": ["O"]}), held)
    return held.getvalue()


def tar():
    held = io.BytesIO()
    with tarfile.open(fileobj=held, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("x.conll"), io.BytesIO())
    return held.getvalue()


def pairs(sentences):
    return [(" ".join(s.words), " ".join(s.tags), s.document) for s in sentences]


def error_of(path, **options):
    with pytest.raises(DataError) as caught:
        read_sentences(path, ReadOptions(**options))
    message = str(caught.value)
    assert message.startswith(f"{path}:")
    assert message.count("\n") <= 1
    return message.removeprefix(f"{path}:")


# Writing, and reading back


@pytest.mark.slow
@given(data())
def test_written_columns_read_back(tmp_path_factory, sentences):
    path = tmp_path_factory.mktemp("x") / "x.conll"
    write_conll(path, sentences, [s.tags for s in sentences])
    assert read_sentences(path) == sentences
    content = path.read_bytes()
    for variant in (b"\xef\xbb\xbf" + content, content.replace(b"\n", b"\r\n"), content.rstrip()):
        path.write_bytes(variant)
        assert read_sentences(path) == sentences


@given(data())
def test_written_words_read_back_untagged(tmp_path_factory, sentences):
    # A file that begins with such a word, alone on its line, is told from JSON and UTF-16 by nobody.
    assume(sentences[0].words[0][0] not in "[{\0")
    path = tmp_path_factory.mktemp("x") / "x.conll"
    write_conll(path, iter(sentences))
    expected = [Sentence(s.words, None, s.document) for s in sentences]
    assert read_sentences(path, ReadOptions(tagged=False)) == expected


@given(data(spaces=True))
def test_written_jsonl_reads_back(tmp_path_factory, sentences):
    path = tmp_path_factory.mktemp("x") / "x.jsonl"
    rows = ({"tokens": s.words, "ner_tags": s.tags, "document": s.document} for s in sentences)
    write_jsonl(path, rows)
    assert read_sentences(path) == sentences


def test_written_columns_to_the_letter(tmp_path):
    one = Sentence(("EU", "rejects"), None, 0)
    two = Sentence(("New York", ""), None, 1)
    path = tmp_path / "x.conll"
    write_conll(path, [one], [["B-ORG", "O"]], [["O", "O"]])
    assert path.read_bytes() == b"EU B-ORG O\nrejects O O\n\n"
    write_conll(path, [one, two], [["O", "O"], ["B-a b", "O"]])
    assert path.read_text() == ("-DOCSTART- O\n\nEU O\nrejects O\n\n-DOCSTART- O\n\nNew_York B-a_b\n_ O\n\n")
    write_conll(path, [])
    assert path.read_bytes() == b""


def test_jsonl_keeps_letters_and_one_line_a_row(tmp_path):
    path = tmp_path / "x.jsonl"
    write_jsonl(path, [{"a": "é\u2028\n"}, {"b": 1}])
    assert path.read_bytes().decode() == '{"a": "é\u2028\\n"}\n{"b": 1}\n'


@pytest.mark.parametrize("columns", [[["O"]], [["O", "O"], ["O"]]])
def test_columns_of_another_length_are_a_bug(tmp_path, columns):
    with pytest.raises(ValueError, match="zip"):
        write_conll(tmp_path / "x", [Sentence(("a", "b"), None, 0)], columns)


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "x.jsonl"
    write_jsonl(path, [{"a": 1}])

    def rows():
        yield {"a": 2}
        raise RuntimeError

    with pytest.raises(RuntimeError):
        write_jsonl(path, rows())
    assert path.read_text() == '{"a": 1}\n'
    assert list(tmp_path.iterdir()) == [path]


# Reading columns


def test_columns_may_be_many_and_separated_anyhow(file):
    path = file("EU NNP\t B-NP  I-ORG \n. . O O\n \t\n\n\u3000\nPeter NNP B-NP I-PER")
    assert pairs(read_sentences(path)) == [("EU .", "B-ORG O", 0), ("Peter", "B-PER", 0)]
    assert read_sentences(path, ReadOptions(words_column="-4", tags_column="3")) == read_sentences(path)
    swapped = file("B-A x EU\nI-A y US", "y.tsv")
    assert pairs(read_sentences(swapped, ReadOptions(words_column="2", tags_column="0"))) == [
        ("EU US", "B-A I-A", 0)
    ]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("0\ta\tB-A\n1\tb\tI-A\n\n0\tc\tO\n", [("a b", "B-A I-A", 0), ("c", "O", 0)]),  # an index
        ("# id\n1 a x B-A\n2 b y O\n\n1 c z O\n", [("a b", "B-A O", 0), ("c", "O", 0)]),
        ("1 O\n2 B-A\n", [("1 2", "O B-A", 0)]),  # words that count, since there are no others
        ("3 a O\n1 b O\n", [("a b", "O O", 0)]),  # numbers that do not count
        ("a NP B-NP B-A\nb VB B-VP O\n", [("a b", "B-A O", 0)]),  # phrases beside entities
        ("a NP B-NP O\nb VB B-VP O\n", [("a b", "O O", 0)]),  # and where there is no entity
        ("a B-A O\nb I-A O\n", [("a b", "B-A I-A", 0)]),
        ("a O B-A\nb O O\n", [("a b", "B-A O", 0)]),  # a column without entities is no rival
        ("PAR1 O\n\x00 B-A\n", [("PAR1 \x00", "O B-A", 0)]),  # a word that Parquet begins with
        ("a B-A\rb O\r\rc B-B", [("a b", "B-A O", 0), ("c", "B-B", 0)]),  # an old Mac's lines
        ("word O\ntag B-A\n", [("word tag", "O B-A", 0)]),
        ("O B-A\n", [("O", "B-A", 0)]),  # the tags are last where both columns have what tags are
        ("B-A O\n", [("B-A", "O", 0)]),
        ("O O\nFoods O\n", [("O Foods", "O O", 0)]),
    ],
)
def test_columns_are_recognised(file, content, expected):
    assert pairs(read_sentences(file(content))) == expected


def test_tags_column_selects_one_of_two(file):
    path = file("# url\n1 a B-A O\n2 b O B-B\n")
    assert pairs(read_sentences(path, ReadOptions(tags_column="2"))) == [("a b", "B-A O", 0)]
    assert pairs(read_sentences(path, ReadOptions(tags_column="-1"))) == [("a b", "O B-B", 0)]


def test_documents_are_counted_where_they_hold_sentences(file):
    path = file("a O\n\n-DOCSTART- -X- O\nb O\n-DOCSTART-\n\n-DOCSTART-\tO\n\nc O\n\nd O\n")
    assert [s.document for s in read_sentences(path)] == [0, 1, 2, 2]
    assert [s.document for s in read_sentences(file("-DOCSTART- O\n\n-DOCSTART- O\n\na O\n"))] == [0]


def test_the_scheme_is_that_of_the_whole_file(file):
    assert pairs(read_sentences(file("a I-A\nb I-A\nc B-A\n"))) == [("a b c", "B-A I-A B-A", 0)]
    assert pairs(read_sentences(file("a B-A\nb E-A\n\nc S-A\n"))) == [("a b", "B-A I-A", 0), ("c", "B-A", 0)]
    assert pairs(read_sentences(file("a B-A\nb M-A\n"))) == [("a b", "B-A I-A", 0)]


def test_comments_are_told_from_words_that_begin_with_a_hash(file):
    text = (
        "# text = Vitamin O\n#\n#id=1\n# sent_id = 1\n"  # comments, one with a tag at its end
        "#hashtag\tB-A\n#\tI-A\n#fun\tO\n\n"
        "# a comment\n#\tO\n\n-DOCSTART-\n# a comment\nx\tO\n"
    )
    expected = [("#hashtag # #fun", "B-A I-A O", 0), ("#", "O", 0), ("x", "O", 1)]
    assert pairs(read_sentences(file(text))) == expected


def test_hashes_when_all_rows_begin_with_one(file):
    assert pairs(read_sentences(file("# all hashtags\n#a O\n#b B-A"))) == [("#a #b", "O B-A", 0)]


def test_hashes_without_tags(file):
    untagged = read_sentences(file("# a comment\n#\nb\n\n#c\n"), ReadOptions(tagged=False))
    assert [s.words for s in untagged] == [("#", "b"), ("#c",)]


def test_tags_are_ignored_when_untagged(file):
    path = file("a nonsense\nb B-\n")
    assert read_sentences(path, ReadOptions(tagged=False, tags_column="9")) == [Sentence(("a", "b"), None, 0)]


def test_only_spaces_and_tabs_separate_and_only_newlines_end(file):
    path = file("a\x85b\tO\nx\u2028y O\nc\u00a0d\u3000e O\n\x0cf O\n\x1cg O\n")
    assert read_sentences(path)[0].words == ("a\x85b", "x\u2028y", "c\u00a0d\u3000e", "\x0cf", "\x1cg")


@pytest.mark.parametrize(
    ("content", "options", "where", "what"),
    [
        ("", {}, "1", "no sentence"),
        ("\n \n-DOCSTART- O\n\n", {}, "1", "no sentence"),
        ("# only a comment\n", {}, "1", "no sentence"),
        ("\na\nb\n", {}, "2", "too few columns: 1"),
        (
            "a O\n",
            {"words_column": "2"},
            "1",
            "too few columns: 2, but data.files.words_column is 2",
        ),
        ("a O\n", {"tags_column": "-3"}, "1", "too few columns"),
        ("# x\n#a O\n", {"tags_column": "2"}, "2", "too few columns"),
        (
            "a O\n",
            {"words_column": "2", "tagged": False},
            "1",
            "too few columns: 2, but data.files.words_column is 2; ",
        ),
        ("a x O\n\nb O\n", {}, "3", "2 columns separated by spaces where line 1 has 3"),
        ("a O\n\tO\n", {}, "2", "a cell is empty: remove the row or write a placeholder"),
        ("a O\nb\t\n", {}, "2", "a cell is empty"),
        ("a O\n\nb O\rc O\n", {}, "3", "a carriage return within the row"),
        (
            "a B-A O\nb O B-B\n",
            {},
            "1",
            "columns 1 (B-A) and 2 (B-B) both contain tags (the first is column 0)",
        ),
        ("a O\nb B-x,B-y\n", {}, "2", "'B-x,B-y' contains two tags; write one of them"),
        ("a O\nb B-x|O\n", {}, "2", "'B-x|O' contains two tags"),
        ("0 a O\n1 b O\n\n0 c O\n1-2 du O\n1 d O\n2 u O\n", {}, "5", "row 1-2 spans several words"),
        ("# c\na O\nb c O\n", {}, "3", "3 columns separated by spaces where line 2 has 2"),
        ("a O\n\n#tag x O\n", {}, "3", "3 columns separated by spaces where line 1 has 2"),
        ("a O\n# in a sentence\n", {}, "2", "4 columns"),
        ("-DOCSTART-\n\na B-A\nb PER\n", {}, "4", "malformed tag 'PER'; a tag is"),
        ("a O\r\n\r\nb B-\r\n", {}, "3", "malformed tag 'B-'"),
        ("a B-A\nb B:PER\n", {}, "2", "malformed tag 'B:PER'"),
        ("a O\nb 9\u00a0x\n", {}, "2", r"malformed tag '9\xa0x'"),
        ("a O\n\u00a0 O\n", {}, "2", r"word '\xa0' is empty or invisible"),
        ("a O\n\u3000\tO\n", {}, "2", r"word '\u3000' is empty or invisible"),
        *((f"a O\n{c}\u00a0{c} O\n", {}, "2", "is empty or invisible") for c in ZERO_WIDTH),
        (b"a O\n\nab\xc3\xa9\xe9 O\n", {}, "3:4", "byte 0xe9 is not UTF-8"),
        (b"\xef\xbb\xbf\xe9 O\n", {}, "1:1", "byte 0xe9 is not UTF-8"),
        ("a O\n".encode("utf-16") + b"\x00", {}, "1", "begins as UTF-16 text, but is none at byte 10"),
        ("Vera O\n".encode("utf-16-be"), {}, "1", "iconv -f utf-16be -t utf-8"),
        ("Vera O\n".encode("utf-16-le"), {}, "1", "iconv -f utf-16le -t utf-8"),
        ("a O\n".encode("utf-32"), {}, "1", "this is UTF-32 text"),
        (b"PK\x03\x04\x14\x00", {}, "1", "a zip archive, as .xlsx and .docx are; save a table as CSV"),
        (b"\x1f\x8b\x08", {}, "1", "this is gzip"),
        (b"%PDF-1.7\n", {}, "1", "this is PDF"),
        (b"\xd0\xcf\x11\xe0\xa1", {}, "1", "this is an Office file"),
        (b"\x00\x00\x00\x07abc", {}, "1", "this is binary data"),
    ],
)
def test_errors_in_columns_say_where(file, content, options, where, what):
    message = error_of(file(content), **options)
    assert message.startswith(f"{where}: ")
    assert what in message


def test_a_missing_file_or_a_folder(tmp_path):
    assert "No such file" in error_of(tmp_path / "none.conll")
    assert "no file in this folder" in error_of(tmp_path)


def test_a_data_error_is_a_user_error():
    assert issubclass(DataError, UserError)


@pytest.mark.parametrize("encoding", ["utf-16", "mark+utf-16-be", "mark+utf-8"])
def test_a_byte_order_mark_names_the_encoding(file, encoding):
    marked = "\ufeff" if encoding.startswith("mark") else ""
    content = f"{marked}José B-A\r\nH\u00f8 O\r\n".encode(encoding.removeprefix("mark+"))
    assert pairs(read_sentences(file(content))) == [("José Hø", "B-A O", 0)]


@pytest.mark.parametrize(
    ("text", "encoding"),
    [("José", "latin1"), ("Яблоня", "windows-1251"), ("微软公司", "gb18030"), ("東京の人", "shift_jis")],
)
def test_no_encoding_is_guessed(file, text, encoding):
    """Data in a wrong code page convert without an error, and would be read as nonsense."""
    content = f"{text} O\n".encode(encoding)
    message = error_of(file(content))
    assert "is not UTF-8; find out the file's encoding" in message
    assert "iconv -f ENCODING -t utf-8 FILE > NEW" in message
    assert all(name in message for name in ("windows-1252", "windows-1251", "gb18030", "shift_jis"))


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (bz2.compress(b"a O\n" * 99), "bzip2 data; unpack it: bunzip2 FILE"),
        (lzma.compress(b"a O\n" * 99), "xz data; unpack it: unxz FILE"),
        (pickle.dumps([{"words": ["a"]}] * 9), "a Python pickle; save its data as Parquet or JSON lines"),
        (feather(), "Arrow or Feather; save it as Parquet"),
        (tar(), "a tar archive; unpack it (tar -xf FILE)"),
        (gzip.compress(tar()), "a tar archive; unpack it (tar -xf FILE)"),
        (gzip.compress(b"a O\n" * 99)[:-9], "gzip data, but damaged or not complete; fetch it again"),
        (bytes(n * 7 % 256 for n in range(1024)), "binary data; name a text file"),
    ],
    ids=["bzip2", "xz", "pickle", "feather", "tar", "tar.gz", "half of gzip", "any bytes"],
)
@pytest.mark.parametrize("name", ["x.jsonl.bz2", "x.conll", "x"])
def test_what_is_no_text_is_named_whatever_its_name(file, content, what, name):
    message = error_of(file(content, name))
    assert message.startswith("1: this is ")
    assert what in message


def test_a_pointer_of_git_lfs_is_no_parquet(file):
    content = b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n"
    assert "a pointer of Git LFS, not the file itself" in error_of(file(content, "train.parquet"))


@pytest.mark.parametrize("name", ["x.conll.gz", "x.gz", "x.conll"])
def test_what_gzip_has_packed_is_read(file, name):
    path = file(gzip.compress(b"Jos\xc3\xa9 B-A\nleft O\n"), name)
    assert pairs(read_sentences(path)) == [("José left", "B-A O", 0)]


# Reading JSONL


def lines(*rows):
    return "\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows)


@pytest.mark.parametrize("suffix", ["jsonl", "ndjson", "JSON"])
@pytest.mark.parametrize("words_field", ["tokens", "words"])
@pytest.mark.parametrize("tags_field", ["ner_tags", "tags", "labels"])
def test_usual_fields_are_found(file, suffix, words_field, tags_field):
    row = {words_field: ["a", "b"], tags_field: ["I-A", "I-A"], "id": 7}
    path = file("\ufeff" + lines(row, "", row) + "\r\n", f"x.{suffix}")
    assert read_sentences(path) == [Sentence(("a", "b"), ("B-A", "I-A"), 0)] * 2


def test_named_fields_come_first(file):
    row = {"tokens": ["a"], "w": ["b"], "tags": ["O"], "t": ["B-A"]}
    path = file(lines(row), "x.jsonl")
    assert pairs(read_sentences(path, ReadOptions(words_column="w", tags_column="t"))) == [("b", "B-A", 0)]
    assert pairs(read_sentences(path)) == [("a", "O", 0)]


def test_documents_of_jsonl_are_numbered_by_first_appearance(file):
    path = file(lines(*({"words": ["a"], "d": d} for d in ["y", "x", 1, "1", "y"])), "x.jsonl")
    read_back = read_sentences(path, ReadOptions(document_column="d", tagged=False))
    assert [s.document for s in read_back] == [0, 1, 2, 3, 0]


GOOD = {"tokens": ["a", "b"], "ner_tags": ["O", "B-A"]}


@pytest.mark.parametrize(
    ("row", "what"),
    [
        ('{"tokens": ["a"', "not JSON: Expecting ',' delimiter at column 16"),
        ("[]", "an empty JSON list, which holds no rows"),
        ("[1, 2]", "a JSON list, not an object"),
        ("null", "not an object"),
        (
            {"txt": "a", "ner_tags": []},
            "neither a list of words nor a text; name one as data.files.words_column",
        ),
        ({"text": "a", "id": 1}, "a text in field 'text' but no entities"),
        ({}, "fields: none"),
        ({"tokens": ["a"]}, "no field ner_tags or tags"),
        ({"tokens": "a b", "ner_tags": ["O"]}, "field 'tokens' is 'a b', which is not a list"),
        ({"tokens": ["a", 2], "ner_tags": ["O", "O"]}, "field 'tokens' holds ['a', 2], which is neither"),
        ({"text": "a", "tokens": "a", "ner_tags": ["O"]}, "field 'tokens' is 'a', which is not a list"),
        ({"text": "a", "ner_tags": ["O"]}, "a text in field 'text' but no entities"),
        ({"tokens": ["a"], "ner_tags": [3]}, "--data.files.tag_names O,B-PER,I-PER"),
        ({"tokens": ["a"], "tags": [None]}, "the tag None is no text"),
        ({"tokens": ["a", "b"], "ner_tags": ["O"]}, "2 words but 1 tags"),
        ({"tokens": [], "ner_tags": []}, "no words"),
        ({"tokens": ["a", ""], "ner_tags": ["O", "O"]}, "word '' is empty or invisible"),
        ({"tokens": ["\u200b"], "ner_tags": ["O"]}, r"word '\u200b' is empty or invisible"),
        ({"tokens": ["a"], "ner_tags": ["PER"]}, "malformed tag 'PER'"),
        ('{"tokens": ["\\ud83d"], "ner_tags": ["O"]}', "field 'tokens' holds half of a surrogate pair"),
    ],
)
def test_errors_in_jsonl_say_where(file, row, what):
    message = error_of(file(lines(GOOD, "", row, GOOD), "x.jsonl"))
    assert message.startswith("3: ")
    assert what in message


def test_empty_jsonl(file):
    assert error_of(file("\n\n", "x.jsonl")).startswith("1: no sentence")


@pytest.mark.parametrize("tags", [("LOC", "O"), ("B-LOC", "O")])
def test_a_header_after_blank_lines_is_none_of_the_rows(tmp_path, tags):
    path = tmp_path / "a.conll"
    rows = f"# c\n\n\nword tag\nLima {tags[0]}\nis {tags[1]}\n\nx O\ny O\n\nz O\nw O\n"
    path.write_text(rows, encoding="utf-8")
    sentences = read_sentences(path)
    assert [each.words for each in sentences] == [("Lima", "is"), ("x", "y"), ("z", "w")]
    assert sentences[0].tags == ("B-LOC", "O")
