"""Every format that is written reads back with the same words, tags and documents, or says what it lost."""

import logging
import re
import unicodedata

import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from ner_lightning.commands.data_actions.data_outputs import write as write_as
from ner_lightning.data.invisible import is_invisible
from ner_lightning.data.readers.jsonl import write_jsonl
from ner_lightning.data.readers.read_options import AnnotationRules, ReadOptions
from ner_lightning.data.readers.sentences import read_sentences
from ner_lightning.data.running_text import from_text
from ner_lightning.data.schemes import Span, spans, to_bio2
from ner_lightning.data.sentence import DataError, InText, Sentence
from ner_lightning.data.writers.annotation_writers import WRITERS, annotated_texts
from ner_lightning.data.writers.output_formats import ANNOTATED, SUFFIX_OF

WORD_FORMATS = ("jsonl", "conll", "csv", "parquet")
TEXT_FORMATS = tuple(name for name in ANNOTATED if name not in WORD_FORMATS)
TOKEN_FORMATS = ("prodigy", "spacy")
ODD_WORDS = [
    *("#", "#hashtag", "# newdoc", "#begin", "#end document", "#end", "# text = Vera", "-DOCSTART-"),
    *(
        "O",
        "o",
        "-",
        "_",
        "B-PER",
        "B-12",
        "I-",
        "0",
        "1",
        "2",
        "3",
        "7.5",
        "vitamin O",
        "x I-PER",
        "word",
        "tag",
    ),
    *(
        "a b",
        " a",
        "b ",
        "c\td",
        "e\nf",
        "g\rh",
        "i\r\nj",
        "a\x85b",
        "x\u2028y",
        "c\u00a0d",
        "\x0ce",
        "k\x00l",
        "\x00",
    ),
    *('"', '""', "'", ",", ";", "a,b", 'say "so"', "[1]", "[]", '{"', '["', "[{", "{}", "\\", "\\n", "=1+1"),
    *(
        "%PDF-1.7",
        "PAR1",
        "PK\x03\x04",
        "#FORMAT=WebAnno",
        "\x1b[31m",
        "\u200bz",
        "\ufeffw",
        "a\u200db",
        "\u00adc",
    ),
    *(
        "שלום",
        "مرحبا",
        "\u202eabc\u202c",
        "\U0001f600",
        "\U0001f468\u200d\U0001f469\u200d\U0001f467",
        "e\u0301",
        "\u0301",
    ),
    *(
        "漢字",
        "が",
        "ไทย",
        "\ud7ff",
        "\uffff",
        "\U0010ffff",
        "Straße",
        "İ",
        "...",
        "U.S.",
        "don't",
        "1-2",
        "1.1",
    ),
]
TYPES = [
    "PER",
    "LOC",
    "creative-work",
    "work of art",
    "B-x",
    "a/e-mail",
    "Ü",
    "x_B",
    "0",
    "O",
    "-",
    "#",
    '"',
    ",",
]
characters = st.characters(exclude_categories=["Cs"])
words = (
    st.sampled_from(ODD_WORDS)
    | st.text(characters, min_size=1, max_size=5)
    | st.sampled_from(["Vera", "left"])
).filter(lambda word: not is_invisible(word))
CONFIG = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])


@st.composite
def tags_for(draw, count):
    """BIO2 tags of some entities that do not overlap."""
    entities, at = [], 0
    while at < count:
        at += draw(st.integers(0, 3))
        end = min(at + draw(st.integers(1, 3)), count)
        if at < end:
            entities.append(Span(draw(st.sampled_from(TYPES)), at, end))
        at = max(end, at + 1)
    return tuple(to_bio2(entities, count))


@st.composite
def sentences_of_words(draw):
    sentences = []
    for document in range(draw(st.integers(1, 3))):
        for _ in range(draw(st.integers(1, 3))):
            row = tuple(draw(st.lists(words, min_size=1, max_size=6)))
            sentences.append(Sentence(row, draw(tags_for(len(row))), document))
    return sentences


GLUE = st.sampled_from(
    [" ", "", "\n", "\n\n", "  ", "\t", "\r\n", "\u2028", "\u00a0", "\u200b", ". ", "! ", ", "]
)


@st.composite
def sentences_of_texts(draw):
    """Texts cut as running text is, with tags, each a document or two texts a document."""
    sentences = []
    several = draw(st.booleans())
    for number in range(draw(st.integers(1, 3))):
        parts = draw(st.lists(st.tuples(words, GLUE), min_size=1, max_size=8))
        text = "".join(word + glue for word, glue in parts)
        name = draw(st.none() | st.integers(0, 9) | st.just("x 1"))
        document = number // 2 if several else number
        for offsets in from_text(text).sentences:
            row = tuple(text[start:end] for start, end in offsets)
            within = InText(text, offsets, name, number)
            sentences.append(Sentence(row, draw(tags_for(len(row))), document, number + 1, within))
    assume(sentences)
    return sentences


