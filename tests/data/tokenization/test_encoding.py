import numpy as np
import pytest
import tiny
from hypothesis import given
from hypothesis import strategies as st

from ner_lightning.data.corpus_settings import Encoding
from ner_lightning.data.tokenization.encoding import Encoder
from ner_lightning.data.tokenization.windows import owners, passages, windows
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


def test_words_that_are_tokenised_one_by_one_have_the_sub_tokens_of_the_text(family):
    _, tokenizer = family
    encoder = Encoder(tokenizer)
    for words in SENTENCES:
        ids, starts = encoder._word_by_word(words)
        assert ids.tolist() == tokenizer(" ".join(words), add_special_tokens=False)["input_ids"]
        assert len(starts) == len(words) + 1


@pytest.mark.parametrize("word", ["\u200b", "\x00", "é́̂", "👩\u200d👩", "a\u00a0b", "ﷺ", "①"])
def test_no_word_is_lost_whatever_it_holds(family, word):
    _, tokenizer = family
    for words in (["the", word, word, "bank"], ["Nordwind", word, "strikes"], [word, "bank"], ["bank", word]):
        (encoded,) = Encoder(tokenizer).encode([words])
        assert len(encoded.first) == len(words)
        assert (np.diff(encoded.first) > 0).all()


@pytest.mark.parametrize("limit", [6, 8, 13, 31])
def test_windows_of_long_sentences_hold_every_word_once(family, limit):
    _, tokenizer = family
    long = [word for words in SENTENCES for word in words]
    whole = Encoder(tokenizer, Encoding(max_length=512))
    split = Encoder(tokenizer, Encoding(max_length=limit, overlap=1))
    (one,), (many,) = whole.encode([long]), split.encode([long])
    assert len(one.windows) == 1
    assert len(many.windows) > 1
    assert max(map(len, many.windows)) <= limit
    assert len(many.first) == len(long)
    fits = one.last - one.first < split.capacity
    texts = np.array(pieces(whole, one), dtype=object), np.array(pieces(split, many), dtype=object)
    assert (texts[0][fits] == texts[1][fits]).all()


def test_a_word_longer_than_the_window_is_shortened_not_dropped():
    encoder = Encoder(tiny.llama3_tokenizer(), Encoding(max_length=10, overlap=2))
    (encoded,) = encoder.encode([["a", "qz" * 500, "b"]])
    assert len(encoded.first) == 3
    assert max(map(len, encoded.windows)) <= 10
    assert pieces(encoder, encoded)[2] == "b"


@given(st.lists(st.integers(1, 7), min_size=1, max_size=60), st.integers(7, 20), st.integers(0, 3))
def test_windows_cover_all_words_within_capacity(lengths, capacity, overlap):
    starts = np.cumsum([0, *lengths])
    cuts = windows(starts, capacity, overlap)
    owner = owners(cuts, len(lengths))
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
    with pytest.raises(UserError, match=r"max_length 8 and data\.encoding\.overlap 5"):
        Encoder(tiny.llama3_tokenizer(), Encoding(max_length=8, overlap=5))


def test_sentences_of_a_document_are_read_together_a_line_each(family):
    _, tokenizer = family
    alone, together = Encoder(tokenizer), Encoder(tokenizer, Encoding(context=500))
    documents = [0, 0, 0, 1, 1, 2, *[3] * (len(SENTENCES) - 6)]
    passages_ = list(together.encode(SENTENCES, documents))
    assert [e.index.tolist() for e in passages_] == [[0, 1, 2], [3, 4], [5], list(range(6, len(SENTENCES)))]
    singles = list(alone.encode(SENTENCES))
    for passage in passages_:
        members = [singles[i] for i in passage.index]
        assert passage.counts.tolist() == [len(SENTENCES[i]) for i in passage.index]
        # Each word has the sub-tokens that it has alone, and nothing but lines' ends stands between.
        assert pieces(together, passage) == [p for m in members for p in pieces(alone, m)]
        (window,) = passage.windows
        bare = [m.windows[0][len(alone.prefix) : len(m.windows[0]) - len(alone.suffix)] for m in members]
        inner = [part for body in bare for part in (together.line, body)][1:]
        assert window.tolist() == [*alone.prefix, *np.concatenate(inner), *alone.suffix]


