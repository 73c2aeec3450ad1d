"""Groups of taggers: one backbone, the same answers as alone, adding and removing."""

import gc
import weakref
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import taggers
import torch
from untrained import write_checkpoint

from ner_lightning.data.batching import collate
from ner_lightning.errors import UserError
from ner_lightning.inference.ner_tagger import NERTagger
from ner_lightning.inference.tagger_group import TaggerGroup
from ner_lightning.model.adapters import Lora
from ner_lightning.model.masks import hidden_states
from ner_lightning.model.shared_adapters import RowsLost, SharedLinear

TEXTS = taggers.texts()[:12]


@pytest.fixture
def write(llama, tmp_path):
    """Writes a tagger's checkpoint: with adapters of its own, head and CRF."""

    def written(name, seed, precision="32-true", backbone=llama, **changes):
        folder = tmp_path / name
        folder.mkdir()
        lora = {"rank": 2 + seed % 3, "alpha": 8.0}
        values = {"peft": "lora", "lora": lora} | changes
        path = write_checkpoint(folder, backbone, precision, **values)
        held = torch.load(path, weights_only=True)
        torch.manual_seed(seed)
        for key, value in held["state_dict"].items():
            if value.is_floating_point() and "lora_A" not in key:
                torch.nn.init.normal_(value, std=0.5)
        torch.save(held, path)
        return str(path)

    return written


def spans(tagged):
    return [(each.tags, [(e.text, e.label) for e in each.entities]) for each in tagged]


def check(found, expected):
    """The same tags and entities; other batches round scores otherwise."""
    assert spans(found) == spans(expected)
    for one, other in zip(found, expected, strict=True):
        assert [e.score for e in one.entities] == pytest.approx([e.score for e in other.entities], abs=1e-3)


def check_each(group, runs):
    """The taggers of a group in mixed batches tag as each alone."""
    items = [(name, text) for text in TEXTS for name in group]
    found = group.tag(items)
    for name, run in runs.items():
        mine = [tagged for (other, _), tagged in zip(items, found, strict=True) if other == name]
        check(mine, NERTagger.from_run(run)(TEXTS))


@pytest.fixture
def runs(write):
    return {"a": write("a", 1), "b": write("b", 2), "c": write("c", 3)}


def test_answers_are_those_of_each_tagger_alone(runs):
    group = TaggerGroup(runs)
    assert list(group) == ["a", "b", "c"]
    items = [(name, text) for text in TEXTS for name in group]
    mixed = dict(zip(items, group.tag(items), strict=True))
    assert len({mixed[name, TEXTS[0]].tags for name in group}) == 3
    for name, run in runs.items():
        alone = NERTagger.from_run(run)(TEXTS)
        check([mixed[name, text] for text in TEXTS], alone)
        check(group(TEXTS, name), alone)
        check(group[name](TEXTS), alone)


def test_emissions_in_a_mixed_batch_are_those_of_each_alone(runs, write):
    """Whatever the order of its rows, with adapters of several ranks, and on some of the layers only."""
    runs |= {"top": write("top", 7, lora={"rank": 5, "top": 1})}
    group = TaggerGroup(runs)
    encoder, bank = group["a"].encoder, group["a"].tagger.emitter.bank
    passages = list(encoder.encode([text.split() for text in TEXTS[:8]]))
    batch = collate(passages, encoder.pad_id)
    names = ["a", "b", "c", "top", "c", "b", "a", "a"]
    with torch.inference_mode():
        with bank.running(names):
            hidden = hidden_states(bank.backbone, batch)
        for name, run in runs.items():
            own = [row for row, other in enumerate(names) if other == name]
            found = group[name].tagger.emitter.emissions(hidden, batch)[own]
            expected = NERTagger.from_run(run).tagger(batch)[own]
            words = batch.mask[own]
            torch.testing.assert_close(found[words], expected[words], rtol=1e-5, atol=1e-5)


def test_answers_in_several_threads_are_those_of_each_alone(runs):
    group = TaggerGroup(runs)
    expected = {name: group(TEXTS[:6], name, marginals=True) for name in group}

    def check_own(name):
        for _ in range(2):
            for text, one in zip(TEXTS[:6], expected[name], strict=True):
                found = group[name](text, marginals=True)
                np.testing.assert_allclose(found.marginals, one.marginals, atol=1e-3)

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(check_own, [*group, *group]))


