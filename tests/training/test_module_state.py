"""What a module keeps from one use to the next: loaded weights alone, and nothing of a fit that broke off."""

import lightning.pytorch as pl
import pytest
import tiny
import torch

from ner_lightning.data.corpus_settings import Batches
from ner_lightning.model.adapters import Lora
from ner_lightning.training.callbacks import fit_ends
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
    return tiny.trainer(num_sanity_val_steps=2, callbacks=list(callbacks), **options)


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


def weights_of(module):
    return torch.cat([p.detach().flatten().clone() for p in module.parameters() if p.requires_grad])


def test_a_fit_from_loaded_weights_follows_its_own_seed(saved, data):
    found = []
    for seed in (1, 1, 2):
        module = NERModule.load_from_checkpoint(saved[0], map_location="cpu", weights_only=True)
        torch.manual_seed(seed)
        trainer_of(limit_train_batches=2).fit(module, data)
        found.append(weights_of(module))
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])


def test_what_a_checkpoint_says_of_its_fit_is_for_one_that_resumes_it(make, data, tmp_path):
    """Not for an evaluation, nor for a fit that comes after one that broke off."""
    path, module = tmp_path / "a.ckpt", make(averaging=0.2)
    trainer = trainer_of(limit_train_batches=3, accumulate_grad_batches=2)
    keeps = pl.callbacks.LambdaCallback(
        on_train_batch_end=lambda trainer, _, outputs, batch, number: (
            trainer.save_checkpoint(path) if number == 0 else None
        )
    )
    trainer.callbacks.append(keeps)
    trainer.fit(module, data)
    checkpoint = torch.load(path, weights_only=True)
    held = {"random_states", "accumulated"}
    assert held <= checkpoint.keys()

    def kept(module):
        return [module._random_states, module._resumed, module._averaged, module._accumulated]

    loaded = NERModule.load_from_checkpoint(path, map_location="cpu", weights_only=True)
    assert kept(loaded) == [None] * 4
    scored = make(averaging=0.2)
    trainer_of().test(scored, data, ckpt_path=path, verbose=False, weights_only=True)
    assert kept(scored) == [None] * 4
    resumed = make(averaging=0.2)
    broken(lambda: trainer_of(Breaks("on_fit_start")).fit(resumed, data, ckpt_path=path, weights_only=True))
    assert resumed._resumed is not None
    seen = []
    start = pl.callbacks.LambdaCallback(on_train_start=lambda _, module: seen.append(kept(module)))
    trainer_of(start, limit_train_batches=1).fit(resumed, data)
    assert seen == [[None] * 4]


@pytest.mark.parametrize("run", ["validate", "test", "predict"])
def test_an_evaluation_that_broke_off_leaves_the_modes(make, data, run):
    module = make()
    hook = "on_validation_start" if run == "validate" else f"on_{run}_start"
    broken(getattr(trainer_of(Breaks(hook)), run), module, data)
    assert module.built.emitter.dropout.training
    assert not module.built.emitter.backbone.model.base_model.model.training  # as transformers loads it


@pytest.mark.parametrize("hook", ["on_validation_batch_end", "on_train_batch_end"])
def test_a_fit_that_broke_off_leaves_the_weights_and_nothing_to_the_next(make, data, monkeypatch, hook):
    memory = []
    monkeypatch.setattr(fit_ends, "keep_freed_memory", lambda: memory.append("kept") or True)
    monkeypatch.setattr(fit_ends, "return_freed_memory", lambda: memory.append("returned"))
    module, seen = make(averaging=0.2), []
    weights = pl.callbacks.LambdaCallback(
        on_train_batch_end=lambda _, module, *__: seen.append(weights_of(module))
    )
    broken(trainer_of(weights, Breaks(hook), max_steps=5).fit, module, data)
    assert torch.equal(weights_of(module), seen[-1])
    assert module.built.emitter.dropout.training
    assert memory == ["kept", "returned"]
    trained = {name: value.clone() for name, value in module.state_dict().items()}
    found = []
    for start in (module, make(averaging=0.2)):
        start.load_state_dict(trained)
        torch.manual_seed(1)
        trainer_of(limit_train_batches=3).fit(start, data)
        found.append(weights_of(start))
    assert torch.equal(*found)
    assert memory == ["kept", "returned"] * 3


@pytest.mark.slow  # torch.compile takes half a minute
@pytest.mark.filterwarnings("ignore")  # of what torch.compile does not trace
def test_a_compiled_module_is_trained_to_the_same_weights(make, data):
    found = []
    for compiled in (False, True):
        torch.manual_seed(3)
        module = make()
        module.configure_model()
        torch.manual_seed(3)
        given = torch.compile(module, backend="eager") if compiled else module
        trainer_of(limit_train_batches=2, limit_val_batches=1).fit(given, data)
        found.append(weights_of(module))
    torch.testing.assert_close(*found)
