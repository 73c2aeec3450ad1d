import itertools
from dataclasses import replace

import numpy as np
import pytest
import taggers
import tiny
import torch

from ner_lightning.data.batching import collate
from ner_lightning.data.corpus_settings import Encoding
from ner_lightning.data.pretrained import locate
from ner_lightning.data.schemes import LabelSet
from ner_lightning.data.tokenization.encoding import Encoder, load_tokenizer
from ner_lightning.errors import UserError
from ner_lightning.model.adapters import Lora, merge_adapters
from ner_lightning.model.attention import verify_attention
from ner_lightning.model.checkpoint import check_backbone, check_names, check_types, saved_names
from ner_lightning.model.extensions import LossPart
from ner_lightning.model.loss import Loss
from ner_lightning.model.tagger_settings import TaggerSettings
from ner_lightning.model.weights import load_backbone
from ner_lightning.system.plain_settings import to_plain

PAIRS = tiny.sentences(tiny.TRAIN)
LABELS = LabelSet.from_tags(tags for _, tags in PAIRS)


def batch_of(folder, pairs=PAIRS, **limits):
    encoder = Encoder(load_tokenizer(locate(str(folder))), Encoding(**limits))
    encoded = encoder.encode([words for words, _ in pairs])
    tagged = [
        replace(e, tags=np.array(LABELS.encode(tags))) for e, (_, tags) in zip(encoded, pairs, strict=True)
    ]
    return collate(tagged, encoder.pad_id)


def build(folder, **settings):
    torch.manual_seed(1)
    return taggers.build(folder, LABELS, **{"lora": Lora(rank=4), "dropout": 0.0} | settings)


@pytest.mark.parametrize("implementation", ["eager", "sdpa"])
@pytest.mark.parametrize("attention", ["causal", "bidirectional"])
def test_attention_goes_in_the_direction_asked_for(llama, implementation, attention):
    tagger = build(llama, attention=attention, implementation=implementation).eval()
    words = ["Vera", "joined", "Halden", "Bank"]
    changed = [*words[:-1], "percent"]
    for others in ([], PAIRS[:3]):  # alone, and beside longer sentences in a padded batch
        pair = [batch_of(llama, [(w, ["O"] * 4), *others]) for w in (words, changed)]
        with torch.no_grad():
            one, other = (tagger(batch)[0, 0] for batch in pair)
        assert ((one - other).abs().max().item() > 1e-4) == (attention == "bidirectional")
        assert torch.allclose(one, other, atol=1e-6) == (attention == "causal")


@pytest.mark.parametrize("implementation", ["eager", "sdpa"])
@pytest.mark.parametrize(("asked", "found"), [("causal", "bidirectional"), ("bidirectional", "causal")])
def test_a_backbone_that_attends_otherwise_is_refused(llama, asked, found, implementation):
    model = load_backbone(
        locate(str(llama)), attention=found, dtype=torch.float32, implementation=implementation
    )
    verify_attention(model, found)
    with pytest.raises(UserError, match=f"attention is {asked}, but the loaded .* is {found}"):
        verify_attention(model, asked)


@pytest.mark.parametrize(
    ("blind", "taken"),
    [
        (lambda mask: mask is None, "4d"),  # some decoders are causal without a mask, whatever their config
        (lambda mask: mask is None or mask.dim() == 4, "2d"),
        (lambda mask: mask is None or len(mask) == 1, None),
    ],
)
def test_the_proof_takes_the_path_of_training_and_settles_the_mask(llama, blind, taken):
    model = load_backbone(locate(str(llama)), attention="bidirectional", dtype=torch.float32)
    forward = model.model.forward

    def sometimes_blind(input_ids, attention_mask):
        if not blind(attention_mask):
            return forward(input_ids=input_ids, attention_mask=attention_mask)
        model.config.is_causal = True
        try:
            return forward(input_ids=input_ids)
        finally:
            model.config.is_causal = False

    model.model.forward = sometimes_blind
    if taken is None:
        with pytest.raises(UserError, match=r"attention is bidirectional, but .* is mixed"):
            verify_attention(model, "bidirectional")
    else:
        verify_attention(model, "bidirectional")
        assert model.mask_form == taken


