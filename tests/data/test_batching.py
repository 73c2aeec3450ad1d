import numpy as np
import pytest
import tiny
import torch

from ner_lightning.data.batching import EncodedDataset, collate
from ner_lightning.data.corpus_settings import Encoding
from ner_lightning.data.sampling import LengthGroupedSampler
from ner_lightning.data.tokenization.encoding import Encoded, Encoder


def fake(index, length, rows=1):
    ids = tuple(np.arange(length) for _ in range(rows))
    one = np.zeros(1, dtype=np.int64)
    return Encoded(np.array([index]), np.array([1]), ids, one, one, one, one)


@pytest.fixture(scope="module")
def many():
    draw = np.random.default_rng(0)
    # Lengths as in newspaper sentences: most short, a long tail.
    return [fake(i, int(n)) for i, n in enumerate(draw.lognormal(2.9, 0.6, 9001).astype(int) + 2)]


def flat(plan):
    return [place for batch in plan for place in batch]


def padding(plan, sentences):
    real = sum(s.longest for s in sentences)
    return 1 - real / sum(max(sentences[i].longest for i in batch) * len(batch) for batch in plan)


def test_little_padding_and_new_batches_every_epoch(many):
    sampler = LengthGroupedSampler(many, batch_size=32)
    first, second = sampler.plan(0), sampler.plan(1)
    assert sorted(flat(first)) == list(range(len(many)))
    assert padding(first, many) < 0.06
    same = {frozenset(b) for b in first} & {frozenset(b) for b in second}
    assert len(same) < 0.1 * len(first)


def test_the_same_seed_gives_the_same_order(many):
    plans = [LengthGroupedSampler(many, batch_size=32, seed=s).plan(3) for s in (5, 5, 6)]
    assert plans[0] == plans[1]
    assert plans[0] != plans[2]


@pytest.mark.parametrize("world", [2, 3, 5])
@pytest.mark.parametrize("budget", [None, 600])
def test_ranks_share_an_epoch_without_overlap(many, world, budget):
    plans = [
        LengthGroupedSampler(many, batch_size=7, tokens_per_batch=budget, rank=r, world=world).plan(2)
        for r in range(world)
    ]
    assert len({len(plan) for plan in plans}) == 1
    assert sorted(flat(map(flat, plans))) == list(range(len(many)))
    assert all(batch for plan in plans for batch in plan)


@pytest.mark.parametrize(
    ("count", "world"), [(1, 1), (2, 1), (7, 1), (2, 2), (3, 2), (100, 2), (3, 3), (4, 3), (7, 3)]
)
def test_evaluation_sees_each_sentence_once(many, count, world):
    plans = [
        LengthGroupedSampler(many[:count], batch_size=2, shuffle=False, rank=r, world=world).plan(0)
        for r in range(world)
    ]
    assert sorted(flat(map(flat, plans))) == list(range(count))
    assert all(plans)


@pytest.mark.parametrize("shuffle", [True, False])
def test_token_budget_holds(many, shuffle):
    sampler = LengthGroupedSampler(many, batch_size=1, tokens_per_batch=512, shuffle=shuffle)
    plan = sampler.plan(0)
    assert sorted(flat(plan)) == list(range(len(many)))
    sizes = [max(many[i].longest for i in batch) * len(batch) for batch in plan]
    assert max(sizes) <= 512
    assert np.mean(sizes) > 0.75 * 512
    assert padding(plan, many) < 0.06


def test_token_budget_counts_the_windows_of_long_sentences():
    sentences = [fake(i, 10, rows=3) for i in range(20)]
    plan = LengthGroupedSampler(sentences, batch_size=1, tokens_per_batch=60).plan(0)
    assert {len(batch) for batch in plan} == {2}


def passages(kind, count):
    draw = np.random.default_rng(1)
    if kind == "documents":
        return [fake(i, int(n)) for i, n in enumerate(draw.normal(340, 120, count).clip(20, 500))]
    if kind == "small batches":  # which some epochs have fewer of than the first
        return [fake(i, int(n)) for i, n in enumerate(draw.integers(5, 50, count))]
    lengths = draw.lognormal(2.9, 0.6, count).astype(int) + 2
    long = set(draw.choice(count, 5, replace=False)) if kind == "some long" else ()
    rows = (
        draw.integers(1, 5, count)
        if kind == "many windows"
        else [3 if i in long else 1 for i in range(count)]
    )
    return [
        fake(i, 300 if i in long else int(n), int(r))
        for i, (n, r) in enumerate(zip(lengths, rows, strict=True))
    ]


