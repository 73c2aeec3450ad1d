"""Tags that are unknown: read, converted, refused where they would be scored, written."""

import json
import logging

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ner_lightning.analysis.data_check import check_data
from ner_lightning.data.corpus_settings import Files
from ner_lightning.data.readers.read_options import ReadOptions
from ner_lightning.data.readers.sentences import read_sentences, read_with_scheme
from ner_lightning.data.schemes import LabelSet, Scheme, Span, convert, detect, is_tag, spans
from ner_lightning.data.writers.annotation_writers import WRITERS
from ner_lightning.errors import UserError
from ner_lightning.training.datamodule import CoNLLDataModule

PARTLY = "Vera B-PER\nHolt I-PER\nsaw ?\nLima ?\n. O\n\nNobody ?\nleft ?\n"
KNOWN = "Vera B-PER\nleft O\n"


def write(folder, **files):
    for name, text in files.items():
        (folder / f"{name}.conll").write_text(text, encoding="utf-8")
    return folder


def test_an_entity_ends_at_an_unknown_word_and_begins_after_it():
    assert spans(["B-PER", "?", "I-PER", "?"]) == [Span("PER", 0, 1), Span("PER", 2, 3)]
    assert convert(["I-PER", "?", "I-PER", "O", "?"], Scheme.IOB1) == ["B-PER", "?", "B-PER", "O", "?"]
    assert convert(["S-PER", "?", "B-LOC", "E-LOC"], Scheme.BIOES) == ["B-PER", "?", "B-LOC", "I-LOC"]
    assert detect([["?", "B-PER", "I-PER", "?"]]) is Scheme.BIO2
    assert not is_tag("?")


@given(st.lists(st.sampled_from(["O", "?", "B-X", "I-X", "B-Y", "I-Y"]), max_size=10))
def test_conversion_keeps_unknown_words_and_entities(tags):
    made = convert(tags, Scheme.IOB1)
    assert [tag == "?" for tag in made] == [tag == "?" for tag in tags]
    assert spans(made) == spans(tags)
    assert convert(made, Scheme.IOB1) == made
    labels = LabelSet(("X", "Y"))
    assert labels.decode(labels.encode(made)) == made


def test_ids_of_unknown_tags():
    labels = LabelSet.from_tags([["?", "B-PER", "?"]])
    assert labels.types == ("PER",)
    assert labels.encode(["?", "O", "B-PER"]) == [-1, 0, 1]
    assert len(labels) == 3
    with pytest.raises(UserError, match="no entity types"):
        LabelSet.from_tags([["?", "O"]])


@pytest.mark.parametrize("form", ["conll", "json", "csv", "bare", "suffix", "numbers"])
def test_each_form_of_tags_has_unknown_ones(tmp_path, form, caplog):
    caplog.set_level(logging.INFO)
    tags, options = ["B-PER", "I-PER", "?", "O", "O"], ReadOptions()
    cells = {
        "bare": ["PER", "PER", "?", "O", "O"],
        "suffix": ["PER-B", "PER-I", "?", "O", "O"],
        "numbers": ["1", "2", "?", "0", "0"],
    }.get(form, tags)
    words = ["Vera", "Holt", "saw", "the", "?"]
    if form == "numbers":
        options = Files(tag_names="O,B-PER,I-PER").options()
    if form == "json":
        path = tmp_path / "x.jsonl"
        path.write_text(json.dumps({"tokens": words, "ner_tags": cells}), encoding="utf-8")
    elif form == "csv":
        path = tmp_path / "x.csv"
        rows = [f"1,{word},{cell}" for word, cell in zip(words, cells, strict=True)]
        path.write_text("\n".join(["sentence,word,tag", *rows]), encoding="utf-8")
    else:
        path = tmp_path / "x.conll"
        path.write_text("\n".join(map(" ".join, zip(words, cells, strict=True))), encoding="utf-8")
    (sentence,) = read_sentences(path, options)
    assert (list(sentence.words), list(sentence.tags)) == (words, tags)
    assert "1 words have the tag '?': it is unknown" in caplog.text


def test_a_question_mark_alone_is_no_tag(tmp_path):
    (tmp_path / "x.jsonl").write_text('{"tokens": ["a"], "ner_tags": ["?"]}', encoding="utf-8")
    with pytest.raises(UserError, match=r"x.jsonl:1: malformed tag '\?'"):
        read_sentences(tmp_path / "x.jsonl")
    # A column of words with ? stays one of words.
    (tmp_path / "x.conll").write_text("? O\nLima B-LOC\n! O\n? O\n", encoding="utf-8")
    (sentence,) = read_sentences(tmp_path / "x.conll")
    assert sentence.words == ("?", "Lima", "!", "?")


def test_schemes_of_files_with_unknown_tags(tmp_path):
    write(tmp_path, iob1="a I-PER\nb ?\n\nc I-PER\nd I-PER\n", bioes="a S-PER\nb ?\nc B-X\nd E-X\n")
    found = read_with_scheme(tmp_path / "iob1.conll")
    assert (found.scheme, found.illegal) == (Scheme.IOB1, 0)
    assert [s.tags for s in found.sentences] == [("B-PER", "?"), ("B-PER", "I-PER")]
    found = read_with_scheme(tmp_path / "bioes.conll")
    assert (found.scheme, found.illegal) == (Scheme.BIOES, 0)
    assert found.sentences[0].tags == ("B-PER", "?", "B-X", "I-X")


