"""Tests of splitting: a partition, whole documents, near-duplicates together, types in proportion."""

import os
import subprocess
import sys
from itertools import combinations, pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ner_lightning.data.near_duplicates import near_duplicates, normalised
from ner_lightning.data.sentence import Sentence
from ner_lightning.data.splitting import divide
from ner_lightning.errors import UserError

SHARES = {"train": 0.8, "valid": 0.1, "test": 0.1}
WORDS = ("Ilse", "Braun", "met", "12", "7", "the", "board", "of", "Nordwind")


def sentence(text, document=0, tags=None):
    words = tuple(text.split())
    return Sentence(words, tags or ("O",) * len(words), document)


def numbered(count, document=lambda index: 0, kind=lambda index: None):
    """Sentences that share no words, each with an entity of a type or with none."""
    return [
        Sentence(
            tuple(f"w{chr(97 + place)}{chr(0x4E00 + index)}" for place in range(6)),
            (f"B-{kind(index)}" if kind(index) else "O", *["O"] * 5),
            document(index),
        )
        for index in range(count)
    ]


def similarity(one, other):
    """Jaccard similarity of the triples of two sentences' words."""
    a, b = ({*zip(w, w[1:], w[2:], strict=False)} for w in (normalised(x).split(" ") for x in (one, other)))
    return len(a & b) / len(a | b)


def slow_groups(sentences):
    """Groups of near-duplicates, by comparing all pairs."""
    groups = [{index} for index in range(len(sentences))]
    for one, other in combinations(range(len(sentences)), 2):
        if min(len(sentences[one]), len(sentences[other])) >= 5 and (
            normalised(sentences[one]) == normalised(sentences[other])
            or similarity(sentences[one], sentences[other]) >= 0.8
        ):
            joined = next(g for g in groups if one in g) | next(g for g in groups if other in g)
            groups = [g for g in groups if not g & joined] + [joined]
    return sorted(sorted(group) for group in groups if len(group) > 1)


@st.composite
def alike(draw):
    """Sentences, some of which are copies of others with a word changed or added."""
    made = draw(st.lists(st.lists(st.sampled_from(WORDS), min_size=1, max_size=25), min_size=1, max_size=8))
    for _ in range(draw(st.integers(0, 6))):
        copy = list(draw(st.sampled_from(made)))
        copy[draw(st.integers(0, len(copy) - 1))] = draw(st.sampled_from(WORDS))
        made.append(copy + draw(st.lists(st.sampled_from(WORDS), max_size=2)))
    return made


@pytest.mark.slow
@given(alike())
@settings(max_examples=300, deadline=None)
def test_near_duplicates_are_those_of_all_pairs(sentences):
    assert near_duplicates(sentences) == slow_groups(sentences)


def test_a_long_sentence_with_one_other_word_is_a_near_duplicate():
    words = [f"w{index}" for index in range(10)] * 3
    long = [f"{word}{chr(97 + index)}" for index, word in enumerate(words)]
    changed = [*long[:15], "other", *long[16:]]
    assert near_duplicates([long, ["x"] * 9, changed]) == [[0, 2]]
    assert near_duplicates([long[:20], ["x"] * 9, changed[:20]]) == []
    assert near_duplicates([["He", "agreed", "on", "it", "."], ["HE", "agreed", "ON", "it", "."]]) == [[0, 1]]
    assert near_duplicates([["He", "agreed", "."]] * 2) == []
    assert near_duplicates([]) == []


@st.composite
def corpora(draw):
    made = draw(alike())
    documents = draw(st.integers(1, 4))
    return [
        Sentence(
            tuple(words), tuple(draw(st.sampled_from(["O", "B-PER", "B-LOC"])) for _ in words), i % documents
        )
        for i, words in enumerate(made)
    ]


@pytest.mark.slow
@given(corpora(), st.integers(0, 3))
@settings(max_examples=200, deadline=None)
def test_parts_are_a_partition_of_whole_documents_with_duplicates_together(sentences, seed):
    shares = {"train": 0.6, "test": 0.4}
    try:
        division = divide(sentences, shares, seed)
    except UserError as error:
        assert "cannot be split into 2 parts" in str(error)  # noqa: PT017
        return
    assert divide(sentences, shares, seed) == division
    parts = division.parts
    assert sorted(parts["train"] + parts["test"]) == list(range(len(sentences)))
    assert all(part and part == sorted(part) for part in parts.values())
    part_of = {index: name for name, part in parts.items() for index in part}
    if division.documents > 1:
        for one, other in combinations(range(len(sentences)), 2):
            if sentences[one].document == sentences[other].document:
                assert part_of[one] == part_of[other]
    if not division.boilerplate:
        for group in near_duplicates([s.words for s in sentences]):
            assert len({part_of[index] for index in group}) == 1


def test_types_and_words_are_in_proportion():
    sentences = numbered(1000, kind=lambda i: "PER" if i % 2 else "LOC" if i % 3 else "ORG")
    parts = divide(sentences, SHARES, seed=3).parts
    for kind in ("PER", "LOC", "ORG"):
        counts = {n: sum(sentences[i].tags[0] == f"B-{kind}" for i in part) for n, part in parts.items()}
        total = sum(counts.values())
        assert all(abs(counts[name] - share * total) <= 2 for name, share in SHARES.items())
    assert {name: len(part) for name, part in parts.items()} == {"train": 800, "valid": 100, "test": 100}


