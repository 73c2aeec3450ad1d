"""Emitters: dropout at its rate, and members of an ensemble that share a backbone."""

import copy
import pickle
from concurrent.futures import ThreadPoolExecutor

import pytest
import tiny
import torch
from taggers import LABELS, settings_of

from ner_lightning.data.batching import collate
from ner_lightning.data.pretrained import locate
from ner_lightning.data.tokenization.encoding import Encoder, load_tokenizer
from ner_lightning.model.adapters import Lora
from ner_lightning.model.build import build_tagger
from ner_lightning.model.checkpoint import mean_state, saved_names
from ner_lightning.model.emitter import Dropout
from ner_lightning.model.features import FeatureExtractor
from ner_lightning.system.plain_settings import to_plain


def batch_of(folder):
    encoder = Encoder(load_tokenizer(locate(str(folder))))
    return collate(list(encoder.encode([words for words, _ in tiny.sentences(tiny.TEST)])), encoder.pad_id)


def test_a_split_leaves_the_backbone_as_it_is_and_a_copy_has_one_of_its_own(llama):
    tagger, _ = build_tagger(settings_of(llama, lora=Lora(rank=2, top=1)), LABELS)
    batch = batch_of(llama)
    whole = tagger.eval()(batch)
    for _ in range(3):  # as at the start of each fit
        features = FeatureExtractor(tagger.emitter, 1)
    cached = features(batch)
    assert not [layer for layer in tagger.emitter.backbone.layers if "forward" in vars(layer)]
    copied = copy.deepcopy(tagger)
    for parameter in copied.emitter.backbone.layers[0].parameters():
        parameter.data.zero_()
    assert not torch.equal(copied(batch), whole)
    for parameter in copied.emitter.backbone.layers[1].parameters():
        parameter.data.zero_()
    batch.features = cached
    torch.testing.assert_close(tagger(batch), whole)
    assert not torch.allclose(copied(batch), whole)
    batch.features = None
    assert torch.equal(tagger(batch), whole)


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


def shared_and_apart(llama, *loras, **settings):
    """Members with adapters that say something, and the ensemble of them."""
    members = [settings_of(llama, lora=lora, dropout=0.0, **settings) for lora in loras]
    apart = []
    for number, member in enumerate(members):
        torch.manual_seed(number)
        tagger, _ = build_tagger(member, LABELS)
        for name, parameter in tagger.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(parameter, std=0.1)
        apart.append(tagger.eval())
    together, _ = build_tagger(members[0], LABELS, members=members[1:])
    kept = [{n: v for n, v in t.state_dict().items() if n in saved_names(t)} for t in apart]
    state = mean_state(kept, list(map(to_plain, members)))
    assert set(state) == saved_names(together)
    together.load_state_dict(state, strict=False)
    return apart, together.eval()


def test_members_with_a_frozen_backbone_hold_it_once(llama):
    apart, together = shared_and_apart(llama, Lora(rank=4), Lora(rank=2, top=1), Lora(rank=4, dora=True))
    batch = batch_of(llama)
    with torch.no_grad():
        mean = torch.stack([tagger(batch) for tagger in apart]).mean(0)
        for _ in range(2):  # the second pass begins with another adapter
            torch.testing.assert_close(together(batch), mean, rtol=1e-4, atol=1e-5)
        together.emitter.merge()
        torch.testing.assert_close(together(batch), mean, rtol=1e-4, atol=1e-5)
    backbones = {id(member.backbone) for member in together.emitter.members}
    assert len(backbones) == 1
    adapters = sum(p.numel() for t in apart for n, p in t.named_parameters() if "lora_" in n)
    one = sum(p.numel() for n, p in apart[0].emitter.backbone.named_parameters() if "lora_" not in n)
    heads = sum(p.numel() for t in apart for p in t.emitter.head.parameters())
    crf = sum(p.numel() for p in together.decoder.parameters())
    assert sum(p.numel() for p in together.parameters()) == one + adapters + heads + crf


def test_members_that_share_a_backbone_answer_several_threads(llama):
    _, whole = shared_and_apart(llama, Lora(rank=4), Lora(rank=2))
    batch = batch_of(llama)
    for together in (whole, copy.deepcopy(whole), pickle.loads(pickle.dumps(whole))):
        with torch.no_grad():
            expected = together(batch)

        def same(_, together=together, expected=expected):
            with torch.no_grad():
                return torch.equal(together(batch), expected)

        with ThreadPoolExecutor(4) as pool:
            assert all(pool.map(same, range(24)))


@pytest.mark.parametrize(
    "change",
    [{"freeze_backbone": False}, {"unfreeze_top": 1}, {"attention": "causal"}, {"lora": None}],
    ids=str,
)
def test_a_backbone_that_differs_is_not_shared(llama, change):
    usual = settings_of(llama, lora=Lora(rank=2))
    other = settings_of(llama, **{"lora": Lora(rank=2)} | change)
    together, _ = build_tagger(usual, LABELS, members=[other, usual, other])
    backbones = [id(member.backbone) for member in together.emitter.members]
    assert backbones[0] == backbones[2]
    assert backbones[0] not in (backbones[1], backbones[3])
    assert (backbones[1] == backbones[3]) == (change in ({"attention": "causal"}, {"lora": None}))


def test_a_backbone_trains_without_its_own_dropout_as_it_was_loaded(bert):
    """transformers loads models in evaluation mode; checks and caches keep that."""
    tagger, _ = build_tagger(settings_of(bert, lora=Lora(rank=2, top=1)), LABELS)
    modes = {name: part.training for name, part in tagger.named_modules()}
    FeatureExtractor(tagger.emitter, 1)
    assert {name: part.training for name, part in tagger.named_modules()} == modes
    dropouts = [name for name, part in tagger.named_modules() if isinstance(part, torch.nn.Dropout)]
    own = [name for name in dropouts if name.startswith("emitter.backbone") and "lora" not in name]
    assert own
    assert not any(modes[name] for name in own)
    assert modes["emitter.dropout"]
