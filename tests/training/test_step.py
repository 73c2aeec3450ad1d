"""The training step: nothing waits for the device, and its fast ways lead where the plain ones do."""

import pytest
import torch
import torchcrf
from peft import LoraConfig, TaskType, get_peft_model
from taggers import build
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import AutoModel

from ner_lightning.data.batching import EncodedDataset
from ner_lightning.data.corpus_settings import Encoding
from ner_lightning.data.sampling import LengthGroupedSampler
from ner_lightning.model.adapters import Lora
from ner_lightning.model.crf import evidence, sums
from ner_lightning.training.datamodule import CoNLLDataModule
from ner_lightning.training.module import NERModule
from ner_lightning.training.optim import Optimizer, parameter_groups

STEPS, LR, CLIP = 50, 2e-3, 1.0
WAITING = {
    torch.ops.aten._local_scalar_dense.default,
    torch.ops.aten.nonzero.default,
    torch.ops.aten.masked_select.default,
    torch.ops.aten.equal.default,
}


class NothingWaits(TorchDispatchMode):
    """Fails at operators whose result the host must wait for, and counts the others."""

    def __init__(self):
        super().__init__()
        self.seen = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.seen += 1
        assert func not in WAITING, f"{func} waits for the device"
        return func(*args, **(kwargs or {}))


class OneRank:
    """What a step asks of a trainer."""

    progress_bar_callback = None
    is_last_batch = True  # all parts are logged
    accumulate_grad_batches = world_size = 1


@pytest.fixture
def data(llama, corpus):
    return CoNLLDataModule(
        dataset=str(corpus), backbone=str(llama), encoding=Encoding(max_length=24, overlap=4)
    )


def batches(data, *, packed=False):
    encoded = data.corpus.encoded("train")
    sampler = LengthGroupedSampler(encoded, batch_size=4, seed=1)
    dataset = EncodedDataset(encoded, data.corpus.encoder.pad_id, packed=packed)
    for step in range(STEPS):
        sampler.set_epoch(step // len(sampler))
        yield dataset[sampler.plan(sampler.epoch)[step % len(sampler)]]


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("use_crf", [True, False])
@pytest.mark.parametrize("partial", [True, False])
def test_nothing_in_a_step_waits_for_the_device(llama, data, monkeypatch, use_crf, packed, partial):
    # As on a GPU: the recursion in log space, and no look at values to check them.
    monkeypatch.setattr(sums, "scaled_posterior", lambda *_, **__: None)
    monkeypatch.setattr(evidence, "_selected", lambda _: slice(None))
    module = NERModule(backbone=str(llama), types=data.types, use_crf=use_crf, lora=Lora(rank=4))
    module.configure_model()
    monkeypatch.setattr(NERModule, "trainer", OneRank())
    monkeypatch.setattr(module, "log", lambda *_, **__: None)
    trained = [p for p in module.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, fused=True)
    batch = next(batches(data, packed=packed))
    if partial:
        batch.tags[:, 1:] = torch.where(batch.mask[:, 1:], -1, 0)
        batch.partial = True
    watch = NothingWaits()
    for attempt in range(2):  # the first step makes the optimizer's state
        with watch if attempt else torch.enable_grad():
            optimizer.zero_grad()
            torch.autograd.backward(module.training_step(batch)["loss"])
            module.configure_gradient_clipping(optimizer, CLIP)
            optimizer.step()
    assert watch.seen > 100  # or it looked at nothing


@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")  # PEFT's use of transformers
@pytest.mark.parametrize("attention", [pytest.param("causal", marks=pytest.mark.slow), "bidirectional"])
def test_the_fast_step_follows_the_plain_one(llama, data, attention):
    """Packed rows, SDPA, our CRF and a fused optimizer; against padding, eager attention, torchcrf, none."""
    lora = Lora(rank=4)
    torch.manual_seed(0)
    fast = build(
        llama,
        data.corpus.labels,
        attention=attention,
        lora=lora,
        dropout=0.0,
        constrained=False,
        implementation="sdpa",
    )
    backbone = AutoModel.from_pretrained(llama, attn_implementation="eager")
    backbone.config.is_causal = attention == "causal"
    config = LoraConfig(
        task_type=TaskType.FEATURE_EXTRACTION, r=4, lora_alpha=lora.alpha, target_modules="all-linear"
    )
    plain = get_peft_model(backbone, config)
    crf, head = (
        torchcrf.CRF(len(data.corpus.labels), batch_first=True),
        torch.nn.Linear(32, len(data.corpus.labels)),
    )
    plain.load_state_dict(fast.emitter.backbone.model.state_dict())
    head.load_state_dict(fast.emitter.head.state_dict())
    crf.load_state_dict(fast.decoder.crf.state_dict())

    def fast_loss(batch):
        parts = fast.decoder.losses(fast(batch), batch.tags, batch.mask)
        return fast.decoder.total(parts) / batch.mask.sum()

    def plain_loss(batch):
        hidden = plain(input_ids=batch.input_ids, attention_mask=batch.attention_mask.long())
        scores = head(hidden.last_hidden_state.flatten(0, 1)[batch.last])
        ce = torch.nn.functional.cross_entropy(scores[batch.mask], batch.tags[batch.mask])
        return ce - crf(scores, batch.tags, batch.mask, reduction="token_mean")

    groups = parameter_groups(
        fast.emitter.backbone,
        fast.emitter.head,
        fast.decoder.crf,
        Optimizer(lr=LR, head_lr=LR, crf_lr=LR, weight_decay=0.0),
    )
    others = [p for m in (plain, head, crf) for p in m.parameters() if p.requires_grad]
    sides = (
        (fast_loss, torch.optim.AdamW(groups, fused=True), batches(data, packed=True)),
        (plain_loss, torch.optim.AdamW(others, lr=LR, weight_decay=0.0, foreach=False), batches(data)),
    )
    losses = []
    for loss_of, optimizer, source in sides:
        losses.append([])
        trained = [p for group in optimizer.param_groups for p in group["params"]]
        for batch in source:
            loss = loss_of(batch)
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(trained, CLIP)
            optimizer.step()
            losses[-1].append(loss.item())
    assert losses[0][-1] < 0.8 * losses[0][0]
    assert max(abs(a - b) for a, b in zip(*losses, strict=True)) < 1e-4
