import pytest
import tiny

from ner_lightning.data.datamodule import CoNLLDataModule
from ner_lightning.data.schemes import spans
from ner_lightning.errors import UserError


def write(file, rows):
    file.write_text("\n".join(f"{w} {t}" if w else "" for w, t in rows) + "\n", encoding="utf-8")


@pytest.fixture
def mixed(tmp_path):
    """The same two entities in three schemes, each split in its own."""
    words = ["Vera", "Holt", "of", "Lima"]
    schemes = {
        "train": ["I-PER", "I-PER", "O", "I-LOC"],
        "valid": ["B-PER", "I-PER", "O", "B-LOC"],
        "test": ["B-PER", "E-PER", "O", "S-LOC"],
    }
    for split, tags in schemes.items():
        write(tmp_path / f"{split}.conll", zip(words, tags, strict=True))
    return tmp_path


def test_each_split_may_follow_its_own_scheme(mixed, llama):
    data = CoNLLDataModule(dataset=str(mixed), backbone=str(llama))
    assert data.types == ["PER", "LOC"]
    for stage in ("fit", "test"):
        data.setup(stage)
    tags = [data.encoded(split)[0].tags.tolist() for split in ("train", "valid", "test")]
    assert tags == [[1, 2, 0, 3]] * 3
    assert data.entity_counts() == {"PER": {"Vera Holt": 1}, "LOC": {"Lima": 1}}


def test_types_given_need_no_training_data(mixed, llama):
    (mixed / "train.conll").unlink()
    data = CoNLLDataModule(dataset=str(mixed), backbone=str(llama), types=["LOC", "PER"])
    data.setup("test")
    assert data.encoded("test")[0].tags.tolist() == [3, 4, 0, 1]
    with pytest.raises(UserError, match="has no train file"):
        data.setup("fit")


def test_limits_cut_a_split_and_mark_its_fingerprint(corpus, llama):
    data = CoNLLDataModule(dataset=str(corpus), backbone=str(llama), train_limit=3)
    whole = CoNLLDataModule(dataset=str(corpus), backbone=str(llama))
    assert len(data.split("train").sentences) == 3
    assert data.split("train").fingerprint == whole.split("train").fingerprint + "[:3]"
    assert sum(batch.index.numel() for batch in data.train_dataloader()) == 3


def test_batches_carry_gold_tags_and_every_word(corpus, llama):
    data = CoNLLDataModule(dataset=str(corpus), backbone=str(llama), max_length=14, overlap=4)
    seen = {}
    for batch in data.test_dataloader():
        for row, index in enumerate(batch.index.tolist()):
            seen[index] = batch.tags[row][batch.mask[row]].tolist()
    expected = [tags for _, tags in tiny.sentences(tiny.TEST)]
    assert [data.labels.decode(seen[i]) for i in range(len(expected))] == expected
    assert all(
        spans(data.labels.decode(ids)) == spans(tags)
        for ids, tags in zip(seen.values(), [expected[i] for i in seen], strict=True)
    )


def test_the_bundled_sample_is_a_data_set(llama):
    data = CoNLLDataModule(dataset="sample", backbone=str(llama))
    assert sorted(data.types) == ["LOC", "MISC", "ORG", "PER"]
    assert len(data.split("valid").sentences) >= 100
