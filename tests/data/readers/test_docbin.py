"""spaCy's DocBin, and the JSON of spaCy 2."""

import copy
import json
import random

import pytest
from data.readers.mutations import check, read, survives
from spacy.tokens import Doc, DocBin, Span
from spacy.vocab import Vocab

from ner_lightning.data.readers import docbin
from ner_lightning.data.readers.docbin import read_docbin
from ner_lightning.data.readers.files import Inputs
from ner_lightning.data.readers.read_options import ReadOptions
from ner_lightning.data.readers.record import CharSpan
from ner_lightning.data.readers.sentences import read_sentences
from ner_lightning.data.readers.spacy_json import is_spacy_json, read_spacy_json
from ner_lightning.data.sentence import DataError
from ner_lightning.errors import UserError

WORDS = ["\U0001f600", "Brinda", "Okafor", "\n", "moved", "to", "Tarvo", "."]
SPACES = [True, True, False, False, True, True, False, False]


def doc(entities=((1, 3, "PER"), (6, 7, "LOC")), words=WORDS, spaces=SPACES):
    made = Doc(Vocab(), words=words, spaces=spaces)
    if entities is not None:
        made.set_ents([Span(made, start, end, label=type_) for start, end, type_ in entities])
    return made


def stored(*docs, **settings):
    return DocBin(docs=docs, **settings).to_bytes()


def test_texts_with_words_and_entities():
    first, second = read(read_docbin, stored(doc(), doc(())))
    assert first.content == "\U0001f600 Brinda Okafor\nmoved to Tarvo."
    assert first.entities == (CharSpan(2, 15, "PER"), CharSpan(25, 30, "LOC"))
    assert [first.content[a:b] for a, b in first.tokens] == [word for word in WORDS if word != "\n"]
    assert (first.line, first.starts_document) == (1, True)
    assert (second.entities, second.line, second.starts_document) == ((), 2, True)


@pytest.mark.parametrize("tagged", [True, False])
def test_sentences_are_those_of_the_doc(tmp_path, tagged):
    words = ["Brinda", "said", "no", ".", "5", "p.m", ".", "\n", "Tarvo", "left"]
    starts = {"one": (0,), "two": (0, 4), "with the line break": (0, 7), "within an entity": (0, 1)}
    wanted = {"one": [9], "two": [4, 5], "with the line break": [7, 2], "within an entity": [9]}
    for name, begin in starts.items():
        made = Doc(Vocab(), words=words, sent_starts=[n in begin for n in range(len(words))])
        made.set_ents([Span(made, 0, 2, label="PER")])
        path = tmp_path / "x.spacy"
        path.write_bytes(stored(made, attrs=["ORTH", "SPACY", "ENT_IOB", "ENT_TYPE", "SENT_START"]))
        options = ReadOptions(tagged=tagged)
        if tagged or name != "within an entity":
            assert [len(sentence.words) for sentence in read_sentences(path, options)] == wanted[name]
            (record,) = Inputs(str(path), options).read()
            assert name == "within an entity" or list(map(len, record.split().words)) == wanted[name]


def test_words_alone_need_no_entities():
    (record,) = read(read_docbin, stored(doc(None)), tagged=False)
    assert (record.entities, record.reason, len(record.tokens)) == (None, "", 7)


@pytest.mark.parametrize("settings", [{}, {"attrs": ["ORTH", "SPACY"]}])
def test_a_doc_without_annotation_is_rejected(settings):
    made = doc() if settings else doc(None)
    (record,) = read(read_docbin, stored(made, **settings))
    assert record.reason.startswith("no entities in this Doc, not even none: set doc.ents")


def test_what_is_not_read_as_it_is_is_counted(caplog):
    made = doc(None)
    made.set_ents([Span(made, 1, 3, label="PER")], missing=[Span(made, 6, 7)], default="outside")
    made.spans["sc"] = [Span(made, 1, 2, label="NAME")]
    (record,) = read(read_docbin, stored(made))
    assert record.entities == (CharSpan(2, 15, "PER"),)
    assert "1 words were not annotated and were read as outside of entities: 'Tarvo' (Doc 1)" in caplog.text
    assert "1 spans of group 'sc' are left out; entities are read from doc.ents: 'Brinda'" in caplog.text


@pytest.mark.parametrize("data", [b"", b"Brinda", stored(doc())[:-9], stored(doc())[9:]])
def test_a_file_that_is_no_docbin_is_refused(data):
    with pytest.raises(DataError, match="x:1: not a complete DocBin of spaCy: "):
        read(read_docbin, data)


def test_spacy_is_needed(monkeypatch):
    monkeypatch.setattr(docbin, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"a \.spacy file needs spaCy: pip install 'ner-lightning\[spacy\]'"):
        read(read_docbin, stored(doc()))


