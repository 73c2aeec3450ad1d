"""Tests of the data check, against brute force and on small data sets with one fault each."""

import json
import re
from collections import Counter
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ner_lightning.analysis.data_boundaries import invisible, odd_punctuation, unbalanced
from ner_lightning.analysis.data_check import check_data
from ner_lightning.analysis.data_entities import forms
from ner_lightning.analysis.data_page import data_blocks, data_page
from ner_lightning.analysis.data_reading import ReadingFacts
from ner_lightning.analysis.data_sizes import similar_types
from ner_lightning.analysis.findings import Level
from ner_lightning.analysis.render.blocks import Table, markdown
from ner_lightning.analysis.render.data_plots import entities_by_type, sentence_lengths
from ner_lightning.analysis.render.style import SETTINGS, svg
from ner_lightning.analysis.render.terminal_text import terminal
from ner_lightning.data.schemes import spans
from ner_lightning.data.sentence import Sentence

TAGS = ("O", "O", "B-PER", "I-PER", "B-LOC", "I-LOC", "B-creative-work")
WORDS = ("Vera", "Holt", "of", "Lima", "7", ",", "may")
ORIGINS = {split: f"data/{split}.conll" for split in ("train", "valid", "test")}


def marked(text, document=0):
    """A sentence in which [Vera Holt PER] stands for an entity."""
    words, tags = [], []
    for part in re.findall(r"\[[^\[\]]+ [A-Za-z-]+\]|\S+", text):
        if part[0] == "[" and part[-1] == "]" and " " in part:
            *own, type_ = part[1:-1].split()
            words += own
            tags += [f"B-{type_}"] + [f"I-{type_}"] * (len(own) - 1)
        else:
            words.append(part)
            tags.append("O")
    return Sentence(tuple(words), tuple(tags), document)


def checked(train, valid=(), test=(), **options):
    given_ = {"train": train, "valid": valid, "test": test}
    splits = {split: [marked(text) for text in texts] for split, texts in given_.items() if texts}
    return check_data(splits, ORIGINS, **options)


tagged = st.lists(st.tuples(st.sampled_from(WORDS), st.sampled_from(TAGS)), min_size=1, max_size=10)


def runs(sentence):
    """All runs of words, and what each is: an entity's words or some of them, or none."""
    for start in range(len(sentence.words)):
        for end in range(start + 1, len(sentence.words) + 1):
            own = set(range(start, end))
            shared = [own & set(range(a, b)) for _, a, b in spans(sentence.tags)]
            if own not in shared:
                yield sentence.words[start:end], "other boundaries" if any(shared) else "unannotated"


def slow_forms(splits):
    """Readings of each form, by comparing each run of words with each form."""
    counts = Counter(
        (sentence.words[start:end], type_, split)
        for split, sentences in splits.items()
        for sentence in sentences
        for type_, start, end in spans(sentence.tags)
    )
    known = {form for form, _, _ in counts if len(form) <= 6 and re.search("[a-z]", " ".join(form).lower())}
    for split, sentences in splits.items():
        for sentence in sentences:
            counts.update((run, reading, split) for run, reading in runs(sentence) if run in known)
    for form in {form for form, _, _ in counts if len(form) == 1 and form[0].islower()}:
        own = {key: count for key, count in counts.items() if key[0] == form}
        outside = [key for key in own if key[1] == "unannotated"]
        if 2 * sum(own[key] for key in outside) > sum(own.values()):
            for key in outside:
                del counts[key]
    return counts


@given(st.lists(tagged, max_size=5), st.lists(tagged, max_size=3))
@settings(max_examples=300, deadline=None)
def test_readings_of_forms_are_those_of_all_runs_of_words(train, valid):
    splits = {
        split: [Sentence(*zip(*pairs, strict=True), 0) for pairs in each]
        for split, each in (("train", train), ("valid", valid))
    }
    annotated = {split: [spans(s.tags) for s in each] for split, each in splits.items()}
    made = forms(splits, annotated)
    counted = {
        (form, use.reading, use.split): each.count
        for form, uses in made.items()
        for use, each in uses.items()
    }
    assert counted == slow_forms(splits)
    for form, uses in made.items():
        for use, each in uses.items():
            words = splits[use.split][each.sentence].words
            assert words[each.start : each.start + len(form)] == form