def test_what_stands_on_padding_must_not_matter(llama):
    model = load_backbone(locate(str(llama)), attention="bidirectional", dtype=torch.float32)
    forward = model.model.forward
    model.model.forward = lambda input_ids, attention_mask: forward(input_ids=input_ids)
    with pytest.raises(UserError, match=r"what stands on padding .* changes"):
        verify_attention(model, "bidirectional")


def test_the_proof_covers_packed_rows(llama):
    model = load_backbone(locate(str(llama)), attention="bidirectional", dtype=torch.float32)
    verify_attention(model, "bidirectional", packed=True)
    forward = model.model.forward
    model.model.forward = lambda input_ids, attention_mask=None, position_ids=None: forward(
        input_ids=input_ids, attention_mask=None if position_ids is not None else attention_mask
    )
    verify_attention(model, "bidirectional")
    with pytest.raises(UserError, match="in another sentence changes"):
        verify_attention(model, "bidirectional", packed=True)


def test_the_proof_draws_no_random_number(llama):
    model = load_backbone(locate(str(llama)), attention="causal", dtype=torch.float32).train()
    before = torch.get_rng_state()
    verify_attention(model, "causal", packed=True)
    assert torch.equal(torch.get_rng_state(), before)
    assert model.training


def test_an_encoder_is_bidirectional_and_cannot_be_causal(bert):
    assert build(bert)(batch_of(bert)).shape[-1] == len(LABELS)
    with pytest.raises(UserError, match="attention is causal"):
        build(bert, attention="causal")


@pytest.mark.parametrize("bf16", [False, True])
@pytest.mark.parametrize("implementation", ["eager", "sdpa"])
def test_layers_at_the_bottom_can_stay_causal(llama, implementation, bf16):
    tagger = build(llama, causal_below=1, implementation=implementation, bf16=bf16).eval()
    for others in ([], PAIRS[:3]):  # alone, and beside longer sentences in a padded batch
        pair = [(["Vera", "joined", "Halden", last], ["O"] * 4) for last in ("Bank", "percent")]
        batches = [batch_of(llama, [one, *others]) for one in pair]
        states = []
        for batch in batches:
            mask = batch.attention_mask.long()
            with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=bf16):
                out = tagger.emitter.backbone.model(
                    batch.input_ids, attention_mask=mask, output_hidden_states=True
                )
                emissions = tagger(batch)
            states.append((*(h[0, 1].float() for h in out.hidden_states), emissions[0, 0]))
        (_, low, high, one), (_, low_changed, high_changed, other) = states
        assert torch.equal(low, low_changed)  # the first layer saw nothing of the last word
        assert not torch.allclose(high, high_changed, atol=1e-4)
        assert not torch.allclose(one, other, atol=1e-4)


def test_causal_layers_are_proven_and_refused_where_they_cannot_be(llama, bert):
    model = load_backbone(locate(str(llama)), attention="bidirectional", dtype=torch.float32)
    with pytest.raises(UserError, match="these layers are not all causal"):
        verify_attention(model, "bidirectional", causal_below=1)
    with pytest.raises(UserError, match=r"causal_below is 1; it counts the causal layers"):
        taggers.settings_of(attention="causal", causal_below=1)
    with pytest.raises(UserError, match="does not go with the layers of this backbone"):
        build(bert, causal_below=1)


def test_an_early_exit_is_the_lower_part_of_the_backbone(llama):
    whole, part = build(llama, lora=None), build(llama, lora=None, layers=1)
    assert (len(whole.emitter.backbone.layers), len(part.emitter.backbone.layers)) == (2, 1)
    batch = batch_of(llama)
    mask = batch.attention_mask.long()
    with torch.no_grad():
        hidden = whole.emitter.backbone.model(batch.input_ids, attention_mask=mask, output_hidden_states=True)
        expected = whole.emitter.backbone.model.norm(hidden.hidden_states[1])
        found = part.emitter.hidden(batch)
    torch.testing.assert_close(found[batch.attention_mask], expected[batch.attention_mask])
    for count, said in ((0, "it must be a whole number of at least 1"), (3, "the backbone has 2 layers")):
        with pytest.raises(UserError, match=f"model.architecture.layers is {count}; {said}"):
            build(llama, layers=count)


