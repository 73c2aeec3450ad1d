"""Entities of texts: where they are, and how probable."""

import math
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import taggers
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import enumeration

from ner_lightning.data.running_text import from_words, words
from ner_lightning.data.schemes import LabelSet, Span, spans, to_bio2
from ner_lightning.data.sentence import Sentence
from ner_lightning.errors import UserError
from ner_lightning.inference import calibration, scoring
from ner_lightning.inference.ner_tagger import NERTagger
from ner_lightning.model.decoder import Decoder


def check(tagged, text):
    """All that must hold for any text."""
    assert tagged.text == text
    assert len(tagged.tags) == len(tagged.offsets) == len(words(text))
    assert [(e.label, e.word_start, e.word_end) for e in tagged.entities] == [
        (span.type, span.start, span.end)
        for begin, end in pieces_of(tagged.document)
        for span in shifted(spans(tagged.tags[begin:end]), begin)
    ]
    for entity in tagged.entities:
        assert text[entity.start : entity.end] == entity.text
        assert entity.start == tagged.offsets[entity.word_start][0]
        assert entity.end == tagged.offsets[entity.word_end - 1][1]
        assert 0 <= entity.score <= 1


def pieces_of(document):
    begin = 0
    for sentence in document.sentences:
        yield begin, begin + len(sentence)
        begin += len(sentence)


def shifted(found, by):
    return [span._replace(start=span.start + by, end=span.end + by) for span in found]


NASTY = st.lists(
    st.sampled_from(
        [*" .,'’-\n\r\t\x00\u200b\u200d\ufe0f\u0301$+5a.A我👍🏽ש", "n't", "U.S.", "\r\n", "\ud800", "Vera "]
    )
).map("".join)
ANY = st.one_of(st.text(st.characters(exclude_categories=()), max_size=80), NASTY)


@settings(max_examples=20, deadline=None)
@given(st.lists(ANY, min_size=10, max_size=20))
def test_offsets_hold_in_any_text(tagger, texts):
    for tagged, text in zip(tagger(texts), texts, strict=True):
        check(tagged, text)


@pytest.mark.slow
@settings(max_examples=200, deadline=None)
@given(st.lists(ANY, min_size=50, max_size=50))
def test_offsets_hold_in_ten_thousand_texts(tagger, texts):
    for tagged, text in zip(tagger(texts), texts, strict=True):
        check(tagged, text)


def test_a_text_without_words_has_no_entities(tagger):
    found = tagger(["", " \r\n\t", "\x00", "Vera Holt left."], marginals=True, n_best=2)
    for tagged in found[:3]:
        assert (tagged.tags, tagged.entities, tagged.marginals.shape) == ((), (), (0, 9))
        assert tagged.paths == (((), 0.0),)
    assert found[3].marginals.shape == (4, 9)
    assert tagger([]) == []


def test_texts_far_longer_than_the_window(tagger):
    text = " ".join(taggers.texts() * 40) + "x" * 5000
    tagged = tagger(text)
    check(tagged, text)
    assert len(tagged.tags) > 3000
    assert tagged.entities
    one = "Vera " * 3000  # no full stop anywhere
    check(tagger(one), one)


def test_streams_words_and_single_texts_agree(tagger, monkeypatch):
    texts = [*taggers.texts(), "", "\n"]
    together = tagger(texts)
    alone = [tagger(text) for text in texts]
    monkeypatch.setattr(scoring, "CHUNK", 3)
    streamed = list(tagger.stream(iter(texts)))
    given_words = tagger(words=[list(each.words) for each in together])
    for one, *others in zip(together, alone, streamed, given_words, strict=True):
        for other in others:
            assert other.tags == one.tags
            assert [e.score for e in other.entities] == pytest.approx(
                [e.score for e in one.entities], abs=1e-5
            )
    with pytest.raises(TypeError, match="give texts or words"):
        tagger()
    with pytest.raises(TypeError, match="texts or words"):
        tagger("a", words=[["a"]])


def test_any_iterable_of_texts_is_tagged(tagger):
    import pandas

    texts = taggers.texts()[:3]
    expected = [each.tags for each in tagger(texts)]
    column = pandas.Series(texts, index=[7, 7, 9])
    for given_texts in (tuple(texts), iter(texts), np.array(texts), column, dict.fromkeys(texts).keys()):
        assert [each.tags for each in tagger(given_texts)] == expected
    assert [each.tags for each in tagger.stream(column)] == expected
    sentences = [text.split() for text in texts]
    expected = [each.tags for each in tagger(words=sentences)]
    for given_words in (map(tuple, sentences), pandas.Series(sentences), np.array(sentences, dtype=object)):
        assert [each.tags for each in tagger(words=given_words)] == expected
    arrays = (np.array(sentence) for sentence in sentences)
    assert [each.tags for each in tagger(words=arrays, documents=np.arange(3))] == expected
    assert tagger([]) == tagger(words=[]) == []


