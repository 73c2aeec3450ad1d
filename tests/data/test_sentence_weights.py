"""Weights of training sentences: their file, what they do to the loss, and a fit with them."""

import json
import logging
import math
from pathlib import Path

import pytest
import tiny
import torch
import yaml
from shared import json_rows

from ner_lightning.commands.main import main
from ner_lightning.data.batching import EncodedDataset
from ner_lightning.data.schemes import LabelSet
from ner_lightning.data.sentence import Sentence
from ner_lightning.data.sentence_weights import LEAST, read_weights, weight_of, write_weights
from ner_lightning.errors import UserError
from ner_lightning.model.decoder import Decoder
from ner_lightning.model.extensions import LossPart
from ner_lightning.model.loss import Loss
from ner_lightning.training.datamodule import CoNLLDataModule

SENTENCES = [
    Sentence(tuple(words.split()), ("O",) * len(words.split()), 0, line)
    for line, words in enumerate(["Vera left", "Nobody left", "Vera left", "Lima"], start=5)
]


def rows(*weights, sentences=SENTENCES):
    """A file of weights."""
    return "".join(
        json.dumps({"weight": weight, "words": sentence.words}) + "\n"
        for sentence, weight in zip(sentences, weights, strict=True)
    )


def test_what_is_written_is_read(tmp_path):
    write_weights(tmp_path / "w.jsonl", SENTENCES, [1, 0.5, 0.25, 0])
    weights, digest = read_weights(str(tmp_path / "w.jsonl"), SENTENCES, "train.conll")
    assert weights == [1, 0.5, 0.25, 0]
    assert len(digest) == 64


def test_sentences_are_found_by_their_words(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    (tmp_path / "w.jsonl").write_text(rows(1, 0.5, 0.25, 0.3), encoding="utf-8")
    order = [SENTENCES[i] for i in (3, 0, 2)]
    assert read_weights(str(tmp_path / "w.jsonl"), order, "train.conll")[0] == [0.3, 1, 0.25]
    assert "3 training sentences have weights, 0.52 on average, 2 below 0.5" in caplog.text
    assert "1 weights are of sentences that are not there" in caplog.text


def test_a_weight_falls_with_the_margin():
    assert weight_of(0) == 1
    assert weight_of(0.5) == pytest.approx(math.exp(-0.5))
    assert weight_of(50) == LEAST


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (rows(1, 1, 1, 1)[:60], "w.jsonl:2: expected a line like"),
        ('{"weight": 1, "words": "Vera left"}', "w.jsonl:1: expected a line like"),
        ("[1, 2]", "w.jsonl:1: expected a line like"),
        ('{"weight": -1, "words": ["Lima"]}', "w.jsonl:1: weight is -1; it must be a number of at least 0"),
        ('{"weight": NaN, "words": ["Lima"]}', "w.jsonl:1: weight is NaN"),
        ('{"weight": true, "words": ["Lima"]}', "w.jsonl:1: weight is true"),
        ('{"words": ["Lima"]}', "w.jsonl:1: weight is null"),
        (rows(0, 0, 0, 0), "all weights in .* are 0"),
        (
            rows(1, 1, sentences=SENTENCES[:2]),
            "no weight for 2 of 4 training sentences, the first is train.conll:7 ",
        ),
    ],
)
def test_a_file_that_does_not_fit_is_refused(tmp_path, text, message):
    (tmp_path / "w.jsonl").write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=message):
        read_weights(str(tmp_path / "w.jsonl"), SENTENCES, "train.conll")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match=r"none.jsonl: cannot be read"):
        read_weights(str(tmp_path / "none.jsonl"), SENTENCES, "train.conll")


@pytest.mark.parametrize("partial", [False, True])
@pytest.mark.parametrize("use_crf", [True, False])
def test_a_weight_of_two_is_the_sentence_twice(use_crf, partial):
    torch.manual_seed(0)
    decoder = Decoder(LabelSet(("PER", "LOC")), use_crf=use_crf, loss=Loss(ce=1, crf=0.7, ls=0.3))
    emissions, mask = torch.randn(3, 4, 5), torch.arange(4) < torch.tensor([[4], [2], [3]])
    tags = torch.tensor([[1, 2, 0, 3], [0, 3, 0, 0], [0, 0, 1, 0]]) * mask
    if partial:
        tags[0, 2] = -1
    twice = torch.tensor([0, 0, 2])  # the first sentence twice, the second not at all
    expected = decoder.losses(emissions[twice], tags[twice], mask[twice], partial=partial)
    weights = torch.tensor([2.0, 0.0, 1.0])
    found = decoder.losses(emissions, tags, mask, partial=partial, weights=weights)
    assert found.keys() == expected.keys()
    for name in found:
        torch.testing.assert_close(found[name], expected[name])
    counted = decoder.loss.counted(tags, mask, partial=partial, weights=weights)
    assert counted == decoder.loss.counted(tags[twice], mask[twice], partial=partial)


