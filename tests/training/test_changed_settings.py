"""A checkpoint says what was trained: settings that are changed afterwards, or on loading, are refused."""

from dataclasses import replace

import pytest
import tiny
import torch
from shared import PLAIN_TRAINER

from ner_lightning.data.corpus_settings import Batches, Encoding
from ner_lightning.errors import UserError
from ner_lightning.model.adapters import Lora
from ner_lightning.training.datamodule import CoNLLDataModule
from ner_lightning.training.module import NERModule

pytestmark = PLAIN_TRAINER
TRAIN, TEST = tiny.sentences(tiny.TRAIN), tiny.sentences(tiny.TEST)


def made(llama, **settings):
    data = CoNLLDataModule(train=TRAIN, valid=TRAIN, test=TEST, backbone=str(llama), batches=Batches(size=4))
    return NERModule(backbone=str(llama), types=data.types, lora=Lora(rank=4), **settings), data


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory, llama):
    folder = tmp_path_factory.mktemp("changed")
    trainer = tiny.trainer(default_root_dir=folder)
    trainer.fit(*made(llama))
    trainer.save_checkpoint(folder / "one.ckpt")
    return folder / "one.ckpt"


def attention(module, data):
    module.hparams["attention"] = "causal"


def alpha(module, data):
    module.hparams["lora"]["alpha"] = 1


def settings(module, data):
    module.settings = replace(module.settings, attention="causal")


def rate(module, data):
    module.optimizer_settings = replace(module.optimizer_settings, lr=0.5)


def context(module, data):
    data.hparams["encoding"]["context"] = 64


def repeats(module, data):
    data.corpus.encoding = Encoding(repeats=1)


def size(module, data):
    data.hparams["batches"]["size"] = 1


@pytest.mark.parametrize("change", [attention, alpha, settings, rate, context, repeats, size])
def test_settings_that_are_changed_later_are_refused(llama, tmp_path, change):
    module, data = made(llama)
    change(module, data)
    kind = "CoNLLDataModule" if change in (context, repeats, size) else "NERModule"
    with pytest.raises(UserError, match=rf"^{kind}: \w+ was changed after it was made, so that a checkpoint"):
        tiny.trainer(default_root_dir=tmp_path).fit(module, data)


class Own(NERModule):
    """As Lightning's users write it: it stores what it was given."""

    def __init__(self, more=1, **settings):
        super().__init__(**settings)
        self.save_hyperparameters()


@pytest.mark.parametrize("given", [{"lora": {"rank": 4}}, {"runtime": {"trust_remote_code": True}}])
def test_a_subclass_may_store_what_it_was_given(llama, tmp_path, given):
    _, data = made(llama)
    module = Own(backbone=str(llama), types=data.types, **given)
    tiny.trainer(default_root_dir=tmp_path).fit(module, data)
    module.hparams["lora"] = {"rank": 8}
    with pytest.raises(UserError, match="Own: lora was changed after it was made"):
        tiny.trainer(default_root_dir=tmp_path).fit(module, data)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (
            {"attention": "causal"},
            "model.attention is causal, but the checkpoint was trained with bidirectional",
        ),
        ({"lora": {"alpha": 1}}, "model.lora.rank is 16, but the checkpoint was trained with 4"),
        ({"lora": Lora(rank=4, alpha=1)}, "model.lora.alpha is 1"),
        ({"architecture": {"pooling": "first"}}, "model.architecture.pooling is first"),
        ({"architecture": {"causal_below": 1}}, "model.architecture.causal_below is 1"),
        ({"types": ["LOC", "MISC", "ORG", "PER"]}, "the checkpoint knows the entity types"),
        ({"types": ["A", "B"]}, "the checkpoint knows the entity types"),
    ],
)
def test_other_settings_than_those_of_the_weights_are_refused_on_loading(checkpoint, given, said):
    with pytest.raises(UserError, match=said):
        NERModule.load_from_checkpoint(checkpoint, weights_only=True, **given)


def test_settings_that_the_weights_do_not_depend_on_may_differ(checkpoint):
    loaded = NERModule.load_from_checkpoint(checkpoint, weights_only=True, optimizer={"lr": 0.5})
    assert loaded.optimizer_settings.lr == 0.5


def test_a_training_goes_on_with_its_own_settings_alone(checkpoint, llama, tmp_path):
    module, data = made(llama, attention="causal")
    with pytest.raises(UserError, match=r"model\.attention is causal, but the checkpoint was trained with"):
        tiny.trainer(default_root_dir=tmp_path, max_epochs=2).fit(module, data, ckpt_path=checkpoint)


def test_weights_are_loaded_after_an_evaluation_with_their_adapters(checkpoint, llama, tmp_path):
    module, data = made(llama)
    trainer = tiny.trainer(default_root_dir=tmp_path)
    trainer.predict(module, data)
    state = torch.load(checkpoint, weights_only=True)["state_dict"]
    found = module.load_state_dict(state, strict=False)
    assert not found.unexpected_keys
    (before,) = tiny.trainer(default_root_dir=tmp_path).validate(module, data, verbose=False)
    loaded = NERModule.load_from_checkpoint(checkpoint, weights_only=True)
    (after,) = tiny.trainer(default_root_dir=tmp_path).validate(loaded, data, verbose=False)
    assert before == pytest.approx(after, abs=1e-4)


@pytest.mark.parametrize("evaluation", ["validate", "test", "predict"])
def test_an_evaluation_of_damaged_weights_says_so(checkpoint, llama, tmp_path, evaluation):
    held = torch.load(checkpoint, weights_only=True)
    held["state_dict"]["tagger.emitter.head.weight"][0, 0] = torch.nan
    torch.save(held, tmp_path / "damaged.ckpt")
    module, data = made(llama)
    with pytest.raises(UserError, match="the tagger's scores are not finite"):
        getattr(tiny.trainer(default_root_dir=tmp_path), evaluation)(
            module, data, ckpt_path=tmp_path / "damaged.ckpt"
        )
