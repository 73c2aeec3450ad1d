"""What a plain Trainer or data module would do wrong in silence is refused, or done right."""

import json
import shutil
from unittest import mock

import lightning.pytorch as pl
import pytest
import tiny
import torch
from lightning.pytorch.callbacks import EMAWeightAveraging, StochasticWeightAveraging, WeightAveraging
from tiny import trainer

from ner_lightning.data.corpus_settings import Batches, Encoding
from ner_lightning.errors import UserError
from ner_lightning.inference.ner_tagger import NERTagger
from ner_lightning.model.adapters import Lora
from ner_lightning.model.tagger_settings import Cache
from ner_lightning.training import module as training_module
from ner_lightning.training.datamodule import CoNLLDataModule
from ner_lightning.training.module import NERModule
from ner_lightning.training.optim import Optimizer

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*does not have many workers.*:UserWarning",
    "ignore:.*in eval mode.*:UserWarning",
    "ignore:Be aware that when using `ckpt_path`:UserWarning",
    "ignore:Found keys that are in the model state dict but not:UserWarning",
    "ignore:.*train_dataloader. does not have many:UserWarning",
)
TRAIN, TEST = tiny.sentences(tiny.TRAIN), tiny.sentences(tiny.TEST)
TYPES = ["PER", "ORG", "LOC", "MISC"]


@pytest.fixture
def pair(llama):
    """Makes data and an untrained module that belong together."""

    def made(settings=None, **changes):
        given = {"train": TRAIN, "valid": TRAIN, "test": TEST, "backbone": str(llama), "types": TYPES}
        data = CoNLLDataModule(**given | {"batches": Batches(size=4)} | changes)
        fast = Optimizer(lr=0.01, head_lr=0.03, crf_lr=0.1)
        model = {"backbone": str(llama), "types": TYPES, "lora": Lora(rank=4), "optimizer": fast}
        return NERModule(**model | (settings or {})), data

    return made


@pytest.mark.parametrize("types", [TYPES[::-1], TYPES[:1], [*TYPES, "EVENT"]])
def test_types_of_the_data_are_the_module_s(pair, types):
    module, data = pair(types=types)
    with pytest.raises(UserError, match=r"names and order must agree.\nGive the data module the module's"):
        trainer().test(module, data, verbose=False)


def test_the_tokenizer_of_the_data_is_the_module_s(pair, llama, tmp_path):
    module, data = pair(backbone="")
    trainer().validate(module, data, verbose=False)
    shutil.copytree(llama, tmp_path / "copy")
    module, data = pair(backbone=str(tmp_path / "copy"))  # the same tokenizer
    trainer().validate(module, data, verbose=False)
    file = tmp_path / "copy/tokenizer.json"
    content = json.loads(file.read_text(encoding="utf-8"))
    content["model"]["vocab"]["another"] = len(content["model"]["vocab"]) + 100
    file.write_text(json.dumps(content), encoding="utf-8")
    other, data = pair(backbone=str(tmp_path / "copy"))
    with pytest.raises(UserError, match=r"sub-tokens by the tokenizer of .*copy, but the module's backbone"):
        trainer().validate(other, data, verbose=False)


@pytest.mark.filterwarnings("ignore:You're using the WeightAveraging")  # before the module is asked
@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"precision": "bf16-true"}, "trained weights must stay in fp32"),
        ({"callbacks": [StochasticWeightAveraging(1e-3)]}, "would average nothing"),
        ({"callbacks": [EMAWeightAveraging()]}, "EMAWeightAveraging cannot .* model.optimizer.averaging"),
        ({"callbacks": [WeightAveraging()]}, "^WeightAveraging cannot .* model.optimizer.averaging"),
    ],
)
def test_what_trains_otherwise_is_refused(pair, options, said):
    with pytest.raises(UserError, match=said):
        trainer(**options).fit(*pair())


def test_scores_of_some_batches_are_said(pair, caplog):
    trainer(limit_test_batches=1).test(*pair(), verbose=False)
    assert "limit_test_batches=1): the longest sentences come first" in caplog.text
    caplog.clear()
    trainer(fast_dev_run=True).test(*pair(), verbose=False)
    assert "longest sentences" not in caplog.text


def test_other_splits_do_not_come_from_the_default_data_set(llama):
    data = CoNLLDataModule(train=TRAIN, backbone=str(llama))
    with pytest.raises(UserError, match=r"only training data are given: set data\.valid"):
        data.corpus.split("valid")
    assert data.hparams["dataset"] == "no data set"
    named = CoNLLDataModule("/".join(["eriktks", "conll2003"]), train=TRAIN, backbone=str(llama))
    assert named.hparams["dataset"] == "eriktks/conll2003"


