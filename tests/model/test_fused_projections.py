"""Layers with fused projections compute what PEFT's and transformers' own do, forward and backward."""

import copy

import families
import pytest
import torch
import transformers
from taggers import settings_of

from ner_lightning.model import fused_projections
from ner_lightning.model.activation_checkpointing import checkpoint_activations
from ner_lightning.model.adapters import Lora, add_adapter, merge_adapters
from ner_lightning.model.backbone import Backbone
from ner_lightning.model.build import set_up
from ner_lightning.model.fused_projections import KINDS, fuse_projections
from ner_lightning.model.masks import hide_right_context

FUSED = ["llama", "mistral", "qwen2", "qwen3"]
REAL = torch.tensor([[1, 1, 1, 1, 1, 1], [1, 1, 1, 1, 0, 0]])
IDS = torch.tensor([[5, 9, 12, 7, 30, 21], [8, 3, 17, 6, 0, 0]])


def adapted(kind, implementation="eager", **settings):
    """A small random backbone with adapters that are not zero."""
    torch.manual_seed(0)
    model = transformers.AutoModel.from_config(families.CONFIGS[kind](), attn_implementation=implementation)
    model.config.use_cache = False
    chosen = settings_of(attention="causal", **{"lora": Lora(rank=4)} | settings)
    backbone = Backbone(model)
    set_up(backbone, chosen)
    for name, parameter in backbone.named_parameters():
        if ".lora_B." in name:
            torch.nn.init.normal_(parameter, std=0.1)
    return backbone


def outcome(backbone, mask=REAL):
    """The hidden states, and the gradients of a number that depends on all of them."""
    hidden = backbone.model(input_ids=IDS, attention_mask=mask).last_hidden_state
    (hidden * torch.linspace(-1, 1, hidden.numel()).view_as(hidden)).sum().backward()
    gradients = {n: p.grad.clone() for n, p in backbone.named_parameters() if p.grad is not None}
    backbone.zero_grad()
    return hidden.detach(), gradients


@pytest.mark.parametrize("mask", [REAL, None], ids=["padded", "whole"])
@pytest.mark.parametrize("kind", FUSED)
def test_the_same_values_and_gradients(kind, mask):
    backbone = adapted(kind).train()
    hidden, gradients = outcome(backbone, mask)
    assert fuse_projections(backbone)
    fused, fused_gradients = outcome(backbone, mask)
    torch.testing.assert_close(fused, hidden, rtol=1e-4, atol=1e-5)
    assert fused_gradients.keys() == gradients.keys()
    assert len(gradients) == 14 * len(backbone.layers)
    for name, gradient in gradients.items():
        torch.testing.assert_close(fused_gradients[name], gradient, rtol=1e-3, atol=1e-5, msg=name)


@pytest.mark.parametrize("kind", FUSED)
def test_layers_without_adapters_give_the_same_values(kind):
    backbone = adapted(kind).eval()
    merge_adapters(backbone)
    with torch.no_grad():
        hidden = backbone.model(input_ids=IDS, attention_mask=REAL).last_hidden_state
        assert fuse_projections(backbone)
        fused = backbone.model(input_ids=IDS, attention_mask=REAL).last_hidden_state
    torch.testing.assert_close(fused, hidden, rtol=1e-4, atol=1e-5)


def test_adapters_on_the_last_layer_alone():
    backbone = adapted("llama", lora=Lora(rank=4, top=1)).train()
    hidden, gradients = outcome(backbone)
    assert fuse_projections(backbone)
    fused, fused_gradients = outcome(backbone)
    torch.testing.assert_close(fused, hidden, rtol=1e-4, atol=1e-5)
    assert len(gradients) == 14
    for name, gradient in gradients.items():
        torch.testing.assert_close(fused_gradients[name], gradient, rtol=1e-3, atol=1e-5, msg=name)


def test_layers_that_are_causal_below_join_as_well():
    backbone = adapted("llama")
    hide_right_context(backbone, 1)
    hidden, _ = outcome(backbone)
    assert fuse_projections(backbone)
    torch.testing.assert_close(outcome(backbone)[0], hidden, rtol=1e-4, atol=1e-5)


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")  # torch.compile looking around
@pytest.mark.parametrize("compiled", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_layers_that_are_recomputed_give_the_same_gradients(compiled):
    backbone = adapted("llama").eval()
    hidden, gradients = outcome(backbone)
    assert fuse_projections(backbone)
    calls = []
    if not compiled:
        backbone.layers[0].mlp.act_fn.register_forward_pre_hook(lambda *_: calls.append(1))
    checkpoint_activations(backbone.layers)
    if compiled:
        for layer in backbone.layers:
            layer.compile(dynamic=True, backend="aot_eager")  # traced as ever, without a minute of C++
    recomputed, others = outcome(backbone)
    torch.testing.assert_close(recomputed, hidden, rtol=1e-4, atol=1e-5)
    for name, gradient in others.items():
        torch.testing.assert_close(gradient, gradients[name], rtol=1e-3, atol=1e-5, msg=name)
    assert compiled or len(calls) == 2


def test_no_weight_is_held_twice_and_names_stay():
    backbone = adapted("llama")
    before = copy.deepcopy(backbone.state_dict())
    assert fuse_projections(backbone)
    after = backbone.state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(after[name], value) for name, value in before.items())
    attention = backbone.layers[0].self_attn
    query, key = (one.base_layer.weight for one in (attention.q_proj, attention.k_proj))
    assert query.untyped_storage().data_ptr() == key.untyped_storage().data_ptr()


