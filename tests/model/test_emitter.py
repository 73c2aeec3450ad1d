"""Dropout: the rate and scale it says, no more draws than it needs, PyTorch's own where that is better."""

import pytest
import torch

from ner_lightning.model.emitter import Dropout


@pytest.mark.parametrize("learns", [False, True])
@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_it_zeroes_at_its_rate_and_keeps_the_mean(p, learns):
    torch.manual_seed(0)
    ones = torch.ones(301, 1001, requires_grad=learns)
    out = Dropout(p)(ones)
    assert (out == 0).float().mean().item() == pytest.approx(p, abs=0.005)
    assert out.mean().item() == pytest.approx(1, abs=0.02)
    zero, scale = sorted(out.unique().tolist())
    assert zero == 0
    assert scale == pytest.approx(1 / (1 - p), rel=1e-4)
    if learns:
        out.sum().backward()
        assert torch.equal(ones.grad, out)  # the same values are dropped on the way back
    columns, rows = (out == 0).float().mean(0), (out == 0).float().mean(1)
    assert columns.std().item() == pytest.approx((p * (1 - p) / 301) ** 0.5, rel=0.15)
    assert rows.std().item() == pytest.approx((p * (1 - p) / 1001) ** 0.5, rel=0.15)


def test_draws_follow_the_seed_and_evaluation_has_none():
    ones = torch.ones(7, 5)
    found = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        found.append(Dropout(0.5)(ones))
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])
    before = torch.get_rng_state()
    assert Dropout(0.5).eval()(ones) is ones
    assert torch.equal(Dropout(0.0)(ones), ones)
    assert torch.equal(torch.get_rng_state(), before)
    assert not Dropout(1.0)(ones).any()


def test_what_is_left_is_scaled_after_the_conversion():
    values = torch.randn(64, 9).bfloat16().requires_grad_()
    out = Dropout(0.25)(values, torch.float32)
    assert out.dtype == torch.float32
    kept = out != 0
    torch.testing.assert_close(out[kept], values.detach().float()[kept] / 0.75)
    out.sum().backward()
    assert values.grad.dtype == torch.bfloat16
    assert torch.equal(values.grad != 0, kept)
    assert Dropout(0.25).eval()(values, torch.float32).dtype == torch.float32
