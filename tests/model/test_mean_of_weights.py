"""The mean of the weights of taggers: of what adapters add to a weight, and of all else that is trained."""

from dataclasses import replace

import pytest
import tiny
import torch
from taggers import LABELS, settings_of

from ner_lightning.data.corpus_settings import Encoding
from ner_lightning.data.pretrained import locate
from ner_lightning.data.tokenization.encoding import Encoder, load_tokenizer
from ner_lightning.errors import UserError
from ner_lightning.inference.scoring import score
from ner_lightning.model.adapters import Lora
from ner_lightning.model.build import Target, build_tagger
from ner_lightning.model.checkpoint import saved_names
from ner_lightning.model.mean_of_weights import mean_of_weights

WORDS = [words for words, _ in tiny.sentences(tiny.TEST)]
SMALL, LARGE = Lora(rank=2, alpha=8.0), Lora(rank=5, alpha=3.0)


def trained(backbone, seed, lora=None, **values):
    """A tagger whose trained weights are a little away from where they began, and those weights."""
    torch.manual_seed(seed)
    tagger, _ = build_tagger(settings_of(backbone, lora, **values), LABELS, Target(mergeable=True))
    names = saved_names(tagger)
    state = {name: value for name, value in tagger.state_dict().items() if name in names}
    for value in state.values():
        value += torch.randn_like(value) * 0.05
    return tagger, {name: value.clone() for name, value in state.items()}


def loaded(backbone, state, lora=None, **values):
    tagger, _ = build_tagger(settings_of(backbone, lora, **values), LABELS, Target(mergeable=True))
    assert state.keys() == saved_names(tagger)
    tagger.load_state_dict(state, strict=False)
    return tagger


def emissions(backbone, tagger):
    encoder = Encoder(load_tokenizer(locate(str(backbone))), Encoding(max_length=64, overlap=16))
    return torch.cat([part.emissions.flatten(0, 1) for part in score(tagger.eval(), encoder, WORDS)])


def merged_mean(taggers):
    """A tagger of which every parameter is the mean of the others', whose adapters are merged."""
    for tagger in taggers:
        tagger.emitter.merge()
    states = [tagger.state_dict() for tagger in taggers]
    mean = {name: torch.stack([state[name] for state in states]).mean(0) for name in states[0]}
    taggers[0].load_state_dict(mean)
    return taggers[0], mean


