"""Filling in hidden words: what is hidden, what is asked, and that the head goes on as it was."""

import families
import pytest
import tiny
import torch
from taggers import settings_of
from torch.nn.functional import cross_entropy
from transformers import (
    AutoModelForCausalLM,
    CohereConfig,
    Gemma2Config,
    GraniteConfig,
    LlamaForCausalLM,
)

from ner_lightning.data.batching import collate
from ner_lightning.data.corpus_settings import Encoding
from ner_lightning.data.pretrained import locate
from ner_lightning.data.tokenization.encoding import Encoder, load_tokenizer
from ner_lightning.errors import UserError
from ner_lightning.model.adapters import Lora
from ner_lightning.model.build import Target
from ner_lightning.model.masked_lm import MaskedWords, masked_words, zeroed
from ner_lightning.model.masks import hidden_states, run_on

WHOLE = settings_of(freeze_backbone=False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("models") / "language-model"
    torch.manual_seed(0)
    LlamaForCausalLM(tiny.llama_config(tie_word_embeddings=False)).save_pretrained(place)
    tiny.llama3_tokenizer().save_pretrained(place)
    return place


def batch_of(folder, *, packed=False, **options):
    encoder = Encoder(load_tokenizer(locate(str(folder), None)), Encoding(**options))
    passages = list(encoder.encode([words for words, _ in tiny.sentences(tiny.TRAIN)], [0] * 8))
    return collate(passages, encoder.pad_id, packed=packed)


def loaded(folder, settings=WHOLE, mask_ratio=0.4, **target):
    return MaskedWords.load(
        locate(str(folder), None), settings, Target(**target), mask_ratio=mask_ratio
    ).eval()


@pytest.mark.parametrize("context", [None, 64])
def test_whole_words_are_hidden_and_nothing_else(folder, context):
    batch = batch_of(folder, context=context)
    hidden = masked_words(batch, 0.5, torch.Generator().manual_seed(3))
    flat = hidden.flatten()
    of_words = torch.zeros_like(flat)
    shares = []
    for first, last in zip(batch.first[batch.mask].tolist(), batch.last[batch.mask].tolist(), strict=True):
        assert flat[first : last + 1].unique().numel() == 1
        of_words[first : last + 1] = True
        shares.append(flat[first].item())
    assert not (flat & ~of_words).any()
    assert 0.3 < sum(shares) / len(shares) < 0.7
    assert torch.equal(hidden, masked_words(batch, 0.5, torch.Generator().manual_seed(3)))


def test_the_loss_is_that_of_hidden_sub_tokens_predicted_from_the_one_before(folder):
    batch, masked = batch_of(folder), loaded(folder)
    loss, count = masked(batch, torch.Generator().manual_seed(1))
    hidden = masked_words(batch, 0.4, torch.Generator().manual_seed(1))
    with zeroed(masked.backbone, hidden):
        states = hidden_states(masked.backbone, batch)
    scores = masked.head(states)
    expected = [
        cross_entropy(scores[row, place - 1], batch.input_ids[row, place])
        for row, place in hidden.nonzero().tolist()
        if place > 0
    ]
    assert count.item() == len(expected) > 20
    torch.testing.assert_close(loss, torch.stack(expected).sum())


@pytest.mark.parametrize(
    ("config", "packed"),
    [
        (GraniteConfig(**families.GROUPED, logits_scaling=8.0), False),
        (GraniteConfig(**families.GROUPED, logits_scaling=8.0), True),
        (CohereConfig(**families.GROUPED, logit_scale=0.0625), False),
        (Gemma2Config(**families.HEADS, final_logit_softcapping=2.0), False),
        (families.DECODERS["opt"](), False),
    ],
    ids=lambda given: getattr(given, "model_type", None),
)
def test_scores_are_those_of_the_language_model_with_all_that_follows_its_head(folder, config, packed):
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config).eval()
    masked = MaskedWords(model, WHOLE, mask_ratio=0.4, packed=packed).eval()
    batch = batch_of(folder, packed=packed)
    hidden = masked_words(batch, 0.4, torch.Generator().manual_seed(1))
    with torch.no_grad():
        loss, count = masked(batch, torch.Generator().manual_seed(1))
        with zeroed(masked.backbone, hidden):
            scores = run_on(model, batch, masked.backbone).logits
    place = torch.arange(hidden.shape[1]) if batch.positions is None else batch.positions
    asked = hidden & (place > 0)
    before = asked.roll(-1, 1) if packed else torch.nn.functional.pad(asked[:, 1:], (0, 1))
    expected = cross_entropy(scores[before], batch.input_ids[asked], reduction="sum")
    assert count == asked.sum()
    torch.testing.assert_close(loss, expected)


def test_what_is_hidden_is_not_read_and_what_is_on_the_right_is(folder):
    batch, masked = batch_of(folder), loaded(folder)
    hidden = torch.zeros_like(batch.attention_mask)
    hidden[0, 2] = True

    def first_states(place):
        ids = batch.input_ids.clone()
        ids[0, place] += 1
        with zeroed(masked.backbone, hidden), torch.no_grad():
            changed = masked.backbone.model(input_ids=ids).last_hidden_state
            before = masked.backbone.model(input_ids=batch.input_ids).last_hidden_state
        return changed[0, 1], before[0, 1]

    assert torch.equal(*first_states(2))
    assert not torch.equal(*first_states(3))


def test_rows_that_share_one_row_are_asked_the_same(folder):
    masked = loaded(folder)
    padded, packed = (
        masked(batch_of(folder, packed=p), torch.Generator().manual_seed(1)) for p in (False, True)
    )
    assert padded[1] == packed[1]
    torch.testing.assert_close(padded[0], packed[0])


@pytest.mark.parametrize("settings", [WHOLE, settings_of(lora=Lora(rank=4))])
def test_it_learns_and_is_written_with_its_head(folder, tmp_path, settings):
    torch.manual_seed(0)
    batch, masked = batch_of(folder), loaded(folder, settings).train()
    trained = [p for p in masked.parameters() if p.requires_grad]
    head = masked.head.weight.clone()
    optimizer = torch.optim.AdamW(trained, lr=1e-2)
    losses = []
    for _ in range(30):
        loss, count = masked(batch, torch.Generator().manual_seed(1))
        (loss / count).backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append((loss / count).item())
    assert losses[-1] < 0.6 * losses[0]
    assert torch.equal(head, masked.head.weight) == settings.freeze_backbone
    states = hidden_states(masked.eval().backbone, batch)
    masked.save(tmp_path)
    read = AutoModelForCausalLM.from_pretrained(tmp_path)
    assert not read.config.is_causal
    again = MaskedWords(read, WHOLE, mask_ratio=0.4).eval()
    torch.testing.assert_close(hidden_states(again.backbone, batch), states, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(again.head.weight, masked.head.weight)


def test_an_early_exit_is_written_as_it_is(folder, tmp_path):
    loaded(folder, settings_of(freeze_backbone=False, layers=1)).save(tmp_path)
    assert AutoModelForCausalLM.from_pretrained(tmp_path).config.num_hidden_layers == 1


def test_only_language_models_that_look_both_ways(folder, llama, bert):
    with pytest.raises(UserError, match="is an encoder, so it cannot learn to fill in words"):
        loaded(bert)
    with pytest.raises(UserError, match="comes without its language-model head"):
        loaded(llama)
    with pytest.raises(UserError, match=r"model\.attention is causal"):
        loaded(folder, settings_of(attention="causal"))