def test_forms_in_doubt():
    check = checked(
        [
            "[Lima LOC] grew",
            "[Lima LOC] fell",
            "Lima , again",
            "[Lima Times ORG] closed",
            "[Holt PER] met Holt",
        ],
        ["[Lima ORG] won", "They may go", "in [may DATE] we may or may not"],
    )
    finding = check.finding("consistency")
    assert finding.head == ("form", "all", "train", "valid")
    assert finding.rows == (("Lima", "LOC 2, ORG 1, unannotated 1", "LOC 2, unannotated 1", "ORG 1"),)
    assert finding.count == 1
    assert finding.examples[0].text() == (
        "data/valid.conll, sentence 1: [Lima ORG] won (Lima: ORG here; LOC 2, ORG 1, unannotated 1 in all)"
    )
    overlooked = checked(["[Lima LOC] grew"] * 30 + ["Lima grew"])
    assert overlooked.finding("consistency").rows == (
        ("Lima", "LOC 30, unannotated 1", "LOC 30, unannotated 1"),
    )
    rare = checked(["Lima grew"] * 30 + ["[Lima LOC] grew"])
    assert rare.finding("consistency") is None


def test_untagged_sentences_do_not_count_as_unannotated():
    splits = {"train": [marked("[Lima LOC] grew")] * 3, "test": [Sentence(("Lima",), None, 0)] * 3}
    check = check_data(splits, ORIGINS)
    assert check.finding("consistency") is None
    assert [finding.key for finding in check.problems] == ["untagged"]


def test_sentences_and_documents_in_two_splits():
    text = "[Ilse Braun PER] won cup 24 in Porto"
    train = [marked(text), marked(text), marked("They said so"), marked("Nobody else spoke for the board")]
    test = [marked(text.replace("24", "31"), 0), marked("A sentence of its own , here", 0)]
    test += [marked("Nobody ELSE spoke for the board", 1), marked("They said so", 1), marked("[Lima LOC]", 2)]
    check = check_data({"train": train, "test": test}, ORIGINS)
    shared = check.finding("shared_sentences")
    assert shared.rows == (("test", "train", 2, "40.0%"),)
    assert shared.examples[0].text() == (
        "data/test.conll, sentence 1: [Ilse Braun PER] won cup 31 in Porto "
        "(also at data/train.conll, sentence 1)"
    )
    assert check.finding("shared_documents").rows == (("test", "train", 1),)
    assert check.finding("repeated_sentences").rows == (("train", 1, "25.0%"),)
    assert check.finding("contradictory_sentences") is None


def test_a_sentence_that_is_annotated_in_two_ways():
    text = "[Ilse Braun PER] won cup 24 in Porto"
    other = marked("Ilse Braun won cup 24 in [Porto LOC]")
    check = check_data({"train": [marked(text), other, marked(text)], "test": [other]}, ORIGINS)
    found = check.finding("contradictory_sentences")
    assert found.rows == (("train", 1), ("test", 1))
    assert found.examples[0].text() == (
        "data/train.conll, sentence 2: Ilse Braun won cup 24 in [Porto LOC] (otherwise at data/train.conll, "
        "sentence 1: [Ilse Braun PER] won cup 24 in Porto)"
    )


def test_types():
    train = (
        ["[Lima LOC] grew"] * 25
        + ["[Holt PER] met [Braun Person]"] * 3
        + ["[Ilse person] , [Old Harbour FAC]"]
    )
    check = checked(train, ["[Otto PER] saw [Mars PLANET]"], ["[Lima LOC] and [Otto PER]"])
    rows = {
        key: [row[0] for row in check.finding(key).rows] for key in ("types", "rare_types", "unseen_types")
    }
    assert rows["types"] == ["LOC", "PER", "Person", "FAC", "PLANET", "person"]
    assert rows["rare_types"] == ["PER", "Person", "FAC", "person"]
    assert rows["unseen_types"] == ["PLANET"]
    assert [row[0] for row in check.finding("types_not_in_valid").rows] == ["LOC", "Person", "FAC", "person"]
    assert check.finding("similar_types").rows == (("Person / person", "3, 1"),)
    assert not check.problems


@pytest.mark.parametrize(
    ("total", "groups"),
    [
        ({"Person": 9, "PERSON": 3, "ORG": 5}, [["Person", "PERSON"]]),
        ({"creative-work": 90, "CreativeWork": 3}, [["creative-work", "CreativeWork"]]),
        ({"PERSON": 900, "PRESON": 2}, [["PERSON", "PRESON"]]),
        ({"PERSON": 900, "PRESON": 300}, []),
        ({"LEVEL1": 900, "LEVEL2": 2, "PER": 100, "PET": 1}, []),
        ({"人": 3, "地": 2, "+": 1, "-": 1}, []),
    ],
)
def test_similar_type_names(total, groups):
    assert similar_types(Counter(total)) == groups


