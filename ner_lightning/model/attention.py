"""Proof that a backbone attends as asked, on the path that training and prediction take."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ner_lightning.data.batching import Batch
from ner_lightning.errors import UserError
from ner_lightning.model.backbone import Attention, Backbone, evaluating
from ner_lightning.model.masks import check_packing, hidden_states, mask_forms

WIDTH = 6  # sub-tokens in a row


class _Probe(NamedTuple):
    """What is run twice, and what may differ between the two runs.

    Attributes:
        batch: the first run.
        changed: the same with other sub-tokens at the end of each row. *Shape:* (R, T)
        if_bidirectional: where bidirectional attention alone sees the change. *Shape:* (R, T)
        must_not_change: where no attention may see it. *Shape:* (R, T)
    """

    batch: Batch
    changed: Tensor
    if_bidirectional: Tensor
    must_not_change: Tensor


def verify_attention(
    backbone: Backbone,
    attention: Attention,
    *,
    packed: bool = False,
    causal_below: int = 0,
) -> None:
    """Proves the direction of attention on the model itself, and settles which mask it is given.

    The end of a sentence is changed; its first hidden state must change if attention is bidirectional and
    must not if it is causal. This is done by `hidden_states`, which training and prediction call too, on a
    sentence alone, in a padded batch and, if asked for, in a packed row; what stands on padding or in
    another sentence must change nothing. Library versions, attention kernels and sliding windows can each
    turn a setting into a silent no-op, and not every backbone takes a mask of ours: the first form of
    mask that passes is the one that is used from then on. No random number is drawn.

    Args:
        backbone: as it will be trained; it keeps the form of mask, its final norm and its hidden size.
        attention: the direction asked for.
        packed: it will be given packed rows.
        causal_below: number of layers at the bottom that must be causal in any case.

    Raises:
        UserError: the model does otherwise, or cannot be run on padded batches.
    """
    if packed:
        check_packing(backbone)
    with evaluating(backbone), torch.no_grad():
        _verify(backbone, attention, packed, causal_below)


def _verify(backbone: Backbone, attention: Attention, packed: bool, causal_below: int) -> None:
    device = next(backbone.parameters()).device
    batches = partial(_probes, backbone.text_config.vocab_size, device)
    # Exported models are run by others, with the mask of real sub-tokens: that must mean the same direction.
    backbone.mask_form = "2d"
    with noting_final_norm(backbone):
        problem = _problem(backbone, [batches("padded")], attention, causal_below)
    if problem is None:
        kinds = ("alone", "padded", "packed") if packed else ("alone", "padded")
        probes = [batches(kind) for kind in kinds]
        for form in mask_forms(backbone):
            backbone.mask_form = form
            other = _problem(backbone, probes, attention, causal_below)
            if other is None:
                return
            problem = problem or other
    raise UserError(problem)


def _probes(vocabulary: int, device: torch.device, kind: str) -> _Probe:
    """A batch of a kind, `alone`, `padded` or `packed`."""
    ids = torch.arange(2 * WIDTH, device=device).reshape(2, WIDTH) % max(vocabulary - 1, 1)
    later = torch.arange(WIDTH, device=device) >= WIDTH - 2
    positions, real = None, torch.ones_like(ids, dtype=torch.bool)
    seen, unseen = torch.zeros_like(real), torch.zeros_like(real)
    seen[:, 0] = True
    if kind == "alone":
        ids, real, seen, unseen = ids[:1], real[:1], seen[:1], unseen[:1]
        other = ids + later
    elif kind == "padded":  # of the last row only the padding is changed
        ids, real, seen, unseen = (rows[[0, 1, 1]] for rows in (ids, real, seen, unseen))
        real[1:, -1] = False
        seen[2], unseen[2] = False, real[2]
        other = ids + later * torch.stack([real[0], real[1], ~real[2]])
    else:  # two sentences in one row, of which the first is changed
        unseen[1] = True
        seen[1] = False
        other = ids + later * ~unseen
        ids, real, seen, unseen, other = (rows.reshape(1, -1) for rows in (ids, real, seen, unseen, other))
        positions = (torch.arange(2 * WIDTH, device=device) % WIDTH).unsqueeze(0)
    none = ids[:, :0]
    batch = Batch(ids, real, none, none, none, None, none, positions, padded=kind == "padded")
    return _Probe(batch, other, seen, unseen)


def _problem(backbone: Backbone, probes: list[_Probe], attention: Attention, causal_below: int) -> str | None:
    """What is wrong with a backbone's attention, None if nothing is."""
    name = type(backbone.model).__name__
    seen: list[bool] = []
    try:
        for probe in probes:
            moved, below = _moved(backbone, probe, causal_below)
            if below[probe.if_bidirectional].any():
                return (
                    f"model.architecture.causal_below is {causal_below}, but these layers are not all causal"
                )
            if moved[probe.must_not_change].any():
                return (
                    f"model.backbone: in {name} what stands on padding or in another sentence changes a "
                    "word's hidden states, so a text would be tagged otherwise in another batch"
                )
            seen += moved[probe.if_bidirectional].tolist()
    except UserError:
        raise
    except Exception as error:
        reason = str(error).partition("\n")[0]
        problem = (
            f"model.backbone: {name} cannot be run on a batch of texts ({type(error).__name__}: {reason})"
        )
        return (
            f"{problem}\nIt was run in bf16; try --trainer.precision 32-true." if backbone.bf16 else problem
        )
    if seen == [attention == "bidirectional"] * len(seen):
        return None
    actual = "bidirectional" if all(seen) else "mixed" if any(seen) else "causal"
    return (
        f"model.attention is {attention}, but the loaded backbone's attention is {actual}.\n"
        "Use --model.runtime.attn_implementation eager, or set model.attention to what it can do."
    )