class Said(logging.Handler):
    """What was said while it listens."""

    def __init__(self):
        super().__init__()
        self.lines = []

    def emit(self, record):
        if record.levelno >= logging.WARNING:
            self.lines.append(record.getMessage())

    def __enter__(self):
        logging.getLogger("ner_lightning").addHandler(self)
        return self

    def __exit__(self, *_):
        logging.getLogger("ner_lightning").removeHandler(self)


def written(folder, format, sentences, **options):
    """The file of some sentences, and what was said when it was written."""
    path = folder / f"x{SUFFIX_OF[format]}"
    with Said() as said:
        write_as(format, path, sentences)
    return path, " ".join(said.lines)


def in_columns(text):
    """What columns can hold of a word."""
    cell = re.sub(r"^[\ufeff ]+", "", re.sub(r"[\t\r\n]", "_", text)).strip(" ")
    return (
        cell.translate(str.maketrans("- ", "__"))
        if cell == "-DOCSTART-" or cell.startswith("#end document")
        else cell
    )


def outcome(sentences):
    return [(s.words, s.tags, s.document) for s in sentences]


@pytest.mark.parametrize("format", WORD_FORMATS)
@given(sentences_of_words())
@CONFIG
@example([Sentence(("O", "Foods"), ("O", "O"), 0)])
@example([Sentence(("vitamin O",), ("O",), 0)])
@example([Sentence(("-DOCSTART-",), ("O",), 0), Sentence(("a",), ("B-PER",), 1)])
@example([Sentence(("# newdoc", "#"), ("O", "B-PER"), 0)])
@example([Sentence(("1", "2", "3"), ("O", "O", "B-PER"), 0)])
@example([Sentence(("B-PER",), ("O",), 0), Sentence(("B-LOC",), ("B-PER",), 0)])
@example([Sentence(("\ufeffw", "x"), ("O", "O"), 0)])
@example([Sentence(("g\rh",), ("B-PER",), 0)])
@example([Sentence(("a b", "c d"), ("O", "B-work of art"), 0)])
@example([Sentence(("{",), ("O",), 0), Sentence(('{"',), ("O",), 0)])
@example([Sentence(("\x00",) * 3, ("O",) * 3, 0)])
@example([Sentence((",\n", '",\n"', "a,\nb"), ("O", "B-PER", "O"), 0)])
def test_words_tags_and_documents_come_back(tmp_path, format, sentences):
    path, said = written(tmp_path, format, sentences)
    expected = sentences
    if format == "conll":
        expected = [
            Sentence(tuple(map(in_columns, s.words)), tuple(map(in_columns, s.tags)), s.document)
            for s in sentences
        ]
        changed = sum(
            a != b
            for x, y in zip(expected, sentences, strict=True)
            for a, b in zip(x.words, y.words, strict=True)
        )
        assert (f"{changed:,} words are changed" in said) == bool(changed)
    elif format != "csv":
        expected = [s for s in sentences if s.words != ("-DOCSTART-",)]
        lost = len(sentences) - len(expected)
        assert (f"{lost:,} sentences are the word -DOCSTART- alone" in said) == bool(lost)
        if lost:  # their documents are counted otherwise
            kept = read_sentences(path) if expected else []
            assert [(s.words, s.tags) for s in kept] == [(s.words, s.tags) for s in expected]
            return
    else:
        expected = [Sentence(tuple(w.strip(" ") for w in s.words), s.tags, s.document) for s in sentences]
        changed = sum(word != word.strip(" ") for s in sentences for word in s.words)
        assert (f"{changed:,} words are changed" in said) == bool(changed)
    assert outcome(read_sentences(path)) == outcome(expected)
    untagged = read_sentences(path, ReadOptions(tagged=False))
    assert [(s.words, s.document) for s in untagged] == [(s.words, s.document) for s in expected]


def marked(sentences):
    """Each text with its entities, without what is no part of words at their borders."""
    found = []
    for text in annotated_texts(sentences):
        entities = []
        for start, end, type_ in text.entities:
            while start < end and is_no_letter(text.text[start]):
                start += 1
            while start < end and is_no_letter(text.text[end - 1]):
                end -= 1
            entities.append((text.text[start:end] and start, end, type_))
        found.append((text.text, entities))
    return found


def is_no_letter(character):
    return character.isspace() or unicodedata.category(character) in ("Cc", "Cf")


@pytest.mark.parametrize("format", TEXT_FORMATS)
@given(sentences_of_words() | sentences_of_texts())
@CONFIG
@example([Sentence(("x",), ("B-PER",), 0)])
@example([Sentence(("\x00",), ("B-PER",), 0), Sentence(("y",), ("O",), 0)])
@example([Sentence(("\x1b",), ("O",), 0)])
@example([Sentence(("\u0301",), ("B-PER",), 0)])
def test_texts_and_their_entities_come_back(tmp_path, format, sentences):
    assume(all("B-O" not in sentence.tags for sentence in sentences))  # a label O is refused as a tag
    path, said = written(tmp_path, format, sentences)
    assert not said
    back, reading = read_or_empty(path)
    wanted = marked(sentences)
    if format not in TOKEN_FORMATS:
        # A control character is a word to who says so, but none of running text.
        empty = sum(entity[0] == "" for _, entities in wanted for entity in entities)
        assert ("entities have no word and" in reading) == bool(empty)
        wanted = [(text, [e for e in entities if e[0] != ""]) for text, entities in wanted]
    if "texts have no words" in reading:
        wanted = [(text, entities) for text, entities in wanted if entities or from_text(text).sentences]
    assert marked(back) == wanted
    if format in TOKEN_FORMATS:
        assert visible(back) == visible(sentences)


