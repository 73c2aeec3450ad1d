"""Tests of the label set and the tag schemes, against seqeval and by round trip."""

import pickle
import random
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from seqeval.metrics.sequence_labeling import get_entities

from ner_lightning.data.schemes import (
    LabelSet,
    Scheme,
    Span,
    convert,
    detect,
    is_tag,
    spans,
    split_tag,
    to_bio2,
)
from ner_lightning.errors import UserError

TYPES = ("PER", "ORG", "creative-work", "_")
MALFORMED = ["", "PER", "B", "B-", "-PER", "X-PER", "b-PER", "O-PER", "o", "B- PER", "B-PER ", "O "]


def tags_of(letters):
    """Tag sequences without any order in them, most of them illegal."""
    tag = st.builds("{}-{}".format, st.sampled_from(letters), st.sampled_from(TYPES))
    return st.lists(st.just("O") | tag, max_size=12)


@st.composite
def sentences(draw):
    """Entities that do not overlap, and the length of their sentence."""
    found, end = [], 0
    for kind in draw(st.lists(st.sampled_from(TYPES), max_size=5)):
        start = end + draw(st.integers(0, 2))
        end = start + draw(st.integers(1, 4))
        found.append(Span(kind, start, end))
    return found, end + draw(st.integers(0, 2))


def write(entities, length, scheme):
    """Writes entities in a scheme; written out independently of the package."""
    tags = ["O"] * length
    previous = Span("", -1, -1)
    for span in entities:
        size = span.end - span.start
        adjacent = previous.end == span.start and previous.type == span.type
        letters = {
            Scheme.IOB1: ("B" if adjacent else "I") + "I" * (size - 1),
            Scheme.BIO2: "B" + "I" * (size - 1),
            Scheme.BIOES: "S" if size == 1 else "B" + "I" * (size - 2) + "E",
        }[scheme]
        tags[span.start : span.end] = [f"{letter}-{span.type}" for letter in letters]
        previous = span
    return tags


@pytest.mark.filterwarnings("ignore:.*seems not to be NE tag")
@given(tags_of("BIES"))
def test_spans_are_those_of_seqeval_on_any_sequence(tags):
    assert spans(tags) == [Span(kind, start, end + 1) for kind, start, end in get_entities(tags)]


@given(tags_of("BIES"), st.randoms(use_true_random=False))
def test_letters_of_bilou_and_bmes_are_those_of_bioes(tags, rng: random.Random):
    aliases = {"E": "EL", "S": "SU", "I": "IM", "B": "B", "O": "O"}
    assert spans([rng.choice(aliases[tag[0]]) + tag[1:] for tag in tags]) == spans(tags)


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ("I-A I-A O", [("A", 0, 2)]),
        ("I-A B-A", [("A", 0, 1), ("A", 1, 2)]),
        ("B-A I-B", [("A", 0, 1), ("B", 1, 2)]),
        ("B-A E-A E-A I-A", [("A", 0, 2), ("A", 2, 3), ("A", 3, 4)]),
        ("S-A I-A", [("A", 0, 1), ("A", 1, 2)]),
        ("U-A U-A B-A L-A", [("A", 0, 1), ("A", 1, 2), ("A", 2, 4)]),
        ("", []),
    ],
)
def test_spans_of_known_cases(tags, expected):
    assert spans(tags.split()) == expected


@given(sentences(), st.sampled_from(Scheme))
def test_every_scheme_round_trips(sentence, scheme):
    entities, length = sentence
    written = write(entities, length, scheme)
    assert spans(written) == entities
    assert convert(written, scheme) == to_bio2(entities, length)
    assert to_bio2(entities, length) == write(entities, length, Scheme.BIO2)


@given(st.lists(tags_of("BIESLUM"), max_size=4))
def test_any_data_set_converts_to_legal_bio2_with_the_same_entities(sequences):
    scheme = detect(sequences)
    labels = LabelSet(TYPES)
    legal, starts, ends = labels.legal_transitions(), labels.legal_starts(), labels.legal_ends()
    for tags in sequences:
        converted = convert(tags, scheme)
        ids = labels.encode(converted)
        assert spans(converted) == spans(tags)
        assert len(converted) == len(tags)
        assert all(legal[i][j] for i, j in pairwise(ids))
        assert not ids or (starts[ids[0]] and ends[ids[-1]])
        if scheme is Scheme.BIO2:
            assert converted == tags


@given(st.lists(sentences(), max_size=4), st.sampled_from(Scheme))
def test_detect_gives_the_scheme_or_one_that_reads_the_same(data, scheme):
    written = [write(entities, length, scheme) for entities, length in data]
    found = detect(written)
    if found is not scheme:
        # IOB1 and BIOES data without telling entities may look like another scheme.
        assert all(write(*each, found) == tags for each, tags in zip(data, written, strict=True))


