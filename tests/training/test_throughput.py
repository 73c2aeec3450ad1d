"""Words/s."""

import time
from types import SimpleNamespace

import torch

from ner_lightning.data.batching import Batch
from ner_lightning.training.callbacks.throughput import Throughput, peak_memory
from ner_lightning.training.randomness import random_states, restore_random_state


def test_an_epoch_lasts_until_the_device_has_done_it():
    real = torch.ones(1, 4, dtype=torch.bool)
    places = torch.zeros(1, 4, dtype=torch.long)
    batch = Batch(places, real, places, places, real, places, torch.zeros(1, dtype=torch.long))

    def reduce(tensor, reduce_op):
        time.sleep(0.1)  # here a GPU is waited for
        return tensor

    trainer = SimpleNamespace(
        strategy=SimpleNamespace(reduce=reduce, root_device=torch.device("cpu")),
        is_last_batch=True,
        log_every_n_steps=0,
        global_step=1,
        loggers=[],
    )
    throughput = Throughput()
    throughput.on_train_epoch_start(trainer, SimpleNamespace(device=torch.device("cpu")))
    throughput.on_train_batch_end(trainer, SimpleNamespace(), None, batch)
    assert 0 < throughput.words_per_second <= 4 / 0.1


def batch_of(words):
    real = torch.ones(1, words, dtype=torch.bool)
    places = torch.zeros(1, words, dtype=torch.long)
    return Batch(places, real, places, places, real, places, torch.zeros(1, dtype=torch.long))


def test_a_resumed_epoch_counts_the_time_before_and_no_validation(monkeypatch):
    clock = [100.0]
    monkeypatch.setattr("ner_lightning.training.callbacks.throughput.time.perf_counter", lambda: clock[0])
    trainer = SimpleNamespace(
        strategy=SimpleNamespace(reduce=lambda tensor, reduce_op: tensor, root_device=torch.device("cpu")),
        is_last_batch=False,
        log_every_n_steps=0,
        global_step=1,
        loggers=[],
    )
    module = SimpleNamespace(device=torch.device("cpu"))
    first = Throughput()
    first.on_train_epoch_start(trainer, module)
    clock[0] += 2
    first.on_train_batch_end(trainer, module, None, batch_of(30))
    first.on_validation_start(trainer, module)
    clock[0] += 50
    first.on_validation_end(trainer, module)
    clock[0] += 1
    first.on_train_batch_end(trainer, module, None, batch_of(30))
    second = Throughput()
    second.load_state_dict(first.state_dict())
    clock[0] += 1000
    second.on_train_start(trainer, module)
    clock[0] += 1
    trainer.is_last_batch = True
    second.on_train_batch_end(trainer, module, None, batch_of(60))
    assert second.words_per_second == 120 / 4


def test_each_training_has_a_peak_of_its_own_on_its_own_gpu(monkeypatch):
    allocated = {0: 5, 1: 7}
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: allocated[device.index])
    monkeypatch.setattr(
        torch.cuda, "reset_peak_memory_stats", lambda device: allocated.update({device.index: 0})
    )
    gpu, cpu = (
        SimpleNamespace(strategy=SimpleNamespace(root_device=torch.device(d))) for d in ("cuda:1", "cpu")
    )
    assert peak_memory(gpu.strategy.root_device) == 7
    assert peak_memory(cpu.strategy.root_device) > 2**20
    Throughput().setup(cpu, SimpleNamespace(), "fit")
    Throughput().setup(gpu, SimpleNamespace(), "fit")
    assert allocated == {0: 5, 1: 0}


def test_states_of_cuda_are_kept_and_restored_where_it_is_used(monkeypatch):
    state, restored = torch.arange(3), []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_rng_state", lambda: state)
    monkeypatch.setattr(torch.cuda, "set_rng_state", restored.append)
    for used in (False, True):
        monkeypatch.setattr(torch.cuda, "is_initialized", lambda used=used: used)
        assert ("cuda" in random_states()[0]) is used
        restore_random_state([{"cpu": torch.get_rng_state(), "cuda": state}], 0)
        assert restored == [state] * used
