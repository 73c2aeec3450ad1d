"""Families of backbones, small and random: fit, test, export, predict; which way they attend."""

from pathlib import Path

import families
import pytest
import tiny
import torch
import transformers
import yaml
from shared import json_rows
from taggers import build

from ner_lightning.commands.main import main
from ner_lightning.data.batching import collate
from ner_lightning.data.pretrained import locate
from ner_lightning.data.readers.sentences import read_sentences
from ner_lightning.data.schemes import LabelSet
from ner_lightning.data.tokenization.encoding import Encoder, load_tokenizer
from ner_lightning.errors import UserError
from ner_lightning.model.adapters import Lora

pytestmark = pytest.mark.slow
DECODERS = ("llama", "qwen3", "gemma3", "mistral", "gpt_neox")
ENCODERS = ("bert", "roberta", "modernbert")
LABELS = LabelSet(("PER", "ORG", "LOC", "MISC"))


@pytest.fixture(scope="module")
def backbones(tmp_path_factory):
    folder = tmp_path_factory.mktemp("backbones")
    return {kind: tiny.write_backbone(folder / kind, kind) for kind in (*DECODERS, *ENCODERS)}


def write_known(corpus):
    """A corpus whose test set has all training sentences first, so that a fit finds entities in it."""
    folder = Path("corpus")
    folder.mkdir()
    texts = {
        name: (corpus / f"{name}.txt").read_text(encoding="utf-8") for name in ("train", "valid", "test")
    }
    texts["test"] = f"{texts['train']}\n{texts['test']}"
    for name, text in texts.items():
        (folder / f"{name}.txt").write_text(text, encoding="utf-8")
    return folder


def through(backbone, corpus, precision="bf16-mixed"):
    """Fits, tests, exports and predicts in the folder at hand; the tags of the test set by each way."""
    recipe = {
        "trainer": {"accelerator": "cpu", "max_epochs": 6, "precision": precision},
        "model": {"backbone": str(backbone), "lora": {"rank": 4}, "optimizer": {"lr": 0.01, "head_lr": 0.05}},
        "data": {
            "dataset": str(write_known(corpus)),
            "batches": {"size": 4},
            "encoding": {"max_length": 24, "overlap": 4},
        },
    }
    Path("recipe.yaml").write_text(yaml.safe_dump(recipe), encoding="utf-8")
    assert main(["fit", "--config", "recipe.yaml"]) == 0
    assert main(["test"]) == 0
    held = json_rows(Path("runs/last/predictions.test.jsonl"))
    lines = "".join(" ".join(row["words"]) + "\n" for row in held)
    Path("words.txt").write_text(lines, encoding="utf-8")
    assert main(["export", "--output", "exported"]) == 0
    found = []
    for run in ("runs/last", "exported"):
        output = ["--tokenized", "--input", "words.txt", "--output", f"{Path(run).name}.conll"]
        assert main(["predict", run, *output]) == 0
        found.append(read_sentences(f"{Path(run).name}.conll"))
        assert [list(s.words) for s in found[-1]] == [row["words"] for row in held]
    taken = [[tag for sentence in some for tag in sentence.tags] for some in found]
    return [tag for row in held for tag in row["predicted"]], *taken


def assert_agreement(held, others):
    """Asserts that all ways of prediction give the tags that the test gave, and not O alone."""
    assert len(set(held)) > 1
    # Merged adapters and other batches round otherwise in bf16; few words are that near a tie.
    for again in others:
        assert sum(a == b for a, b in zip(held, again, strict=True)) >= 0.9 * len(held)


@pytest.mark.parametrize("kind", ["llama", "qwen3", "gemma3", "bert"])
def test_a_family_is_fitted_tested_and_predicts(backbones, corpus, tmp_path, monkeypatch, kind):
    monkeypatch.chdir(tmp_path)
    held, *others = through(backbones[kind], corpus)
    assert_agreement(held, others)
    state = torch.load("runs/last/checkpoints/best.ckpt", weights_only=True)["state_dict"]
    layers = {name.split("lora_")[0] for name in state if "lora_" in name}
    assert len(layers) == (14 if kind != "bert" else 12)  # every linear layer of both


@pytest.mark.parametrize("kind", ["mistral", "gpt_neox", "roberta", "modernbert"])
def test_a_further_family_works_as_well(backbones, corpus, tmp_path, monkeypatch, kind):
    monkeypatch.chdir(tmp_path)
    held, *others = through(backbones[kind], corpus)
    assert_agreement(held, others)


# Of random weights: with the first seed this one does not get beyond O in the few steps of a test.
SEEDS = {"olmo2": 1}


@pytest.mark.parametrize("kind", sorted({*families.CONFIGS} - {*DECODERS, *ENCODERS, "xlnet"}))
def test_any_family_works_from_fit_to_export(corpus, tmp_path, monkeypatch, kind):
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(SEEDS.get(kind, 0))
    transformers.AutoModel.from_config(families.CONFIGS[kind]()).save_pretrained("backbone")
    tiny.llama3_tokenizer().save_pretrained("backbone")
    # Its own code overflows in bf16, which the proof of attention says.
    held, *others = through(tmp_path / "backbone", corpus, "32-true" if kind == "deberta" else "bf16-mixed")
    assert_agreement(held, others)


def first_word_sees_the_last(backbone, attention, implementation):
    """Whether the first word's scores depend on the last word, alone and beside a longer sentence."""
    torch.manual_seed(1)
    chosen = {"lora": Lora(rank=4), "dropout": 0.0, "implementation": implementation}
    tagger = build(backbone, LABELS, attention=attention, **chosen).eval()
    encoder = Encoder(load_tokenizer(locate(str(backbone))))
    words = ["Vera", "joined", "Halden", "Bank"]
    seen = []
    for beside in ([], [["Lima", "is", "a", "town", "on", "the", "coast", "of", "Peru"]]):
        with torch.no_grad():
            one, other = (
                tagger(collate(list(encoder.encode([[*words, last], *beside])), encoder.pad_id))[0, 0]
                for last in ("left", "percent")
            )
        seen.append(float((one - other).abs().max()) > 1e-5)
    return seen


@pytest.mark.parametrize("implementation", ["eager", "sdpa"])
@pytest.mark.parametrize("attention", ["causal", "bidirectional"])
@pytest.mark.parametrize("kind", DECODERS)
def test_a_decoder_attends_as_asked(backbones, kind, attention, implementation):
    expected = [attention == "bidirectional"] * 2
    assert first_word_sees_the_last(backbones[kind], attention, implementation) == expected


@pytest.mark.parametrize("kind", ENCODERS)
def test_an_encoder_is_bidirectional_and_says_so(backbones, kind):
    assert first_word_sees_the_last(backbones[kind], "bidirectional", "auto") == [True, True]
    with pytest.raises(UserError, match="attention is causal"):
        first_word_sees_the_last(backbones[kind], "causal", "auto")
