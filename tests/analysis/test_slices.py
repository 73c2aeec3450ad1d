import random
import time
import tracemalloc

import pytest
from rows import predictions, row

from ner_lightning.analysis.failure import analyse, calibration, calibration_error
from ner_lightning.analysis.rows import Predictions, Row
from ner_lightning.analysis.slices import Seen, capitals, grouped, properties, slices, worst_documents
from ner_lightning.data.schemes import Span

TRAIN = {"PER": {"Vera Holt": 2, "Ilse": 1}, "LOC": {"Lima": 3}}


@pytest.mark.parametrize(
    ("kind", "words", "group"),
    [
        ("PER", "Vera Holt", "as this type"),
        ("LOC", "Ilse", "only as another type"),
        ("LOC", "LIMA", "in other case"),
        ("PER", "Ilse Holt", "all its words"),
        ("PER", "Ilse Braun", "some of its words"),
        ("PER", "Otto Braun", "none of its words"),
    ],
)
def test_seen_in_training(kind, words, group):
    held = words.split()
    each = Row(held, [], [], None, {}, 0)
    assert Seen(TRAIN)(each, Span(kind, 0, len(held))) == group


def test_capitals():
    texts = ["Vera Holt", "LIMA", "euro", "Bank of Oslo", "24", "A"]
    found = [capitals(text.split()) for text in texts]
    assert found == ["every word", "all capitals", "lower case", "mixed", "no letters", "every word"]
    assert [capitals([text]) for text in ("東京", "محمد", "दिल्ली")] == ["no case"] * 3


def test_slices_add_up():
    rng = random.Random(0)
    tags = ["O", "B-PER", "I-PER", "B-LOC"]
    held = predictions(
        [row(rng.choices(tags, k=9), rng.choices(tags, k=9), 0.5, document=i // 5) for i in range(40)], TRAIN
    )
    for of in properties(held.train).values():
        found = slices(grouped(held, of))
        assert sum(s.gold for s in found) == sum(len(r.gold) for r in held.rows)
        assert sum(s.predicted for s in found) == sum(len(r.predicted) for r in held.rows)
        assert sum(s.correct for s in found) == sum(len({*r.gold} & {*r.predicted}) for r in held.rows)
    (document,) = slices(worst_documents(held, 1))
    assert document.errors == document.gold + document.predicted - 2 * document.correct
    others = slices(grouped(held, lambda row, span: str(row.document)))
    assert document.errors == max(other.errors for other in others)
    assert set(properties({})) == set(properties(TRAIN)) - {"seen in training"}


def test_memory_does_not_grow_with_sentences_times_documents_or_types():
    count = 2_500
    held = predictions([row([f"B-T{i % 1000}"], ["B-T0"], document=i) for i in range(count)])
    tracemalloc.start()
    documents = worst_documents(held, 5)
    types = grouped(held, properties({})["type"])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert list(documents) == ["1", "10", "100", "1001", "1002"]
    assert all(each.total.tolist() == [0, 1, 1] for each in documents.values())
    assert sum(each.total[2] for each in types.values()) == count
    assert peak < 20e6  # an array of each document's sentences would be 150 MB, of each type's 60 MB


def test_calibration_has_every_entity_once():
    held = predictions([row(["B-A", "O"], ["B-A", "B-A"], chance) for chance in (0.05, 0.95, 1.0)])
    bins = calibration(held)
    assert [(b.size, b.precision) for b in bins] == [(2, 0.5), (4, 0.5)]
    assert calibration_error(analyse(held).calibration) == pytest.approx((2 * 0.45 + 4 * 0.475) / 6)
    assert calibration(predictions([row(["O"], ["B-A"])], probabilities=False)) == []


@pytest.mark.slow
def test_the_analysis_of_a_split_as_large_as_conll_takes_seconds():
    rng = random.Random(0)
    tags = ["O", "O", "O", "O", "B-PER", "I-PER", "B-LOC", "I-LOC", "B-ORG", "I-ORG", "B-MISC"]
    rows = []
    for index in range(3250):
        gold = rng.choices(tags, k=16)
        predicted = [tag if rng.random() < 0.95 else "O" for tag in gold]
        words = [f"W{rng.randrange(9000)}" for _ in gold]
        rows.append(row(gold, predicted, rng.random(), words, index // 15))
    train = {kind: {f"W{i}": 1 for i in range(j, 9000, 9)} for j, kind in enumerate(["PER", "LOC", "ORG"])}
    began = time.process_time()
    found = analyse(Predictions(rows, "marginal", train))
    assert time.process_time() - began < 5
    assert sum(c.false_negatives for c in found.classes) > 100