def test_batches_mark_unknown_tags(tmp_path, llama):
    write(tmp_path, train=PARTLY, valid=KNOWN)
    data = CoNLLDataModule(dataset=str(tmp_path), backbone=str(llama))
    (batch,) = data.train_dataloader()
    row = batch.index.tolist().index(0)
    assert batch.tags[row].tolist() == [1, 2, -1, -1, 0]
    assert (batch.tags[~batch.mask] == 0).all()
    assert batch.partial
    assert batch.to(torch.device("cpu")).partial
    assert not any(batch.partial for batch in data.val_dataloader())
    assert data.corpus.encoded("train")[1].tags.dtype == np.int64
    assert data.corpus.entity_counts() == {"PER": {"Vera Holt": 1}}


def test_only_marked_entities_are_known_on_request_and_in_training_alone(tmp_path, llama):
    write(tmp_path, train=KNOWN, valid=KNOWN)
    files = Files(unannotated="unknown")
    data = CoNLLDataModule(dataset=str(tmp_path), backbone=str(llama), files=files)
    assert data.corpus.split("train").sentences[0].tags == ("B-PER", "?")
    assert data.corpus.split("valid").sentences[0].tags == ("B-PER", "O")
    assert data.hparams["files"]["unannotated"] == "unknown"
    memory = CoNLLDataModule(train=[(["Vera", "left"], ["B-PER", "O"])], backbone=str(llama), files=files)
    assert memory.corpus.split("train").sentences[0].tags == ("B-PER", "?")


def test_texts_with_entities_know_only_those_on_request(tmp_path, llama):
    row = {"text": "Vera left Lima.", "label": [[0, 4, "PER"]]}
    (tmp_path / "train.jsonl").write_text(json.dumps(row), encoding="utf-8")
    write(tmp_path, valid=KNOWN)
    data = CoNLLDataModule(dataset=str(tmp_path), backbone=str(llama), files=Files(unannotated="unknown"))
    assert data.corpus.split("train").sentences[0].tags == ("B-PER", "?", "?", "?")


@pytest.mark.parametrize("split", ["valid", "test"])
def test_unknown_tags_are_not_scored(tmp_path, llama, split):
    write(tmp_path, train=KNOWN, valid=KNOWN, test=KNOWN)
    write(tmp_path, **{split: KNOWN + "\n" + PARTLY})
    data = CoNLLDataModule(dataset=str(tmp_path), backbone=str(llama))
    expected = (
        rf"{split}.conll:4: the tag of word 3 \('saw'\) is unknown \(\?\), as are 3 others;\n"
        rf"{split} data are scored, which needs every tag"
    )
    with pytest.raises(UserError, match=expected):
        data.corpus.split(split)


def test_the_data_check_counts_unknown_words(tmp_path):
    write(tmp_path, train=PARTLY, valid=KNOWN)
    train, valid = (read_sentences(tmp_path / f"{name}.conll") for name in ("train", "valid"))
    found = check_data({"train": train, "valid": valid}, {"train": "train", "valid": "valid"})
    finding = found.finding("unknown_tags")
    assert (finding.level, finding.count, finding.rows) == ("fact", 4, (("train", 4, 2),))
    found = check_data({"train": valid, "valid": train}, {"train": "train", "valid": "valid"})
    assert "unknown_tags" in [problem.key for problem in found.problems]


@pytest.mark.parametrize("name", ["conll", "csv", "jsonl", "parquet"])
def test_formats_of_words_keep_unknown_tags(tmp_path, name):
    write(tmp_path, train=PARTLY)
    sentences = read_sentences(tmp_path / "train.conll")
    path = tmp_path / f"out.{name}"
    WRITERS[name](path, sentences)
    assert [s.tags for s in read_sentences(path)] == [s.tags for s in sentences]


@pytest.mark.parametrize("name", ["doccano", "labelstudio", "prodigy"])
def test_formats_of_texts_say_that_they_cannot(tmp_path, name, caplog):
    write(tmp_path, train=PARTLY)
    WRITERS[name](tmp_path / "out.json", read_sentences(tmp_path / "train.conll"))
    assert "4 words have an unknown tag (?), which this format cannot say: they are outside." in caplog.text


def test_spacy_has_missing_entities(tmp_path):
    from spacy.tokens import DocBin
    from spacy.vocab import Vocab

    from ner_lightning.data.writers.docbin_writer import doc_bin_of

    doc_bin_of([("Vera saw Lima", [(0, 4), (5, 8), (9, 13)], [3], ["B-PER", "?", "O"])], tmp_path / "x.spacy")
    (doc,) = DocBin().from_disk(tmp_path / "x.spacy").get_docs(Vocab())
    assert [token.ent_iob for token in doc] == [3, 0, 2]


def test_a_part_of_a_file_with_unmarked_entities_is_not_scored(tmp_path, llama):
    words = [f"w{chr(0x4E00 + number)}" for number in range(60)]
    (tmp_path / "all.conll").write_text("".join(f"Vera B-PER\n{word} O\n\n" for word in words), "utf-8")
    files, dataset = Files(unannotated="unknown"), str(tmp_path / "all.conll")
    data = CoNLLDataModule(dataset=dataset, backbone=str(llama), files=files)
    with pytest.raises(UserError, match="name a fully annotated file as data"):
        data.corpus.split("valid")
