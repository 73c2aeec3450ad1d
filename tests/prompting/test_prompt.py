import pytest
import tiny

from ner_lightning.data.schemes import Span, spans
from ner_lightning.data.sentence import Sentence
from ner_lightning.prompting.prompt import (
    answer,
    choose_shots,
    instruction,
    messages,
    plain_answer,
    read_answer,
    untemplated,
)

TYPES = ("PER", "ORG", "LOC", "MISC")
WORDS = ["Vera", "Holt", "met", "Holt", "in", "Lima", ",", "near", "Halden", "Bank", "."]
VERA, HOLT, LIMA = Span("PER", 0, 2), Span("PER", 3, 4), Span("LOC", 5, 6)


@pytest.mark.parametrize(
    ("text", "entities", "lines", "absent", "failed"),
    [
        ("PER: Vera Holt\nLOC: Lima", [VERA, LIMA], 0, 0, False),
        ("NONE", [], 0, 0, False),
        ("none.", [], 0, 0, False),
        ("PER: NONE\nLOC: Lima", [LIMA], 0, 0, False),
        ("1. **per**: Vera Holt\n- Loc : `Lima`.", [VERA, LIMA], 0, 0, False),
        ("PER: Vera Holt, Holt", [VERA, HOLT], 0, 0, False),
        ("PER: Holt", [Span("PER", 1, 2), HOLT], 0, 0, False),  # named once, it stands for both
        ("PER: Vera Holt\nPER: Vera Holt", [VERA], 0, 0, False),
        ("PER: Vera Holt\nORG: Vera", [VERA], 0, 1, False),  # the words are taken
        ("LOC: Peru\nLOC: Lima", [LIMA], 0, 1, False),
        ("LOC: lima", [], 0, 1, False),  # as it stands in the sentence
        ("LOC: Lim", [], 0, 1, False),  # whole words
        ("DATE: 3 May\nLOC: Lima", [LIMA], 1, 0, False),
        ("The entities are as follows", [], 1, 0, True),
        ("", [], 0, 0, True),
        ("LOC: Lima\n\nSentence: Vera", [LIMA], 0, 0, False),  # what a model without an end adds
        ("\n\nLOC: Lima", [LIMA], 0, 0, False),
        ("<think>\n\n</think>\n\nLOC: Lima", [LIMA], 0, 0, False),
        (
            "\n<think>\nPER: Vera?\n\nNo.\n</think>\nLOC: Lima\n\nPER: Vera",
            [Span("PER", 0, 1), LIMA],
            0,
            0,
            False,
        ),
        ("PER: Vera Holt\n\nLOC: Lima", [VERA, LIMA], 0, 0, False),
        ("Sure, here are the entities:\n\nPER: Vera Holt\n\n \nLOC: Lima", [VERA, LIMA], 1, 0, False),
        ("LOC: Lima\n\nSentence: Vera Holt left\nEntities:\nPER: Vera Holt", [LIMA], 0, 0, False),
        ("<think>\nPER: Vera Holt", [VERA], 1, 0, False),  # never closed, so it is read as it is
    ],
)
def test_answers_are_read(text, entities, lines, absent, failed):
    assert read_answer(text, WORDS, TYPES) == (entities, lines, absent, failed, False)


@pytest.mark.parametrize("ended", [True, False])
@pytest.mark.parametrize(
    "text",
    [
        "LOC: Lima\n\nPER: Vera",
        "LOC: Lima\n \nPER: Vera",
        "LOC: Lima\n\nSentence: Vera",
        "\n\nLOC: Lima\n\n",
        "LOC: Lima\nSentence: Vera\nEntities:\nPER: Ve",
        "<think>\n\n</think>\n\nLOC: Lima\n\nPER: Ve",
    ],
)
def test_without_a_chat_template_a_blank_line_ends_an_answer(text, ended):
    reading = read_answer(text, WORDS, TYPES, ended=ended, templated=False)
    assert reading == ([LIMA], 0, 0, False, False)


def test_a_blank_line_between_thoughts_ends_no_answer():
    assert plain_answer("<think>\nVera?\n\nNo.") == ("<think>\nVera?", False)
    assert plain_answer("<think>\nVera?\n\nNo.\n</think>\n\nLOC: Lima\n\n") == ("LOC: Lima", True)
    assert plain_answer("\n\nLOC: Lima\n") == ("LOC: Lima\n", False)


