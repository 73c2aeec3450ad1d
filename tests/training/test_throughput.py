"""Words/s."""

import time
from types import SimpleNamespace

import torch

from ner_lightning.data.batching import Batch
from ner_lightning.training.callbacks.throughput import Throughput


def test_an_epoch_lasts_until_the_device_has_done_it():
    real = torch.ones(1, 4, dtype=torch.bool)
    places = torch.zeros(1, 4, dtype=torch.long)
    batch = Batch(places, real, places, places, real, places, torch.zeros(1, dtype=torch.long))

    def reduce(tensor, reduce_op):
        time.sleep(0.1)  # here a GPU is waited for
        return tensor

    trainer = SimpleNamespace(
        strategy=SimpleNamespace(reduce=reduce),
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
        strategy=SimpleNamespace(reduce=lambda tensor, reduce_op: tensor),
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
