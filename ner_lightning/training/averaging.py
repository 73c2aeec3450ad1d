"""WeightAverage: a running average of the trained weights, which is evaluated and saved in their place."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ner_lightning.system.ranges import UpToHalf, check_setting


class WeightAverage:
    """The polynomial-decay average of trained weights (Shamir & Zhang 2013).

    Step t has weight c / (t + c - 1) in the average, with c = 1 / age - 1. The mean age of the weights in it
    is therefore a fraction `age` of the steps so far, however long a training is; at 0.5 all steps have the
    same weight. It suits a constant learning rate, since it averages out the noise of large steps. Only
    trained weights are copied; Lightning's `WeightAveraging` copies the frozen backbone as well.

    Args:
        age: mean age of the averaged weights, as a share of the steps so far, up to 0.5; 0 averages nothing.

    Raises:
        UserError: `age` is out of its range.
    """

    def __init__(self, age: float) -> None:
        check_setting("model.optimizer.averaging", UpToHalf, age)
        self.age = age
        self.steps = 0
        self.inside = False  # whether the model holds the average at present, and this the weights
        self._average: dict[str, Tensor] = {}

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Adds the weights after an optimizer step."""
        if not self.age:
            return
        self.steps += 1
        weights = trained(model)
        if self.steps == 1:
            self._average = {name: weight.clone() for name, weight in weights.items()}
            return
        count = 1 / self.age - 1
        average: Any = [self._average[name] for name in weights]
        torch._foreach_lerp_(average, list(weights.values()), count / (self.steps + count - 1))

    @torch.no_grad()
    def exchange(self, model: nn.Module) -> None:
        """Puts the average into the model and keeps its weights, or the other way round."""
        if not self._average:
            return
        for name, weight in trained(model).items():
            aside = weight.clone()
            weight.copy_(self._average[name])
            self._average[name].copy_(aside)
        self.inside = not self.inside

    def settle(self, model: nn.Module) -> None:
        """Leaves the average in the model, for good."""
        if self._average and not self.inside:
            self.exchange(model)
        self.forget()

    def forget(self) -> None:
        """Begins anew."""
        self.steps, self.inside, self._average = 0, False, {}

    def save(self, state: Mapping[str, Tensor], model: nn.Module, prefix: str = "") -> dict[str, Any]:
        """What a checkpoint holds: the average where a model's weights are, and the weights beside them.

        Args:
            state: the checkpoint's weights.
            model: whose weights these are.
            prefix: of their names there.

        Returns:
            entries of the checkpoint; none if nothing is averaged.
        """
        if not self._average:
            return {}
        weights, average = trained(model), self._average
        if self.inside:
            weights, average = average, weights
        averaged = {prefix + name: value for name, value in average.items()}
        return {"state_dict": {**state, **averaged}, "averaged": {"steps": self.steps, "weights": weights}}

    @torch.no_grad()
    def restore(self, model: nn.Module, saved: Mapping[str, Any]) -> None:
        """Continues from a checkpoint, whose average the model already holds.

        Args:
            model: to put the weights into.
            saved: `averaged` of the checkpoint.
        """
        weights = trained(model)
        if self.age:
            self._average = {name: weight.clone() for name, weight in weights.items()}
            self.steps = saved["steps"]
        for name, weight in weights.items():
            weight.copy_(saved["weights"][name])


def trained(model: nn.Module) -> dict[str, Tensor]:
    """The weights that are trained, by name; detached, but the same memory."""
    return {name: p.detach() for name, p in model.named_parameters() if p.requires_grad}