@pytest.mark.parametrize("packed", [False, True])
def test_a_passage_gives_each_sentence_the_context_of_the_others(llama, packed):
    tagger = build(llama).eval()
    encoder = Encoder(load_tokenizer(locate(str(llama))), Encoding(context=200))
    texts = [words for words, _ in PAIRS]
    with torch.no_grad():
        together = tagger(
            collate(list(encoder.encode(texts, [0] * len(texts))), encoder.pad_id, packed=packed)
        )
        alone = tagger(collate(list(encoder.encode(texts)), encoder.pad_id, packed=packed))
        changed = [*texts[:-1], ["Lima", *texts[-1][1:]]]
        other = tagger(
            collate(list(encoder.encode(changed, [0] * len(texts))), encoder.pad_id, packed=packed)
        )
    assert together.shape == alone.shape
    assert not torch.allclose(together[0, 0], alone[0, 0], atol=1e-4)
    assert not torch.allclose(together[0, 0], other[0, 0], atol=1e-5)  # the last sentence reaches the first


def test_a_causal_model_sees_the_right_context_in_a_second_copy(llama):
    tagger = build(llama, attention="causal").eval()
    found = []
    for repeats in (0, 1):
        encoder = Encoder(load_tokenizer(locate(str(llama))), Encoding(repeats=repeats))
        texts = (["Vera", "joined", last] for last in ("Halden", "Lima"))
        with torch.no_grad():
            one, other = (tagger(collate(list(encoder.encode([t])), encoder.pad_id))[0, 0] for t in texts)
        found.append(torch.allclose(one, other, atol=1e-6))
    assert found == [True, False]


@pytest.mark.parametrize("pooling", ["first", "last", "mean"])
@pytest.mark.parametrize("use_crf", [True, False])
def test_padding_and_order_change_nothing(llama, pooling, use_crf):
    tagger = build(llama, pooling=pooling, use_crf=use_crf).eval()
    whole = batch_of(llama)
    with torch.no_grad():
        together = tagger(whole)
        tags = tagger.decoder.decode(together, whole.mask)
        backwards = tagger(batch_of(llama, PAIRS[::-1])).flip(0)
        for row, pair in enumerate(PAIRS):
            alone = batch_of(llama, [pair])
            emissions = tagger(alone)
            count = len(pair[0])
            torch.testing.assert_close(together[row, :count], emissions[0], rtol=1e-4, atol=1e-5)
            torch.testing.assert_close(backwards[row, :count], emissions[0], rtol=1e-4, atol=1e-5)
            assert tagger.decoder.decode(emissions, alone.mask)[0].tolist() == tags[row, :count].tolist()
            assert not tags[row, count:].any()


@pytest.mark.parametrize(
    ("pooling", "of"),
    [("first", lambda own: own[0]), ("last", lambda own: own[-1]), ("mean", lambda own: own.mean(0))],
)
def test_a_words_vector_is_that_of_its_first_or_last_sub_token_or_their_mean(llama, pooling, of):
    tagger = build(llama, pooling=pooling)
    batch = batch_of(llama)
    flat = tagger.emitter.hidden(batch).flatten(0, 1)
    vectors = tagger.emitter.word_vectors(batch)
    for row, column in batch.mask.nonzero().tolist():
        span = flat[batch.first[row, column] : batch.last[row, column] + 1]
        torch.testing.assert_close(vectors[row, column], of(span), rtol=1e-4, atol=1e-5)


def test_mean_pooling_loses_no_digits_in_a_long_row(llama):
    tagger = build(llama, pooling="mean")
    count = 5000
    states = torch.randn(1, 2 * count, 32, generator=torch.Generator().manual_seed(1)) + 100
    tagger.emitter.hidden = lambda _batch: states
    place = torch.arange(count).view(2, -1)
    batch = batch_of(llama)
    batch.first, batch.last, batch.mask = 2 * place, 2 * place + 1, place < count - 10
    expected = states.view(2, -1, 2, 32).double().mean(2).float()
    vectors = tagger.emitter.word_vectors(batch)
    torch.testing.assert_close(vectors[batch.mask], expected[batch.mask], rtol=1e-6, atol=1e-6)