CALLS = {
    "words without a sentence": (
        {"words": ["Vera", "Holt"]},
        "words[0] is the text 'Vera'; give each",
    ),
    "a text as words": (
        {"words": "Vera Holt"},
        "words is 'Vera Holt'; give a list, or another iterable, of se",
    ),
    "a word that is none": ({"words": [["Vera"], ["Holt", None]]}, "words[1][1] is None, not a text"),
    "a sentence that is none": ({"words": [["Vera"], 5]}, "words[1] is 5; give a list, or another"),
    "words by name": ({"words": [{"Vera": 1}]}, "words[0] is {'Vera': 1}; give a list"),
    "no text": ({"texts": ["Vera", None]}, "texts[1] is None, not a text"),
    "an empty cell": ({"texts": iter(["Vera", float("nan")])}, "texts[1] is nan, not a text"),
    "a number": ({"texts": 5}, "texts is 5; give a list, or another iterable, of texts"),
    "bytes": ({"texts": b"Vera"}, "texts is b'Vera'; give a list"),
    "bytes in a list": ({"texts": [b"Vera"]}, "texts[0] is b'Vera', not a text"),
    "a dict": ({"texts": {"text": "Vera"}}, "texts is {'text': 'Vera'}; give a list"),
    "a path": ({"texts": Path("a.txt")}, "Path('a.txt'); give a list"),
    "lists of words without words=": (
        {"texts": [["Vera", "Holt"]]},
        "is ['Vera', 'Holt'], not a text",
    ),
    "too few documents": ({"words": [["a"], ["b"]], "documents": [1]}, "documents has a number for each"),
    "documents of texts": ({"texts": ["a"], "documents": [1]}, "documents has a number for each"),
}


@pytest.mark.parametrize("case", CALLS)
def test_what_is_no_text_is_named(tagger, monkeypatch, case):
    monkeypatch.setattr(tagger.tagger, "forward", lambda *_: pytest.fail("the model ran"))
    arguments, expected = CALLS[case]
    with pytest.raises(TypeError, match=re.escape(expected)):
        tagger(**arguments)


def test_other_calls_take_no_letters_for_texts(tagger):
    import pandas

    with pytest.raises(TypeError, match="texts is a table; give one of its columns"):
        tagger(pandas.DataFrame({"text": ["Vera"]}))
    with pytest.raises(TypeError, match="texts is 'Vera'"):
        tagger.stream("Vera")  # before the first is wanted
    with pytest.raises(TypeError, match=r"sentences\[0\] is the text 'Vera'"):
        list(scoring.score(tagger.tagger, tagger.encoder, ["Vera", "Holt"]))
    with pytest.raises(TypeError, match="words is the text 'Vera'"):
        from_words("Vera")
    with pytest.raises(ValueError, match="shorter"):
        list(tagger.tag(map(from_words, [["a"], ["b"]]), [1]))
    with pytest.raises(ValueError, match="n_best is -1; it must be a whole"):
        tagger("Vera", n_best=-1)


def test_sentences_of_a_document_are_read_together(llama, monkeypatch):
    tagger = taggers.random_tagger(llama, context=60)
    words = [text.split() for text in taggers.texts()]
    documents = [0, 0, 0, 1, 1, 2, *range(3, len(words) - 3)]
    alone = tagger(words=words, marginals=True)
    together = tagger(words=words, documents=documents, marginals=True)
    moved = [
        not np.allclose(one.marginals, other.marginals, atol=1e-5)
        for one, other in zip(alone, together, strict=True)
    ]
    assert moved == [True] * 5 + [False] * (len(words) - 5)
    assert [each.words for each in together] == [tuple(each) for each in words]
    # Neither groups nor windows part a document where another border will do.
    monkeypatch.setattr(scoring, "GROUP", 2)
    monkeypatch.setattr(scoring, "CHUNK", 4)
    for one, other in zip(together, tagger(words=words, documents=documents, marginals=True), strict=True):
        np.testing.assert_allclose(one.marginals, other.marginals, atol=1e-5)
    with pytest.raises(TypeError, match="a number for each"):
        tagger(words=words, documents=[1])
    with pytest.raises(TypeError, match="a number for each"):
        tagger("a", documents=[1])


def test_a_stream_is_read_as_it_is_wanted(tagger, monkeypatch):
    monkeypatch.setattr(scoring, "GROUP", 2)
    read = []

    def texts():
        for number in range(100):
            read.append(number)
            yield ""

    found = tagger.stream(texts())
    next(found)
    assert len(read) == 2