@pytest.mark.parametrize(
    ("kind", "count", "budget"),
    [
        ("sentences", 1500, 256),
        ("sentences", 61, 512),
        ("documents", 300, 1536),
        ("some long", 2000, 1536),
        ("many windows", 300, 512),
        ("small batches", 400, 60),
    ],
)
@pytest.mark.parametrize("world", [1, 2, 3, 4])
def test_every_epoch_has_as_many_batches_as_the_first(kind, count, budget, world):
    data = passages(kind, count)
    samplers = [
        LengthGroupedSampler(data, batch_size=1, tokens_per_batch=budget, rank=r, world=world)
        for r in range(world)
    ]
    for epoch in range(12):
        plans = [sampler.plan(epoch) for sampler in samplers]
        assert {len(plan) for plan in plans} == {len(samplers[0].plan(0))}
        assert sorted(flat(map(flat, plans))) == list(range(count))
        for batch in flat(plans):
            assert batch, "a rank has nothing to do"
            rows = sum(len(data[i].windows) for i in batch)
            assert len(batch) == 1 or rows * max(data[i].longest for i in batch) <= budget


@pytest.mark.parametrize(("count", "budget", "world"), [(5, 20, 2), (7, 20, 4), (31, 60, 3), (4, 1000, 3)])
def test_few_passages_are_distributed_over_all_ranks(count, budget, world):
    data = [fake(i, 10 + i % 9) for i in range(count)]
    for epoch in range(6):
        plans = [
            LengthGroupedSampler(data, batch_size=1, tokens_per_batch=budget, rank=r, world=world).plan(epoch)
            for r in range(world)
        ]
        assert len({len(plan) for plan in plans}) == 1
        assert sorted(flat(map(flat, plans))) == list(range(count))
        assert all(batch for plan in plans for batch in plan)


@pytest.mark.parametrize(("count", "world"), [(64, 3), (43, 2), (22, 3), (9, 4)])
def test_passages_left_over_are_trained_on(many, count, world):
    plans = [
        LengthGroupedSampler(many[:count], batch_size=7, rank=r, world=world).plan(1) for r in range(world)
    ]
    assert sorted(flat(map(flat, plans))) == list(range(count))
    assert all(batch for plan in plans for batch in plan)


def test_an_interrupted_epoch_continues_where_it_stopped(many):
    sampler = LengthGroupedSampler(many, batch_size=32)
    sampler.set_epoch(4)
    whole = list(sampler)
    sampler.done = lambda: 10
    assert list(sampler) == whole[10:]
    sampler.done = lambda: len(whole)  # stopped at the very end: a new epoch begins
    assert list(sampler) == whole


def test_collate_points_each_word_at_its_own_sub_tokens():
    encoder = Encoder(tiny.llama3_tokenizer(), Encoding(max_length=12, overlap=3))
    texts = [words for words, _ in tiny.sentences(tiny.TRAIN)]
    batch = collate(list(encoder.encode(texts)), encoder.pad_id)
    assert batch.input_ids.shape[0] > len(texts)  # some sentences have several windows
    assert batch.tags is None
    ids = batch.input_ids.flatten()
    for row, words in enumerate(texts):
        assert int(batch.mask[row].sum()) == len(words)
        for column, word in enumerate(words):
            piece = ids[batch.first[row, column] : batch.last[row, column] + 1]
            assert encoder.tokenizer.decode(piece).strip() == word
    assert (batch.first[~batch.mask] == 0).all()
    assert int(batch.attention_mask.sum()) == sum(len(r) for e in encoder.encode(texts) for r in e.windows)


def test_a_data_set_returns_batches():
    data = EncodedDataset([fake(i, 4 + i) for i in range(5)], pad_id=9)
    batch = data[[3, 1]]
    assert len(data) == 5
    assert batch.index.tolist() == [3, 1]
    assert batch.input_ids[1].tolist() == [0, 1, 2, 3, 4, 9, 9]
    assert batch.to(torch.device("cpu")).index.tolist() == [3, 1]


@pytest.mark.parametrize("packed", [False, True])
def test_sentences_of_a_passage_are_rows_of_words(packed):
    encoder = Encoder(tiny.llama3_tokenizer(), Encoding(context=500))
    texts = [words for words, _ in tiny.sentences(tiny.TRAIN)]
    passages = list(encoder.encode(texts, [0, 0, 0, 1, 1, 2, 2, 2]))
    batch = collate([passages[2], passages[0]], encoder.pad_id, packed=packed)
    assert batch.input_ids.shape[0] == (1 if packed else 2)
    assert batch.index.tolist() == [5, 6, 7, 0, 1, 2]
    ids = batch.input_ids.flatten()
    for row, sentence in enumerate(batch.index.tolist()):
        assert int(batch.mask[row].sum()) == len(texts[sentence])
        for column, word in enumerate(texts[sentence]):
            piece = ids[batch.first[row, column] : batch.last[row, column] + 1]
            assert encoder.tokenizer.decode(piece).strip() == word
