"""What a caller gives as settings is checked, and names may be paths."""

import re
from pathlib import Path

import numpy as np
import pytest

from ner_lightning.commands.api import option_words
from ner_lightning.data.corpus_settings import Batches, Files
from ner_lightning.data.readers.read_options import AnnotationRules, ReadOptions
from ner_lightning.data.schemes import LabelSet
from ner_lightning.errors import UserError
from ner_lightning.model.adapters import Lora
from ner_lightning.model.loss import Loss
from ner_lightning.model.tagger_settings import Architecture, Cache, Runtime
from ner_lightning.system.plain_settings import to_plain
from ner_lightning.training.datamodule import CoNLLDataModule
from ner_lightning.training.module import NERModule
from ner_lightning.training.optim import Optimizer

TYPES = ["PER"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"lora": {"rnk": 4}}, "Lora has no setting rnk; did you mean rank?"),
        (
            {"optimizer": {"learning_rate": 1.0}},
            "Optimizer has no setting learning_rate; its settings are lr, head_lr, crf_lr,",
        ),
        ({"loss": {"CE": 1.0}}, "Loss has no setting CE; its settings are ce, crf,"),
        ({"peft": "LoRA"}, "model.peft is 'LoRA'; it must be one of none, lora"),
        ({"quantization": "int4"}, "model.quantization is 'int4'; it must be one of none, nf4, int8"),
        ({"use_crf": "no"}, "model.use_crf is 'no'; it must be true or false"),
        ({"optimizer": 1e-3}, "optimizer is 0.001; give Optimizer(...) or a dict of its settings"),
        ({"lora": 4}, "lora is 4; give Lora(...)"),
        ({"lora": None}, "lora is None; give Lora(...) or a dict of its settings, or leave it out"),
        ({"loss": None}, "loss is None; give Loss(...)"),
        ({"types": LabelSet(("PER",))}, "it must be a list, each a text, or null"),
        ({"types": "PER"}, "model.types is 'PER'; it must be a list"),
        ({"loss": {"parts": [3]}}, "model.loss.parts is 3; it must be a LossPart"),
        ({"architecture": {"prepare": 5}}, "model.architecture.prepare is 5; it must be a Preparation"),
    ],
)
def test_a_module_refuses_what_is_no_setting(llama, settings, message):
    with pytest.raises(UserError, match=re.escape(message)):
        NERModule(**{"backbone": str(llama), "types": TYPES} | settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"batches": {"batch_size": 2}}, "Batches has no setting batch_size; its settings are size,"),
        ({"batches": 8}, "batches is 8; give Batches(...)"),
        ({"encoding": {"maxlength": 9}}, "Encoding has no setting maxlength; did you mean max_length?"),
        ({"types": LabelSet(("PER",))}, "data.types is LabelSet"),
        ({"source": 3}, "data.source is 3; it must be a SentenceSource, or null"),
    ],
)
def test_a_data_module_refuses_what_is_no_setting(settings, message):
    with pytest.raises(UserError, match=re.escape(message)):
        CoNLLDataModule(**settings)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: Optimizer(schedule="cosin"),
            "model.optimizer.schedule is 'cosin'; it must be one of linear,",
        ),
        (lambda: Architecture(pooling="avg"), "model.architecture.pooling is 'avg'"),
        (lambda: Runtime(attn_implementation="flash"), "model.runtime.attn_implementation is 'flash'"),
        (lambda: Files(format="conl"), "data.files.format is 'conl'; it must be one of conll, csv,"),
        (lambda: Files(words_column=0), "data.files.words_column is 0; it must be a text, or null"),
        (lambda: ReadOptions(format="conl"), "format is 'conl'; it must be one of conll, csv,"),
        (lambda: AnnotationRules(misaligned="cut"), "rules.misaligned is 'cut'; it must be one of split,"),
        (lambda: Lora(targets=[1]), "model.lora.targets is [1]; it must be a text or a list, each a text"),
        (lambda: Batches(packing=1), "data.batches.packing is 1; it must be true or false"),
        (lambda: Loss(parts=["total"]), "model.loss.parts is ['total']; it must be a list, each a LossPart"),
    ],
)
def test_settings_are_of_their_types(make, message):
    with pytest.raises(UserError, match=re.escape(message)):
        make()


def test_paths_are_names(llama, corpus, tmp_path):
    data = CoNLLDataModule(dataset=Path(corpus), backbone=Path(llama))
    data.setup("fit")
    cache = Cache(folder=tmp_path)
    module = NERModule(backbone=Path(llama), types=tuple(data.types), cache=cache)
    assert (module.hparams.backbone, data.hparams.dataset) == (str(llama), str(corpus))
    assert module.hparams.cache["folder"] == str(tmp_path)
    (tmp_path / "names.txt").write_text("O\nB-PER\n")
    assert Files(tag_names=tmp_path / "names.txt").options().rules.tag_names == ("O", "B-PER")


def test_numbers_may_be_numpys(llama):
    module = NERModule(
        str(llama), TYPES, lora=Lora(rank=np.int64(4)), optimizer=Optimizer(lr=np.float64(0.5))
    )
    data = CoNLLDataModule(batches=Batches(size=np.int64(4)), seed=np.int64(3))
    plain = (module.hparams["lora"]["rank"], data.hparams["batches"]["size"], data.hparams["seed"])
    assert plain == (4, 4, 3)
    assert {type(value) for value in plain} == {int}
    assert type(to_plain(Architecture(dropout=np.float32(0.5)))["dropout"]) is float
    assert option_words({"trainer.max_epochs": np.int64(3)}) == ["--trainer.max_epochs=3"]