def _moved(backbone: Backbone, probe: _Probe, depth: int) -> tuple[Tensor, Tensor]:
    """Which hidden states change at the end, and after the first `depth` layers. *Shape:* (R, T) each."""
    batch = probe.batch
    runs = []
    for ids in (batch.input_ids, probe.changed):
        run = replace(batch, input_ids=ids)
        with _recording(backbone.layers[depth - 1] if depth else None) as outputs:
            runs.append((hidden_states(backbone, run), outputs[0] if outputs else None))
    (one, low), (other, low_changed) = runs
    moved = _differs(one, other)
    if low is None or low_changed is None:
        return moved, torch.zeros_like(moved)
    return moved, _differs(low, low_changed)


def _differs(one: Tensor, other: Tensor) -> Tensor:
    one, other = one.float(), other.float()
    return (one - other).abs().amax(-1) > 1e-6 * one.abs().amax(-1)


@contextmanager
def noting_final_norm(backbone: Backbone) -> Iterator[None]:
    """Within it the backbone is run once, whole: `final_norm` becomes what runs after its last layer.

    Neither its name nor its position tells whether a norm comes after the layers, before them or beside them.
    Nor does the configuration always tell `hidden_size`, which is noted, too.
    """
    inside = {id(part) for part in backbone.layers.modules()}
    outside = [
        module
        for module in backbone.model.modules()
        if id(module) not in inside and any(True for _ in module.parameters(recurse=False))
    ]
    called: dict[nn.Module, None] = {}  # in order, once each
    hooks = [
        module.register_forward_pre_hook(lambda module, _args: called.update({module: None}))
        for module in outside
    ]
    sizes: list[int] = []
    hooks.append(
        backbone.model.register_forward_hook(
            lambda _model, _args, output: sizes.append(output.last_hidden_state.shape[-1])
        )
    )
    if len(backbone.layers):
        hooks.append(backbone.layers[-1].register_forward_hook(lambda *_: called.clear()))
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
    backbone.final_norm = tuple(called)
    backbone.hidden_size = sizes[-1] if sizes else backbone.hidden_size


@contextmanager
def _recording(layer: nn.Module | None) -> Iterator[list[Tensor]]:
    """Within it, a layer's outputs are noted."""
    outputs: list[Tensor] = []
    if layer is None:
        yield outputs
        return
    hook = layer.register_forward_hook(
        lambda _layer, _given, output: outputs.append(output[0] if isinstance(output, tuple) else output)
    )
    try:
        yield outputs
    finally:
        hook.remove()