@pytest.mark.parametrize("temperature", [1.0, 2.5])
@pytest.mark.parametrize("use_crf", [True, False])
def test_probabilities_are_those_of_all_legal_sequences(llama, use_crf, temperature):
    tagger = taggers.random_tagger(llama, use_crf=use_crf)
    tagger.labels = tagger.tagger.labels
    tagger.temperature = temperature
    text = "Vera Holt left."
    (scored,) = scoring.score(tagger.tagger, tagger.encoder, [["Vera", "Holt", "left", "."]])
    model = tagger.tagger
    emissions = scored.emissions[0].double()
    if use_crf:
        _, (start, moves, end) = model.decoder.crf.path_scores(scored.emissions)
    else:
        emissions = torch.log_softmax(emissions / temperature, -1) * temperature
        start, moves, end = model.decoder.start_scores, model.decoder.move_scores, model.decoder.end_scores
    scores = [(each.double() / temperature).tolist() for each in (emissions, start, moves, end)]
    paths = enumeration.legal_paths(*scores)
    tagged = tagger(text, marginals=True, n_best=5)
    log_probs = enumeration.log_probs(paths)
    assert [path for path, _ in tagged.paths] == [tuple(tagger.labels.decode(p)) for _, p in paths[:5]]
    assert [log_prob for _, log_prob in tagged.paths] == pytest.approx(log_probs[:5], abs=1e-4)
    assert tagged.tags == tagged.paths[0][0]
    if use_crf:
        np.testing.assert_allclose(tagged.marginals, enumeration.marginals(paths, 4, 9), atol=1e-5)
        for entity in tagged.entities:
            those = [
                math.exp(log_prob)
                for log_prob, (_, path) in zip(log_probs, paths, strict=True)
                if (entity.label, entity.word_start, entity.word_end) in spans(tagger.labels.decode(path))
            ]
            assert entity.score == pytest.approx(sum(those), abs=1e-5)
    else:
        softmax = torch.softmax(scored.emissions[0] / temperature, -1)
        np.testing.assert_allclose(tagged.marginals, softmax, atol=1e-6)


def test_sequences_of_several_sentences_are_the_best_of_all_combinations(tagger):
    one, other = (tagger(text, n_best=200).paths for text in ("Vera left.", "Lima won."))
    found = tagger("Vera left. Lima won.", n_best=7).paths
    expected = sorted(((a + b, p + q) for a, p in one for b, q in other), key=lambda pair: -pair[1])
    assert [path for path, _ in found] == [path for path, _ in expected[:7]]
    assert [p for _, p in found] == pytest.approx([p for _, p in expected[:7]], abs=1e-4)


def test_there_are_no_more_sequences_than_there_are(tagger):
    paths = tagger("Vera", n_best=50).paths
    assert len(paths) == 5  # O and four B-
    assert sum(math.exp(log_prob) for _, log_prob in paths) == pytest.approx(1, abs=1e-5)


def drawn(tagger, temperature, count=250):
    """Sentences whose gold entities are drawn so that scores at this temperature tell the truth."""
    draw = np.random.default_rng(0)
    texts = [text.split() for text in taggers.texts()]
    sentences = []
    tagger.temperature = temperature
    for number, found in enumerate(tagger(words=[texts[n % len(texts)] for n in range(count)])):
        gold = [
            Span(entity.label, entity.word_start, entity.word_end)
            for entity in found.entities
            if draw.random() < entity.score
        ]
        sentences.append(Sentence(found.words, tuple(to_bio2(gold, len(found.words))), number))
    tagger.temperature = 1.0
    return sentences


def test_calibration_finds_the_temperature_that_the_tags_were_drawn_at(llama):
    tagger = taggers.random_tagger(llama)
    sentences = drawn(tagger, 2.0)
    tags = [each.tags for each in tagger(words=[s.words for s in sentences])]
    found = calibration.calibrate(tagger, sentences)
    assert 1.5 < found.temperature < 2.7
    assert tagger.temperature == found.temperature
    assert found.after < found.before / 2, found
    assert found.entities > 100
    assert [each.tags for each in tagger(words=[s.words for s in sentences])] == tags


def test_the_error_after_calibration_is_that_of_the_other_halfs_temperature(tagger, monkeypatch):
    """At each temperature one number is said of all; one half is right in nine of ten, the other in four."""
    steps, per_half = len(calibration.TEMPERATURES), 10
    half = torch.tensor([0] * per_half + [1] * per_half)
    said = torch.linspace(0.95, 0.05, steps).unsqueeze(1).repeat(1, 2 * per_half)
    correct = torch.tensor([True] * 9 + [False] + [True] * 4 + [False] * 6)
    monkeypatch.setattr(calibration, "_predicted_entities", lambda *_: (said, correct, half))
    found = calibration.calibrate(tagger, [Sentence(("Vera",), ("B-PER",), 0)])
    assert said[calibration.TEMPERATURES.index(found.temperature), 0].item() == pytest.approx(0.65, abs=0.02)
    assert found.before == pytest.approx(0.15, abs=0.02)  # 0.5 is said of 13 in 20
    assert found.after == pytest.approx(0.5, abs=0.02)  # 0.4 of nine in ten, and 0.9 of four
    assert tagger.temperature == found.temperature
    tagger.temperature = 1.0