def test_a_mixed_batch_has_products_of_few_shapes(runs, monkeypatch):
    """A CPU compiles a kernel for each, and a service keeps only a few."""
    group = TaggerGroup(runs)
    shapes: set[tuple[torch.Size, ...]] = set()
    bmm = torch.bmm

    def noted(one, other):
        shapes.add((one.shape, other.shape))
        return bmm(one, other)

    monkeypatch.setattr(torch, "bmm", noted)
    group.tag([(name, text) for text in TEXTS for name in group])
    assert len(shapes) == 2  # into what is as wide as the hidden states, and as the inner layer


def test_a_backbone_is_held_once(runs):
    group = TaggerGroup(runs)
    models = {id(tagger.tagger.emitter.backbone) for tagger in group.values()}
    assert len(models) == 1
    alone = NERTagger.from_run(runs["a"]).tagger.emitter.backbone
    frozen = sum(p.numel() for p in alone.parameters())
    held = sum(
        p.numel() for n, p in group["a"].tagger.emitter.backbone.named_parameters() if "lora_" not in n
    )
    assert held == frozen
    assert len({id(tagger.encoder) for tagger in group.values()}) == 1


def test_in_bf16_answers_differ_by_rounding_alone(write):
    runs = {name: write(name, seed, "bf16-mixed") for seed, name in enumerate(("a", "b"), start=1)}
    group = TaggerGroup(runs)
    assert not group["a"].tagger.emitter.backbone.bf16
    items = [(name, text) for text in TEXTS for name in group]
    found = group.tag(items)
    for name, run in runs.items():
        alone = NERTagger.from_run(run)(TEXTS)
        mine = [tagged for (other, _), tagged in zip(items, found, strict=True) if other == name]
        words = [
            (a, b)
            for one, two in zip(mine, alone, strict=True)
            for a, b in zip(one.tags, two.tags, strict=True)
        ]
        assert sum(a == b for a, b in words) > 0.95 * len(words)


@pytest.mark.slow
def test_taggers_come_and_go(runs, write):
    group = TaggerGroup({"a": runs["a"]})
    expected = group(TEXTS, "a")
    group.add(runs["b"], "b")
    second = group(TEXTS, "b")
    check(group(TEXTS, "a"), expected)
    group.remove("a")
    assert list(group) == ["b"]
    check(group(TEXTS, "b"), second)
    model = group["b"].tagger.emitter.backbone.model
    assert {len(part.down) for part in model.modules() if isinstance(part, SharedLinear)} == {
        2
    }  # none, and b's
    group.add(runs["a"], "a")
    check(group(TEXTS, "a"), expected)
    backbone = weakref.ref(group["b"].tagger.emitter.backbone)
    del model
    group.remove("a")
    group.remove("b")
    gc.collect()
    assert backbone() is None
    with pytest.raises(KeyError):
        group.remove("b")


def test_other_kinds_of_taggers_stand_beside(runs, write, bert):
    whole = write("whole", 4, freeze_backbone=False, peft="none")
    head = write("head", 5, peft="none")
    other = write("other", 6, backbone=bert)
    group = TaggerGroup({**runs, "whole": whole, "head": head, "other": other})
    items = [(name, TEXTS[number % len(TEXTS)]) for number, name in enumerate([*group, *group, *group])]
    for (name, text), found in zip(items, group.tag(items), strict=True):
        check([found], [group[name](text)])
    check(group(TEXTS, "whole"), NERTagger.from_run(whole)(TEXTS))
    check(group(TEXTS, "head"), NERTagger.from_run(head)(TEXTS))
    check(group(TEXTS, "other"), NERTagger.from_run(other)(TEXTS))