def test_short_and_long_sentences_are_in_every_part_alike():
    sentences = [
        Sentence((f"w{chr(0x4E00 + index)}",) * (3 + index % 30), ("B-PER", *["O"] * (2 + index % 30)), 0)
        for index in range(3000)
    ]
    division = divide(sentences, SHARES, seed=0)
    means = [sum(len(sentences[i].words) for i in p) / len(p) for p in division.parts.values()]
    assert max(means) / min(means) < 1.1


@given(st.integers(0, 1000), st.integers(3, 6), st.booleans())
@settings(max_examples=60, deadline=None)
def test_a_rare_type_is_in_every_part(seed, count, documents):
    rare = {f"T{index % 4}": 0 for index in range(4)}
    sentences = numbered(
        200,
        document=(lambda index: index // 2) if documents else (lambda index: 0),
        kind=lambda index: f"T{index % 4}" if index < 4 * count * (2 if documents else 1) else None,
    )
    parts = divide(sentences, SHARES, seed).parts
    for kind in rare:
        for part in parts.values():
            assert any(sentences[index].tags[0] == f"B-{kind}" for index in part)


def test_documents_that_share_a_sentence_stay_together():
    sentences = numbered(60, document=lambda index: index // 2)
    shared = "Tiago Neves won cup 24 in Porto ."
    sentences[0] = sentence(shared, 0)
    sentences[11] = sentence(shared.replace("24", "31"), 5)
    division = divide(sentences, SHARES, seed=1)
    assert division.documents == 30
    assert division.units == 29
    assert division.duplicates == 1
    assert sum(set(part) & {0, 1, 10, 11} == {0, 1, 10, 11} for part in division.parts.values()) == 1
    assert division.summary() == (
        f"train {len(division.parts['train'])}, valid {len(division.parts['valid'])}, "
        f"test {len(division.parts['test'])} sentences; 30 documents stay whole; "
        "groups of near-duplicates kept in one part: 1."
    )


def test_boilerplate_does_not_join_all_documents():
    sentences = numbered(60, document=lambda index: index // 2)
    for index in range(0, 60, 2):
        sentences[index] = sentence("Copyright 2019 by the Harbour Gazette .", index // 2)
    division = divide(sentences, SHARES, seed=1)
    assert (division.units, division.duplicates, division.boilerplate) == (30, 0, 1)
    assert "sentences that recur in many documents, and so in several parts: 1" in division.summary()


def test_a_chain_of_shared_sentences_does_not_join_all_documents():
    sentences = numbered(80, document=lambda index: index // 2)
    for one, other in pairwise(range(0, 80, 2)):
        sentences[other + 1 - 2 * (other % 4 == 0)] = sentences[one]
        sentences.append(
            sentence(f"the chain link {'abcdefghij'[one // 10]} {chr(0x4E00 + one)} ends", one // 2)
        )
        sentences.append(
            sentence(f"the chain link {'abcdefghij'[one // 10]} {chr(0x4E00 + one)} ends", other // 2)
        )
    division = divide(sentences, SHARES, seed=1)
    assert division.boilerplate
    assert all(division.parts.values())


def test_the_result_depends_on_the_seed_alone():
    program = (
        "import test_splitting as t; from ner_lightning.data.splitting import divide; "
        "s = t.numbered(90, lambda i: i // 3, lambda i: 'ABCDE'[i % 5]); "
        "print(divide(s, t.SHARES, 1).parts)"
    )
    here = os.path.dirname(__file__)  # noqa: PTH120
    printed = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join([here, *sys.path])},
            capture_output=True, text=True, check=True,
        ).stdout
        for seed in ("1", "2")
    }  # fmt: skip
    assert len(printed) == 1
    sentences = numbered(90)
    assert divide(sentences, SHARES, 1).parts != divide(sentences, SHARES, 2).parts


@pytest.mark.parametrize(
    ("shares", "message"),
    [
        ({"train": 1.0}, "the share of train is 1; give a number between 0 and 1"),
        ({"train": 0.0, "test": 1.0}, "the share of train is 0"),
        ({"train": -0.1, "test": 1.1}, "the share of train is -0.1"),
        ({"train": float("nan"), "test": 0.5}, "the share of train is nan"),
        ({"train": 0.8, "test": 0.1}, r"the shares add up to 0.9, not to 1 \(train 0.8, test 0.1\)"),
    ],
)
def test_impossible_shares(shares, message):
    with pytest.raises(UserError, match=message):
        divide(numbered(9), shares, 0)


def test_fewer_units_than_parts():
    with pytest.raises(
        UserError, match="4 sentences cannot be split into 3 parts: there are only 2 documents"
    ):
        divide(numbered(4, document=lambda index: index // 2), SHARES, 0)
    with pytest.raises(UserError, match="only 2 sentences that share no sentences"):
        divide(numbered(2), SHARES, 0)