def test_white_space_within_a_word_is_part_of_it():
    words = ["10\u00a0000", "Oslo"]
    reading = read_answer(answer(words, [Span("LOC", 0, 2)]), words, ["LOC"])
    assert (reading.entities, reading.absent) == ([Span("LOC", 0, 2)], 0)


def test_the_last_line_of_an_answer_cut_short_is_left_out():
    assert read_answer("PER: Vera Holt\nLOC: Li", WORDS, TYPES, ended=False).entities == [VERA]
    assert read_answer("LOC: Li", WORDS, TYPES, ended=False) == ([], 0, 0, True, True)
    assert read_answer("LOC: Lima\n", WORDS, TYPES, ended=False) == ([LIMA], 0, 0, False, True)


def test_a_further_question_after_a_chat_template_ends_an_answer():
    assert read_answer("LOC: Lima\nSentence: Ve", WORDS, TYPES, ended=False) == ([LIMA], 0, 0, False, False)


def test_what_is_shown_as_an_answer_is_read_as_it_was_meant():
    for words, tags in tiny.sentences(tiny.TRAIN):
        gold = spans(tags)
        assert read_answer(answer(words, gold), words, TYPES) == (gold, 0, 0, False, False)


@pytest.mark.parametrize(
    "types",
    [
        ["entity:person", "entity"],
        ["entity", "entity:person"],
        ["3D_object", "2.5D"],
        ["LOC (GPE)", "LOC"],
        ["Loc", "LOC"],
        ["LOC", "Loc", "loc"],
        ["a_" * 35, "a_" * 34],
        ["*", "**"],
        ["\u0130L", "IL"],  # its lower case is one character longer
    ],
)
def test_a_type_of_any_characters_is_read_as_the_examples_show_it(types):
    words = ["Vera", "Holt", "Lima"]
    gold = [Span(name, number, number + 1) for number, name in enumerate(types)]
    assert read_answer(answer(words, gold), words, types) == (gold, 0, 0, False, False)


@pytest.mark.parametrize(
    ("text", "types", "read"),
    [
        ("ENTITY:Person: Lima", ["entity:person"], "entity:person"),
        ("3d_object: Lima", ["3D_object"], "3D_object"),
        ("- LOC (GPE): Lima", ["LOC (GPE)"], "LOC (GPE)"),
        ("- Loc: Lima", ["LOC", "Loc"], "Loc"),
        ("loc: Lima", ["LOC", "Loc"], "LOC"),
    ],
)
def test_a_type_in_other_case_or_behind_a_list_mark_is_read(text, types, read):
    assert read_answer(text, WORDS, types).entities == [Span(read, 5, 6)]


def test_shots_are_drawn_by_seed_and_show_every_type():
    train = [Sentence(tuple(w), tuple(t), 0) for w, t in tiny.sentences(tiny.TRAIN)]
    train.append(Sentence(("Lima",) * 50, ("B-LOC",) * 50, 0))  # too long to be shown
    first = choose_shots(train, TYPES, 5, seed=1)
    assert first == choose_shots(train, TYPES, 5, seed=1)
    assert first != choose_shots(train, TYPES, 5, seed=2)
    assert {span.type for shot in first for span in spans(shot.tags)} == set(TYPES)
    assert max(len(shot.words) for shot in first) < 50
    assert choose_shots(train, TYPES, 0, seed=1) == []


def test_a_sentence_with_unknown_tags_is_no_example():
    train = [Sentence(("Lima", "fell"), ("?", "?"), 0), Sentence(("Vera", "left"), ("B-PER", "?"), 0)]
    train.append(Sentence(("Nobody", "left"), ("O", "O"), 0))
    assert choose_shots(train, TYPES, 3, seed=1) == train[2:]


def test_a_conversation_begins_with_the_instruction_and_ends_with_the_sentence():
    shot = Sentence(("Nobody", "left", "Lima"), ("O", "O", "B-LOC"), 0)
    turns = messages(TYPES, [shot], ["Who", "?"])
    assert [turn["role"] for turn in turns] == ["user", "assistant", "user"]
    assert turns[0]["content"].startswith(instruction(TYPES))
    assert turns[1]["content"] == "LOC: Lima"
    assert untemplated(turns).endswith("Entities:\nLOC: Lima\n\nSentence: Who ?\nEntities:\n")
    assert "PER (people)" in instruction(TYPES)
    assert "PART" in instruction(["PART"])