def test_windows_are_stitched_before_the_crf(llama):
    tagger = build(llama).eval()
    long = [list(itertools.chain.from_iterable(part)) for part in zip(*PAIRS, strict=True)]
    batch = batch_of(llama, [tuple(long)], max_length=16, overlap=6)
    assert batch.input_ids.shape[0] > 3
    emissions = tagger(batch)
    assert emissions.shape[:2] == (1, len(long[0]))
    assert int(batch.mask.sum()) == len(long[0])
    parts = tagger.decoder.losses(emissions, batch.tags, batch.mask)
    expected = -tagger.decoder.crf.log_likelihood(emissions, batch.tags, batch.mask).sum()
    assert torch.allclose(parts["crf"], expected)


def test_parts_of_the_loss_are_what_they_say(llama):
    tagger = build(llama, loss=Loss(ce=0.5, crf=2.0, ls=0.1))
    batch = batch_of(llama)
    emissions = tagger(batch)
    parts = tagger.decoder.losses(emissions, batch.tags, batch.mask)
    real = emissions[batch.mask]
    ce = torch.nn.functional.cross_entropy(real, batch.tags[batch.mask], reduction="sum")
    ls = -torch.log_softmax(real, -1).mean(-1).sum()
    torch.testing.assert_close(parts["ce"], ce)
    torch.testing.assert_close(parts["ls"], ls)
    torch.testing.assert_close(tagger.decoder.total(parts), 0.5 * ce + 2.0 * parts["crf"] + 0.1 * ls)
    # PyTorch's own label smoothing is this mixture of the two.
    smoothed = torch.nn.functional.cross_entropy(
        real, batch.tags[batch.mask], label_smoothing=0.2, reduction="sum"
    )
    torch.testing.assert_close(0.8 * ce + 0.2 * ls, smoothed)


class Own(LossPart):
    """A project's own part of the loss."""

    def __call__(self, emissions, tags, mask):
        return emissions.sum()


@pytest.mark.parametrize("weights", [Loss(0, 1, 0), Loss(1, 0, 0), Loss(1, 0, 1)])
@pytest.mark.parametrize("use_crf", [True, False])
def test_zero_weights_leave_no_trained_parameter_idle(llama, weights, use_crf):
    if not use_crf and not weights.ce:
        with pytest.raises(UserError, match=r"model\.loss: only crf counts, which needs model\.use_crf true"):
            weights.check_objective(use_crf)
        replace(weights, parts=[Own()]).check_objective(use_crf)
        own = to_plain(Loss(0, 0, 0, parts=[Own()]))
        needed = {"backbone": "one", "attention": "causal", "freeze_backbone": True, "peft": "none"}
        TaggerSettings.read({**needed, "use_crf": False, "loss": own})  # prediction needs no loss
        return
    weights.check_objective(use_crf)
    tagger = build(llama, loss=weights, use_crf=use_crf)
    batch = batch_of(llama)
    tagger.decoder.total(tagger.decoder.losses(tagger(batch), batch.tags, batch.mask)).backward()
    assert [n for n, p in tagger.named_parameters() if p.requires_grad and p.grad is None] == []


