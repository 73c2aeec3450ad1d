"""Words a second."""

import time
from types import SimpleNamespace

import torch

from ner_lightning.data.batching import Batch
from ner_lightning.training.vitals import Vitals


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
    vitals = Vitals()
    vitals.on_train_epoch_start(trainer, SimpleNamespace(device=torch.device("cpu")))
    vitals.on_train_batch_end(trainer, SimpleNamespace(), None, batch)
    assert 0 < vitals.words_per_second <= 4 / 0.1
