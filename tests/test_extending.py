"""The examples of docs/extending.md: named in a config, they go through fit, test and predict."""

import csv
import json
import sqlite3
import sys
from pathlib import Path

import pytest
import tiny
import torch
import yaml
from shared import json_rows

from ner_lightning.commands.main import main
from ner_lightning.data.pretrained import locate
from ner_lightning.data.schemes import LabelSet
from ner_lightning.data.sources import SentenceSource, Split
from ner_lightning.errors import UserError
from ner_lightning.inference.ner_tagger import NERTagger
from ner_lightning.model.decoder import Decoder
from ner_lightning.model.extensions import LossPart, Preparation, preparation, prepared
from ner_lightning.model.loss import Loss
from ner_lightning.model.weights import load_backbone
from ner_lightning.training.datamodule import CoNLLDataModule

ROOT = Path(__file__).parent.parent
EXAMPLES = ROOT / "examples"


@pytest.fixture
def own_parts(tmp_path, llama, monkeypatch):
    """A folder with a recipe, the shipped overlay for a two-layer backbone, and a database."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(EXAMPLES))
    with sqlite3.connect("words.sqlite") as database:
        database.execute("CREATE TABLE words (split, sentence INT, position INT, word, tag)")
        for split, text in (("train", tiny.TRAIN * 2), ("valid", tiny.TRAIN), ("test", tiny.TEST)):
            for number, (words, tags) in enumerate(tiny.sentences(text)):
                cells = zip(words, tags, strict=True)
                rows = [(split, number, at, word, tag) for at, (word, tag) in enumerate(cells)]
                database.executemany("INSERT INTO words VALUES (?, ?, ?, ?, ?)", rows)
    database.close()
    own = yaml.safe_load((EXAMPLES / "own.yaml").read_text(encoding="utf-8"))
    own["model"]["architecture"]["prepare"]["init_args"]["layers"] = 2
    recipe = {
        "trainer": {"accelerator": "cpu", "max_epochs": 2, "log_every_n_steps": 1},
        "model": {"backbone": str(llama), "lora": {"rank": 4}, "optimizer": {"lr": 0.01}},
    }
    Path("recipe.yaml").write_text(yaml.safe_dump(recipe), encoding="utf-8")
    Path("own.yaml").write_text(yaml.safe_dump(own), encoding="utf-8")
    yield tmp_path
    for name in ("own_source", "own_loss", "own_backbone"):
        sys.modules.pop(name, None)


@pytest.mark.slow
def test_an_own_source_loss_and_backbone_go_through_everything(own_parts, capsys):
    assert main(["fit", "--config", "recipe.yaml", "--config", "own.yaml"]) == 0
    run = own_parts / "runs/recipe/1"
    about = json.loads((run / "run.json").read_text())
    assert about["data"]["train"]["origin"] == "words.sqlite:train"
    assert about["data"]["train"]["sentences"] == 16
    assert about["backbone"]["weights"].endswith(" own_backbone.MeanOfLayers(layers=2)")
    assert "train/focal" in (run / "metrics.csv").read_text().split("\n")[0]
    trusting = "--trust_remote_code"  # the run names code that does not come with the package
    assert main(["test", trusting]) == 0
    held = json_rows(run / "predictions.test.jsonl")
    assert [row["words"] for row in held] == [words for words, _ in tiny.sentences(tiny.TEST)]
    for form in ("merged", "adapter"):
        assert main(["export", "--output", form, "--format", form, trusting]) == 0
    for tagger in ("runs/last", "merged", "adapter"):
        again = [
            list(found.tags)
            for found in NERTagger.from_run(tagger, trust_remote_code=True)(words=[r["words"] for r in held])
        ]
        assert again == [row["predicted"] for row in held], tagger
    capsys.readouterr()
    assert main(["test", trusting, "--model.architecture.prepare.init_args.layers", "1"]) == 2
    assert "model.architecture.prepare is" in capsys.readouterr().err


def test_a_prepared_backbone_computes_what_it_says(own_parts, llama):
    from own_backbone import MeanOfLayers

    ids = torch.arange(2, 9).reshape(1, 7)
    plain, mixed = (
        load_backbone(locate(str(llama)), attention="causal", dtype=torch.float32).model for _ in "ab"
    )
    mixed = MeanOfLayers(layers=2)(mixed)
    with torch.no_grad():
        states = plain(input_ids=ids, output_hidden_states=True).hidden_states
        found = mixed(input_ids=ids).last_hidden_state
        heard = []  # the last of hidden_states is normed already
        plain.layers[1].register_forward_hook(lambda _layer, _given, output: heard.append(output))
        plain(input_ids=ids)
    torch.testing.assert_close(found, plain.norm((states[1] + heard[0]) / 2))


CHANGING = """from ner_lightning.model.extensions import Preparation


class Scaled(Preparation):
    def __call__(self, backbone):
        for layer in backbone.layers:
            layer.mlp.down_proj.weight.data.mul_(1.5)
        return backbone


class Shallow(Preparation):
    def __call__(self, backbone):
        del backbone.layers[1:]
        backbone.config.num_hidden_layers = 1
        return backbone
