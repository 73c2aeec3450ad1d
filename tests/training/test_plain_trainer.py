"""NERModule and CoNLLDataModule with a plain Trainer; what it saves is a checkpoint as any other."""

import json
from pathlib import Path

import lightning.pytorch as pl
import numpy as np
import pytest
import tiny
import torch
from shared import PLAIN_TRAINER

from ner_lightning.commands.main import main
from ner_lightning.data.corpus_settings import Batches, Encoding, Files
from ner_lightning.data.readers.sentences import read_sentences
from ner_lightning.data.sentence import Sentence
from ner_lightning.data.sources import SentenceSource, Split
from ner_lightning.errors import UserError
from ner_lightning.export.exported_folder import export
from ner_lightning.inference.ner_tagger import NERTagger
from ner_lightning.model.adapters import Lora
from ner_lightning.model.extensions import LossPart
from ner_lightning.model.loss import Loss
from ner_lightning.model.tagger_settings import Runtime
from ner_lightning.training.datamodule import CoNLLDataModule
from ner_lightning.training.module import NERModule
from ner_lightning.training.optim import Optimizer
from ner_lightning.training.prediction import Prediction

pytestmark = PLAIN_TRAINER
TRAIN, TEST = tiny.sentences(tiny.TRAIN), tiny.sentences(tiny.TEST)


@pytest.fixture(scope="module")
def plain_folder(tmp_path_factory, llama):
    """A folder with the checkpoint of a plain trainer, which was trained on sentences from memory."""
    folder = tmp_path_factory.mktemp("plain")
    data = CoNLLDataModule(train=TRAIN, valid=TRAIN, test=TEST, backbone=str(llama), batches=Batches(size=4))
    module = NERModule(
        backbone=str(llama),
        types=data.types,
        lora=Lora(rank=4),
        optimizer=Optimizer(lr=0.01, head_lr=0.03, crf_lr=0.1),
    )
    trainer = pl.Trainer(
        max_epochs=25, accelerator="cpu", logger=False, default_root_dir=folder, enable_progress_bar=False,
        enable_model_summary=False, use_distributed_sampler=False, num_sanity_val_steps=0,
    )  # fmt: skip
    trainer.fit(module, data)
    trainer.save_checkpoint(folder / "plain.ckpt")
    (folder / "tags.json").write_text(json.dumps(predicted(trainer.predict(module, data), module)))
    return folder


def predicted(batches, module):
    """The tags of each sentence, in the order of the split."""
    tags = {}
    for batch in batches:
        assert isinstance(batch, Prediction)
        for row, index in enumerate(batch.index.tolist()):
            tags[index] = module.labels.decode(batch.tags[row, batch.mask[row]].tolist())
    return [tags[index] for index in sorted(tags)]


@pytest.mark.slow
def test_every_loader_reads_what_a_plain_trainer_saves(plain_folder, corpus, tmp_path, monkeypatch):
    expected = json.loads((plain_folder / "tags.json").read_text())
    assert {tag for tags in expected for tag in tags} > {"O"}
    tagger = NERTagger.from_run(str(plain_folder / "plain.ckpt"), device="cpu")
    words = [words for words, _ in TEST]
    assert [list(found.tags) for found in tagger(words=words)] == expected
    export(str(plain_folder / "plain.ckpt"), tmp_path / "out")
    again = NERTagger.from_pretrained(tmp_path / "out", device="cpu")
    assert [list(found.tags) for found in again(words=words)] == expected
    monkeypatch.chdir(tmp_path)
    options = ["--data.dataset", str(corpus), "--trainer.accelerator", "cpu"]
    assert main(["test", "--ckpt_path", str(plain_folder / "plain.ckpt"), *options]) == 0
    rows = Path("runs/run/1/predictions.test.jsonl").read_text().splitlines()
    assert [json.loads(row)["predicted"] for row in rows] == expected


def test_its_hyper_parameters_are_plain_values(plain_folder):
    held = torch.load(plain_folder / "plain.ckpt", weights_only=True)
    assert held["hyper_parameters"]["optimizer"]["head_lr"] == 0.03
    assert held["datamodule_hyper_parameters"]["batches"]["size"] == 4
    module = NERModule.load_from_checkpoint(
        plain_folder / "plain.ckpt", map_location="cpu", weights_only=True
    )
    assert module.optimizer_settings.head_lr == 0.03
    state = held["state_dict"]
    assert all(
        torch.equal(value, state[name]) for name, value in module.state_dict().items() if name in state
    )