@pytest.mark.parametrize(
    ("sequences", "scheme"),
    [
        (["O O"], Scheme.BIO2),
        (["B-A I-A", "O B-A"], Scheme.BIO2),
        (["B-A I-A", "O I-A"], Scheme.IOB1),
        (["B-A I-B"], Scheme.IOB1),
        (["I-A B-A", "S-A"], Scheme.BIOES),
        (["B-A E-A"], Scheme.BIOES),
        (["B-A L-A"], Scheme.BIOES),
        (["U-A"], Scheme.BIOES),
        (["B-A M-A"], Scheme.BIOES),
        ([], Scheme.BIO2),
    ],
)
def test_detect_looks_at_the_whole_data_set(sequences, scheme):
    assert detect(tags.split() for tags in sequences) is scheme


@pytest.mark.parametrize("tag", ["E-A", "S-A", "L-A", "U-A", "M-A"])
@pytest.mark.parametrize("scheme", [Scheme.IOB1, Scheme.BIO2])
def test_convert_refuses_letters_of_another_scheme(tag, scheme):
    with pytest.raises(UserError, match=f"'{tag}' is not {scheme}"):
        convert(["O", tag], scheme)


@pytest.mark.parametrize("tag", MALFORMED)
@pytest.mark.parametrize(
    "function",
    [spans, lambda tags: detect([tags]), lambda tags: convert(tags, Scheme.IOB1), LabelSet(("A",)).encode],
)
def test_malformed_tags_are_quoted(tag, function):
    with pytest.raises(UserError) as caught:
        function(["O", tag])
    assert str(caught.value).startswith(f"malformed tag {tag!r}; ")
    assert not is_tag(tag)


def test_types_may_hold_hyphens():
    assert split_tag("B-creative-work") == ("B", "creative-work")
    assert spans(["B-creative-work", "I-creative-work"]) == [("creative-work", 0, 2)]
    assert is_tag("I-creative-work")


@pytest.mark.parametrize(
    "entities", [[("A", 0, 0)], [("A", -1, 1)], [("A", 2, 4)], [("A", 0, 2), ("B", 1, 3)]]
)
def test_to_bio2_refuses_entities_that_do_not_fit(entities):
    with pytest.raises(ValueError, match="does not fit"):
        to_bio2([Span(*entity) for entity in entities], 3)


def test_layout_of_the_label_set():
    labels = LabelSet(("PER", "creative-work"))
    assert labels.tags == ("O", "B-PER", "I-PER", "B-creative-work", "I-creative-work")
    assert len(labels) == 5
    assert labels.encode(labels.tags) == [0, 1, 2, 3, 4]
    assert labels.decode([4, 0, 1]) == ["I-creative-work", "O", "B-PER"]
    assert labels.decode(np.array([-1, 1])) == ["?", "B-PER"]
    for unknown in (-2, len(labels)):
        with pytest.raises(ValueError, match=f"expected ids from -1 to {len(labels) - 1}, got {unknown}"):
            labels.decode([0, unknown])


def test_legal_transitions_by_name():
    labels = LabelSet(("A", "B-", "C"))
    for i, before in enumerate(labels.tags):
        for j, after in enumerate(labels.tags):
            legal = not after.startswith("I-") or before in (after, "B" + after[1:])
            assert labels.legal_transitions()[i][j] is legal, (before, after)
    assert labels.legal_starts() == [not tag.startswith("I-") for tag in labels.tags]
    assert labels.legal_ends() == [True] * 7


def test_types_are_collected_in_order_of_first_appearance():
    sequences = [["O", "I-ORG"], ["B-PER", "I-ORG", "S-LOC"]]
    assert LabelSet.from_tags(iter(sequences)).types == ("ORG", "PER", "LOC")


def test_a_used_label_set_is_still_a_value():
    labels = LabelSet(("PER",))
    labels.encode(["B-PER"])
    assert labels == LabelSet(("PER",)) == pickle.loads(pickle.dumps(labels))
    assert hash(labels) == hash(LabelSet(("PER",)))
    assert labels != LabelSet(("ORG",))


def test_an_unknown_type_is_named_with_the_known_ones():
    with pytest.raises(UserError) as caught:
        LabelSet(("PER", "ORG")).encode(["O", "B-GPE"])
    message = "entity type 'GPE' is not one of the entity types PER, ORG"
    assert str(caught.value) == message


def test_encode_takes_bio2_only():
    with pytest.raises(ValueError, match="'S-PER' is not BIO2"):
        LabelSet(("PER",)).encode(["S-PER"])


@pytest.mark.parametrize("types", [("",), ("PER", "PER"), ("PER", "")])
def test_types_are_different_and_not_empty(types):
    with pytest.raises(UserError, match="different and not empty"):
        LabelSet(types)


def test_data_without_entities_make_no_label_set():
    with pytest.raises(UserError, match="no entity type"):
        LabelSet.from_tags([["O", "O"]])
