"""Fused projections: adapted layers like Llama's with fewer, larger matrix products: faster on a CPU."""

from collections.abc import Sequence
from types import MethodType
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ner_lightning.model.backbone import Backbone

# Layers that compute this, by their class: norm, attention with rotary positions, norm, gated MLP.
KINDS = ("LlamaDecoderLayer", "MistralDecoderLayer", "Qwen2DecoderLayer", "Qwen3DecoderLayer")
# Linear layers with the same input, whose matrix products are fused.
GROUPS = (
    ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    ("self_attn.o_proj",),
    ("mlp.gate_proj", "mlp.up_proj"),
    ("mlp.down_proj",),
)
ADAPTER = "default"  # PEFT's name for the adapters of a tagger that is trained
TOLERANCE = 0.05  # of a layer's largest output: each way of computing it rounds to bf16 in its own places


class _Product(torch.autograd.Function):
    """What linear layers with the same input give, their adapters included: one product instead of five each.

    With the adapters' inner values H = X A' beside the input, [X H] [W B]' is the layers' output and that of
    their adapters at once; backward, the gradient times [W B] is that of the input through the layers and
    that of H. W is frozen. A and B are those of all layers: B has blocks along its diagonal.

    *Shape:* X (N, D), W (M, D), A (K, D), B (M, K), to (N, M); K is the sum of the ranks.
    """

    @staticmethod
    def forward(x: Tensor, weight: Tensor, down: Tensor, up: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The output, and what `backward` needs: H and [W B]."""
        inner = x @ down.t()
        wide = torch.cat([weight, up], 1)
        return torch.cat([x, inner], 1) @ wide.t(), inner, wide

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: tuple[Tensor, ...]) -> None:
        """Keeps them."""
        x, _, down, _ = inputs
        _, inner, wide = output
        ctx.mark_non_differentiable(inner, wide)
        ctx.save_for_backward(x, down, inner, wide)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """The gradients of X, A and B."""
        x, down, inner, wide = ctx.saved_tensors
        gradient, size = gradients[0], x.shape[1]
        through = gradient @ wide
        of_inner = through[:, size:]
        return through[:, :size] + of_inner @ down, None, of_inner.t() @ x, gradient.t() @ inner


class _Group(NamedTuple):
    """Linear layers with the same input.

    Attributes:
        adapted: as PEFT wraps them; none if they have no adapters.
        weight: of all of them, of which each has its own rows. *Shape:* (M, D)
        bias: of all of them. *Shape:* (M,)
    """

    adapted: Sequence[Any]
    weight: Tensor
    bias: Tensor | None

    def __call__(self, hidden: Tensor) -> Tensor:
        """*Shape:* (N, D) to (N, M)."""
        if not self.adapted:
            return nn.functional.linear(hidden, self.weight, self.bias)
        downs = [one.lora_A[ADAPTER].weight for one in self.adapted]
        ups = [one.lora_B[ADAPTER].weight * one.scaling[ADAPTER] for one in self.adapted]
        total, before, blocks = sum(len(down) for down in downs), 0, []
        for up in ups:
            rank = up.shape[1]
            blocks.append(nn.functional.pad(up, (before, total - before - rank)))
            before += rank
        down, up = (torch.cat(each).to(self.weight.dtype) for each in (downs, blocks))
        result: Tensor = _Product.apply(hidden.to(self.weight.dtype), self.weight, down, up)[0]  # type: ignore[no-untyped-call]
        return result if self.bias is None else result + self.bias


def fuse_projections(backbone: Backbone) -> bool:
    """Makes the layers of a backbone compute with fused projections, if all of them are of a known kind.

    The values are the same, but for rounding. Modules inside a layer are not called any more, so that hooks
    on them would not be; a backbone that has some is left as it is.

    Args:
        backbone: with frozen weights, and adapters on all layers or none, on a CPU; in place.

    Returns:
        whether it does now.
    """
    if not backbone.layers or not all(map(_fits, backbone.layers)):
        return False
    layers: list[Any] = list(backbone.layers)
    for layer in layers:
        groups = tuple(_grouped([layer.get_submodule(name) for name in names]) for names in GROUPS)
        layer.products = groups
        layer.alone = layer.forward
        layer.forward = MethodType(_forward, layer)
    if _agrees(layers[0]):
        return True
    for layer in layers:
        del layer.forward, layer.alone, layer.products
    return False


def _fits(layer: nn.Module) -> bool:
    """Whether a layer can be computed so."""
    inside = [module for module in layer.modules() if module is not layer]
    names = [name for group in GROUPS for name in group]
    if type(layer).__name__ not in KINDS or any(m._forward_hooks or m._forward_pre_hooks for m in inside):
        return False
    linear: list[Any] = [layer.get_submodule(name) for name in names]
    adapters = [list(getattr(one, "lora_A", ())) for one in linear]
    known = all(each == [ADAPTER] for each in adapters) or not any(adapters)
    attention: Any = layer.self_attn
    eager = attention.config._attn_implementation == "eager" and not attention.attention_dropout
    return known and eager and all(map(_plain, linear))


def _plain(linear: Any) -> bool:
    """Whether a linear layer is frozen and on a CPU, and its adapter, if any, without dropout or DoRA."""
    base = getattr(linear, "base_layer", linear)
    frozen = not any(parameter.requires_grad for parameter in base.parameters())
    simple = True
    if base is not linear:
        simple = not linear.lora_variant and isinstance(linear.lora_dropout[ADAPTER], nn.Identity)
    return type(base) is nn.Linear and base.weight.device.type == "cpu" and frozen and simple


def _grouped(linear: Sequence[Any]) -> _Group:
    """Puts the weights of linear layers into one matrix, of which each becomes a part."""
    bases = [getattr(one, "base_layer", one) for one in linear]
    weight = torch.cat([base.weight.detach() for base in bases])
    for base, rows in zip(bases, torch.split(weight, [base.out_features for base in bases]), strict=True):
        base.weight.data = rows
    biases = [base.bias for base in bases]
    adapted = linear if bases[0] is not linear[0] else ()
    return _Group(adapted, weight, None if biases[0] is None else torch.cat(biases).detach())


def _forward(layer: Any, hidden_states: Tensor, attention_mask: Tensor | None = None, **more: Any) -> Tensor:
    """A layer's forward pass. *Shape:* (R, T, D) to (R, T, D)."""
    if more.get("past_key_values") is not None:
        raise ValueError("layers with fused projections keep no keys and values of earlier sub-tokens")
    queries_keys_values, out, gate_up, down = layer.products
    rows, length, size = hidden_states.shape
    normed = layer.input_layernorm(hidden_states).reshape(-1, size)
    fused = queries_keys_values(normed).view(rows, length, -1, layer.self_attn.head_dim)
    attended = _attention(layer.self_attn, fused, attention_mask, more["position_embeddings"])
    hidden = hidden_states + out(attended).view_as(hidden_states)
    gate, up = gate_up(layer.post_attention_layernorm(hidden).reshape(-1, size)).chunk(2, 1)
    result: Tensor = hidden + down(layer.mlp.act_fn(gate) * up).view_as(hidden_states)
    return result


def _attention(
    attention: Any, fused: Tensor, mask: Tensor | None, positions: tuple[Tensor, Tensor]
) -> Tensor:
    """Attention, in which the G queries that share a key are rows of one product.

    *Shape:* (R, T, H + 2 H', D') of queries, keys and values, to (R * T, H * D'), with H = G * H'.
    """
    rows, length, heads, size = fused.shape
    group = attention.num_key_value_groups
    shared = heads // (group + 2)
    queries, keys, values = torch.split(fused, [group * shared, shared, shared], 2)
    if hasattr(attention, "q_norm"):
        queries, keys = attention.q_norm(queries), attention.k_norm(keys)
    queries, keys = (_rotated(each, *positions) for each in (queries, keys))
    queries = queries.view(rows, length, shared, group, size).permute(0, 2, 3, 1, 4)
    queries = queries.reshape(rows * shared, group * length, size)
    keys, values = (each.transpose(1, 2).reshape(-1, length, size) for each in (keys, values))
    scores = (torch.bmm(queries, keys.mT) * attention.scaling).view(rows, -1, length, length)
    if mask is not None:
        scores = scores + mask
    weights = torch.softmax(scores, -1, dtype=torch.float32).to(values.dtype)
    mixed = torch.bmm(weights.view(rows * shared, group * length, length), values)
    return mixed.view(rows, shared * group, length, size).transpose(1, 2).reshape(rows * length, -1)


def _rotated(each: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    """Rotary positions (Su et al. 2021). *Shape:* (R, T, H, D'), and cosine and sine (R or 1, T, D')."""
    one, other = each.chunk(2, -1)
    turned = torch.cat([-other, one], -1)
    return each * cosine.unsqueeze(2) + turned * sine.unsqueeze(2)


def _agrees(layer: Any) -> bool:
    """Whether a layer gives what it gave before, so that a change in transformers cannot go unnoticed."""
    attention = layer.self_attn
    generator = torch.Generator().manual_seed(0)
    dtype = layer.products[0].weight.dtype
    hidden = torch.randn(2, 5, attention.q_proj.in_features, generator=generator).to(dtype)
    angles = torch.rand(1, 5, attention.head_dim // 2, generator=generator).repeat(1, 1, 2)
    mask = torch.zeros(2, 1, 5, 5, dtype=dtype)
    mask[0, :, :, -1] = torch.finfo(dtype).min
    given = {"attention_mask": mask, "position_embeddings": (angles.cos().to(dtype), angles.sin().to(dtype))}
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16, enabled=dtype == torch.bfloat16):
        expected, actual = layer.alone(hidden, **given), layer.forward(hidden, **given)  # without hooks
    expected = expected[0] if isinstance(expected, tuple) else expected
    return bool((expected - actual).abs().max() <= TOLERANCE * expected.abs().max())
