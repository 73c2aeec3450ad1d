from types import SimpleNamespace

import pytest
import torch
from torch import nn

from ner_lightning.training.optim import Optimizer, parameter_groups, schedule
from ner_lightning.training.training_module import TrainingModule


def test_schedule_rises_then_falls():
    linear = schedule("linear", steps=100, warmup=0.1)
    assert [linear(s) for s in (0, 4, 9, 10, 55, 100)] == pytest.approx([0.1, 0.5, 1.0, 1.0, 0.5, 0.0])
    cosine = schedule("cosine", steps=100, warmup=0.0)
    assert [cosine(s) for s in (0, 50, 100)] == pytest.approx([1.0, 0.5, 0.0])
    assert schedule("constant", steps=10, warmup=0.0)(10) == 1.0
    assert schedule("linear", steps=10, warmup=0.0)(20) == 0.0
    assert schedule("linear", steps=100, warmup=0.29)(27) == pytest.approx(28 / 29)  # 0.29 * 100 is below 29


def test_each_part_has_its_own_rate_and_only_matrices_decay():
    backbone = nn.Sequential(nn.Linear(2, 2), nn.LayerNorm(2))
    backbone[0].bias.requires_grad_(False)
    settings = Optimizer(lr=1.0, head_lr=2.0, crf_lr=3.0, weight_decay=0.5)
    groups = parameter_groups(backbone, nn.Linear(2, 3), nn.Linear(3, 3), settings)
    seen = {g["name"]: (g["lr"], g["weight_decay"], len(g["params"])) for g in groups}
    assert seen == {
        "backbone": (1.0, 0.5, 1),
        "backbone_no_decay": (1.0, 0.0, 2),
        "head": (2.0, 0.5, 1),
        "head_no_decay": (2.0, 0.0, 1),
        "crf": (3.0, 0.0, 2),
    }
    torch.optim.AdamW(groups)


def test_a_softmax_tagger_has_no_crf_group():
    backbone = nn.Linear(2, 2).requires_grad_(False)
    groups = parameter_groups(backbone, nn.Linear(2, 3), None, Optimizer())
    assert [g["name"] for g in groups] == ["head", "head_no_decay"]
    torch.optim.AdamW(groups)


def test_rates_that_are_not_given_follow_from_the_others():
    assert Optimizer(lr=1e-3).rates == (1e-3, 1e-3, 1e-2)
    assert Optimizer(lr=1e-3, head_lr=2e-3).rates == pytest.approx((1e-3, 2e-3, 2e-2))


@pytest.mark.parametrize(
    ("most", "by", "clipped"),
    [
        (1.0, None, [0.6, 0.8]),
        (1.0, "norm", [0.6, 0.8]),
        (1.0, "value", [1.0, 1.0]),
        (None, None, [3.0, 4.0]),
    ],
)
def test_gradients_are_clipped_by_their_norm_or_each_alone(most, by, clipped):
    weight, without = nn.Parameter(torch.zeros(2)), nn.Parameter(torch.zeros(2))
    weight.grad = torch.tensor([3.0, 4.0])
    logged = {}
    module = SimpleNamespace(log=lambda name, value, **_: logged.update({name: value.item()}))
    optimizer = torch.optim.AdamW([weight, without])
    TrainingModule.configure_gradient_clipping(module, optimizer, most, by)
    assert weight.grad.tolist() == pytest.approx(clipped, rel=1e-5)
    assert without.grad is None
    assert logged == {"train/grad_norm": 5.0}  # before
