"""Every family of backbones, small and random: a padded step of training, padding, norms, packing."""

from contextlib import nullcontext

import families
import pytest
import torch
import transformers
from taggers import settings_of

from ner_lightning.data.batching import Batch
from ner_lightning.data.pretrained import locate
from ner_lightning.data.schemes import LabelSet
from ner_lightning.errors import UserError
from ner_lightning.model.activation_checkpointing import checkpoint_activations
from ner_lightning.model.adapters import Lora, adapt
from ner_lightning.model.attention import verify_attention
from ner_lightning.model.backbone import Backbone
from ner_lightning.model.build import set_up
from ner_lightning.model.decoder import Decoder
from ner_lightning.model.emitter import BackboneEmitter
from ner_lightning.model.features import FeatureExtractor
from ner_lightning.model.shared_adapters import AdapterBank, RowsLost
from ner_lightning.model.tagger import Tagger
from ner_lightning.model.weights import load_backbone

LABELS = LabelSet(("PER", "LOC"))
IDS = torch.arange(10, 34).reshape(2, 12)
LENGTHS = (12, 7)
NARROW = transformers.OPTConfig(**families.SIZES | families.OPT | {"word_embed_proj_dim": 16})


def loaded(kind):
    """A random model, as `load_backbone` leaves it."""
    torch.manual_seed(0)
    config = families.CONFIGS[kind]() if isinstance(kind, str) else kind
    model = transformers.AutoModel.from_config(config)
    model.config.use_cache = False
    model.config.is_causal = False
    if getattr(model, "pooler", None) is not None:
        model._modules["pooler"] = None
    return model


def tagger_of(kind, packed=False, bf16=False, **settings):
    chosen = settings_of(dropout=0.0, **{"lora": Lora(rank=4)} | settings)
    backbone = Backbone(loaded(kind), bf16=bf16)
    backbone.config.is_causal = chosen.attention == "causal"
    set_up(backbone, chosen, packed=packed)
    return Tagger(BackboneEmitter(backbone, len(LABELS), chosen.architecture), Decoder(LABELS))


def batch_of(rows):
    """Sentences of one-piece words, padded together."""
    width = max(LENGTHS[row] for row in rows)
    real = torch.stack([torch.arange(width) < LENGTHS[row] for row in rows])
    places = torch.arange(real.numel()).view(real.shape) * real
    ids = IDS[rows, :width] * real
    tags = torch.arange(width).remainder(2).mul(1).expand_as(ids) * real
    return Batch(ids, real, places, places, real, tags, torch.tensor(rows), padded=not bool(real.all()))


@pytest.mark.parametrize("kind", families.CONFIGS)
def test_a_family_trains_on_padded_rows_and_padding_changes_nothing(kind):
    tagger = tagger_of(kind)
    both = batch_of([0, 1])
    loss = tagger.decoder.total(tagger.decoder.losses(tagger.train()(both), both.tags, both.mask))
    loss.backward()
    assert [n for n, p in tagger.named_parameters() if p.requires_grad and p.grad is None] == []
    assert all(p.grad.isfinite().all() for p in tagger.parameters() if p.grad is not None)
    torch.optim.SGD([p for p in tagger.parameters() if p.requires_grad], lr=0.1).step()
    tagger.eval()
    with torch.no_grad():
        together = tagger(both)
        for row, length in enumerate(LENGTHS):
            torch.testing.assert_close(
                together[row, :length], tagger(batch_of([row]))[0], rtol=1e-3, atol=1e-4
            )