@pytest.mark.parametrize("kind", ["llama", "bert"])
def test_each_way_of_training_trains_what_it_says(request, kind):
    folder = request.getfixturevalue(kind)
    lora = Lora(rank=4)
    ways = {
        "adapters": {"lora": lora},
        "frozen": {"lora": None},
        "full": {"lora": None, "freeze_backbone": False},
        "both": {"lora": lora, "freeze_backbone": False},
        "adapters on top": {"lora": Lora(rank=4, top=1)},
        "top": {"lora": None, "unfreeze_top": 1},
        "adapters and top": {"lora": lora, "unfreeze_top": 1},
    }
    trained = {}
    for way, settings in ways.items():
        tagger = build(folder, **settings)
        batch = batch_of(folder)
        tagger.decoder.total(tagger.decoder.losses(tagger(batch), batch.tags, batch.mask)).backward()
        names = [n for n, p in tagger.named_parameters() if p.requires_grad]
        assert [n for n, p in tagger.named_parameters() if p.requires_grad and p.grad is None] == []
        trained[way] = [n for n in names if n.startswith("emitter.backbone.")]
    assert trained["frozen"] == []
    assert trained["adapters"]
    assert all("lora_" in name for name in trained["adapters"])
    assert not any("lora_" in name for name in trained["full"])
    assert trained["adapters on top"] == [n for n in trained["adapters"] if ".1." in n]
    assert any("embed" in name for name in trained["full"])
    assert len(trained["both"]) == len(trained["full"]) + len(trained["adapters"])
    assert all(".layers.1." in n or ".layer.1." in n or "norm" in n for n in trained["top"])
    assert any("lora_" in n and ".0." in n for n in trained["adapters and top"])
    assert not any("lora_" in n and "layers.1." in n for n in trained["adapters and top"])


def test_bf16_keeps_what_is_trained_in_fp32_and_the_crf_exact(llama):
    full, half = build(llama).eval(), build(llama, bf16=True).eval()
    assert {p.dtype for p in half.parameters() if p.requires_grad} == {torch.float32}
    assert {p.dtype for n, p in half.named_parameters() if "base_layer" in n} == {torch.bfloat16}
    batch = batch_of(llama)
    with torch.no_grad():
        one, other = full(batch), half(batch)
    assert other.dtype == torch.float32
    assert (one - other).abs().max() < 0.05 * one.abs().max()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = half.decoder.crf.log_likelihood(other, batch.tags, batch.mask)
    torch.testing.assert_close(
        inside, half.decoder.crf.log_likelihood(other, batch.tags, batch.mask), rtol=0, atol=0
    )


def test_adapters_take_their_input_as_it_is_with_equal_gradients(llama):
    batch = batch_of(llama)
    gradients = []
    for cast in (False, True):
        tagger = build(llama, bf16=True)
        for module in tagger.modules():
            if hasattr(module, "cast_input_dtype_enabled"):
                module.cast_input_dtype_enabled = cast
            if hasattr(module, "lora_B"):
                torch.nn.init.normal_(module.lora_B["default"].weight, std=0.1)
        torch.manual_seed(3)
        tagger.decoder.total(tagger.decoder.losses(tagger(batch), batch.tags, batch.mask)).backward()
        gradients.append([p.grad for p in tagger.parameters() if p.grad is not None])
    assert len(gradients[0]) > 10
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)


def test_softmax_decoding_is_legal_and_best_among_legal(llama):
    tagger = build(llama, use_crf=False).eval()
    batch = batch_of(llama, [(["Vera", "left", "Lima"], ["O"] * 3)])
    emissions = torch.randn(1, 3, len(LABELS), generator=torch.Generator().manual_seed(2)) * 3
    found = tagger.decoder.decode(emissions, batch.mask)[0].tolist()
    scores = torch.log_softmax(emissions[0], -1)
    legal, starts = LABELS.legal_transitions(), LABELS.legal_starts()
    best = max(
        (
            path
            for path in itertools.product(range(len(LABELS)), repeat=3)
            if starts[path[0]] and legal[path[0]][path[1]] and legal[path[1]][path[2]]
        ),
        key=lambda path: sum(scores[i, tag].item() for i, tag in enumerate(path)),
    )
    assert found == list(best)
    free = build(llama, use_crf=False, constrained=False)
    assert free.decoder.decode(emissions, batch.mask)[0].tolist() == emissions[0].argmax(-1).tolist()