def test_settings_of_another_version_are_ignored_and_those_of_the_caller_checked(plain_folder, tmp_path):
    held = torch.load(plain_folder / "plain.ckpt", weights_only=True)
    for group in ("model.lora", "model.optimizer", "data.encoding"):
        part, name = group.split(".")
        held["config"][part][name]["later"] = 1
    for part, name in (("hyper", "lora"), ("hyper", "loss"), ("datamodule_hyper", "encoding")):
        held[f"{part}_parameters"][name]["later"] = 1
    torch.save(held, tmp_path / "later.ckpt")
    file = {"checkpoint_path": tmp_path / "later.ckpt", "weights_only": True}
    assert NERModule.load_from_checkpoint(**file).settings.lora.rank == 4
    assert CoNLLDataModule.load_from_checkpoint(**file, seed=3).batches.size == 4
    NERTagger.from_run(str(tmp_path / "later.ckpt"), device="cpu")
    with pytest.raises(UserError, match="NERModule has no setting backbon; did you mean backbone"):
        NERModule.load_from_checkpoint(**file, backbon="folder")
    with pytest.raises(UserError, match="Cache has no setting enable; did you mean enabled"):
        NERModule.load_from_checkpoint(**file, cache={"enable": True})
    with pytest.raises(TypeError, match="cannot be called on an instance"):
        NERModule(backbone="x/y", types=["PER"]).load_from_checkpoint(**file)
    with pytest.raises(UserError, match="Cache has no setting enable"):  # later ones are checked again
        NERModule(types=["PER"], cache={"enable": True})


class OneSource(SentenceSource):
    def read(self, split):
        return Split.of(TRAIN, "test")


def test_a_source_comes_back_with_consent_alone(llama, tmp_path):
    data = CoNLLDataModule(source=OneSource(), backbone=str(llama))
    held = {"datamodule_hyper_parameters": dict(data.hparams), "pytorch-lightning_version": pl.__version__}
    torch.save(held, tmp_path / "data.ckpt")
    file = {"checkpoint_path": tmp_path / "data.ckpt", "weights_only": True}
    with pytest.raises(UserError, match=r"data\.source is .*OneSource, code that does not come with"):
        CoNLLDataModule.load_from_checkpoint(**file)
    again = CoNLLDataModule.load_from_checkpoint(**file, trust_remote_code=True)
    assert again.types == data.types


class Total(LossPart):
    def __call__(self, emissions, tags, mask):
        return emissions.square().sum()


def short(folder):
    return tiny.trainer(default_root_dir=folder)


def untrained(llama, **settings):
    data = CoNLLDataModule(train=TRAIN, valid=TRAIN, test=TEST, backbone=str(llama), batches=Batches(size=4))
    return data, NERModule(backbone=str(llama), types=data.types, lora=Lora(rank=4), **settings)


def test_a_fit_after_an_evaluation_trains_the_adapters(llama, tmp_path):
    data, module = untrained(llama)
    trainer = short(tmp_path)
    trainer.validate(module, data, verbose=False)
    trainer.fit(module, data)
    trainer.save_checkpoint(tmp_path / "one.ckpt")
    held = torch.load(tmp_path / "one.ckpt", weights_only=True)["state_dict"]
    assert any(value.any() for name, value in held.items() if "lora_B" in name)
    NERTagger.from_run(str(tmp_path / "one.ckpt"), device="cpu")
    data, module = untrained(llama)
    short(tmp_path).validate(module, data, verbose=False, ckpt_path=tmp_path / "one.ckpt")
    with pytest.raises(UserError, match="merged this NERModule's adapters: make a new one"):
        short(tmp_path).fit(module, data)


def test_a_part_of_the_loss_comes_back_with_consent_alone(llama, tmp_path):
    trusting = Runtime(trust_remote_code=True)
    data, module = untrained(llama, loss=Loss(ce=0, crf=0, parts=[Total()]), use_crf=False, runtime=trusting)
    trainer = short(tmp_path)
    trainer.fit(module, data)
    trainer.save_checkpoint(tmp_path / "own.ckpt")
    with pytest.raises(
        UserError, match=r"model\.loss\.parts is .*Total, code that does not come with"
    ) as said:
        NERModule.load_from_checkpoint(tmp_path / "own.ckpt", weights_only=True)
    assert 'load_from_checkpoint runtime={"trust_remote_code": True}' in str(said.value)
    named = {"trust_remote_code": True}
    NERModule.load_from_checkpoint(tmp_path / "own.ckpt", weights_only=True, runtime=named)
    again = NERModule.load_from_checkpoint(tmp_path / "own.ckpt", weights_only=True, runtime=trusting)
    assert [part.name for part in again.settings.loss.own] == ["total"]
    NERTagger.from_run(str(tmp_path / "own.ckpt"), device="cpu")  # which needs no loss


def frame():
    import pandas

    columns = list(zip(*TRAIN, strict=True))
    return pandas.DataFrame({"tokens": columns[0], "ner_tags": columns[1]})


def hub():
    import datasets

    names = ["O", *(f"{part}-{kind}" for kind in ("PER", "ORG", "LOC", "MISC") for part in "BI")]
    features = datasets.Features(
        {
            "tokens": datasets.List(datasets.Value("string")),
            "ner_tags": datasets.List(datasets.ClassLabel(names=names)),
        }
    )
    rows = {
        "tokens": [w for w, _ in TRAIN],
        "ner_tags": [[names.index(t) for t in tags] for _, tags in TRAIN],
    }
    return datasets.Dataset.from_dict(rows, features=features)