@pytest.mark.parametrize("repeats", [0, 1])
@pytest.mark.parametrize("margin", [1, 5, 12, 40])
def test_a_margin_is_the_text_around_a_passage(family, margin, repeats):
    _, tokenizer = family
    bare = Encoder(tokenizer, Encoding(context=24, repeats=repeats))
    wide = Encoder(tokenizer, Encoding(context=24, margin=margin, repeats=repeats))
    whole = Encoder(tokenizer, Encoding(context=500))
    documents = [0] * len(SENTENCES)
    (everything,) = whole.encode(SENTENCES, documents)
    text = everything.windows[0].tolist()
    words = list(zip(everything.first.tolist(), everything.last.tolist(), strict=True))
    begin = 0
    for one, other in zip(bare.encode(SENTENCES, documents), wide.encode(SENTENCES, documents), strict=True):
        assert other.index.tolist() == one.index.tolist()
        assert pieces(wide, other) == pieces(bare, one)
        # The last copy is a part of the document's text, which begins and ends with whole words.
        end = begin + len(other.first)
        low, high = words[begin][0], words[end - 1][1] + 1
        before = int(other.first[0]) - len(wide.prefix)
        after = len(other.windows[0]) - len(wide.suffix) - int(other.last[-1]) - 1
        if repeats:
            before -= (len(other.windows[0]) - len(wide.prefix) - len(wide.suffix) + len(wide.line)) // 2
        assert 0 <= before <= margin
        assert 0 <= after <= margin
        body = text[low - before : high + after]
        assert other.windows[0].tolist()[-len(body) - len(wide.suffix) :] == [*body, *wide.suffix]
        assert before == 0 or low - before in {first for first, _ in words}
        assert after == 0 or high + after - 1 in {last for _, last in words}
        begin = end
    assert begin == len(words)


def test_a_long_sentence_leaves_less_room_for_its_margin():
    encoder = Encoder(tiny.llama3_tokenizer(), Encoding(max_length=40, overlap=4, context=8, margin=15))
    long = ["a"] * 15
    found = list(encoder.encode([["b"] * 7, long, ["c"] * 7], [0, 0, 0]))
    assert [len(e.windows) for e in found] == [1, 1, 1]
    assert max(len(ids) for e in found for ids in e.windows) <= 40


def test_both_margins_share_the_room_that_a_long_sentence_leaves():
    """`in` is one sub-token, and so is the end of a line."""
    encoder = Encoder(tiny.llama3_tokenizer(), Encoding(max_length=40, overlap=4, context=8, margin=15))
    found = list(encoder.encode([["in"] * 20, ["in"] * 16, ["in"] * 20], [0, 0, 0]))
    assert [len(e.first) for e in found] == [20, 16, 20]
    assert found[1].first[0] == 1 + 11
    assert len(found[1].windows[0]) == 1 + 11 + 16 + 11


@pytest.mark.parametrize("middle", [["qzxqzxq", "in"], ["in", "qzxqzxq"]])
def test_a_margin_ends_at_a_word_that_does_not_fit(middle):
    """It does not go on in the sentence beyond, where a shorter word would."""
    encoder = Encoder(tiny.llama3_tokenizer(), Encoding(max_length=64, overlap=4, context=7, margin=6))
    sentences = [["in"] * 6, middle, ["in"] * 6]
    (whole,) = Encoder(encoder.tokenizer, Encoding(context=500)).encode(sentences, [0, 0, 0])
    text = f" {' '.join(map(str, whole.windows[0]))} "
    found = list(encoder.encode(sentences, [0, 0, 0]))
    assert sorted(len(e.windows[0]) for e in found)[:2] == [1 + 6, 1 + 6 + 2]
    for passage in found:
        assert f" {' '.join(map(str, passage.windows[0][1:]))} " in text


