"""LayerSplit: a backbone cut between frozen layers, whose output can be cached, and those above."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NoReturn

from torch import Tensor, nn

from ner_lightning.model.backbone import Backbone


class _SplitReached(Exception):  # noqa: N818  (no error: the way out)
    """Leaves a forward pass at the split, with the hidden states there."""

    def __init__(self, hidden: Tensor) -> None:
        super().__init__()
        self.hidden = hidden


class LayerSplit:
    """Splits a backbone above its first `depth` layers, whatever its architecture.

    While one half runs, the layers below have a forward of their own, and everything else stays the
    backbone's code: while hidden states are given, they do nothing but hand these to the layer above.

    Args:
        backbone: unchanged but for these moments, so that a copy of it is another backbone.
        depth: how many layers are below, at least 1.
    """

    def __init__(self, backbone: Backbone, depth: int) -> None:
        self._layers: list[nn.Module] = list(backbone.layers[:depth])
        self._others: int | None = None  # values that a layer returns beside hidden states; None: no tuple

    def below(self, run: Callable[[], object]) -> Tensor:
        """Hidden states at the split; the layers above are not run.

        Args:
            run: calls the backbone on a batch.

        Returns:
            *Shape:* (R, T, D)
        """
        last = self._layers[-1]
        whole: Callable[..., Any] = last.forward

        def stopping(*args: Any, **kwargs: Any) -> NoReturn:
            output = whole(*args, **kwargs)
            is_tuple = isinstance(output, tuple)
            self._others = len(output) - 1 if is_tuple else None
            raise _SplitReached(output[0] if is_tuple else output)

        try:
            with _replaced({last: stopping}):
                run()
        except _SplitReached as reached:
            return reached.hidden
        raise AssertionError("the backbone did not run its own layers")

    @contextmanager
    def given(self, hidden: Tensor) -> Iterator[None]:
        """Within it the backbone starts at the split, from these hidden states. *Shape:* (R, T, D).

        `below` must have run before: it tells how layers return what they compute.
        """

        def passing(hidden_states: Tensor, *_args: Any, **_kwargs: Any) -> Any:
            return hidden_states if self._others is None else (hidden_states, *[None] * self._others)

        def giving(*_args: Any, **_kwargs: Any) -> Any:
            return passing(hidden)

        with _replaced(dict.fromkeys(self._layers, passing) | {self._layers[-1]: giving}):
            yield


@contextmanager
def _replaced(forwards: Mapping[nn.Module, Callable[..., Any]]) -> Iterator[None]:
    """Within it some layers have another forward."""
    before = {layer: vars(layer).get("forward") for layer in forwards}
    for layer, forward in forwards.items():
        layer.forward = forward
    try:
        yield
    finally:
        for layer, own in before.items():
            del layer.forward
            if own is not None:
                layer.forward = own