def data_module(llama, tmp_path, **options):
    pairs = tiny.sentences(tiny.TRAIN)
    lines = (json.dumps({"weight": 1 + at, "words": words}) for at, (words, _) in enumerate(pairs))
    (tmp_path / "w.jsonl").write_text("\n".join(lines), encoding="utf-8")
    supervision = {"sentence_weights": str(tmp_path / "w.jsonl")}
    return CoNLLDataModule(train=pairs, valid=pairs, backbone=str(llama), supervision=supervision, **options)


@pytest.mark.parametrize("limit", [None, 3])
def test_batches_have_the_weights_of_their_sentences(llama, tmp_path, limit):
    data = data_module(llama, tmp_path, limits={"train": limit}, encoding={"context": 64})
    dataset = data.dataset("train")
    assert isinstance(dataset, EncodedDataset)
    batch = dataset[[*range(len(dataset))]]
    assert batch.weights.tolist() == (1 + batch.index).tolist()
    assert data.dataset("valid")[[0]].weights is None


def test_masked_words_have_no_weights(llama, tmp_path):
    data = data_module(llama, tmp_path)
    data.corpus.add_text([["More", "text"]], [0])
    dataset = data.dataset("train")
    assert dataset[[len(dataset) - 1]].weights is None


class Own(LossPart):
    """A part of the loss that knows no weights."""

    def __init__(self, weight):
        self.weight = weight

    def __call__(self, emissions, tags, mask):
        return emissions.sum()


def test_a_part_of_ones_own_is_refused():
    with pytest.raises(UserError, match=r"which model.loss.parts \(own\) cannot"):
        Loss(parts=[Own(1.0)]).check_data([1.0], None, use_crf=True)
    Loss(parts=[Own(0.0)]).check_data([1.0], None, use_crf=True)
    Loss(parts=[Own(1.0)]).check_data(None, None, use_crf=True)


@pytest.fixture
def recipe(llama, corpus, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = {
        "trainer": {"accelerator": "cpu", "max_epochs": 1, "limit_train_batches": 2},
        "model": {"backbone": str(llama), "lora": {"rank": 2}},
        "data": {"dataset": str(corpus)},
    }
    Path("r.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    return "r.yaml"


@pytest.mark.slow
def test_a_fit_with_weights_is_another_and_belongs_to_them(recipe, llama, corpus, capsys):
    sentences = CoNLLDataModule(str(corpus), backbone=str(llama)).corpus.split("train").sentences
    write_weights(Path("w.jsonl"), sentences, [0.4 + 0.6 * (at % 2) for at in range(len(sentences))])
    losses = {}
    for name, words in {"plain": [], "weighted": ["--data.supervision.sentence_weights", "w.jsonl"]}.items():
        assert main(["fit", "--config", recipe, "--name", name, *words]) == 0
        saved = torch.load(f"runs/{name}/1/checkpoints/last.ckpt", weights_only=True)
        losses[name] = saved["state_dict"]
    assert any(not torch.equal(losses["plain"][key], value) for key, value in losses["weighted"].items())
    assert saved["config"]["data"]["supervision"]["sentence_weights"] == "w.jsonl"
    assert main(["test", "--run", "runs/weighted/1"]) == 0
    text = Path("w.jsonl").read_text(encoding="utf-8").replace("0.4", "0.6")
    Path("w.jsonl").write_text(text, encoding="utf-8")
    capsys.readouterr()
    words = ["--trainer.max_epochs", "2"]
    assert main(["fit", "--ckpt_path", "runs/weighted/1/checkpoints/last.ckpt", *words]) == 2
    assert "the training data" in capsys.readouterr().err


def test_sentences_within_the_limit_need_a_weight(llama, tmp_path):
    data = data_module(llama, tmp_path, limits={"train": 2})
    path = tmp_path / "w.jsonl"
    rows = json_rows(path)
    changed = [row | {"weight": float(number > 1)} for number, row in enumerate(rows)]
    path.write_text("".join(json.dumps(row) + "\n" for row in changed), encoding="utf-8")
    with pytest.raises(UserError, match="the first 2 are all 0"):
        data.corpus.split("train")