def test_an_optimizer_step_changes_what_they_give():
    backbone = adapted("llama")
    assert fuse_projections(backbone)
    first, _ = outcome(backbone)
    for parameter in backbone.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data + 0.1  # as an exchange with an average does
    second, _ = outcome(backbone)
    for layer in backbone.layers:
        layer.forward = layer.alone
    torch.testing.assert_close(second, outcome(backbone)[0], rtol=1e-4, atol=1e-5)
    assert not torch.allclose(first, second)


@pytest.mark.parametrize("kind", sorted(set(families.CONFIGS) - set(FUSED)))
def test_other_families_are_left_as_they_are(kind):
    backbone = Backbone(transformers.AutoModel.from_config(families.CONFIGS[kind]()))
    backbone.requires_grad_(False)
    add_adapter(backbone, Lora(rank=4))
    forwards = [layer.forward for layer in backbone.layers]
    assert not fuse_projections(backbone)
    assert [layer.forward for layer in backbone.layers] == forwards


@pytest.mark.parametrize(
    "settings",
    [
        {"lora": Lora(rank=4, dropout=0.1)},
        {"lora": Lora(rank=4, dora=True)},
        {"lora": Lora(rank=4, targets=["q_proj", "v_proj"])},
        {"lora": None, "freeze_backbone": False},
        {"lora": None, "unfreeze_top": 1},
        {"freeze_backbone": False},
        {"implementation": "sdpa"},
    ],
    ids=str,
)
def test_settings_that_it_cannot_compute_are_left_as_they_are(settings):
    assert not fuse_projections(adapted("llama", **settings))


def test_a_hook_inside_a_layer_is_still_called():
    backbone = adapted("llama")
    called = []
    backbone.layers[1].mlp.register_forward_hook(lambda *_: called.append(1))
    assert not fuse_projections(backbone)
    outcome(backbone)
    assert called


def test_a_cache_of_keys_is_refused():
    backbone = adapted("llama")
    assert fuse_projections(backbone)
    with pytest.raises(ValueError, match="fused projections keep no keys"):
        backbone.model(input_ids=IDS, use_cache=True)


def test_attention_dropout_is_still_applied():
    backbone = adapted("llama")
    backbone.layers[0].self_attn.attention_dropout = 0.1
    assert not fuse_projections(backbone)


def test_a_layer_that_computes_something_else_is_noticed(monkeypatch):
    backbone = adapted("llama")
    forwards = [layer.forward for layer in backbone.layers]
    monkeypatch.setattr(fused_projections, "_rotated", lambda each, *_: each)
    assert not fuse_projections(backbone)
    assert [layer.forward for layer in backbone.layers] == forwards
    assert not any(hasattr(layer, "products") for layer in backbone.layers)


def test_every_kind_is_one_of_transformers():
    names = {"LlamaDecoderLayer": "llama", "MistralDecoderLayer": "mistral"}
    names |= {"Qwen2DecoderLayer": "qwen2", "Qwen3DecoderLayer": "qwen3"}
    assert set(names) == set(KINDS)
    for name, module in names.items():
        models = __import__(f"transformers.models.{module}.modeling_{module}", fromlist=[name])
        assert hasattr(models, name)


def test_fifty_steps_have_the_losses_of_the_separate_products():
    losses = []
    for fuse in (False, True):
        backbone = adapted("llama").train()
        assert not fuse or fuse_projections(backbone)
        trained = [p for p in backbone.parameters() if p.requires_grad]
        optimizer = torch.optim.AdamW(trained, lr=1e-3)
        rows = []
        for _ in range(50):
            hidden = backbone.model(input_ids=IDS, attention_mask=REAL).last_hidden_state
            loss = (hidden - 1).square().mean()
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            rows.append(loss.item())
        losses.append(torch.tensor(rows))
    assert losses[0][-1] < 0.9 * losses[0][0]
    torch.testing.assert_close(losses[1], losses[0], rtol=1e-3, atol=0)
