"""Training on partly annotated data: the divisor of the loss, batches of unknown words alone, whole fits."""

import json
from types import SimpleNamespace

import lightning.pytorch as pl
import pytest
import tiny
import torch
import yaml

from ner_lightning.commands.main import main
from ner_lightning.data.batching import EncodedDataset
from ner_lightning.data.corpus_settings import Batches
from ner_lightning.model.adapters import Lora
from ner_lightning.model.loss import Loss
from ner_lightning.training import training_module
from ner_lightning.training.datamodule import CoNLLDataModule
from ner_lightning.training.module import NERModule
from ner_lightning.training.optim import Optimizer
from ner_lightning.training.training_module import TrainingModule

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*in eval mode.*:UserWarning", "ignore:.*does not have many workers.*:UserWarning"
)
TRAIN = tiny.sentences(tiny.TRAIN)


@pytest.fixture
def two_ranks(monkeypatch):
    """Puts another rank's sums beside those of this one."""

    def put(words, total):
        other = torch.tensor([words, total])

        def mean(value, _):
            return (value + other) / 2 if len(value) == 2 else value

        monkeypatch.setattr(training_module, "_mean_of_ranks", mean)
        asked = {"progress_bar_callback": None, "is_last_batch": True, "accumulate_grad_batches": 1}
        monkeypatch.setattr(TrainingModule, "trainer", SimpleNamespace(**asked, world_size=2))

    return put


def module_of(llama, **options):
    torch.manual_seed(0)
    module = NERModule(backbone=str(llama), types=["PER", "ORG", "LOC", "MISC"], lora=Lora(rank=4), **options)
    module.configure_model()
    return module.eval()


def batch_of(llama, pairs):
    data = CoNLLDataModule(train=pairs, valid=TRAIN, backbone=str(llama), types=["PER", "ORG", "LOC", "MISC"])
    return EncodedDataset(data.corpus.encoded("train"), data.corpus.encoder.pad_id)[[*range(len(pairs))]]


@pytest.mark.parametrize(("missed", "counted"), [(1.0, 3), (0.5, 7)])
def test_the_loss_is_divided_by_the_words_of_all_ranks_that_are_known(
    llama, monkeypatch, two_ranks, missed, counted
):
    pairs = [
        (["Vera", "left", "Lima", "."], ["B-PER", "?", "?", "O"]),
        (["Nobody", "left", "."], list("??O")),
    ]
    module = module_of(llama, loss=Loss(missed=missed))
    two_ranks(9.0, 5.0)
    monkeypatch.setattr(module, "log", lambda *_, **__: None)
    batch = batch_of(llama, pairs)
    with torch.no_grad():
        output = module.training_step(batch)
        decoder = module.built.decoder
        total = decoder.total(decoder.losses(module.built(batch), batch.tags, batch.mask, partial=True))
    torch.testing.assert_close(output["loss"], total / ((counted + 9) / 2))
    torch.testing.assert_close(output["shown"], (total + 5) / (counted + 9))


@pytest.mark.parametrize("use_crf", [True, False])
def test_a_batch_of_unknown_words_alone_moves_nothing_and_uses_every_parameter(
    llama, monkeypatch, two_ranks, use_crf
):
    module = module_of(llama, use_crf=use_crf)
    logged = {}
    two_ranks(0.0, 0.0)
    monkeypatch.setattr(module, "log", lambda name, value, **_: logged.update({name: float(value)}))
    batch = batch_of(llama, [(["Vera", "left"], ["B-PER", "?"])])
    batch.tags[:] = -1
    output = module.training_step(batch)
    output["loss"].backward()
    gradients = [p.grad for p in module.parameters() if p.requires_grad]
    assert all(g is not None and g.abs().max() < 1e-6 for g in gradients)
    assert all(abs(value) < 1e-5 for value in logged.values())


@pytest.mark.slow
def test_entities_are_learned_of_which_a_half_is_unknown(llama, tmp_path):
    """Every second sentence tells nothing but its last word; all is learned from the others."""
    half = [(words, tags if at % 2 else [*["?"] * (len(tags) - 1), tags[-1]]) for at, (words, tags) in
            enumerate(TRAIN * 2)]  # fmt: skip
    data = CoNLLDataModule(
        train=[*half, *TRAIN[::2]], valid=TRAIN, backbone=str(llama), batches=Batches(size=4)
    )
    module = NERModule(
        backbone=str(llama), types=data.types, lora=Lora(rank=4), optimizer=Optimizer(lr=0.01, head_lr=0.03)
    )
    trainer = pl.Trainer(
        max_epochs=25, accelerator="cpu", logger=False, default_root_dir=tmp_path, enable_progress_bar=False,
        enable_model_summary=False, use_distributed_sampler=False, num_sanity_val_steps=0,
        enable_checkpointing=False,
    )  # fmt: skip
    trainer.fit(module, data)
    assert trainer.callback_metrics["val/f1"] > 0.9


def test_the_settings_reach_the_checkpoint(llama, corpus, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    config = {
        "trainer": {"accelerator": "cpu", "max_epochs": 1, "limit_train_batches": 2},
        "model": {"backbone": str(llama), "loss": {"missed": 0.5}},
        "data": {"dataset": str(corpus), "files": {"unannotated": "unknown"}},
    }
    (tmp_path / "p.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    assert main(["fit", "--config", "p.yaml"]) == 0
    saved = torch.load("runs/p/1/checkpoints/last.ckpt", weights_only=True)
    assert saved["config"]["data"]["files"]["unannotated"] == "unknown"
    assert saved["hyper_parameters"]["loss"]["missed"] == 0.5
    assert main(["test"]) == 0
    rows = (tmp_path / "runs/p/1/predictions.test.jsonl").read_text(encoding="utf-8").splitlines()
    assert not any("?" in json.loads(row)["gold"] for row in rows)
    assert main(["fit", "--config", "p.yaml", "--model.loss.missed=0"]) == 2
    assert "model.loss.missed" in capsys.readouterr().err
