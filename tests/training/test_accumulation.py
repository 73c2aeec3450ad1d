"""Batches that share a step count by their words, like one large batch."""

from types import SimpleNamespace

import pytest
import torch
import yaml

from ner_lightning.commands.main import main
from ner_lightning.training.training_module import TrainingModule


@pytest.mark.parametrize("counts", [[3, 9, 1], [4, 0, 2], [0, 0, 5], [7]])
def test_gradients_are_those_of_the_mean_over_all_words(monkeypatch, counts):
    """Also of masked words, of which a batch can have none."""
    trainer = SimpleNamespace(accumulate_grad_batches=4, progress_bar_callback=None, world_size=1)
    monkeypatch.setattr(TrainingModule, "trainer", trainer)
    module = TrainingModule()
    monkeypatch.setattr(module, "log", lambda *_, **__: None)
    weight = torch.nn.Parameter(torch.ones(3, dtype=torch.float64))
    optimizer = torch.optim.SGD([weight], lr=1.0)
    torch.manual_seed(0)
    words = [torch.randn(count, 3, dtype=torch.float64) for count in counts]
    for batch in words:
        total = (batch @ weight).square().sum()
        output = module.step_output(total, torch.tensor(len(batch)))
        assert float(output["shown"]) == pytest.approx(float(total.detach()) / max(len(batch), 1))
        (output["loss"] / trainer.accumulate_grad_batches).backward()  # as Lightning does
    module.on_before_optimizer_step(optimizer)
    whole = torch.ones(3, dtype=torch.float64, requires_grad=True)
    (torch.cat(words) @ whole).square().mean().backward()
    assert torch.allclose(weight.grad, whole.grad, rtol=1e-12)


def test_a_schedule_of_accumulation_follows_one_large_batch(llama, corpus, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = {
        "trainer": {"accelerator": "cpu", "max_epochs": 2, "precision": "64-true"},
        "model": {
            "backbone": str(llama),
            "optimizer": {"lr": 0.01, "schedule": "constant", "warmup": 0.0},
            "architecture": {"dropout": 0.0},
        },
        "data": {"dataset": str(corpus), "batches": {"size": 32}},
    }
    parts = {"class_path": "GradientAccumulationScheduler", "init_args": {"scheduling": {0: 4, 1: 8}}}
    weights = []
    for size, callbacks in ((32, []), (8, [parts])):
        config["data"]["batches"]["size"] = size
        config["trainer"]["callbacks"] = callbacks
        (tmp_path / f"b{size}.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
        assert main(["fit", "--config", f"b{size}.yaml"]) == 0
        last = torch.load(f"runs/b{size}/1/checkpoints/last.ckpt", weights_only=True)
        assert last["global_step"] == 2  # one an epoch; in the second, four batches where eight were meant
        weights.append(last["state_dict"])
    one, other = weights
    assert max(float((one[name] - other[name]).abs().max()) for name in one) < 1e-8
