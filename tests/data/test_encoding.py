import numpy as np
import pytest
import tiny
from hypothesis import given
from hypothesis import strategies as st

from ner_lightning.data.encoding import Encoder, _owners, windows
from ner_lightning.errors import UserError

SENTENCES = [words for words, _ in tiny.sentences(tiny.TRAIN + tiny.TEST)]


def pieces(encoder, encoded):
    """The text of each word's own sub-tokens."""
    return [
        encoder.tokenizer.decode(encoded.windows[window][first : last + 1]).strip()
        for window, first, last in zip(encoded.window, encoded.first, encoded.last, strict=True)
    ]


@pytest.fixture(scope="module", params=tiny.TOKENIZERS)
def family(request):
    return request.param, tiny.TOKENIZERS[request.param]()


def test_words_are_tokenised_as_in_running_text(family):
    _, tokenizer = family
    encoder = Encoder(tokenizer)
    for words, encoded in zip(SENTENCES, encoder.encode(SENTENCES), strict=True):
        assert encoded.windows[0].tolist() == tokenizer(" ".join(words))["input_ids"]


def test_each_word_keeps_its_own_sub_tokens(family):
    name, tokenizer = family
    encoder = Encoder(tokenizer)
    for words, encoded in zip(SENTENCES, encoder.encode(SENTENCES), strict=True):
        expected = [w.lower() for w in words] if name == "wordpiece" else words
        assert [p.replace(" ", "") for p in pieces(encoder, encoded)] == expected
        assert (encoded.first <= encoded.last).all()
        assert (encoded.first[1:] == encoded.last[:-1] + 1).all()


def test_space_goes_to_the_word_after_it():
    encoder = Encoder(tiny.llama3_tokenizer())
    (encoded,) = encoder.encode([["in", "Lima"]])
    ids = encoded.windows[0][encoded.first[1] : encoded.last[1] + 1]
    assert encoder.tokenizer.decode(ids) == " Lima"


@pytest.mark.parametrize("word", ["\u200b", "\x00", "é́̂", "👩\u200d👩", "a\u00a0b", "ﷺ", "①"])
def test_no_word_is_lost_whatever_it_holds(family, word):
    _, tokenizer = family
    words = ["the", word, word, "bank"]
    (encoded,) = Encoder(tokenizer).encode([words])
    assert len(encoded.first) == len(words)
    assert (np.diff(encoded.first) > 0).all()


@pytest.mark.parametrize("limit", [6, 8, 13, 31])
def test_windows_of_long_sentences_hold_every_word_once(family, limit):
    _, tokenizer = family
    long = [word for words in SENTENCES for word in words]
    whole = Encoder(tokenizer, max_length=512)
    split = Encoder(tokenizer, max_length=limit, overlap=1)
    (one,), (many,) = whole.encode([long]), split.encode([long])
    assert len(one.windows) == 1
    assert len(many.windows) > 1
    assert max(map(len, many.windows)) <= limit
    assert len(many.first) == len(long)
    fits = one.last - one.first < split.capacity
    texts = np.array(pieces(whole, one), dtype=object), np.array(pieces(split, many), dtype=object)
    assert (texts[0][fits] == texts[1][fits]).all()


def test_a_word_longer_than_the_window_is_shortened_not_dropped():
    encoder = Encoder(tiny.llama3_tokenizer(), max_length=10, overlap=2)
    (encoded,) = encoder.encode([["a", "qz" * 500, "b"]])
    assert len(encoded.first) == 3
    assert max(map(len, encoded.windows)) <= 10
    assert pieces(encoder, encoded)[2] == "b"


@given(st.lists(st.integers(1, 7), min_size=1, max_size=60), st.integers(7, 20), st.integers(0, 3))
def test_windows_cover_all_words_within_capacity(lengths, capacity, overlap):
    starts = np.cumsum([0, *lengths])
    cuts = windows(starts, capacity, overlap)
    owner = _owners(cuts, len(lengths))
    assert cuts[0][0] == 0
    assert cuts[-1][1] == len(lengths)
    for low, high in cuts:
        assert low < high
        assert starts[high] - starts[low] <= capacity
    for word, number in enumerate(owner):
        assert cuts[number][0] <= word < cuts[number][1]
    assert (np.diff(owner) >= 0).all()


def test_a_decoder_without_special_tokens_gets_its_bos():
    tokenizer = tiny.llama3_tokenizer()
    tokenizer.backend_tokenizer.post_processor = None
    (encoded,) = Encoder(tokenizer).encode([["Lima"]])
    assert encoded.windows[0][0] == tokenizer.bos_token_id
    assert encoded.first[0] == 1


def test_limits_that_contradict_each_other_are_refused():
    with pytest.raises(UserError, match=r"max_length 8 and data\.overlap 5"):
        Encoder(tiny.llama3_tokenizer(), max_length=8, overlap=5)
