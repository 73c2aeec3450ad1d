"""LayerSplit: a backbone cut between frozen layers, whose output can be cached, and those above."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor

from ner_lightning.model.backbone import Backbone


class _SplitReached(Exception):  # noqa: N818  (no error: the way out)
    """Leaves a forward pass at the split, with the hidden states there."""

    def __init__(self, hidden: Tensor) -> None:
        super().__init__()
        self.hidden = hidden


class LayerSplit:
    """Splits a backbone above its first `depth` layers, whatever its architecture.

    The layers below get a forward of their own, and everything else stays the backbone's code: while
    hidden states are given, they do nothing but hand these to the layer above.

    Args:
        backbone: in place.
        depth: how many layers are below, at least 1.
    """

    def __init__(self, backbone: Backbone, depth: int) -> None:
        self.depth = depth
        self._given: Tensor | None = None
        self._stops = False
        self._tuples = False
        for number, layer in enumerate(backbone.layers[:depth], start=1):
            self._take_over(layer, last=number == depth)

    def _take_over(self, layer: Any, last: bool) -> None:
        whole: Callable[..., Any] = layer.forward

        def forward(hidden_states: Tensor, *args: Any, **kwargs: Any) -> Any:
            if self._given is not None:
                passed = self._given if last else hidden_states
                return (passed,) if self._tuples else passed
            output = whole(hidden_states, *args, **kwargs)
            self._tuples = isinstance(output, tuple)
            if last and self._stops:
                raise _SplitReached(output[0] if self._tuples else output)
            return output

        layer.forward = forward

    def below(self, run: Callable[[], object]) -> Tensor:
        """Hidden states at the split; the layers above are not run.

        Args:
            run: calls the backbone on a batch.

        Returns:
            *Shape:* (R, T, D)
        """
        self._stops = True
        try:
            run()
        except _SplitReached as reached:
            return reached.hidden
        finally:
            self._stops = False
        raise AssertionError("the backbone did not run its own layers")

    @contextmanager
    def given(self, hidden: Tensor) -> Iterator[None]:
        """Within it the backbone starts at the split, from these hidden states. *Shape:* (R, T, D)."""
        self._given = hidden
        try:
            yield
        finally:
            self._given = None