def test_pairs_and_dicts_calibrate_as_sentences_do(llama):
    tagger = taggers.random_tagger(llama)
    sentences = drawn(tagger, 2.0, count=40)
    expected = calibration.calibrate(tagger, sentences)
    pairs = [(list(each.words), list(each.tags)) for each in sentences]
    assert calibration.calibrate(tagger, pairs) == expected
    rows = ({"tokens": words, "ner_tags": tags} for words, tags in pairs)
    assert calibration.calibrate(tagger, rows) == expected
    assert calibration.calibrate(tagger, iter(sentences)) == expected


def test_what_cannot_be_calibrated_by(tagger):
    with pytest.raises(UserError, match=r"expected sentences, got 'valid\.txt'; read_sentences reads"):
        calibration.calibrate(tagger, "valid.txt")
    with pytest.raises(UserError, match="gold tags"):
        calibration.calibrate(tagger, [Sentence(("Vera",), None, 0)])
    with pytest.raises(UserError, match=r"needs every tag, and 1 are unknown"):
        calibration.calibrate(tagger, [Sentence(("Vera", "left"), ("B-PER", "?"), 0)])
    with pytest.raises(UserError, match="too few entities"):
        calibration.calibrate(tagger, [])
    for value in (0, -1, math.inf, math.nan):
        with pytest.raises(ValueError, match="temperature"):
            tagger.temperature = value


def test_a_score_does_not_depend_on_what_precedes_its_entity():
    decoder = Decoder(LabelSet(("PER",)), use_crf=False)
    torch.manual_seed(1)
    emissions = 8 * torch.randn(1, 4096, 3)
    place = torch.tensor([[0, 4090, 4093, 0]])
    mask = torch.ones(1, 4096, dtype=torch.bool)
    found = decoder.span_probabilities(emissions, mask, place)
    log_probs = torch.log_softmax(emissions.double(), -1)[0]
    exact = (log_probs[4090, 1] + log_probs[4091:4093, 2].sum()).exp()
    assert found.dtype == torch.float32
    torch.testing.assert_close(found[0].double(), exact, rtol=1e-5, atol=0)


def test_words_that_nobody_can_see_are_named():
    tagger = object.__new__(NERTagger)
    with pytest.raises(TypeError, match=r"words\[0\]\[1\] is '\\u200b', a word that nobody can see"):
        tagger(words=[["Vera", "\u200b"]])


def test_a_group_is_of_several():
    with pytest.raises(TypeError, match="runs is one name, 'runs/a/1'"):
        NERTagger.group("runs/a/1")


def test_a_tagger_of_a_model_in_training_predicts_without_dropout_and_leaves_its_mode(llama):
    tagger = taggers.random_tagger(llama, dropout=0.9)
    texts = taggers.texts()
    expected = [each.tags for each in tagger(texts)]
    model = tagger.tagger.train()
    model.emitter.backbone.eval()  # as transformers loads it
    modes = [part.training for part in model.modules()]
    again = NERTagger(model, tagger.encoder)
    assert [part.training for part in model.modules()] == modes
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(again, [texts] * 8):
            assert [each.tags for each in found] == expected
    assert [part.training for part in model.modules()] == modes


@pytest.mark.parametrize("where", ["head", "CRF"])
def test_scores_that_are_no_numbers_are_said(llama, where):
    tagger = taggers.random_tagger(llama)
    crf, head = tagger.tagger.decoder.crf, tagger.tagger.emitter.head
    (head.weight if where == "head" else crf.transitions).data[0, 0] = math.nan
    for options in ({}, {"min_score": 0.5}, {"n_best": 2}, {"marginals": True}):
        with pytest.raises(UserError, match="the tagger's scores are not finite"):
            tagger("Vera Holt left Lima.", **options)


@pytest.mark.parametrize("n_best", [2.5, True, "2"])
def test_a_number_of_sequences_is_whole(tagger, n_best):
    with pytest.raises(TypeError, match=f"n_best is {n_best!r}; it must be a whole number"):
        tagger("Vera", n_best=n_best)


def test_a_stream_is_refused_before_its_first_result(tagger):
    with pytest.raises(ValueError, match="n_best is -1; it must be a whole number of at least 0"):
        tagger.stream(["Vera"], n_best=-1)


def test_its_repr_says_what_it_knows(tagger):
    assert repr(tagger) == f"NERTagger({', '.join(tagger.labels.types)}; on cpu)"