def test_a_word_without_sub_tokens_becomes_unknown():
    tokenizer = tiny.TOKENIZERS["wordpiece"]()
    (encoded,) = Encoder(tokenizer).encode([["the", "\u200b", "bank"]])
    assert encoded.windows[0][encoded.first[1]] == tokenizer.unk_token_id != tokenizer.pad_token_id


def test_the_longest_window_counts():
    (encoded,) = Encoder(tiny.llama3_tokenizer(), Encoding(max_length=12, overlap=2)).encode([["a"] * 15])
    assert min(len(ids) for ids in encoded.windows) < 12
    assert encoded.longest == 12


def test_without_documents_each_sentence_is_read_alone():
    encoder = Encoder(tiny.llama3_tokenizer(), Encoding(context=500))
    assert [len(e.index) for e in encoder.encode(SENTENCES)] == [1] * len(SENTENCES)


def test_a_sentence_too_long_for_a_passage_is_a_passage_of_several_windows():
    encoder = Encoder(tiny.llama3_tokenizer(), Encoding(max_length=24, overlap=4, context=16))
    long = [word for words in SENTENCES[:4] for word in words]
    found = list(encoder.encode([["a", "b"], ["c"], long, ["d"]], [0, 0, 0, 0]))
    assert [e.index.tolist() for e in found] == [[0, 1], [2], [3]]
    assert len(found[1].windows) > 1
    assert max(len(ids) for e in found for ids in e.windows) <= 24


@given(st.lists(st.integers(1, 30), max_size=40), st.integers(1, 60))
def test_passages_hold_each_sentence_once_within_the_limit(lengths, limit):
    cuts = list(passages(lengths, limit))
    assert [place for begin, end in cuts for place in range(begin, end)] == list(range(len(lengths)))
    for begin, end in cuts:
        assert end - begin == 1 or sum(lengths[begin:end]) <= limit


def test_a_document_is_cut_into_passages_of_like_length():
    assert list(passages([10] * 12, 100)) == [(0, 6), (6, 12)]  # not 10 and 2


@pytest.mark.parametrize("limits", [{}, {"max_length": 40, "overlap": 3}])
def test_repeated_text_is_read_from_its_last_copy(family, limits):
    _, tokenizer = family
    once, twice = Encoder(tokenizer), Encoder(tokenizer, Encoding(repeats=2, **limits))
    for one, many in zip(once.encode(SENTENCES), twice.encode(SENTENCES), strict=True):
        assert pieces(twice, many) == pieces(once, one)
        assert max(map(len, many.windows)) <= limits.get("max_length", 512)
        if len(many.windows) == 1:
            body = one.windows[0][len(once.prefix) : len(one.windows[0]) - len(once.suffix)]
            expected = [*once.prefix, *[*body, *twice.line] * 2, *body, *once.suffix]
            assert many.windows[0].tolist() == expected
            assert many.last[-1] == len(expected) - len(once.suffix) - 1


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"context": 600}, r"data\.encoding\.context is 600; it must be at least 1 and at most 511"),
        ({"context": 0}, r"data\.encoding\.context is 0"),
        ({"margin": 8}, r"margin is 8, which needs data\.encoding\.context"),
        ({"context": 400, "margin": 56}, "context and twice the margin may be at most 511"),
        ({"repeats": -1}, r"data\.encoding\.repeats is -1"),
        ({"repeats": 300}, "301 copies"),
    ],
)
def test_impossible_contexts_and_repeats_are_refused(settings, said):
    with pytest.raises(UserError, match=said):
        Encoder(tiny.llama3_tokenizer(), Encoding(**settings))