@pytest.mark.parametrize(
    ("text", "odd"),
    [
        ("Nordwind", False),
        ("Nordwind Inc.", False),
        ("Nordwind Inc .", False),
        ("Sun ( UK )", False),
        ('" The Harbour "', False),
        (".NET", False),
        ("#harbour", False),
        ("' s-Hertogenbosch", False),
        ("Nordwind ,", True),
        ("Nordwind,", True),
        (", Nordwind", True),
        ("Nordwind Holdings .", True),
        ("- Nordwind", True),
        ("...", True),
    ],
)
def test_punctuation_at_the_boundary(text, odd):
    assert odd_punctuation(tuple(text.split())) is odd


@pytest.mark.parametrize(
    ("text", "odd"),
    [
        ("Sun ( UK )", False),
        ("Sun (UK)", False),
        ("“ Sun ”", False),
        ("„ Sonne “", False),
        ("« Soleil »", False),
        ("`` Sun ''", False),
        ("O'Hara", False),
        ("Sun ( UK", True),
        ("Sun )", True),
        ('" Sun', True),
        ("`` Sun", True),
        ("“ Sun", True),
    ],
)
def test_half_a_pair(text, odd):
    assert unbalanced(tuple(text.split())) is odd


def test_invisible_characters():
    assert not invisible(("New York", "City"))
    assert invisible(("\u00a0Lima",))
    assert invisible(("Li\u00adma",))
    assert invisible(("New\u00a0York",))


def test_boundaries_in_a_data_set():
    usual = ["[Harbour ORG] , [Gazette ORG] , [Nordwind ORG] won"] * 4
    odd = [
        "[the Harbour ORG] lost",
        "[Nordwind , ORG] lost",
        "[Sun ( ORG] UK )",
        "[Ilse PER] [Braun PER] ran",
    ]
    odd += ["[Los Robles LOC] grew", f"[{' '.join('abcdefghijk')} LOC]"]
    check = checked(usual + odd)
    assert check.finding("determiner").rows == (("the Harbour", "ORG", 1),)
    assert check.finding("punctuation").rows == (("Nordwind ,", "ORG", 1), ("Sun (", "ORG", 1))
    assert check.finding("unbalanced").rows == (("Sun (", "ORG", 1),)
    assert check.finding("touching").rows == (("PER", "train", 1),)
    assert check.finding("touching").examples[0].focus == (0, 2)
    assert check.finding("long_entities").count == 1
    assert "Very long sentences" in check.passed


def test_sizes():
    check = checked(["[Vera Holt PER] ran", "She ran on and on"], ["[Lima LOC]"])
    assert check.finding("sizes").rows == (("train", 1, 2, 8, 1, 3, 5), ("valid", 1, 1, 1, 1, 1, 1))
    assert check.finding("entity_lengths").rows == (("1", 0, 1), ("2", 1, 0))
    assert check.finding("missing_splits").text.startswith("There are no sentences of test.")
    assert checked([f"[Lima LOC] {'on ' * 210}"]).finding("long_sentences").examples[0].note == "211 words"


def test_what_makes_training_impossible():
    assert [f.key for f in checked([], ["[Lima LOC]"]).problems] == ["no_train"]
    assert [f.key for f in checked(["Lima grew"]).problems] == ["no_entities"]
    check = check_data({}, {})
    assert [f.key for f in check.problems] == ["no_train"]
    assert "No model can be trained on these data: No training sentences." in terminal(data_blocks(check))
    assert not checked(["[Lima LOC] grew"], ["[Holt PER] ran"]).problems  # a type unseen in training


def test_facts_of_reading():
    facts = ReadingFacts(
        scheme={"train": "IOB1", "valid": "BIO2"},
        illegal={"train": 2, "valid": 0},
        lengths={"train": [3, 12], "valid": [2]},
        window=8,
        vanishing=["\u200b", "\u200b", "x"],
    )
    check = checked(["[Lima LOC] grew", "A long one"], ["[Lima LOC] grew"], facts=facts)
    assert check.finding("scheme").level is Level.LOOK
    assert check.finding("illegal_tags").rows == (("train", 2),)
    assert check.finding("windows").rows == (("train", 3, 12, 1), ("valid", 2, 2, 0))
    assert check.finding("windows").examples[0].text().endswith("A long one (12 sub-tokens)")
    assert check.finding("melted_words").rows == (("'\\u200b'",), ("x",))


def test_where_a_sentence_is():
    sentence = SimpleNamespace(
        words=("Lima", "Lima"), tags=("B-LOC", "B-LOC"), document=0, line=41, within=None
    )
    splits = {"train": [sentence]}
    assert check_data(splits, ORIGINS).finding("touching").examples[0].location == "data/train.conll:41"
    check = check_data(splits, ORIGINS, location=lambda split, index: f"row {index} of {split}")
    assert check.finding("touching").examples[0].location == "row 0 of train"


