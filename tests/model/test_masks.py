"""Masks of our own: as transformers makes them, and a packed row gives each sentence what it gets alone."""

import pytest
import torch
from taggers import build

from ner_lightning.data.batching import collate
from ner_lightning.data.corpus_settings import Encoding
from ner_lightning.data.schemes import LabelSet
from ner_lightning.errors import UserError
from ner_lightning.model.adapters import Lora
from ner_lightning.model.masks import hide_right_context
from ner_lightning.training.datamodule import CoNLLDataModule

LABELS = LabelSet(("PER", "ORG", "LOC", "MISC"))


def batches(backbone, corpus):
    """The same sentences padded and packed, some of them in several windows."""
    data = CoNLLDataModule(
        dataset=str(corpus), backbone=str(backbone), encoding=Encoding(max_length=12, overlap=4)
    )
    sentences, pad = data.corpus.encoded("train")[:8], data.corpus.encoder.pad_id
    return collate(sentences, pad), collate(sentences, pad, packed=True)


def tagger_of(backbone, **options):
    torch.manual_seed(0)
    return build(backbone, LABELS, lora=Lora(rank=4), dropout=0.0, **options)


@pytest.mark.parametrize("implementation", ["eager", "sdpa"])
@pytest.mark.parametrize("attention", ["causal", "bidirectional"])
def test_losses_and_gradients_equal_those_of_padded_batches(llama, corpus, attention, implementation):
    tagger = tagger_of(llama, attention=attention, implementation=implementation)
    found = []
    for batch in batches(llama, corpus):
        tagger.zero_grad()
        emissions = tagger(batch)
        parts = tagger.decoder.losses(emissions, batch.tags, batch.mask)
        torch.autograd.backward(tagger.decoder.total(parts))
        grads = [p.grad.clone() for p in tagger.parameters() if p.requires_grad]
        found.append((emissions[batch.mask], tagger.decoder.total(parts), grads))
    (padded, loss, grads), (packed, packed_loss, packed_grads) = found
    torch.testing.assert_close(packed, padded, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(packed_loss, loss)
    for one, other in zip(packed_grads, grads, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("bf16", [False, True])
@pytest.mark.parametrize("implementation", ["eager", "sdpa"])
@pytest.mark.parametrize("attention", ["causal", "bidirectional"])
def test_our_mask_is_the_one_that_transformers_makes(llama, corpus, attention, implementation, bf16):
    tagger = tagger_of(llama, attention=attention, implementation=implementation, bf16=bf16).eval()
    padded, _ = batches(llama, corpus)
    assert padded.padded
    whole = collate_one(llama, corpus)
    assert not whole.padded
    for batch in (padded, whole):
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            mask = batch.attention_mask.long()
            expected = tagger.emitter.backbone.model(
                input_ids=batch.input_ids, attention_mask=mask
            ).last_hidden_state
            found = tagger.emitter.hidden(batch)
        torch.testing.assert_close(found[batch.attention_mask], expected[batch.attention_mask])


def collate_one(backbone, corpus):
    data = CoNLLDataModule(dataset=str(corpus), backbone=str(backbone))
    return collate(data.corpus.encoded("train")[:1], data.corpus.encoder.pad_id)


def test_a_packed_row_has_no_padding(llama, corpus):
    padded, packed = batches(llama, corpus)
    assert packed.attention_mask.all()
    assert packed.input_ids.shape == (1, int(padded.attention_mask.sum()))


@pytest.mark.parametrize("attention", ["causal", "bidirectional"])
def test_sentences_in_a_row_do_not_see_each_other(llama, corpus, attention):
    tagger = tagger_of(llama, attention=attention).eval()
    _, batch = batches(llama, corpus)
    ends = int((batch.positions[0] == 0).nonzero()[1])  # where the second window begins
    changed = batch.input_ids.clone()
    changed[0, ends + 1 :] = (changed[0, ends + 1 :] + 1) % 400
    with torch.no_grad():
        before = tagger.emitter.hidden(batch)
        batch.input_ids = changed
        after = tagger.emitter.hidden(batch)
    assert torch.equal(before[0, :ends], after[0, :ends])
    assert not torch.equal(before[0, ends:], after[0, ends:])


def test_learned_positions_are_refused(bert, corpus):
    tagger = tagger_of(bert, attention="bidirectional")
    with pytest.raises(UserError, match=r"data\.batches\.packing needs rotary positions"):
        tagger(batches(bert, corpus)[1])


def test_causal_layers_need_attention_that_takes_our_mask(llama):
    backbone = tagger_of(llama).emitter.backbone
    backbone.text_config._attn_implementation = "flex_attention"
    with pytest.raises(UserError, match=r"causal_below needs .* eager or sdpa, not flex_attention"):
        hide_right_context(backbone, 1)
    hide_right_context(backbone, 0)


def test_sliding_windows_and_other_attention_are_refused(llama, corpus):
    tagger = tagger_of(llama, attention="bidirectional")
    _, packed = batches(llama, corpus)
    tagger.emitter.backbone.config.layer_types = ["full_attention", "sliding_attention"]
    with pytest.raises(UserError, match="sliding windows"):
        tagger(packed)
    tagger.emitter.backbone.config.layer_types = None
    tagger.emitter.backbone.config._attn_implementation = "flex_attention"
    with pytest.raises(UserError, match="eager or sdpa"):
        tagger(packed)