KINDS = {
    "adapters": (LARGE, LARGE, {}),
    "adapters of other ranks": (SMALL, LARGE, {}),
    "rsLoRA and LoRA": (replace(SMALL, rslora=True), LARGE, {}),
    "rsLoRA": (replace(SMALL, rslora=True), replace(LARGE, rslora=True), {}),
    "adapters and the last layer": (SMALL, LARGE, {"unfreeze_top": 1}),
    "adapters and everything": (SMALL, LARGE, {"freeze_backbone": False}),
    "adapters of embeddings": (Lora(rank=2, targets=["embed_tokens", "q_proj"]),) * 2 + ({},),
    "everything": (None, None, {"freeze_backbone": False}),
    "the last layer, no CRF": (None, None, {"unfreeze_top": 1, "use_crf": False}),
    "head and CRF": (None, None, {}),
}


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_the_mean_of_merged_weights(llama, kind):
    first, second, values = KINDS[kind]
    taggers, states = zip(
        *(trained(llama, seed, lora, **values) for seed, lora in enumerate((first, second, second))),
        strict=True,
    )
    mean = mean_of_weights(states, [first, second, second])
    assert mean.lost == 0
    assert first is None or mean.lora.rank == first.rank + 2 * second.rank
    soup = loaded(llama, mean.state, mean.lora, **values)
    adapted = emissions(llama, soup)
    soup.emitter.merge()
    expected, state = merged_mean(taggers)
    for name, value in soup.state_dict().items():
        torch.testing.assert_close(value, state[name], rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(adapted, emissions(llama, expected), rtol=1e-4, atol=1e-5)


def test_it_is_not_the_mean_of_the_factors(llama):
    """Whose product has the cross terms of members that know nothing of each other."""
    taggers, states = zip(*(trained(llama, seed, SMALL) for seed in (1, 2)), strict=True)
    factors = {name: torch.stack([state[name] for state in states]).mean(0) for name in states[0]}
    naive = emissions(llama, loaded(llama, factors, SMALL))
    expected, _ = merged_mean(taggers)
    assert (naive - emissions(llama, expected)).abs().max() > 0.01


@pytest.mark.parametrize("kind", ["adapters", "rsLoRA", "everything"])
def test_that_of_a_tagger_with_itself_is_that_tagger(llama, kind):
    _, lora, values = KINDS[kind]
    tagger, state = trained(llama, 3, lora, **values)
    for rank in (None, *([lora.rank] if lora else [])):
        mean = mean_of_weights([state] * 3, [lora] * 3, rank)
        assert mean.lost < 1e-6
        soup = loaded(llama, mean.state, mean.lora, **values)
        torch.testing.assert_close(emissions(llama, soup), emissions(llama, tagger), rtol=1e-5, atol=1e-6)


def products(mean):
    """What its adapters add to each weight; their scale is 1."""
    scale = mean.lora.alpha / mean.lora.rank
    return {
        name: scale * mean.state[name.replace("lora_A", "lora_B")].double() @ value.double()
        for name, value in mean.state.items()
        if "lora_A" in name
    }


def test_the_highest_rank_is_exact(llama):
    _, states = zip(*(trained(llama, seed, lora) for seed, lora in ((1, SMALL), (2, LARGE))), strict=True)
    exact, full = (mean_of_weights(states, [SMALL, LARGE], rank) for rank in (None, 7))
    assert full.lost == 0
    assert full.lora == exact.lora
    for name, product in products(exact).items():
        torch.testing.assert_close(products(full)[name], product, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("rank", [1, 4, 6])
def test_a_lower_rank_loses_what_it_says_and_as_little_as_can_be(llama, rank):
    _, states = zip(*(trained(llama, seed, lora) for seed, lora in ((1, SMALL), (2, LARGE))), strict=True)
    exact, low = (mean_of_weights(states, [SMALL, LARGE], r) for r in (None, rank))
    assert low.lora.rank == low.lora.alpha == rank
    assert all(v.shape[0] == rank and v.dtype == torch.float32 for n, v in low.state.items() if "lora_A" in n)
    whole = lost = least = 0.0
    for name, product in products(exact).items():
        whole += product.square().sum()
        lost += (product - products(low)[name]).square().sum()
        least += torch.linalg.svdvals(product)[rank:].square().sum()
    assert low.lost == pytest.approx(float(lost / whole) ** 0.5, rel=1e-4)
    assert low.lost == pytest.approx(float(least / whole) ** 0.5, rel=1e-4)
    assert low.lost > 0.01


def test_a_rank_above_a_layers_size(llama):
    """Its adapters have rows of zeros, since all layers' have the same rank."""
    lora = Lora(rank=20, targets=["k_proj"])  # from 32 to 16
    _, states = zip(*(trained(llama, seed, lora) for seed in (1, 2)), strict=True)
    exact, low = (mean_of_weights(states, [lora, lora], rank) for rank in (None, 24))
    assert low.lost == pytest.approx(0)
    for name, product in products(exact).items():
        torch.testing.assert_close(products(low)[name], product, rtol=1e-4, atol=1e-6)


def test_adapters_that_were_never_trained(llama):
    tagger, _ = build_tagger(settings_of(llama, SMALL), LABELS)
    state = {name: tagger.state_dict()[name] for name in saved_names(tagger)}
    assert mean_of_weights([state, state], [SMALL, SMALL], 1).lost == 0


def test_parameters_must_be_the_same(llama):
    _, state = trained(llama, 1, SMALL)
    _, other = trained(llama, 1, replace(SMALL, targets=["q_proj"]))
    with pytest.raises(UserError, match="have not the same parameters"):
        mean_of_weights([state, other], [SMALL, SMALL])
    with pytest.raises(UserError, match="has the shapes"):
        mean_of_weights([state, state | {"emitter.head.bias": torch.zeros(3)}], [SMALL, SMALL])
    _, dora = trained(llama, 1, replace(SMALL, dora=True))
    with pytest.raises(UserError, match="lora_magnitude_vector"):
        mean_of_weights([dora, dora], [SMALL, SMALL])