def test_damaged_files_give_records_or_errors():
    _, bad = survives(read_docbin, stored(doc(), doc(())), 200)
    assert bad > 100


def test_damage_below_the_compression_gives_records_or_errors():
    import zlib

    from data.readers.mutations import damaged

    rng = random.Random(3)
    data = zlib.decompress(stored(doc(), doc(())))
    errors = 0
    for _ in range(200):
        try:
            records = read(read_docbin, zlib.compress(damaged(data, rng)))
        except UserError:
            errors += 1
            continue
        for record in records:
            check(record)
    assert errors > 20


def token(orth, ner):
    return {"id": 0, "orth": orth, "ner": ner}


SENTENCE = {
    "tokens": [token("Brinda", "B-PER"), token("Okafor", "L-PER"), token("left", "O"), token("Ulm", "U-LOC")]
}
ITEM = {
    "id": "a",
    "paragraphs": [{"raw": "Brinda Okafor left Ulm", "sentences": [SENTENCE, SENTENCE], "cats": []}],
}


def of(*items, **options):
    return list(read_spacy_json(enumerate(items, 1), "x", **options))


def test_spacy_2():
    first, second, third = of(ITEM, ITEM | {"id": 7, "paragraphs": [{"sentences": [SENTENCE]}]})
    assert first.content == ("Brinda", "Okafor", "left", "Ulm")
    assert first.tags == ("B-PER", "L-PER", "O", "U-LOC")
    assert [r.starts_document for r in (first, second, third)] == [True, False, True]
    assert [r.document for r in (first, second, third)] == ["a", "a", 7]
    assert [r.line for r in (first, second, third)] == [1, 1, 2]
    assert of(ITEM, tagged=False)[0].tags is None


def with_tokens(*tokens):
    return {"id": 0, "paragraphs": [{"sentences": [{"tokens": list(tokens)}]}]}


def test_spacy_2_words_without_annotation(caplog):
    (record,) = of(with_tokens(token("Vera", "U-PER"), token("left", "-"), {"orth": "."}))
    assert record.tags == ("U-PER", "O", "O")
    assert (
        "2 words were not annotated and were read as outside of entities: 'left' (document 1)" in caplog.text
    )
    (record,) = of(with_tokens(token("Vera", "-"), token("left", "-")))
    assert "the sentence 'Vera left' was not annotated: no token has a tag" in record.reason
    assert not of(with_tokens(token("Vera", "-")), tagged=False)[0].reason


def test_spacy_2_tags_under_another_name():
    item = with_tokens({"orth": "Vera", "ner": "O", "gold": "U-PER"}, {"orth": "left", "gold": "O"})
    assert of(item, field="gold")[0].tags == ("U-PER", "O")
    assert "was not annotated: no token has a tag as nosuch" in of(item, field="nosuch")[0].reason


@pytest.mark.parametrize(
    ("item", "reason"),
    [
        ([], "no document of spaCy 2: an object with paragraphs of sentences"),
        ({"paragraphs": [{"qas": []}]}, "no document of spaCy 2"),
        ({"paragraphs": [{"sentences": [[]]}]}, "the sentence [] has no tokens"),
        (with_tokens(), "has no tokens; remove it"),
        (with_tokens("Vera"), "the token 'Vera' has no word"),
        (with_tokens({"orth": 5, "ner": "O"}), "has no word"),
        (with_tokens(token("\ud83d", "O")), "has no word"),
        (with_tokens(token("Vera", 5)), "the tag 5 of 'Vera' is not text"),
        (with_tokens(token("Vera", "PER")), "malformed tag 'PER'"),
    ],
)
def test_malformed_spacy_2_is_rejected_and_the_next_one_read(item, reason):
    bad, good, _ = of(item, ITEM)
    assert reason in bad.reason
    assert (bad.line, good.tags, good.starts_document) == (1, ("B-PER", "L-PER", "O", "U-LOC"), True)


def test_spacy_2_is_recognised():
    assert is_spacy_json(ITEM)
    assert not is_spacy_json({"paragraphs": [{"qas": [], "context": ""}]})
    assert not is_spacy_json({"paragraphs": "x"})
    assert not is_spacy_json([ITEM])


def test_damaged_spacy_2_gives_records_or_reasons():
    rng = random.Random(1)
    reasons = 0
    for _ in range(300):
        item = copy.deepcopy(ITEM)
        inner = item["paragraphs"][0]["sentences"][rng.randrange(2)]["tokens"]
        at = rng.choice([item, item["paragraphs"], item["paragraphs"][0], inner, inner[0]])
        key = rng.choice(list(at)) if isinstance(at, dict) else rng.randrange(len(at))
        at[key] = rng.choice([None, 5, "", "B-PER", [], {}, [ITEM], json.loads("1e999")])
        for record in of(item):
            check(record)
            reasons += bool(record.reason)
    assert reasons > 50