def test_a_checkpoint_says_how_loaders_of_one_s_own_encode_and_what_was_read(pair, tmp_path):
    module, data = pair({"attention": "causal"}, encoding=Encoding(repeats=1))
    fit = trainer()
    fit.fit(module, data.train_dataloader(), data.val_dataloader())
    fit.save_checkpoint(tmp_path / "own.ckpt")
    held = torch.load(tmp_path / "own.ckpt", weights_only=True)
    assert held["config"]["data"]["encoding"]["repeats"] == 1
    assert held["data"] == {}
    fit = trainer()
    fit.fit(module, data)
    fit.save_checkpoint(tmp_path / "other.ckpt")
    held = torch.load(tmp_path / "other.ckpt", weights_only=True)
    assert held["data"]["train"] == data.corpus.split("train").fingerprint
    assert NERTagger.from_run(str(tmp_path / "other.ckpt"), device="cpu").trained_on == (
        held["data"]["train"],
    )


def test_checkpoints_are_scored_one_after_the_other(pair, tmp_path):
    module, data = pair()
    scores = []
    for epochs in (1, 4):
        fit = trainer(max_epochs=epochs)
        fit.fit(module, data)
        fit.save_checkpoint(tmp_path / f"{epochs}.ckpt")
        scores.append(trainer().validate(module, data, verbose=False)[0]["val/loss"])
    module, _ = pair()
    for epochs, score in zip((1, 4), scores, strict=True):
        scored = trainer()
        found = scored.validate(module, data, ckpt_path=tmp_path / f"{epochs}.ckpt", verbose=False)
        assert found[0]["val/loss"] == pytest.approx(score, abs=1e-5)
    with pytest.raises(UserError, match="merged this NERModule's adapters: they can no longer be saved"):
        scored.save_checkpoint(tmp_path / "merged.ckpt")


def test_a_module_follows_the_trainer_s_precision(pair, tmp_path, cpu):
    cpu(True)
    module, data = pair()
    trainer().fit(module, data)
    first = module.built
    before = trainer().validate(module, data, verbose=False)[0]["val/loss"]
    assert module.built is first
    half = trainer(precision="bf16-mixed").validate(module, data, verbose=False)[0]["val/loss"]
    assert module.built is not first
    assert half == pytest.approx(before, abs=0.02)
    assert half != before
    weights = {p.dtype for n, p in module.named_parameters() if not p.requires_grad and "proj" in n}
    assert weights == {torch.bfloat16}
    assert trainer().validate(module, data, verbose=False)[0]["val/loss"] == pytest.approx(before, abs=1e-6)


def test_a_cache_is_filled_and_given_to_one_model_alone(pair, tmp_path):
    cached = Cache(enabled=True, folder=str(tmp_path / "cache"))
    module, data = pair({"cache": cached, "peft": "none"})
    trainer().fit(module, data)
    assert any((tmp_path / "cache").iterdir())
    assert data.dataset("train").features is None
    assert data.dataset("valid").features is None


def test_a_loader_leaves_nothing_out_after_a_fit_that_ended_within_an_epoch(pair):
    module, data = pair()
    trainer(max_steps=3, max_epochs=-1).fit(module, data)
    loader = data.train_dataloader()
    assert len(list(loader)) == len(loader)


def test_without_a_bar_no_value_is_fetched_for_it(pair):
    class Fetched(pl.Callback):
        def on_train_batch_end(self, trainer, *_):
            assert "train/loss" in trainer.callback_metrics
            assert not trainer.progress_bar_metrics

    trainer(callbacks=[Fetched()]).fit(*pair())


def test_a_fit_after_an_evaluation_that_was_refused_can_be_scored_and_saved(pair, tmp_path):
    module, data = pair()
    fit = trainer()
    fit.fit(module, data)
    fit.save_checkpoint(tmp_path / "one.ckpt")
    held = torch.load(tmp_path / "one.ckpt", weights_only=True)
    held["backbone"]["weights"] = "another"
    torch.save(held, tmp_path / "wrong.ckpt")
    module, _ = pair()
    with pytest.raises(UserError, match="is not the same"):
        trainer().validate(module, data, ckpt_path=tmp_path / "wrong.ckpt", verbose=False)
    fit = trainer()
    fit.fit(module, data)
    trainer().validate(module, data, verbose=False)
    fit.save_checkpoint(tmp_path / "two.ckpt")
    names = torch.load(tmp_path / "two.ckpt", weights_only=True)["state_dict"].keys()
    assert any("lora_B" in name for name in names)


def test_what_was_learned_survives_a_build_that_fails(pair, monkeypatch, cpu):
    cpu(True)
    module, data = pair()
    trainer(max_epochs=3).fit(module, data)
    expected = trainer().validate(module, data, verbose=False)[0]["val/loss"]
    with monkeypatch.context() as patch:
        patch.setattr(training_module, "build_tagger", mock.Mock(side_effect=OSError("no disk")))
        with pytest.raises(OSError, match="no disk"):
            trainer(precision="bf16-mixed").validate(module, data, verbose=False)
    assert trainer().validate(module, data, verbose=False)[0]["val/loss"] == pytest.approx(expected, abs=1e-6)


def test_a_cache_needs_a_data_module(pair, tmp_path):
    module, data = pair({"cache": Cache(enabled=True, folder=str(tmp_path)), "peft": "none"})
    data.setup("fit")
    with pytest.raises(UserError, match="needs a CoNLLDataModule; with loaders of your own leave it out"):
        trainer().fit(module, data.train_dataloader(), data.val_dataloader())