@pytest.mark.parametrize("use_crf", [True, False])
def test_an_entity_that_begins_with_an_inside_tag_has_its_own_probability(llama, use_crf):
    batch = batch_of(llama, [(["Vera", "Holt", "left"], ["O"] * 3)])
    free = build(llama, use_crf=use_crf, constrained=False).eval()
    emissions = torch.zeros(1, 3, len(LABELS))
    emissions[0, 0, 2] = emissions[0, 1, 2] = 3.0  # I- twice
    tags = free.decoder.decode(emissions, batch.mask)
    assert tags[0, :2].tolist() == [2, 2]
    ((entity, *_),) = free.decoder.entities(emissions, batch.mask, tags)
    assert (entity.start, entity.end) == (0, 2)
    if use_crf:
        paths = list(itertools.product(range(len(LABELS)), repeat=3))
        likelihoods = [
            free.decoder.crf.log_likelihood(emissions, torch.tensor([p]), batch.mask) for p in paths
        ]
        chosen = [
            value
            for p, value in zip(paths, likelihoods, strict=True)
            if p[:2] in ((1, 2), (2, 2)) and p[2] != 2
        ]
        expected = torch.cat(chosen).exp().sum().detach()
    else:
        probabilities = torch.softmax(emissions, -1)
        expected = (probabilities[0, 0, 1] + probabilities[0, 0, 2]) * probabilities[0, 1, 2]
    assert entity.probability == pytest.approx(float(expected), rel=1e-4)


def test_probability_of_an_entity(llama):
    batch = batch_of(llama, [(["Vera", "Holt", "left"], ["O"] * 3), (["Lima"], ["O"])])
    soft = build(llama, use_crf=False).eval()
    emissions = torch.zeros(2, 3, len(LABELS))
    for row, column, tag in ((0, 0, 1), (0, 1, 2), (1, 0, 3)):
        emissions[row, column, tag] = 9.0
    tags = soft.decoder.decode(emissions, batch.mask)
    first, second = soft.decoder.entities(emissions, batch.mask, tags)
    p = torch.softmax(emissions, -1)
    assert [(e.type, e.start, e.end) for e in first + second] == [
        (LABELS.types[0], 0, 2),
        (LABELS.types[1], 0, 1),
    ]
    assert first[0].probability == pytest.approx(float(p[0, 0, 1] * p[0, 1, 2]), rel=1e-4)
    crf = build(llama).eval()
    assert crf.decoder.probability_name == "marginal"
    # All paths that begin B-PER I-PER and do not go on with I-PER, by enumeration.
    weights = {
        path: torch.exp(
            crf.decoder.crf.log_likelihood(emissions[:1], torch.tensor([path]), batch.mask[:1])
        ).item()
        for path in itertools.product(range(len(LABELS)), repeat=3)
    }
    assert sum(weights.values()) == pytest.approx(1.0, rel=1e-4)
    exact = sum(w for path, w in weights.items() if path[:2] == (1, 2) and path[2] != 2)
    (entity,), _ = crf.decoder.entities(emissions, batch.mask, tags)
    assert entity.probability == pytest.approx(float(exact), rel=1e-4)
    assert soft.decoder.entities(emissions, batch.mask, torch.zeros_like(tags)) == [[], []]