def test_an_example_has_the_words_around():
    text = " ".join(["before"] * 12) + " [Vera Holt PER] [Lima PER] " + " ".join(["after"] * 12)
    example = checked([text]).finding("touching").examples[0]
    assert (example.before, example.after) == (True, True)
    assert example.focus == (8, 11)
    assert len(example.words) == 19
    assert [example.words[start:end] for _, start, end in example.entities] == [("Vera", "Holt"), ("Lima",)]


def whole_check():
    texts = [
        "[Lima LOC] grew",
        "[Lima ORG] <b>won</b>",
        "Lima , again",
        "[Ilse PER] [<i>Braun</i> PER] won a cup",
    ]
    return checked(texts, [texts[3]], ["[Otto , PER]"])


def test_the_page():
    check = whole_check()
    page = data_page(check)
    assert page == data_page(whole_check())
    assert '<li id="touching-1"><a href="#touching-1">data/train.conll, sentence 4</a>: ' in page
    assert '<mark class="one"><bdi>Ilse</bdi> <b>PER</b></mark>' in page
    assert "&lt;i&gt;Braun&lt;/i&gt;" in page
    assert "<i>" not in page
    for finding in check.findings:
        assert finding.title in page
        for number, _ in enumerate(finding.examples, 1):
            assert f'id="{finding.key}-{number}"' in page
    assert page.count("<img") == 2


def test_the_page_without_text():
    check = whole_check()
    for rendered in (data_page(check, text=False), markdown(data_blocks(check, text=False))):
        assert not re.search("Lima|Braun|Ilse|Otto|again", rendered)
        assert "PER" in rendered


def test_the_terminal_and_markdown():
    blocks = data_blocks(whole_check())
    assert "- data/train.conll, sentence 4: [Ilse PER] [<i>Braun</i> PER] won a cup" in terminal(blocks)
    assert r"\[Ilse PER\]" in markdown(blocks)


def test_json():
    made = json.loads(json.dumps(whole_check().to_dict()))
    assert set(made) == {"trainable", "origins", "findings", "clear", "sentence_lengths"}
    assert made["trainable"] is True
    by_key = {finding["key"]: finding for finding in made["findings"]}
    assert len(by_key) == len(made["findings"])
    fields = {"key", "title", "level", "count", "text", "rows", "examples"}
    assert all(set(finding) == fields for finding in by_key.values())
    assert by_key["types"]["rows"][0] == {"type": "PER", "train": 2, "valid": 2, "test": 1}
    assert by_key["touching"]["examples"][0]["entities"][0] == {"type": "PER", "start": 0, "end": 1}
    assert made["sentence_lengths"]["train"] == {"2": 2, "3": 1, "5": 1}


def test_problems_come_first_and_facts_last():
    levels = [finding.level for finding in checked(["Lima grew and grew"], ["Lima grew and grew ."]).findings]
    assert levels == sorted(levels, key=list(Level).index)


def test_pictures_are_the_same_at_every_call_and_show_all_types(monkeypatch):
    counts = {"train": {f"T${i}$": 50 - i for i in range(40)}, "test": {"T$0$": 3}}
    assert svg(entities_by_type(counts, list(counts["train"]))) == svg(
        entities_by_type(counts, list(counts["train"]))
    )
    monkeypatch.setitem(SETTINGS, "svg.fonttype", "none")  # text stays text
    text = svg(entities_by_type(counts, list(counts["train"])))
    assert ">T$0$<" in text
    assert ">53<" in text
    assert ">11 others<" in text
    assert f">{sum(50 - i for i in range(29, 40))}<" in text
    lengths = {"train": {3: 98, 5: 100, 300: 1}, "test": {4: 1}}
    assert "in steps of 1; the last bin has all longer ones, up to 300" in svg(sentence_lengths(lengths))
    assert svg(sentence_lengths(lengths)) == svg(sentence_lengths(lengths))


def test_a_table_of_types_has_the_first_30_and_the_file_has_all():
    sentences = [Sentence(("Vera",), (f"B-T{index}",), 0) for index in range(50)]
    check = check_data({"train": sentences}, {"train": "a.conll"})
    assert len(check.finding("types").rows) == 50
    tables = [block for block in data_blocks(check) if isinstance(block, Table)]
    assert max(len(table.rows) for table in tables) == 30
    assert [table.caption for table in tables if len(table.rows) == 30] == [
        "The first 30"
    ] * 2  # and rare ones