@pytest.mark.parametrize("kind", families.CONFIGS)
def test_a_family_recomputes_activations_to_the_same_gradients(kind):
    tagger = tagger_of(kind, lora=Lora(rank=4, dropout=0.2))
    tagger.emitter.backbone.model.eval()
    for name, module in tagger.named_modules():
        module.train("lora_dropout" in name)
    both, outcomes, calls = batch_of([0, 1]), [], []
    layers = tagger.emitter.backbone.layers
    inside = next(m for m in layers[-1].modules() if hasattr(m, "lora_A"))
    inside.register_forward_pre_hook(lambda *_: calls.append(1))
    for recomputed in (False, True):
        if recomputed:
            checkpoint_activations(tagger.emitter.backbone.layers)
        calls.clear()
        torch.manual_seed(1)
        emissions = tagger(both)
        once = len(calls)
        tagger.decoder.total(tagger.decoder.losses(emissions, both.tags, both.mask)).backward()
        assert len(calls) == once * (2 if recomputed else 1)
        outcomes.append([emissions.detach(), *(p.grad for p in tagger.parameters() if p.requires_grad)])
        tagger.zero_grad()
    for one, other in zip(*outcomes, strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("lora", [Lora(rank=2), Lora(rank=2, top=1), None], ids=["all", "top", "none"])
def test_hidden_states_that_are_projected_in_the_end_are_trained_and_cached(lora):
    """Some models end in the size of their embeddings, whatever `hidden_size` says."""
    tagger = tagger_of(NARROW, lora=lora)
    assert (tagger.emitter.backbone.hidden_size, NARROW.hidden_size) == (16, 32)
    batch = batch_of([0, 1])
    expected = tagger.eval()(batch)
    assert expected.shape == (*batch.mask.shape, len(LABELS))
    tagger.decoder.total(tagger.decoder.losses(expected, batch.tags, batch.mask)).backward()
    if depth := tagger.emitter.backbone.frozen_depth():
        features = FeatureExtractor(tagger.emitter, depth)
        batch.features = features(batch)
        assert batch.features.shape[-1] == features.width == (16 if lora is None else 32)
        torch.testing.assert_close(tagger(batch), expected)


@pytest.mark.parametrize("kind", sorted(families.CONFIGS.keys() - {"albert"}))  # whose layers are one layer
def test_the_output_of_frozen_layers_stands_for_them(kind):
    tagger = tagger_of(kind, lora=Lora(rank=2, top=1)).eval()
    if kind == "xlnet":
        with pytest.raises(UserError, match=r"model\.cache: .* set model\.cache\.enabled to false"):
            FeatureExtractor(tagger.emitter, 1)
        return
    batch = batch_of([0, 1])
    expected = tagger(batch)
    batch.features = FeatureExtractor(tagger.emitter, 1)(batch)
    torch.testing.assert_close(tagger(batch), expected)


@pytest.mark.parametrize("kind", families.CONFIGS)
def test_what_follows_the_layers_is_found_and_trained_with_the_top(kind):
    tagger = tagger_of(kind, lora=None, unfreeze_top=1)
    names = {module: name for name, module in tagger.emitter.backbone.model.named_modules()}
    expected = [families.NORMS[kind]] if kind in families.NORMS else []
    assert [names[module] for module in tagger.emitter.backbone.final_norm] == expected
    trained = {n for n, p in tagger.emitter.backbone.model.named_parameters() if p.requires_grad}
    for name in expected:
        assert f"{name}.weight" in trained
    assert not any(p.requires_grad for p in tagger.emitter.backbone.model.get_input_embeddings().parameters())
    if kind != "albert":  # its layers are one layer
        assert tagger.emitter.backbone.frozen_depth() == 1


@pytest.mark.parametrize("kind", ["electra", "albert", NARROW], ids=["electra", "albert", "opt"])
def test_projections_outside_of_the_layers_have_adapters_only_without_top(kind):
    def adapted(**settings):
        backbone = Backbone(loaded(kind))
        names = {id(module): name for name, module in backbone.model.named_modules()}
        linear = {id(m) for m in backbone.model.modules() if isinstance(m, torch.nn.Linear)}
        inside = {id(m) for m in backbone.layers[-1].modules()} & linear
        adapt(backbone, freeze=True, lora=Lora(rank=2, **settings))
        found = {id(m.base_layer) for m in backbone.model.modules() if hasattr(m, "lora_A")}
        return ({names[each] for each in group} for group in (found, inside, linear)), backbone

    (found, _, linear), backbone = adapted()
    assert found == linear
    assert backbone.frozen_depth() == 0
    (found, inside, linear), backbone = adapted(top=1)
    assert found == inside < linear
    assert backbone.frozen_depth() == len(backbone.layers) - 1
    outside = sorted(name for name in linear if "layer" not in name)
    with pytest.raises(UserError, match=r"lora\.targets: no layer named .* may have adapters"):
        adapted(top=1, targets=outside)


def test_a_layer_is_left_out_by_its_whole_name():
    """One outside of the layers may have the name of those in them."""
    model = loaded("llama")
    model.q_proj = torch.nn.Linear(2, 2)
    backbone = Backbone(model)
    adapt(backbone, freeze=True, lora=Lora(rank=2, top=1))
    assert not hasattr(model.q_proj, "lora_A")
    assert hasattr(backbone.layers[1].self_attn.q_proj, "lora_A")


@pytest.mark.parametrize("kind", ["gpt2", "llama", "bert"])
@pytest.mark.parametrize(
    "settings", [{"lora": Lora(rank=2, top=1)}, {"lora": Lora(rank=2), "unfreeze_top": 1}]
)
def test_adapters_are_on_the_layers_that_were_asked_for(kind, settings):
    backbone = tagger_of(kind, **settings).emitter.backbone
    adapted = [any("lora_" in name for name, _ in layer.named_parameters()) for layer in backbone.layers]
    assert adapted == [bool(settings.get("unfreeze_top")), "unfreeze_top" not in settings]
    with pytest.raises(UserError, match=r"no layer is named nope; this backbone has .*(c_attn|query|q_proj)"):
        tagger_of(kind, lora=Lora(targets=["nope"]))


@pytest.mark.parametrize(
    ("kind", "layer", "mixes"),
    [("xlnet", "layer.0.ff.layer_1", False), ("llama", "layers.0.mlp.up_proj", True)],
)
def test_rows_of_several_taggers_are_mixed_where_layers_get_rows(kind, layer, mixes):
    """XLNet's first dimension is sub-tokens, which in a square batch nothing tells from rows."""
    backbone = Backbone(loaded(kind).eval())
    verify_attention(backbone, "bidirectional")
    bank = AdapterBank(backbone, bf16=False)
    name = f"emitter.backbone.model.base_model.model.{layer}.lora_{{}}.default.weight"
    state = {name.format("A"): torch.randn(2, 32), name.format("B"): torch.randn(64, 2)}
    assert bank.takes(state)
    bank.add("a", state, Lora(rank=2))
    assert bank.mixes == mixes
    assert bank.slots == 0
    with nullcontext() if mixes else pytest.raises(RowsLost), bank.running(["a", None]):
        pass


FIVE = {
    "vocab_size": 420,
    "num_hidden_layers": 5,
    "hidden_size": 32,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
}
PER_LAYER = {
    "gpt_neo": lambda: transformers.GPTNeoConfig(
        vocab_size=420, hidden_size=32, num_layers=4, num_heads=2, attention_types=[[["global", "local"], 2]]
    ),
    "exaone_moe": lambda: transformers.ExaoneMoeConfig(
        **FIVE, intermediate_size=32, moe_intermediate_size=16, num_experts=2, num_experts_per_tok=1
    ),
    "smollm3": lambda: transformers.SmolLM3Config(**FIVE, intermediate_size=32, pad_token_id=0),
}


@pytest.mark.parametrize("kind", ["bert", "albert", "deberta", "deberta-v3", "gpt2", "gemma3", *PER_LAYER])
def test_the_layers_that_are_kept_are_saved_and_loaded(kind, tmp_path):
    """Some configurations have lists with an entry per layer; DeBERTa's of two layers has one by chance."""
    model = loaded(PER_LAYER[kind]() if kind in PER_LAYER else kind).eval()
    kept = 3 if kind in PER_LAYER else 1
    state = torch.get_rng_state()
    backbone = Backbone(model)
    backbone.keep_layers(kept)
    assert torch.equal(torch.get_rng_state(), state)
    assert len(backbone.layers) == backbone.config.num_hidden_layers == kept
    model.save_pretrained(tmp_path)
    again = transformers.AutoModel.from_pretrained(tmp_path).eval()
    with torch.no_grad():
        torch.testing.assert_close(again(IDS).last_hidden_state, model(IDS).last_hidden_state)


def test_layers_are_not_dropped_where_transformers_would_not_load_the_rest():
    """Gemma 3n has an embedding for each layer, all in one matrix."""
    types = ["sliding_attention", "full_attention"] * 2
    config = transformers.Gemma3nTextConfig(
        **FIVE | {"num_hidden_layers": 4, "intermediate_size": [32] * 4},
        head_dim=16,
        vocab_size_per_layer_input=420,
        hidden_size_per_layer_input=8,
        num_kv_shared_layers=0,
        layer_types=types,
        activation_sparsity_pattern=[0.0] * 4,
        laurel_rank=4,
    )
    said = r"layers is 2, but a Gemma3nTextModel cannot be cut: .*embed_tokens_per_layer.* another size"
    with pytest.raises(UserError, match=said):
        tagger_of(config, layers=2)


def test_what_a_preparation_changed_may_lose_layers():
    """It is never loaded by its configuration."""
    backbone = Backbone(loaded("llama"))
    backbone.model.extra = torch.nn.Linear(2, 2)
    backbone.rewritten = True
    backbone.keep_layers(1)
    assert len(backbone.layers) == 1


@pytest.mark.parametrize("kind", sorted(families.DECODERS))
def test_a_decoder_can_stay_causal(kind):
    tagger = tagger_of(kind, attention="causal").eval()
    one, other = batch_of([0, 1]), batch_of([0, 1])
    other.input_ids = other.input_ids + torch.tensor([[0] * 11 + [1], [0] * 6 + [1] + [0] * 5])
    with torch.no_grad():
        moved = (tagger(one) - tagger(other)).abs().amax(-1) > 1e-5
    assert moved.nonzero().tolist() == [[0, 11], [1, 6]]


@pytest.mark.parametrize("kind", sorted(families.ENCODERS))
def test_an_encoder_cannot_be_causal(kind):
    with pytest.raises(UserError, match="attention is causal, but the loaded"):
        tagger_of(kind, attention="causal")


@pytest.mark.parametrize("kind", ["deberta-v3", "gpt2", "mpt", "gemma3", "bert"])
def test_packing_is_refused_before_training_where_it_cannot_be(kind):
    with pytest.raises(UserError, match=r"data\.batches\.packing (needs|does not go with)"):
        tagger_of(kind, packed=True)


@pytest.mark.parametrize("kind", ["llama", "gpt_neox", "phi3", "granite", "stablelm"])
def test_packed_rows_are_proven(kind):
    tagger = tagger_of(kind, packed=True).eval()
    padded = batch_of([0, 1])
    real = padded.attention_mask
    place = (real.flatten().cumsum(0) - 1).view(real.shape) * real
    packed = Batch(
        padded.input_ids[real][None],
        real[real][None],
        place,
        place,
        real,
        None,
        padded.index,
        torch.cat([torch.arange(length) for length in LENGTHS])[None],
        padded=False,
    )
    with torch.no_grad():
        torch.testing.assert_close(tagger(packed)[real], tagger(padded)[real], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("kind", ["llama", "deberta-v3", "gpt2", "bloom", "gemma3"])
def test_a_family_runs_in_bf16(kind):
    tagger = tagger_of(kind, bf16=True).eval()
    whole = tagger_of(kind).eval()
    with torch.no_grad():
        half, full = (t.emitter.hidden(batch_of([0, 1])).float() for t in (tagger, whole))
    real = batch_of([0, 1]).attention_mask
    assert (half - full)[real].abs().max() < 0.1 * full[real].abs().max()


def test_a_family_that_overflows_in_bf16_is_told_of_fp32(tmp_path):
    loaded("deberta").save_pretrained(tmp_path)
    model = load_backbone(locate(str(tmp_path)), attention="bidirectional", dtype=torch.bfloat16, bf16=True)
    with pytest.raises(
        UserError, match=r"DebertaModel cannot be run .*overflow.*\n.*trainer\.precision 32-true"
    ):
        verify_attention(model, "bidirectional")


def test_what_cannot_be_a_tagger_is_refused_in_one_line():
    sizes = {"vocab_size": 420, "d_model": 32}
    t5 = transformers.T5Config(**sizes, d_ff=64, num_layers=2, num_heads=4, d_kv=8)
    with pytest.raises(UserError, match="t5 is an encoder-decoder; a tagger needs"):
        tagger_of(t5, layers=1)
    mamba = transformers.MambaConfig(vocab_size=420, hidden_size=32, num_hidden_layers=2, state_size=4)
    with pytest.raises(UserError, match=r"attention is bidirectional, but .* is causal"):
        tagger_of(mamba)
    with pytest.raises(UserError, match=r"model\.lora: PEFT cannot adapt MambaModel"):
        tagger_of(mamba, attention="causal")
    tagger_of(mamba, attention="causal", lora=None)
    gpt_neo = transformers.GPTNeoConfig(
        vocab_size=420, hidden_size=32, num_layers=2, num_heads=4, attention_types=[[["global"], 2]]
    )
    with pytest.raises(UserError, match=r"attention is bidirectional, but .* is causal"):
        tagger_of(gpt_neo)