@pytest.mark.parametrize("kind", ["pairs", "dicts", "columns", "pandas", "datasets"])
def test_sentences_come_from_memory(llama, kind):
    given = TRAIN
    if kind == "dicts":
        given = [{"tokens": words, "ner_tags": tags} for words, tags in TRAIN]
    elif kind == "columns":
        given = hub().to_dict() | {"ner_tags": [tags for _, tags in TRAIN]}
    elif kind == "pandas":
        given = frame()
    elif kind == "datasets":
        given = hub()
    data = CoNLLDataModule(train=given, backbone=str(llama))
    found = [(list(s.words), list(s.tags)) for s in data.corpus.split("train").sentences]
    assert found == [(list(words), list(tags)) for words, tags in TRAIN]
    assert sorted(data.types) == ["LOC", "MISC", "ORG", "PER"]
    if kind == "datasets":
        assert data.types == ["PER", "ORG", "LOC", "MISC"]  # in the data set's own order


def test_sentences_that_were_read_can_be_given(llama, tmp_path):
    text = "-DOCSTART- O\n\nVera B-PER\n\nleft O\n\n-DOCSTART- O\n\nLima B-LOC\n"
    (tmp_path / "a.conll").write_text(text)
    sentences = read_sentences(tmp_path / "a.conll")
    assert [sentence.document for sentence in sentences] == [0, 0, 1]
    for files in (Files(), Files(words_column="w", tags_column="t", document_column="d")):
        data = CoNLLDataModule(train=sentences, files=files, backbone=str(llama))
        assert data.corpus.split("train").sentences == sentences
    with pytest.raises(UserError, match="train sentences from memory:1: this sentence was read without tags"):
        CoNLLDataModule(train=[Sentence(("Vera",), None, 0)]).corpus.split("train")
    with pytest.raises(UserError, match="train: expected sentences, got 3"):
        CoNLLDataModule(train=3).corpus.split("train")


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (
            [{"w": ["a"], "t": ["O"]}],
            "neither a list of words nor a text; name one as data.files.words_column",
        ),
        ([("Vera left", "B-PER O")], "expected lists of words and of tags, got text"),
        (["Vera"], "expected words and tags, got 'Vera'"),
        ([(["a"], ["O", "O"])], "1 words but 2 tags"),
        ([(["a"], None)], "train sentences from memory:1: this sentence has no tags"),
        ([(["a", "b"], ["O", float("nan")])], "nan"),
        ([], "there is no sentence in what was given"),
    ],
)
def test_what_is_no_sentence_is_named(llama, rows, said):
    with pytest.raises(UserError, match=said):
        CoNLLDataModule(train=rows, backbone=str(llama)).corpus.split("train")


def test_columns_have_names(llama):
    files = Files(words_column="w", tags_column="t")
    rows = [{"w": ["Vera"], "t": ["B-PER"]}]
    data = CoNLLDataModule(train=rows, files=files, backbone=str(llama), encoding=Encoding(max_length=20))
    assert data.types == ["PER"]


@pytest.mark.parametrize("number", [int, np.int64])
@pytest.mark.parametrize("several", [list, tuple])
def test_spacys_pairs_have_lists_or_tuples_and_any_integers(llama, several, number):
    entity = several((number(0), number(4), "PER"))
    rows = [("Vera left Lima", {"entities": [entity]}), {"text": "Vera left", "entities": (entity,)}]
    data = CoNLLDataModule(train=rows, backbone=str(llama))
    found = [sentence.tags for sentence in data.corpus.split("train").sentences]
    assert found == [("B-PER", "O", "O"), ("B-PER", "O")]


def test_a_trainer_that_overfits_sets_its_own_limits(llama, tmp_path, caplog):
    data, module = untrained(llama)
    tiny.trainer(default_root_dir=tmp_path, overfit_batches=1).fit(module, data)
    assert "limit_val_batches" not in caplog.text


def test_splits_are_given_one_by_one(llama):
    import datasets

    splits = datasets.DatasetDict({"train": hub(), "validation": hub()})
    for given, said in (
        (
            splits,
            r"got a dict of the splits train, validation; give each split, as in train=data\['train'\]",
        ),
        ({"tokens": [["a"]], "ner_tags": []}, "train: got a dict that has no columns of one length"),
        ({"text": "Vera left"}, "no columns of one length"),
    ):
        with pytest.raises(UserError, match=said):
            CoNLLDataModule(train=given, backbone=str(llama)).corpus.split("train")


def test_a_data_module_without_a_backbone_says_what_it_lacks():
    with pytest.raises(UserError, match=r"name it, CoNLLDataModule\(backbone="):
        CoNLLDataModule(train=TRAIN).corpus.encoded("train")
