"""What a module keeps from one use to the next: loaded weights alone, and nothing of a fit that broke off."""

import lightning.pytorch as pl
import pytest
import tiny
import torch

from ner_lightning.data.corpus_settings import Batches
from ner_lightning.model.adapters import Lora
from ner_lightning.training.datamodule import CoNLLDataModule
from ner_lightning.training.module import NERModule
from ner_lightning.training.optim import Optimizer

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*does not have many workers.*:UserWarning",
    "ignore:.*sync_dist.*:UserWarning",
    "ignore:.*in eval mode.*:UserWarning",
)
SENTENCES = tiny.sentences(tiny.TRAIN)


@pytest.fixture(scope="module")
def data(llama):
    return CoNLLDataModule(
        train=SENTENCES, valid=SENTENCES, test=SENTENCES, backbone=str(llama), batches=Batches(size=2)
    )


@pytest.fixture(scope="module")
def make(llama, data):
    """Makes a module that is not built yet; arguments as of its optimizer."""

    def made(**optimizer):
        chosen = Optimizer(lr=0.01, head_lr=0.03, crf_lr=0.1, **optimizer)
        return NERModule(backbone=str(llama), types=data.types, lora=Lora(rank=2), optimizer=chosen)

    return made


def trainer_of(*callbacks, **options):
    return pl.Trainer(
        max_epochs=1, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, use_distributed_sampler=False, callbacks=list(callbacks), **options,
    )  # fmt: skip


@pytest.fixture(scope="module")
def saved(make, data, tmp_path_factory):
    """A checkpoint of a fit, and all weights of its module."""
    path = tmp_path_factory.mktemp("saved") / "a.ckpt"
    module, trainer = make(), trainer_of()
    trainer.fit(module, data)
    trainer.save_checkpoint(path)
    return path, module.state_dict()


@pytest.mark.parametrize("strict", [True, False])
def test_weights_are_loaded_into_a_module_that_is_not_built_yet(make, saved, strict):
    """As Lightning hands back what processes that it had started have trained."""
    path, weights = saved
    stored = torch.load(path, weights_only=True)["state_dict"]
    assert stored.keys() < weights.keys()
    for given in (weights, stored):
        module = make()
        keys = module.load_state_dict(given, strict=strict)
        assert not keys.missing_keys
        assert not keys.unexpected_keys
        assert all(torch.equal(value, weights[name]) for name, value in module.state_dict().items())
    incomplete = {name: value for name, value in stored.items() if "head" not in name}
    assert len(make().load_state_dict(incomplete, strict=False).missing_keys) == 2


def test_a_checkpoint_is_loaded_without_a_warning_of_frozen_weights(saved):
    path, weights = saved
    module = NERModule.load_from_checkpoint(path, map_location="cpu", weights_only=True)
    assert all(torch.equal(value, weights[name]) for name, value in module.state_dict().items())


class Breaks(pl.Callback):
    """Breaks off in one of Lightning's hooks."""

    def __init__(self, hook):
        setattr(self, hook, self.breaks)

    def breaks(self, trainer, *_):
        if not trainer.sanity_checking:
            raise RuntimeError("broke off")


def broken(run, *args):
    with pytest.raises(RuntimeError, match="broke off"):
        run(*args)


def test_a_fit_after_an_evaluation_that_broke_off_merges_nothing(make, data):
    module = make()
    broken(trainer_of(Breaks("on_validation_start")).validate, module, data)
    trainer_of().fit(module, data)
    assert any("lora_B" in name for name in module.state_dict())
