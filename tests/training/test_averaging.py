"""The average of the weights: what it is, what a checkpoint holds of it, and how it goes on from there."""

import pytest
import torch
from torch import nn

from ner_lightning.errors import UserError
from ner_lightning.training.averaging import WeightAverage


@pytest.fixture
def model():
    torch.manual_seed(0)
    return nn.Linear(3, 2).double()


def walk(model, average, steps):
    """Random weights for each step, all of them."""
    seen = []
    for _ in range(steps):
        nn.init.normal_(model.weight)
        average.update(model)
        seen.append(model.weight.detach().clone())
    return torch.stack(seen)


def test_at_one_half_all_steps_count_alike(model):
    average = WeightAverage(0.5)
    seen = walk(model, average, 17)
    average.exchange(model)
    torch.testing.assert_close(model.weight.detach(), seen.mean(0))


@pytest.mark.parametrize("age", [0.05, 0.1, 0.25])
def test_the_weights_in_it_are_so_old_in_the_mean(age):
    """A weight that is its own step's number makes the average that step's mean number."""
    model, average = nn.Linear(1, 1, bias=False).double(), WeightAverage(age)
    for step in range(1, 2001):
        nn.init.constant_(model.weight, step)
        average.update(model)
    average.exchange(model)
    assert 2000 - model.weight.item() == pytest.approx(age * 2000, rel=0.01)


def test_it_is_the_polynomial_decay_average(model):
    """Shamir & Zhang's recursion with eta 8 is a mean age of a tenth."""
    average = WeightAverage(0.1)
    seen = walk(model, average, 50)
    expected = seen[0]
    for step, weight in enumerate(seen[1:], start=2):
        share = (8 + 1) / (step + 8)
        expected = (1 - share) * expected + share * weight
    average.exchange(model)
    torch.testing.assert_close(model.weight.detach(), expected)


def test_exchanged_twice_all_is_as_before(model):
    average = WeightAverage(0.1)
    last = walk(model, average, 5)[-1]
    average.exchange(model)
    assert average.inside
    assert not torch.equal(model.weight, last)
    average.exchange(model)
    assert torch.equal(model.weight, last)


def test_what_is_not_trained_is_left_alone(model):
    model.bias.requires_grad_(False)
    before = model.bias.clone()
    average = WeightAverage(0.1)
    walk(model, average, 3)
    assert average.save(model.state_dict(), model)["averaged"]["weights"].keys() == {"weight"}
    average.settle(model)
    assert torch.equal(model.bias, before)


@pytest.mark.parametrize("inside", [False, True])
def test_a_checkpoint_holds_the_average_and_the_weights_whichever_the_model_has(model, inside):
    average = WeightAverage(0.1)
    last = walk(model, average, 5)[-1]
    if inside:
        average.exchange(model)
    saved = average.save({f"tagger.{k}": v for k, v in model.state_dict().items()}, model, "tagger.")
    assert saved["state_dict"].keys() == {"tagger.weight", "tagger.bias"}
    assert torch.equal(saved["averaged"]["weights"]["weight"], last)
    assert not torch.equal(saved["state_dict"]["tagger.weight"], last)


def test_restored_it_goes_on_exactly(model):
    whole = WeightAverage(0.1)
    walk(model, whole, 5)
    saved = {k: v.clone() for k, v in whole.save(model.state_dict(), model)["state_dict"].items()}
    kept = whole.save(model.state_dict(), model)["averaged"]
    other, fresh = nn.Linear(3, 2).double(), WeightAverage(0.1)
    other.load_state_dict(saved)
    fresh.restore(other, kept)
    assert torch.equal(other.weight, model.weight)
    for held, average in ((model, whole), (other, fresh)):
        torch.manual_seed(1)
        walk(held, average, 4)
        average.settle(held)
    assert torch.equal(other.weight, model.weight)


def test_without_averaging_nothing_is_kept(model):
    average = WeightAverage(0.0)
    last = walk(model, average, 3)[-1]
    average.exchange(model)
    assert torch.equal(model.weight, last)
    assert average.save(model.state_dict(), model) == {}


@pytest.mark.parametrize("age", [-0.1, 0.6, float("nan")])
def test_an_age_out_of_range_is_refused(age):
    with pytest.raises(UserError, match=r"a number from 0 to 0\.5"):
        WeightAverage(age)
