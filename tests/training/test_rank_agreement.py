"""Ranks that read other data, or have other options, do not train together."""

import pytest
import tiny

from ner_lightning.data.corpus_settings import Batches
from ner_lightning.training import rank_agreement
from ner_lightning.training.datamodule import CoNLLDataModule
from ner_lightning.training.launch import LaunchError

TRAIN = tiny.sentences(tiny.TRAIN)


def module(llama, train=TRAIN, **settings):
    return CoNLLDataModule(
        train=train, valid=TRAIN, backbone=str(llama), types=["PER", "LOC", "ORG", "MISC"], **settings
    )


def plans_of(data, monkeypatch):
    """What a rank would tell the others."""
    told = []
    monkeypatch.setattr(rank_agreement, "gathered", lambda mine: told.append(mine) or [mine])
    data.setup("fit")
    return told[0]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"train": TRAIN[1:]}, r"data\.train: 'sha256:\w+' on rank 1, 'sha256:"),
        ({"seed": 7}, "seed: 7 on rank 1, 0 on rank 0"),
        ({"batches": Batches(size=3)}, r"data\.batches\.size: 3 on rank 1, "),
    ],
)
def test_ranks_that_differ_do_not_train_together(llama, monkeypatch, change, said):
    other = plans_of(module(llama, **change), monkeypatch)
    monkeypatch.setattr(rank_agreement, "gathered", lambda mine: [mine, other])
    with pytest.raises(LaunchError, match=f"^the ranks differ in {said}"):
        module(llama).setup("fit")


def test_ranks_that_agree_train(llama, monkeypatch):
    monkeypatch.setattr(rank_agreement, "gathered", lambda mine: [mine] * 3)
    module(llama).setup("fit")