def test_options_are_those_of_a_tagger(runs):
    group = TaggerGroup(runs, min_score=0.2)
    items = [("a", TEXTS[0]), ("b", TEXTS[1]), ("a", ""), ("b", TEXTS[1])]
    for found, (name, text) in zip(group.tag(items, marginals=True, n_best=2), items, strict=True):
        alone = NERTagger.from_run(runs[name], min_score=0.2)(text, marginals=True, n_best=2)
        check([found], [alone])
        assert found.marginals == pytest.approx(alone.marginals, abs=1e-5)
        assert len(found.paths) == len(alone.paths)
    assert group.tag([]) == []
    with pytest.raises(TypeError, match=r"no option min_scores, n_bset; there are marginals, n_best"):
        group.tag([("a", "x")], n_bset=4, min_scores=0.1)
    with pytest.raises(TypeError, match="no option n_bset"):
        group["a"].stream(["x"], n_bset=4)
    with pytest.raises(TypeError, match="expected a list of texts, got one"):
        group(TEXTS[0], "a")
    with pytest.raises(KeyError):
        group.tag([("nobody", "text")])
    with pytest.raises(TypeError, match=r"texts\[1\] is None, not a text"):
        group(["x", None], "a")
    assert group.tag(item for item in items[:1])[0].text == TEXTS[0]
    assert repr(group) == "TaggerGroup(a, b, c; on cpu)"


def test_scores_that_are_no_numbers_are_said(runs):
    group = TaggerGroup(runs)
    group["b"].tagger.emitter.head.weight.data[0, 0] = torch.nan
    with pytest.raises(UserError, match="the tagger's scores are not finite"):
        group.tag([("a", TEXTS[0]), ("b", TEXTS[0])])
    assert group(TEXTS[:1], "a")[0].text == TEXTS[0]


def test_loading_draws_none_of_the_callers_random_numbers(runs):
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    TaggerGroup(runs)
    assert torch.equal(torch.rand(3), expected)


def test_long_texts_in_windows(write):
    encoding = {"max_length": 24, "overlap": 4}
    runs = {name: write(name, seed, encoding=encoding) for seed, name in enumerate("ab", start=1)}
    group = TaggerGroup(runs)
    text = " ".join(TEXTS)
    items = [("a", text), ("b", TEXTS[0]), ("b", text)]
    for found, (name, each) in zip(group.tag(items), items, strict=True):
        check([found], [NERTagger.from_run(runs[name])(each)])


def test_two_of_a_name_are_refused(runs):
    group = TaggerGroup(runs)
    with pytest.raises(UserError, match="two taggers are named a; name one otherwise"):
        group.add(runs["b"], "a")
    assert len(group) == 3


def test_layers_that_do_not_see_rows_run_each_tagger_apart(runs, monkeypatch):
    """As experts do, which get the sub-tokens that are routed to them."""
    group = TaggerGroup(runs)
    items = [(name, text) for text in TEXTS for name in group]
    expected = group.tag(items)
    layer = group["a"].tagger.emitter.backbone.layers[0]
    whole, calls = layer.forward, []

    def flat(hidden, *args, **options):
        calls.append(isinstance(group["a"].tagger.emitter.bank.slots, torch.Tensor))
        if calls[-1]:
            raise RowsLost
        return whole(hidden, *args, **options)

    monkeypatch.setattr(layer, "forward", flat)
    check(group.tag(items), expected)
    assert calls.count(True) == 1
    assert calls.count(False) == 3
    check(group.tag(items), expected)
    assert calls.count(True) == 1


def test_dora_and_rslora(write):
    runs = {
        "dora": write("dora", 1, lora={"rank": 2, "dora": True}),
        "rs": write("rs", 2, lora={"rank": 4, "rslora": True}),
        "top": write("top", 3, lora={"rank": 4, "top": 1}),
    }
    check_each(TaggerGroup(runs), runs)


def test_adapters_of_another_shape_are_refused(runs):
    group = TaggerGroup({"a": runs["a"]})
    bank = group["a"].tagger.emitter.bank
    name = "emitter.backbone.model.base_model.model.layers.0.mlp.up_proj.lora_{}.default.weight"
    state = {name.format("A"): torch.zeros(2, 3), name.format("B"): torch.zeros(3, 2)}
    with pytest.raises(UserError, match=r"no layer layers.0.mlp.up_proj of the size"):
        bank.add("b", state, Lora(rank=2))


def test_adapters_of_embeddings_are_kept(runs, write):
    runs = {"a": runs["a"], "e": write("e", 4, lora={"rank": 2, "targets": ["embed_tokens", "q_proj"]})}
    group = TaggerGroup(runs)
    check_each(group, runs)
    group.remove("e")
    check(group(TEXTS, "a"), NERTagger.from_run(runs["a"])(TEXTS))
