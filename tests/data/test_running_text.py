"""Words and pieces of running text."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ner_lightning.data import running_text as splitter
from ner_lightning.data.invisible import is_invisible
from ner_lightning.data.running_text import from_spaces, from_text, from_words, pieces, words


def cut(text):
    return [text[start:end] for start, end in words(text)]


# On the left a text whose words | parts; the bars are taken out before it is cut.
WORDS = [
    "Vera| |Holt|'s| |team| |did|n't| |win|.",
    "We|'re| |sure| |he|’s| |in|;| |they|'LL| |say| |ca|n’t|.",
    "The| |boys|'| |O'Neill| |and| |l'Homme| |at| |ten| |o'clock",
    "'s| |n't| |''|Hi|''| |``|so|``",
    "U.S.| |and| |U.S.-led| |forces|,| |9| |a.m.| |in| |D.C.",
    "J.| |Holt| |met| |Dr.| |Brandt| |of| |Tollan| |Inc.|,| |No.| |5| |vs.| |No|,| |no|.",
    "1.| |Okoro",
    "In| |5|.",
    "他|did|n't| |王|Vera|'s",
    "6-4| |6-3|,| |1,000.50| |on| |1996-08-22| |at| |2:29.34| |1/2| |2-1/2| |3,907.5| |10th",
    "+44| |20| |.500| |US$| |1.5| |$|1,000| |5|%",
    "Sino-Soviet| |S&P| |AT&T|'s| |a_b| |x@y.com| |see| |http://a.b/c?d=1|)|.",
    'one|--|two|...| |**| |(|three|)| |"|four|"| |[|5|]',
    "in| |Lima|.|Vera| |and|/|or",
    "我|爱|北|京|。|ひ|ら|カ|ー",
    "קוראים| |לי| |ורה|.| |مرحبا|،| |نعم|؟",
    "👨\u200d👩\u200d👧|🇫🇷| |1\ufe0f\u20e3| |👍🏽",
    "e\u0301te\u0301| |नमस्ते| |\u0301",
    "mid\u00addle| |a\u200cb",
]


@pytest.mark.parametrize("barred", WORDS)
def test_words(barred):
    assert cut(barred.replace("|", "")) == [word for word in barred.split("|") if word.strip()]


def test_what_parts_words_belongs_to_none():
    assert cut("a\x00b\u200b\u200bc\td\r\ne\u00a0f\u2028g\x1b[0m\ufeffh") == [*"abcdefg", "[", "0m", "h"]
    for nothing in ("", " ", "\r\n\t", "\x00", "\u200b\ufeff", "\u3000"):
        assert from_text(nothing) == (nothing, ())


def test_words_stay_when_they_are_cut_again():
    sentence = from_spaces("He did n't say so , Vera 's team ( 6-4 ) won U.S. $ 5 .")
    assert cut(sentence.text) == sentence.words[0]


PIECES = {
    "full stops": (
        "It ended. Vera left! Why? (So.) No",
        ["It ended .", "Vera left !", "Why ?", "( So . )", "No"],
    ),
    "quotes behind them": ('"It ended." He left.', ['" It ended . "', "He left ."]),
    "small letters after them": ("It cost 5 ... or so. and more", ["It cost 5 ... or so . and more"]),
    "abbreviations": ("Mr. Holt of the U.S. Army", ["Mr. Holt of the U.S. Army"]),
    "blank lines": ("a long line that was surely wrapped somewhere here\n \nVera", 2),
    "short lines": ("To: Vera\nFrom: Okoro\r\nLima", ["To : Vera", "From : Okoro", "Lima"]),
    "wrapped lines": ("a long line that ends with the first half of New\nYork", 1),
    "no space": ("你好。再见！好", ["你 好 。", "再 见 ！", "好"]),
}


@pytest.mark.parametrize("case", PIECES)
def test_pieces(case):
    text, expected = PIECES[case]
    found = [" ".join(piece) for piece in from_text(text).words]
    assert (len(found) if isinstance(expected, int) else found) == expected


def test_long_pieces_are_cut_at_commas():
    text = "word " * 200 + ", " + "word " * 2000
    sizes = [len(sentence) for sentence in from_text(text).sentences]
    assert sizes[0] == 201
    assert max(sizes[1:]) == splitter.MAX_WORDS
    assert sum(sizes) == 2201
    given = from_words(["word"] * (splitter.MAX_GIVEN_WORDS + 1))
    assert [len(sentence) for sentence in given.sentences] == [splitter.MAX_GIVEN_WORDS, 1]


def test_words_that_are_given_keep_their_places():
    document = from_words(["New York", "", "é", "."])
    assert document.text == "New York  é ."
    assert document.words == [["New York", "", "é", "."]]
    assert from_words([]) == ("", ())
    assert from_spaces(" Vera\u00a0Holt  left .\n").words == [["Vera", "Holt", "left", "."]]


ANY = st.text(st.characters(exclude_categories=()), max_size=60)
NASTY = st.lists(
    st.sampled_from(
        [*" .,'’-\n\r\t\x00\u200b\u200d\ufe0f\u0301$+5a.A我👍🏽", "n't", "'s", "U.S.", "\r\n", "\ud800"]
    )
).map("".join)


@settings(max_examples=500, deadline=None)
@given(st.one_of(ANY, NASTY))
def test_nothing_is_lost_or_moved(text):
    found = words(text)
    places = [place for start, end in found for place in range(start, end)]
    assert places == sorted(set(places)), "in order, without overlap"
    assert all(start < end and not is_invisible(text[start:end]) for start, end in found)
    lost = (text[place] for place in set(range(len(text))) - set(places))
    assert all(
        char.isspace() or not char.isprintable() or is_invisible(char) or is_mark(char) for char in lost
    )
    ranges = pieces(text, found)
    assert [word for first, last in ranges for word in range(first, last)] == list(range(len(found)))
    assert all(first < last for first, last in ranges)
    assert from_text(text).offsets == found


def is_mark(char):
    import unicodedata

    return unicodedata.category(char) in {"Cf", "Mn", "Me"}


def test_time_grows_with_the_text_alone():
    import time

    def seconds(text):
        began = time.process_time()
        from_text(text)
        return time.process_time() - began

    for part in ("a", "a'", "n't", "http://.", "1.", "\u0301", "'", "U.S", "A. ", "👨\u200d", " \n", "["):
        assert seconds(part * 40_000) < 2, repr(part)


@pytest.mark.parametrize("unit", ["王", "かな", "ไทย", "王a", "a'", "1王", "didn't"])
def test_text_without_spaces_takes_time_in_proportion_to_its_length(unit):
    began = time.process_time()
    assert len(words(unit * 20_000)) >= 1
    assert time.process_time() - began < 4  # backtracking from each character took 12 s


def test_words_of_long_text_without_spaces_are_not_kept():
    before = splitter._parts_of.cache_info().currsize
    assert len(words("王" * 41)) == 41
    assert splitter._parts_of.cache_info().currsize == before
    assert len(words("王" * 40)) == 40
    assert splitter._parts_of.cache_info().currsize == before + 1
