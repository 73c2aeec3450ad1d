"""The folder with what a teacher says of sentences, and batches that have it."""

import json
from pathlib import Path

import pytest
import tiny
import torch

from ner_lightning.data.sentence import Sentence
from ner_lightning.data.teacher import ABOUT, TeacherWriter, read_teacher
from ner_lightning.errors import UserError
from ner_lightning.training.datamodule import CoNLLDataModule

TYPES = ("PER", "ORG")
TAGS = 5


def sentences_of(*texts, document=0):
    return [Sentence(tuple(text.split()), None, document) for text in texts]


TRAIN = sentences_of("Vera left Lima", "Nobody", "Okoro won")
TEXT = sentences_of("The strike ended .", "It did .", document=3)


def distribution(index, words):
    """Numbers that tell sentence and place."""
    marginals = 100 * index + torch.arange(words * TAGS, dtype=torch.float32).view(words, TAGS)
    return marginals, torch.full((TAGS + 1, TAGS + 1), float(index)), index / 2


def write(folder: Path, train=TRAIN, text=TEXT, **about):
    writer = TeacherWriter(folder, train, text, TAGS)
    for index in reversed(range(len(train) + len(text))):
        writer.put(index, *distribution(index, len([*train, *text][index].words)))
    writer.finish({"key": "k" * 64, "types": list(TYPES), "temperature": 2.0, **about})
    return str(folder)


def test_what_is_written_is_read(tmp_path):
    store = read_teacher(write(tmp_path / "teachers" / "t"), TRAIN, TYPES)
    assert store.text == TEXT
    index = torch.tensor([4, 0])
    mask = torch.tensor([[True] * 3, [True] * 3])
    found = store.batch(index, mask)
    for row, number in enumerate((4, 0)):
        marginals, transitions, entropy = distribution(number, 3)
        assert torch.equal(found.marginals[row], marginals)
        assert torch.equal(found.transitions[row], transitions)
        assert found.entropy[row] == entropy
    assert found.temperature == 2.0
    assert list(tmp_path.joinpath("teachers").iterdir()) == [tmp_path / "teachers" / "t"]  # no draft is left


def test_a_word_may_hold_what_some_take_for_a_line_break(tmp_path):
    text = [Sentence(("x\u2028y", "a\x85b", "c\u2029"), None, 0)]
    assert read_teacher(write(tmp_path / "t", text=text), TRAIN, TYPES).text == text


def test_padding_has_no_probability(tmp_path):
    store = read_teacher(write(tmp_path / "t"), TRAIN, TYPES)
    mask = torch.tensor([[True, False, False], [True, True, False]])
    found = store.batch(torch.tensor([1, 2]), mask)
    assert not found.marginals[~mask].any()
    assert torch.equal(found.marginals[1, :2], distribution(2, 2)[0])


def test_a_folder_that_is_discarded_leaves_nothing(tmp_path):
    writer = TeacherWriter(tmp_path / "t", TRAIN, TEXT, TAGS)
    writer.discard()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("train", "types", "message"),
    [
        (TRAIN[:2], TYPES, "3 training sentences, which are not these 2"),
        ([*TRAIN[:2], *sentences_of("Okoro lost")], TYPES, "run `ner-lightning distill` for these data"),
        ([*TRAIN[:2], *sentences_of("Okoro won", document=1)], TYPES, "which are not these 3"),
        (TRAIN, ("ORG", "PER"), "was written for the entity types PER, ORG, not ORG, PER"),
    ],
)
def test_it_belongs_to_its_sentences(tmp_path, train, types, message):
    folder = write(tmp_path / "t")
    with pytest.raises(UserError, match=message):
        read_teacher(folder, train, types)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (ABOUT, None, "is not a folder that `ner-lightning distill` wrote"),
        (ABOUT, "[]", "is not a folder that `ner-lightning distill` wrote"),
        (ABOUT, '{"format": 99}', "by a later ner-lightning; upgrade this one"),
        (ABOUT, '{"format": 1, "ty', "is not a folder that `ner-lightning distill` wrote"),
        (ABOUT, '{"format": 1}', "is not a folder that `ner-lightning distill` wrote"),
        ("entropy.npy", None, "is incomplete"),
        ("text.jsonl", '{"words": ["Ve\n', "is incomplete"),
        ("text.jsonl", "3\n", "is incomplete"),
        ("text.jsonl", "", "is incomplete"),
        ("marginals.npy", "", "is incomplete"),
    ],
)
def test_a_damaged_one_is_named(tmp_path, name, content, message):
    folder = Path(write(tmp_path / "t"))
    (folder / name).unlink()
    if content is not None:
        (folder / name).write_text(content)
    with pytest.raises(UserError, match=message):
        read_teacher(str(folder), TRAIN, TYPES)


def data_module(llama, folder, **options):
    pairs = tiny.sentences(tiny.TRAIN)
    types = ["PER", "ORG"]
    tags = [[tag if tag[2:] in types else "O" for tag in row] for _, row in pairs]
    pairs = [(words, row) for (words, _), row in zip(pairs, tags, strict=True)]
    supervision = {"teacher": folder} | options.pop("supervision", {})
    return CoNLLDataModule(
        train=pairs, valid=pairs, types=types, backbone=str(llama), supervision=supervision, **options
    )


def train_sentences():
    return [Sentence(tuple(words), None, 0) for words, _ in tiny.sentences(tiny.TRAIN)]


@pytest.mark.parametrize("context", [None, 40])
def test_batches_have_what_the_teacher_says_of_their_sentences(llama, tmp_path, context):
    train = train_sentences()
    data = data_module(llama, write(tmp_path / "t", train), encoding={"context": context})
    encoded = data.dataset("train")
    batch = encoded[[*range(len(encoded))]]
    assert sorted(batch.index.tolist()) == list(range(len(train) + len(TEXT)))
    assert batch.teacher is not None
    for row, index in enumerate(batch.index.tolist()):
        words = int(batch.mask[row].sum())
        assert torch.equal(batch.teacher.marginals[row, :words], distribution(index, words)[0])
        assert (batch.tags[row, :words] < 0).all() == (index >= len(train))
    assert batch.partial
    assert batch.weights is None
    assert data.dataset("valid")[[0]].teacher is None
    counts = data.corpus.entity_counts()
    assert sum(counts["PER"].values()) == 4  # of the annotated sentences alone


def test_text_counts_as_much_as_it_is_told_to(llama, tmp_path):
    train = train_sentences()
    folder = write(tmp_path / "t", train)
    (tmp_path / "w.jsonl").write_text(
        "\n".join(json.dumps({"weight": 0.5, "words": each.words}) for each in train), encoding="utf-8"
    )
    data = data_module(
        llama, folder, supervision={"text_weight": 0.25, "sentence_weights": str(tmp_path / "w.jsonl")}
    )
    assert data.corpus.weights("train") == [0.5] * len(train) + [0.25] * len(TEXT)
    plain = data_module(llama, folder, supervision={"text_weight": 0.25})
    assert plain.corpus.weights("train") == [1.0] * len(train) + [0.25] * len(TEXT)
    assert data.corpus.weights("valid") is None
    fingerprints = {each.corpus.split("train").fingerprint for each in (data, plain)}
    assert all(", teacher kkkkkkkkkkkk 0.25" in each for each in fingerprints)
