import json
import re

import pytest
import tiny

from ner_lightning.data.corpus_settings import Encoding, Files, Limits
from ner_lightning.data.schemes import spans
from ner_lightning.data.sources import Split
from ner_lightning.errors import UserError
from ner_lightning.training.datamodule import CoNLLDataModule


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
    tags = [data.corpus.encoded(split)[0].tags.tolist() for split in ("train", "valid", "test")]
    assert tags == [[1, 2, 0, 3]] * 3
    assert data.corpus.entity_counts() == {"PER": {"Vera Holt": 1}, "LOC": {"Lima": 1}}


def test_types_given_need_no_training_data(mixed, llama):
    (mixed / "train.conll").unlink()
    data = CoNLLDataModule(dataset=str(mixed), backbone=str(llama), types=["LOC", "PER"])
    data.setup("test")
    assert data.corpus.encoded("test")[0].tags.tolist() == [3, 4, 0, 1]
    with pytest.raises(UserError, match="has no train file"):
        data.setup("fit")


def test_limits_cut_a_split_and_mark_its_fingerprint(corpus, llama):
    data = CoNLLDataModule(dataset=str(corpus), backbone=str(llama), limits=Limits(train=3))
    whole = CoNLLDataModule(dataset=str(corpus), backbone=str(llama))
    assert len(data.corpus.split("train").sentences) == 3
    assert data.corpus.split("train").fingerprint == whole.corpus.split("train").fingerprint + "[:3]"
    assert sum(batch.index.numel() for batch in data.train_dataloader()) == 3


def test_batches_carry_gold_tags_and_every_word(corpus, llama):
    data = CoNLLDataModule(
        dataset=str(corpus), backbone=str(llama), encoding=Encoding(max_length=14, overlap=4)
    )
    seen = {}
    for batch in data.test_dataloader():
        for row, index in enumerate(batch.index.tolist()):
            seen[index] = batch.tags[row][batch.mask[row]].tolist()
    expected = [tags for _, tags in tiny.sentences(tiny.TEST)]
    assert [data.corpus.labels.decode(seen[i]) for i in range(len(expected))] == expected
    assert all(
        spans(data.corpus.labels.decode(ids)) == spans(tags)
        for ids, tags in zip(seen.values(), [expected[i] for i in seen], strict=True)
    )


def test_the_bundled_sample_is_a_data_set(llama):
    data = CoNLLDataModule(dataset="sample", backbone=str(llama))
    assert sorted(data.types) == ["LOC", "MISC", "ORG", "PER"]
    assert len(data.corpus.split("valid").sentences) >= 100


def test_types_are_those_of_the_whole_training_file(tmp_path, llama, caplog):
    caplog.set_level("INFO")
    write(tmp_path / "train.conll", [("Vera", "B-PER"), ("", ""), ("Lima", "B-LOC"), ("", ""), ("won", "O")])
    write(tmp_path / "valid.conll", [("won", "O")])
    assert CoNLLDataModule(dataset=str(tmp_path), backbone=str(llama), limits=Limits(train=2)).types == [
        "PER",
        "LOC",
    ]
    assert "limits.train" not in caplog.text
    data = CoNLLDataModule(dataset=str(tmp_path), backbone=str(llama), limits=Limits(train=1))
    assert data.types == ["PER", "LOC"]
    assert len(data.corpus.split("train").sentences) == 1
    expected = (
        "The first 1 of 3 training sentences (data.limits.train) have no LOC; entity types are those of"
    )
    assert expected in caplog.text


def test_columns_are_named_by_number_where_they_have_no_names(tmp_path, llama):
    for name in ("train", "valid"):
        write(tmp_path / f"{name}.conll", [("x Vera B-PER", "B-DEEP"), ("x left O", "O")])

    def train(**names):
        files = Files(**names)
        return CoNLLDataModule(dataset=str(tmp_path), backbone=str(llama), files=files).corpus.split("train")

    (sentence,) = train(words_column="1", tags_column="2", document_column="0").sentences
    assert (sentence.words, sentence.tags) == (("Vera", "left"), ("B-PER", "O"))
    for name, value, expected in (
        ("words_column", "form", "words_column is form, but the columns have no header; give the column's"),
        ("tags_column", "gold", "data.files.tags_column is gold"),
        ("tags_column", "7", "too few columns: 4, but data.files.tags_column is 7"),
        ("document_column", "d", "data.files.document_column is d"),
    ):
        with pytest.raises(UserError, match=expected):
            train(**{name: value})


def test_annotation_rules_act_on_json_and_warn_elsewhere(tmp_path, llama, caplog):
    row = {"text": "Bank of Tarvo", "label": [[0, 13, "ORG"], [8, 13, "LOC"]]}
    (tmp_path / "train.jsonl").write_text(json.dumps(row), encoding="utf-8")
    (tmp_path / "valid.conll").write_text("Tarvo B-ORG\n", encoding="utf-8")
    files = Files(overlapping="longest")
    data = CoNLLDataModule(dataset=str(tmp_path), backbone=str(llama), files=files)
    assert data.corpus.split("train").sentences[0].tags == ("B-ORG", "I-ORG", "I-ORG")
    assert "has no effect" not in caplog.text
    data.corpus.split("valid")
    assert re.search(r"data.files.overlapping has no effect on .*valid.conll", caplog.text)
    with pytest.raises(UserError, match=r"overlap;\nset data.files.overlapping"):
        CoNLLDataModule(dataset=str(tmp_path), backbone=str(llama)).corpus.split("train")


def test_the_column_of_documents_is_read_from_local_files(tmp_path, llama):
    rows = [{"words": ["a"], "tags": ["O"], "letter": letter} for letter in "xxy"]
    (tmp_path / "train.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    (tmp_path / "valid.csv").write_text("letter,sentence,word,tag\nx,1,a,O\ny,1,b,O\n", encoding="utf-8")
    data = CoNLLDataModule(dataset=str(tmp_path), backbone=str(llama), files=Files(document_column="letter"))
    assert [sentence.document for sentence in data.corpus.split("train").sentences] == [0, 0, 1]
    assert [sentence.document for sentence in data.corpus.split("valid").sentences] == [0, 1]


def test_letters_are_no_words():
    for words, tags in (("Vera", ["O"] * 4), (["a", "b"], "OO")):
        with pytest.raises(UserError, match="are the text"):
            Split.of([(words, tags)], "mine")


def test_a_fit_names_words_that_predict_would_not_find(tmp_path, llama, caplog):
    rows = [("I'm", "O"), ("Vera", "B-PER"), (":)", "O"), ("", "")]
    for split in ("train", "valid"):
        write(tmp_path / f"{split}.conll", rows)
    data = CoNLLDataModule(dataset=str(tmp_path), backbone=str(llama))
    data.setup("validate")
    assert "predict finds other words" not in caplog.text
    data.setup("fit")
    assert "in running text, predict finds other words than 66.7% of the words here" in caplog.text
    assert "(I'm gives I 'm; :) gives : ))" in caplog.text
