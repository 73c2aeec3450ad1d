"""Entities by their probability: what is asked for, what is returned, and what may not be asked."""

import itertools
import json

import pytest
import taggers
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ner_lightning.data.overlap_resolution import overlapped
from ner_lightning.data.schemes import spans
from ner_lightning.errors import UserError
from ner_lightning.inference.ner_tagger import NERTagger
from ner_lightning.inference.scoring import score
from ner_lightning.inference.selection import Selection, read_min_score, selection
from ner_lightning.model.crf.segments import Segments

TYPES = ("PER", "ORG", "LOC", "MISC")


@pytest.fixture(scope="module", params=["crf", "softmax"])
def tagger(request, llama):
    return taggers.random_tagger(llama, use_crf=request.param == "crf")


def everything(tagger, words):
    """The probability of every possible entity of a sentence, each computed on its own."""
    (batch,) = score(tagger.tagger, tagger.encoder, [words])
    decoder, size = tagger.tagger.decoder, len(words)
    every = [
        (0, start, end, kind)
        for start, end in itertools.combinations(range(size + 1), 2)
        for kind in range(len(TYPES))
    ]
    values = decoder.span_probabilities(batch.emissions, batch.mask, torch.tensor(every))
    return {
        (start, end, TYPES[kind]): p for (_, start, end, kind), p in zip(every, values.tolist(), strict=True)
    }


def where(entities):
    return {(e.word_start, e.word_end, e.label): e.score for e in entities}


@pytest.mark.parametrize("least", [0.003, 0.05, 0.3, {"PER": 0.02, "*": 0.2}])
def test_every_entity_of_that_probability_is_returned_and_no_other(tagger, least):
    for text in taggers.texts():
        sentence = text.split()
        (tagged,) = tagger(words=[sentence], min_score=least, overlaps="keep")
        limits = (
            dict.fromkeys(TYPES, least) if isinstance(least, float) else {t: least.get(t, 0.2) for t in TYPES}
        )
        expected = {key: p for key, p in everything(tagger, sentence).items() if p >= limits[key[2]]}
        found = where(tagged.entities) | where(tagged.overlapping)
        assert found == pytest.approx(expected, rel=1e-4)
        assert len(found) == len(tagged.entities) + len(tagged.overlapping)
        (resolved,) = tagger(words=[sentence], min_score=least)
        assert resolved.entities == tagged.entities
        assert resolved.overlapping is None
        assert resolved.tags == tagged.tags
        assert [(s.type, s.start, s.end) for s in spans(resolved.tags)] == [
            (e.label, e.word_start, e.word_end) for e in resolved.entities
        ]


def test_without_it_nothing_changes(tagger):
    texts = taggers.texts()
    before = [each.to_json() for each in tagger(texts)]
    tagger(texts, min_score=0.01, overlaps="keep")
    assert [each.to_json() for each in tagger(texts)] == before
    assert all("overlaps" not in text for text in before)


def test_a_tagger_has_a_selection_and_a_call_another(tagger):
    other = NERTagger(tagger.tagger, tagger.encoder, min_score={"*": 0.05, "LOC": 0.9}, overlaps="keep")
    assert other.selection == Selection((0.05, 0.05, 0.9, 0.05), "keep")
    text = taggers.texts()[0]
    assert other(text) == tagger(text, min_score={"*": 0.05, "LOC": 0.9}, overlaps="keep")
    assert other(text, overlaps="resolve") == tagger(text, min_score={"*": 0.05, "LOC": 0.9})
    assert other(text, min_score=0.2) == tagger(text, min_score=0.2, overlaps="keep")
    assert list(other.stream([text], min_score=0.2)) == [other(text, min_score=0.2)]
    other.selection = None
    assert other(text) == tagger(text)


def test_results_say_what_overlaps(tagger):
    tagged = tagger(taggers.texts()[0], min_score=0.01, overlaps="keep")
    assert tagged.overlapping
    rows = json.loads(tagged.to_json())["entities"]
    assert [row["start"] for row in rows] == sorted(row["start"] for row in rows)
    assert sum(row["overlaps"] for row in rows) == len(tagged.overlapping)
    assert tagger("", min_score=0.01, overlaps="keep").overlapping == ()
    import pandas

    assert list(tagged.to_df()["overlaps"]) == [row["overlaps"] for row in rows]
    assert isinstance(tagged.to_df(), pandas.DataFrame)


def test_temperature_applies(llama):
    tagger = taggers.random_tagger(llama)
    sentence = taggers.texts()[0].split()
    tagger.temperature = 3.0
    (tagged,) = tagger(words=[sentence], min_score=0.02, overlaps="keep")
    expected = {key: p for key, p in everything(tagger, sentence).items() if p >= 0.02}
    assert where(tagged.entities + tagged.overlapping) == pytest.approx(expected, rel=1e-4)
    (batch,) = score(tagger.tagger, tagger.encoder, [sentence])
    first = tagged.entities[0]
    begin = 1 + 2 * TYPES.index(first.label)
    one = Segments(*(torch.tensor([v]) for v in (0, first.word_start, first.word_end, begin, begin + 1)))
    value = tagger.tagger.decoder.crf.segment_log_probs(batch.emissions, batch.mask, one, 3.0).exp()
    assert first.score == pytest.approx(value.item(), rel=1e-5)


SPANS = st.lists(st.tuples(st.integers(0, 6), st.integers(1, 4), st.floats(0, 1)), max_size=8)


@settings(deadline=None)
@given(SPANS)
def test_a_greedy_choice_leaves_out_what_overlaps_something_chosen(drawn):
    places, values = [(start, start + size) for start, size, _ in drawn], [value for *_, value in drawn]
    left_out = overlapped(places, values)

    def shares(a, b):
        return max(a[0], b[0]) < min(a[1], b[1])

    chosen = [number for number, out in enumerate(left_out) if not out]
    assert not any(shares(places[a], places[b]) for a, b in itertools.combinations(chosen, 2))
    for number, out in enumerate(left_out):
        better = [a for a in chosen if a != number and shares(places[a], places[number])]
        assert out == any((values[a], -a) > (values[number], -number) for a in better)


WRONG = {
    "zero": (0.0, None, "min_score is 0.0; it must be a number above 0 and at most 1"),
    "above one": (1.01, None, "min_score is 1.01; it must"),
    "no number": (float("nan"), None, "min_score is nan"),
    "true": (True, None, "min_score is True"),
    "of a type": ({"*": 0.5, "PER": 2}, None, "min_score of PER is 2"),
    "an unknown type": (
        {"*": 0.5, "PERS": 0.2},
        None,
        "names PERS; the entity types are PER, ORG, LOC, MISC",
    ),
    "not all types": (
        {"PER": 0.5, "ORG": 0.1},
        None,
        "no number for LOC, MISC; give one, or one for all others",
    ),
    "overlaps alone": (None, "keep", "overlaps=keep has no effect without min_score"),
    "overlaps of no kind": (0.5, "all", "overlaps is 'all'; it must be resolve or keep"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_cannot_be_asked_for(case):
    min_score, overlaps, said = WRONG[case]
    with pytest.raises(UserError) as error:
        selection(min_score, overlaps, TYPES)
    assert said in str(error.value)


def test_options_of_a_command_line():
    assert read_min_score(["0.3", "PER=0.5", "A=B=1"]) == {"*": 0.3, "PER": 0.5, "A=B": 1.0}
    for option, said in (
        ("x", "is x; it must"),
        ("PER=0", "--min_score PER is 0;"),
        ("=0.5", "names no type"),
    ):
        with pytest.raises(UserError, match=said):
            read_min_score([option])