def read_or_empty(path):
    """The sentences of a file, or none where it has none, and what was said."""
    with Said() as said:
        try:
            return read_sentences(path), " ".join(said.lines)
        except DataError as error:
            if "no sentence in the file" not in str(error):
                raise
    return [], " ".join(said.lines)


def visible(sentences):
    """The words that are not control characters alone, which spaCy's tokens have between words as well."""
    return [word for s in sentences for word in s.words if not all(map(is_no_letter, word))]


@pytest.mark.slow
@given(sentences_of_texts())
@CONFIG
def test_a_text_keeps_its_id_and_its_document(tmp_path, sentences):
    assume(all("B-O" not in sentence.tags for sentence in sentences))  # a label O is refused as a tag
    for format in ("doccano", "labelstudio"):
        path, _ = written(tmp_path, format, sentences)
        back = read_sentences(path)
        if format == "doccano":
            assert [s.within.id for s in annotated(back)] == [s.within.id for s in annotated(sentences)]
        several = len({s.document for s in sentences}) > 1
        if several:
            assert [s.document for s in annotated(back)] == ranked(s.document for s in annotated(sentences))


def annotated(sentences):
    """The first sentence of each text."""
    return list({(s.document, s.line): s for s in reversed(sentences)}.values())[::-1]


def ranked(documents):
    numbers = {}
    return [numbers.setdefault(document, len(numbers)) for document in documents]


@pytest.mark.parametrize("format", TEXT_FORMATS)
@pytest.mark.parametrize("misaligned", ["split", "expand", "drop"])
def test_an_entity_within_a_word_is_kept_by_its_tokens(tmp_path, format, misaligned):
    words, tags = ("anti-", "Tarvo", "n", "."), ("O", "B-LOC", "O", "O")
    text = "anti-Tarvon."
    within = InText(text, ((0, 5), (5, 10), (10, 11), (11, 12)))
    path, _ = written(tmp_path, format, [Sentence(words, tags, 0, 1, within)])
    (back,) = read_sentences(path, ReadOptions(rules=AnnotationRules(misaligned=misaligned)))
    if misaligned == "split" or format in TOKEN_FORMATS:
        assert (back.words, back.tags) == (words, tags)
    else:
        assert back.words == ("anti-Tarvon", ".")
        assert back.tags == (("B-LOC" if misaligned == "expand" else "O"), "O")


def test_every_format_has_its_writer():
    assert WRITERS.keys() == {*ANNOTATED}


@pytest.mark.parametrize("format", ANNOTATED)
@pytest.mark.parametrize("second", ANNOTATED)
def test_one_format_after_another_changes_nothing(tmp_path, format, second):
    words = ("Brinda", "Okafor", "moved", "to", "Tarvo", ".")
    sentences = [
        Sentence(words, ("B-PER", "I-PER", "O", "O", "B-LOC", "O"), 0),
        Sentence(("Nobody", "wrote", "."), ("O", "O", "O"), 1),
    ]
    path, _ = written(tmp_path, format, sentences)
    (tmp_path / "y").mkdir()
    path, _ = written(tmp_path / "y", second, read_sentences(path))
    assert read_sentences(path) == sentences


@pytest.mark.parametrize("format", ANNOTATED)
def test_sentences_without_tags_are_outside_of_entities(tmp_path, format):
    path, _ = written(tmp_path, format, [Sentence(("Brinda", "left"), None, 0)])
    assert read_sentences(path) == [Sentence(("Brinda", "left"), ("O", "O"), 0)]


def test_columns_get_a_header_only_where_they_could_be_mistaken(tmp_path):
    plain = [Sentence(("Brinda", "left"), ("B-PER", "O"), 0)]
    path, said = written(tmp_path, "conll", plain)
    assert (path.read_text(), said) == ("Brinda B-PER\nleft O\n\n", "")
    numbers = [Sentence(("1", "2", "3"), ("B-PER", "O", "O"), 0)]
    path, said = written(tmp_path, "conll", numbers)
    assert path.read_text() == "word tag\n\n1 B-PER\n2 O\n3 O\n\n"
    assert "begins with a header" in said


def test_what_is_read_from_json_text_is_written_once(tmp_path):
    rows = [{"text": "x", "label": [[0, 1, "PER"]]}, {"text": "Brinda left. Nobody wrote.", "label": []}]
    write_jsonl(tmp_path / "a.jsonl", rows)
    path, _ = written(tmp_path, "doccano", read_sentences(tmp_path / "a.jsonl"))
    assert path.read_text() == (tmp_path / "a.jsonl").read_text()
    assert spans(read_sentences(path)[0].tags) == [Span("PER", 0, 1)]