@pytest.mark.slow
def test_compiled_layers_compute_the_same(llama):
    tagger = build(llama).eval()
    batch = batch_of(llama)
    with torch.no_grad():
        plain = tagger(batch)
        tagger.emitter.backbone.compile_layers()
        compiled = tagger(batch)
    assert len(tagger.emitter.backbone.layers) == 2
    torch.testing.assert_close(plain, compiled, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("bf16", [False, True])
def test_merged_adapters_compute_the_same(llama, bf16):
    torch.manual_seed(3)
    apart, whole = (
        taggers.build(llama, LABELS, lora=Lora(rank=4), bf16=bf16, mergeable=m) for m in (False, True)
    )
    for name, parameter in apart.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    state = {n: p.detach() for n, p in apart.named_parameters() if p.requires_grad}
    whole.load_state_dict(state, strict=False)
    whole.emitter.merge()
    assert not any("lora_" in name for name, _ in whole.named_parameters())
    batch = batch_of(llama)
    with torch.no_grad():
        one, other = (tagger.eval()(batch)[batch.mask] for tagger in (apart, whole))
    tolerance = 0.1 if bf16 else 1e-5  # bf16 rounds at other places
    torch.testing.assert_close(other, one, rtol=tolerance, atol=tolerance * one.abs().max().item())
    kinds = {p.dtype for p in whole.emitter.backbone.parameters()}
    assert kinds == {torch.bfloat16 if bf16 else torch.float32}
    # The frequencies of RoPE are no weights: rounded to bf16 they would turn far words to other angles.
    buffers = dict(whole.emitter.backbone.model.named_buffers())
    for name, exact in apart.emitter.backbone.model.base_model.model.named_buffers():
        assert torch.equal(buffers[name], exact), name
    assert buffers


@pytest.mark.parametrize("kind", [{}, {"rslora": True}, {"top": 1}, {"dora": True}], ids=str)
def test_adapters_are_merged_as_peft_merges_them(llama, kind):
    torch.manual_seed(3)
    ours, theirs = (taggers.build(llama, LABELS, lora=Lora(rank=4, **kind), mergeable=True) for _ in range(2))
    for name, parameter in ours.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    theirs.load_state_dict(ours.state_dict())
    before = {name: value.clone() for name, value in ours.named_parameters()}
    merge_adapters(ours.emitter.backbone)
    merged = dict(theirs.emitter.backbone.model.merge_and_unload().named_parameters())
    found = dict(ours.emitter.backbone.model.named_parameters())
    assert found.keys() == merged.keys()
    for name, value in found.items():
        torch.testing.assert_close(value, merged[name], rtol=1e-5, atol=1e-6)
    changed = sum(not any(torch.equal(v, b) for b in before.values()) for v in found.values())
    assert changed == (7 if kind == {"top": 1} else 14)


def test_unusable_settings_are_explained(llama):
    with pytest.raises(UserError, match=r"unfreeze_top is 3; the backbone has 2 layers"):
        build(llama, unfreeze_top=3)
    with pytest.raises(
        UserError, match=r"lora\.top is 1, .*the last 1 layers whole: none is left for adapters"
    ):
        build(llama, unfreeze_top=1, lora=Lora(top=1))
    with pytest.raises(UserError, match=r"^model.architecture.unfreeze_top .* last 2 .* none"):
        build(llama, unfreeze_top=2, lora=Lora())
    with pytest.raises(UserError, match=r"no layer is named .*nope.*; this backbone has .*q_proj"):
        build(llama, lora=Lora(targets=["nope"]))
    with pytest.raises(UserError, match=r"lora\.top is 3; the backbone has 2 layers"):
        build(llama, lora=Lora(top=3))
    with pytest.raises(UserError, match=r"lora\.top is 0"):
        Lora(top=0)
    with pytest.raises(UserError, match="all weights are zero"):
        Loss(0, 0, 0).check_objective(True)
    with pytest.raises(UserError, match=r"model\.loss\.ce is -?\S+; it must be a number of at least 0"):
        Loss(ce=-1)


def test_checkpoints_of_other_models_are_refused(llama):
    tagger = build(llama)
    names = saved_names(tagger)
    assert {"emitter.head.weight", "emitter.head.bias", "decoder.crf.transitions"} < names
    assert all("lora_" in n for n in names if n.startswith("emitter.backbone."))
    check_names(names, names)
    with pytest.raises(UserError, match=r"lacks 1 \(such as emitter\.head\.bias\) and has 1 .*extra"):
        check_names(names - {"emitter.head.bias"} | {"extra"}, names)
    with pytest.raises(UserError, match="trained on other"):
        check_backbone({"name": "other", "weights": "a"}, "this", "b")
    with pytest.raises(UserError, match=r"knows the entity types A, the data A, B"):
        check_types(["A"], ["A", "B"])


@pytest.mark.parametrize("use_crf", [True, False])
def test_label_smoothing_alone_learns_nothing_from_the_tags(use_crf):
    with pytest.raises(UserError, match="only ls counts, which knows no tags"):
        Loss.of(Loss(ce=0, crf=0, ls=1), use_crf)
    Loss.of(Loss(ce=0, crf=0, ls=1, kl=1), use_crf)
    Loss.of(Loss(ce=1, crf=0, ls=1), use_crf)