"""


@pytest.mark.parametrize("name", ["Scaled", "Shallow"])
def test_a_preparation_that_changes_weights_is_applied_once(own_parts, monkeypatch, capsys, name):
    Path("changing.py").write_text(CHANGING, encoding="utf-8")
    monkeypatch.syspath_prepend(str(own_parts))
    prepare = {"class_path": f"changing.{name}", "init_args": {}}
    Path("changed.yaml").write_text(yaml.safe_dump({"model": {"architecture": {"prepare": prepare}}}))
    words = ["fit", "--config", "recipe.yaml", "--config", "own.yaml", "--config", "changed.yaml"]
    assert main([*words, "--trainer.max_epochs", "1", "--name", "changed"]) == 0
    export = ["export", "runs/changed/1", "--trust_remote_code"]
    capsys.readouterr()
    assert main([*export, "--output", "whole"]) == 2
    assert "loading it would change them again" in capsys.readouterr().err
    assert not Path("whole").exists()
    assert main([*export, "--output", "small", "--format", "adapter"]) == 0
    text = "Vera Holt left Lima."
    of_run, of_folder = (
        NERTagger.from_run(path, trust_remote_code=True)(text, marginals=True).marginals
        for path in ("runs/changed/1", "small")
    )
    assert of_folder == pytest.approx(of_run, abs=1e-5)


@pytest.mark.slow
def test_a_prepared_backbone_may_be_compiled(own_parts, capsys):
    """Its hooks run in compiled layers as well: the same losses, and the same tags afterwards."""
    losses = []
    for compiled in ("false", "true"):
        options = [
            "--model.runtime.compile",
            compiled,
            "--model.architecture.dropout",
            "0",
            "--model.lora.dropout",
            "0",
        ]
        assert main(["fit", "--config", "recipe.yaml", "--config", "own.yaml", *options]) == 0
        with (own_parts / f"runs/recipe/{len(losses) + 1}/metrics.csv").open(newline="") as file:
            losses.append([float(row["train/loss"]) for row in csv.DictReader(file) if row["train/loss"]])
    assert len(losses[0]) > 2
    assert losses[1] == pytest.approx(losses[0], rel=1e-4)
    assert main(["test", "--trust_remote_code"]) == 0
    held = json_rows(own_parts / "runs/recipe/2/predictions.test.jsonl")
    again = NERTagger.from_run("runs/recipe/2", trust_remote_code=True)(words=[row["words"] for row in held])
    assert [list(found.tags) for found in again] == [row["predicted"] for row in held]


def test_a_loss_part_counts_by_its_weight(own_parts):
    from own_loss import Focal

    emissions, tags = torch.randn(2, 3, 5), torch.randint(5, (2, 3))
    mask = torch.tensor([[True, True, True], [True, False, False]])
    plain = torch.nn.functional.cross_entropy(emissions[mask], tags[mask], reduction="sum")
    torch.testing.assert_close(Focal(gamma=0)(emissions, tags, mask), plain)
    assert 0 < Focal(gamma=2)(emissions, tags, mask) < plain


class Ce(LossPart):
    """A name that is taken."""

    def __call__(self, emissions, tags, mask):
        return emissions.sum()


def test_what_cannot_be_used_is_refused(own_parts, capsys):
    for kind in (Ce, type("KL", (Ce,), {}), type("Grad_Norm", (Ce,), {}), type("Padding", (Ce,), {})):
        with pytest.raises(UserError, match=f"two parts named {kind.__name__.lower()}"):
            Loss(parts=[kind()])
    for path in ("nowhere.At", "own_source.Missing", "os"):
        with pytest.raises(UserError, match=r"there is no .*PYTHONPATH"):
            preparation({"class_path": path}, trust=True)
    for path in ("subprocess.Popen", "own_source.Database", "os.system"):
        with pytest.raises(UserError, match=r"is not a subclass of .*Preparation"):
            preparation({"class_path": path, "init_args": {"args": ["touch", "was_run"]}}, trust=True)
    assert not Path("was_run").exists()
    with pytest.raises(UserError, match="here, sentence 2: 1 words but 2 tags"):
        Split.of([(["a"], ["O"]), (["b"], ["O", "O"])], origin="here")
    Path("wrong.yaml").write_text("data: {source: {class_path: nowhere.At}}\n", encoding="utf-8")
    assert main(["fit", "--config", "recipe.yaml", "--config", "wrong.yaml"]) == 2
    assert "PYTHONPATH" in capsys.readouterr().err


class Nothing(Preparation):
    def __call__(self, backbone):
        pass


class Every(LossPart):
    def __init__(self, value):
        self.value = value

    def __call__(self, emissions, tags, mask):
        return self.value


class Rows(SentenceSource):
    def read(self, split):
        return [(["a"], ["O"])]


def test_what_returns_something_else_is_named(llama):
    with pytest.raises(UserError, match="Nothing returned None; it must return the backbone"):
        prepared(torch.nn.Linear(1, 1), Nothing())
    scores, tags, mask = torch.zeros(1, 2, 5), torch.zeros(1, 2, dtype=torch.long), torch.ones(1, 2).bool()
    for value, said in ((0.5, "0.5"), (torch.zeros(2), r"a tensor of the shape \(2,\)")):
        decoder = Decoder(LabelSet(("PER", "LOC")), loss=Loss(parts=[Every(value)]))
        with pytest.raises(UserError, match=f"Every returned {said}; it must return its sum"):
            decoder.losses(scores, tags, mask)
    with pytest.raises(UserError, match=r"Rows.read returned \[\(\['a'\], \['O'\]\)\], not a Split"):
        CoNLLDataModule(source=Rows(), backbone=str(llama)).corpus.split("train")


def test_the_examples_are_short():
    for file in EXAMPLES.glob("*.py"):
        assert len(file.read_text(encoding="utf-8").splitlines()) < 60, file
