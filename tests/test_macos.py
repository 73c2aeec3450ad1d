"""What is known to differ on macOS, with that platform's answers simulated: nothing of this was run there."""

import os
import resource
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from ner_lightning.data import feature_store
from ner_lightning.data.batching import Batch
from ner_lightning.data.schemes import LabelSet
from ner_lightning.data.teacher import TeacherStore
from ner_lightning.errors import UserError
from ner_lightning.metrics import float64
from ner_lightning.metrics.entity_f1 import EntityF1
from ner_lightning.model.crf import inputs, sums
from ner_lightning.model.crf.layer import CRF
from ner_lightning.model.decoder import Decoder
from ner_lightning.model.distillation import teach
from ner_lightning.model.loss import Loss
from ner_lightning.training.callbacks import throughput
from ner_lightning.training.launch import isolated
from ner_lightning.training.pretraining import masked_words as pretraining
from ner_lightning.training.randomness import random_states, restore_random_state

LABELS = LabelSet(("PER",))
LAYOUT = feature_store.FeatureLayout(np.array([0, 3, 5]), False, 7, torch.float32)
LOSSES = torch.logspace(-3, 7, 200)  # of float32, whose sum in float32 is another one


class NoDoubles(torch.utils._python_dispatch.TorchDispatchMode):
    """A CPU without float64 where `armed`: as Apple's GPUs, it refuses to make any."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        found = func(*args, **(kwargs or {}))
        for one in found if isinstance(found, tuple | list) else (found,):
            if isinstance(one, torch.Tensor) and one.dtype == torch.float64:
                raise TypeError("Cannot convert a MPS Tensor to float64 dtype")
        return found


def refusing(tensor: torch.Tensor) -> torch.Tensor:
    """How a tensor is moved to such a device."""
    if tensor.dtype == torch.float64:
        raise TypeError("Cannot convert a MPS Tensor to float64 dtype")
    return tensor.clone()


@pytest.fixture
def no_float64(monkeypatch):
    """A machine whose device has no float64."""
    for name in (
        "metrics.float64",
        "metrics.entity_f1",
        "training.pretraining.masked_words",
        "model.crf.inputs",
    ):
        monkeypatch.setattr(f"ner_lightning.{name}.has_float64", lambda _: False)


def loss_of(metric: EntityF1) -> float:
    for loss in LOSSES:
        tags = torch.ones(1, 2, dtype=torch.long)
        metric.update(tags, tags, torch.ones(1, 2, dtype=torch.bool))
        metric.add_loss(loss)
    return metric.compute()["loss"]


def test_only_apples_gpus_lack_float64():
    kinds = {kind: float64.has_float64(torch.device(kind)) for kind in ("cpu", "cuda", "cuda:1", "mps")}
    assert kinds == {"cpu": True, "cuda": True, "cuda:1": True, "mps": False}


def test_the_loss_of_a_split_is_summed_exactly_all_the_same(no_float64):
    whole = float(LOSSES.double().sum()) / (2 * len(LOSSES))
    assert float(LOSSES.cumsum(0)[-1]) / (2 * len(LOSSES)) != whole
    metric = EntityF1(["PER"])
    with pytest.raises(TypeError):
        metric.loss = refusing(metric.loss)
    metric._apply(refusing)
    assert loss_of(metric) == whole
    metric.reset()
    assert metric.loss.dtype == torch.float64
    assert loss_of(metric) == whole


def test_elsewhere_the_sums_go_where_the_module_goes():
    metric = EntityF1(["PER"]).to("meta")
    assert {metric.counts.device.type, metric.words.device.type, metric.loss.device.type} == {"meta"}
    assert metric.loss.dtype == torch.float64
    assert EntityF1(["PER"]).half().loss.dtype == torch.float64


@pytest.mark.parametrize("kind", ["meta", "cpu"])
def test_the_sums_of_pretraining_stay_where_float64_is(monkeypatch, kind):
    """`meta` stands for the device without it."""
    monkeypatch.setattr(pretraining, "has_float64", lambda device: device.type == "cpu")
    module = SimpleNamespace(device=torch.device(kind), _generator=torch.Generator(), global_rank=0)
    pretraining.Pretraining.on_validation_epoch_start(module)
    assert module._sums.device.type == "cpu"
    assert module._sums.dtype == torch.float64
    module.built = lambda batch, draws: (torch.tensor(2.5), torch.tensor(2.0))
    for _ in range(2):
        pretraining.Pretraining.validation_step(module, None)
    assert module._sums.tolist() == [5.0, 4.0]


def test_a_batch_goes_to_the_sums_before_it_is_made_double(monkeypatch):
    """In the other order the device would have to hold the doubles."""
    moves = []
    monkeypatch.setattr(
        torch.Tensor, "double", lambda tensor: moves.append("double") or tensor.to(torch.float64)
    )
    module = SimpleNamespace(_sums=torch.zeros(2, dtype=torch.float64), _generator=None)

    class Moved(torch.Tensor):
        def to(self, *where, **how):
            moves.append(f"to {where[0]}")
            return self.as_subclass(torch.Tensor).to(*where, **how)

    monkeypatch.setattr(torch, "stack", lambda parts: torch.tensor(parts).as_subclass(Moved))
    module.built = lambda batch, draws: (2.5, 2.0)
    pretraining.Pretraining.validation_step(module, None)
    assert moves[:2] == ["to cpu", "double"]


@pytest.mark.parametrize("use_crf", [True, False], ids=["crf", "softmax"])
def test_a_batch_with_a_teacher_goes_there(no_float64, monkeypatch, use_crf):
    monkeypatch.setattr(sums, "scaled_posterior", lambda *_, **__: None)  # of CPUs alone
    mask = torch.tensor([[True, True], [True, False]])
    torch.manual_seed(0)
    decoder = Decoder(LABELS, use_crf=use_crf, loss=Loss(ce=1, crf=0, kl=1))
    taught = teach(CRF(3) if use_crf else None, torch.randn(2, 2, 3), mask, LABELS, torch.arange(3), 1.0)
    emissions = torch.randn(2, 2, 3, requires_grad=True)
    store = TeacherStore(
        {"temperature": 1.0},
        (),
        np.array([0, 2, 3]),
        taught.marginals[mask].float().numpy(),
        taught.transitions.float().numpy(),
        taught.entropy.double().numpy(),
    )
    ids = torch.zeros(2, 2, dtype=torch.long)
    batch = Batch(ids, mask, ids, ids, mask, ids, torch.arange(2), teacher=store.batch(torch.arange(2), mask))
    there = batch._map(refusing)
    with NoDoubles():
        losses = decoder.losses(emissions, there.tags, there.mask, teacher=there.teacher)
        losses["kl"].backward()
    assert losses["kl"] > 0
    assert emissions.grad.isfinite().all()


def test_the_random_numbers_of_the_gpu_go_on_there(monkeypatch):
    generator = {"state": torch.arange(4, dtype=torch.uint8)}
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    monkeypatch.setattr(torch.mps, "get_rng_state", lambda: generator["state"].clone())
    monkeypatch.setattr(torch.mps, "set_rng_state", lambda state: generator.update(state=state))
    held = random_states()
    with isolated():
        generator["state"] = torch.zeros(4, dtype=torch.uint8)
    assert generator["state"].tolist() == [0, 1, 2, 3]
    generator["state"] = torch.zeros(4, dtype=torch.uint8)
    restore_random_state(held, 0)
    assert generator["state"].tolist() == [0, 1, 2, 3]
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    monkeypatch.setattr(torch.mps, "set_rng_state", lambda _: pytest.fail("there is none"))
    restore_random_state(held, 0)  # a run of another machine
    assert "mps" not in random_states()[0]


def test_transitions_are_then_in_float32(no_float64):
    with NoDoubles():
        matrix = inputs.transition_matrix(torch.zeros(3), torch.zeros(3, 3), torch.zeros(3))
    assert matrix.dtype == torch.float32


@pytest.mark.parametrize("size", [0, 1, 5, 8, 17])
@pytest.mark.parametrize("there", [True, False], ids=["posix_fallocate", "macOS"])
def test_a_file_takes_its_room_at_once(monkeypatch, tmp_path, size, there):
    monkeypatch.setattr(feature_store, "CRC_CHUNK", 4)
    if not there:
        monkeypatch.delattr(os, "posix_fallocate")
    with (tmp_path / "file").open("wb") as stream:
        feature_store._reserve(stream, size)
    assert (tmp_path / "file").read_bytes() == bytes(size)
    assert (tmp_path / "file").stat().st_blocks * 512 >= size


def test_a_full_disk_is_met_before_the_file_is_filled(monkeypatch, tmp_path):
    monkeypatch.delattr(os, "posix_fallocate")
    opened = Path.open

    def full(path, *how, **options):
        return (
            opened(Path("/dev/full"), *how, **options)
            if path.name == feature_store.VALUES
            else opened(path, *how)
        )

    monkeypatch.setattr(Path, "open", full)
    with pytest.raises(UserError, match="No space left on device"):
        feature_store.make_part(tmp_path, "key", LAYOUT, 1.0)


def test_features_are_kept_and_read_there_too(monkeypatch, tmp_path):
    monkeypatch.delattr(os, "posix_fallocate")
    part = feature_store.make_part(tmp_path, "key", LAYOUT, 1.0)
    writer = feature_store.FeatureWriter(part, LAYOUT)
    rows = torch.randn(5, 7)
    writer.put(0, rows[:3])
    writer.put(1, rows[3:])
    writer.finish(tmp_path, "key", {})
    found = feature_store.load(tmp_path, "key", LAYOUT)
    assert found is not None
    torch.testing.assert_close(found.values, rows, rtol=0, atol=0)


@pytest.mark.parametrize(("platform", "unit"), [("linux", 1024), ("darwin", 1)])
def test_the_peak_of_memory_is_in_bytes(monkeypatch, platform, unit):
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr(resource, "getrusage", lambda _: SimpleNamespace(ru_maxrss=3 * 2**20))
    assert throughput.peak_memory(torch.device("cpu")) == 3 * 2**20 * unit
