import json
from dataclasses import replace

import pytest

from ner_lightning.data.readers.sentences import read_sentences
from ner_lightning.data.sentence import Sentence
from ner_lightning.data.sources import SAMPLE_FOLDER
from ner_lightning.data.word_agreement import (
    TOLERATED,
    entities_within_words,
    not_found_in_use,
    running_text,
    warning,
    word_agreement,
)


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["Vera", "left", "Lima", "."], "Vera left Lima."),
        (["He", "did", "n't", "say", '"', "no", '"', "."], 'He didn\'t say "no".'),
        (["Vera", "'s", "car", "(", "a", "Fiat", ")", ",", "is", "5", "%", "off", "!"],
         "Vera's car (a Fiat), is 5% off!"),
        (["$", "5", "..."], "$5..."),
    ],
)  # fmt: skip
def test_words_are_written_as_running_text(words, text):
    written, offsets = running_text(words)
    assert written == text
    assert [written[start:end] for start, end in offsets] == words


def test_words_of_another_tokenizer_are_found_with_what_text_gives():
    rows = [("I'm", "in", "Lima", ":)")] * 3 + [("Ada", "is", "-LRB-", "not", "-RRB-")]
    sentences = [Sentence(words, ("O",) * len(words), 0) for words in rows]
    agreement = word_agreement(sentences)
    assert (agreement.words, agreement.differing) == (17, 8)
    assert agreement.examples[:2] == (("I'm", ("I", "'m")), (":)", (":", ")")))
    line = warning("train.txt", sentences)
    assert line is not None
    assert "train.txt: in running text, predict finds other words than 47.1% of the words here" in line
    assert "I'm gives I 'm" in line
    assert "--tokenized" in line
    assert len(line.splitlines()) == 2
    line = warning("train.txt", sentences * 600)
    assert line is not None
    assert "47.1% of the words of its first 2,000 sentences" in line


def test_entities_with_wrong_offsets_are_noticed(tmp_path):
    text = "Brinda Okafor moved to Tarvo."
    for shift, noticed in ((0, False), (1, True)):
        row = {"text": text, "label": [[shift, 13 + shift, "PER"], [23 + shift, 28 + shift, "LOC"]]}
        path = tmp_path / f"{shift}.jsonl"
        path.write_text(json.dumps(row) + "\n", encoding="utf-8")
        line = warning("a.jsonl", read_sentences(path))
        assert (line is not None) == noticed
    assert "rinda gives Brinda" in line
    assert "Entities that begin or end inside a word split it: check their offsets" in line


def test_entities_within_words_are_counted(tmp_path):
    rows = [
        {"text": "서울에서 왔다. Vera에게 갔다.", "label": [[0, 2, "LOC"], [10, 14, "PER"]]},
        {"text": "Take 10mg of Zorvan.", "label": [[5, 7, "DOSE"], [13, 19, "DRUG"]]},
        {"text": "Vera left.", "label": [[0, 4, "PER"]]},
    ]
    path = tmp_path / "a.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    sentences = read_sentences(path)
    assert sum(tag.startswith("B-") for sentence in sentences for tag in sentence.tags) == 5
    assert entities_within_words(sentences) == 3
    assert entities_within_words([replace(sentence, within=None) for sentence in sentences]) == 0
    assert not_found_in_use(3, 5).endswith("its recall in use is at most 0.4000")


def test_words_as_predict_finds_them_give_no_warning():
    for split in ("train", "valid", "test"):
        sentences = read_sentences(SAMPLE_FOLDER / f"{split}.conll")
        assert word_agreement(sentences).share < TOLERATED
        assert warning(split, sentences) is None
    assert warning("empty", []) is None
