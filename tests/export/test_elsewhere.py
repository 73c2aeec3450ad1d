"""What is exported works where ner-lightning is not: in transformers, its pipeline, and PEFT."""

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import tiny
import torch
from untrained import write_checkpoint

from ner_lightning.data.pretrained import Pretrained
from ner_lightning.export import exported_weights
from ner_lightning.export.exported_folder import export
from ner_lightning.inference import loading
from ner_lightning.inference.ner_tagger import NERTagger

WORDS = [words for words, _ in tiny.sentences(tiny.TRAIN + tiny.TEST)]
FAMILIES = ("llama", "qwen3", "gemma2", "bert")
BARE = "gemma3"  # transformers has no model for token classification around it
ALONE = """
import json, sys
sys.modules["ner_lightning"] = None  # an import of it fails
import torch
from safetensors.torch import load_file
from transformers import AutoModel, AutoModelForTokenClassification, AutoTokenizer, pipeline

def bare(folder):
    backbone, head = AutoModel.from_pretrained(folder).eval(), load_file(f"{folder}/tagger.safetensors")
    return lambda **coded: torch.nn.functional.linear(
        backbone(**coded).last_hidden_state, head["emitter.head.weight"], head["emitter.head.bias"]
    )

def whole(folder):
    model = AutoModelForTokenClassification.from_pretrained(folder).eval()
    return lambda **coded: model(**coded).logits

def tags(folder, pooling, texts):
    names = json.load(open(f"{folder}/ner_lightning.json"))["types"]
    names = ["O", *(f"{part}-{name}" for name in names for part in "BI")]
    kind = json.load(open(f"{folder}/config.json"))["architectures"][0]
    scores = whole(folder) if kind.endswith("ForTokenClassification") else bare(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    for text in texts:
        coded = tokenizer(
            text, return_tensors="pt", return_offsets_mapping=True, return_special_tokens_mask=True
        )
        offsets = coded.pop("offset_mapping")[0].tolist()
        special = coded.pop("special_tokens_mask")[0].tolist()
        with torch.inference_mode():
            logits = scores(**coded)[0]
        words, position = [], 0
        for word in text.split(" "):
            end = position + len(word)
            # A space before a word may be a sub-token of its own, and is part of it.
            words.append(
                [i for i, (_, b) in enumerate(offsets) if position <= b <= end and not special[i]]
            )
            position = end + 1
        best = [logits[own[0 if pooling == "first" else -1]].argmax() for own in words]
        yield [names[int(i)] for i in best]

calls = json.load(sys.stdin)
said = []
for folder, pooling, texts in calls:
    loads = pooling == "first" and "gemma3" not in folder
    pipe = loads and pipeline("token-classification", folder, aggregation_strategy="first")
    entities = loads and [[[e["start"], e["end"], e["entity_group"]] for e in pipe(text)] for text in texts]
    said.append([list(tags(folder, pooling, texts)), entities])
print(json.dumps(said))
"""


def alone(code, *calls):
    """What a fresh process prints that cannot import ner_lightning."""
    env = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        input=json.dumps(calls),
        env=env,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def softmax(folder, kind, pooling):
    """A run with a softmax around a random backbone."""
    folder.mkdir(parents=True)
    backbone = tiny.write_backbone(folder / "backbone", kind)
    changes = {
        "use_crf": False,
        "constrained": False,
        "pooling": pooling,
        "peft": "lora",
        "lora": {"rank": 2},
    }
    return str(write_checkpoint(folder, backbone, **changes))


@pytest.fixture(scope="module")
def families(tmp_path_factory):
    """For each family and pooling: our tagger, tags and entities by transformers alone, the card."""
    where = tmp_path_factory.mktemp("families")
    cases = [(kind, pooling) for kind in (*FAMILIES, BARE) for pooling in ("first", "last")]
    texts = [" ".join(words) for words in WORDS]
    runs = {case: softmax(where / "-".join(case), *case) for case in cases}
    calls = [[str(export(run, where / f"{case}-out")), case[1], texts] for case, run in runs.items()]
    return {
        case: (NERTagger.from_run(run), *found, (where / f"{case}-out" / "README.md").read_text("utf-8"))
        for (case, run), found in zip(runs.items(), alone(ALONE, *calls), strict=True)
    }


@pytest.mark.slow
@pytest.mark.parametrize("pooling", ["first", "last"])
@pytest.mark.parametrize("kind", [*FAMILIES, BARE])
def test_transformers_alone_gives_the_same_tags(families, kind, pooling):
    tagger, tags, *_ = families[kind, pooling]
    expected = [list(each.tags) for each in tagger(words=WORDS)]
    assert len({tag for row in expected for tag in row}) > 1
    assert tags == expected


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["llama", "qwen3", "bert"])
def test_a_pipeline_gives_the_same_entities(families, kind):
    """Of texts in which no sub-token is a space alone, which a pipeline takes for a word."""
    tagger, _, found, _ = families[kind, "first"]
    usual = [i for i, words in enumerate(WORDS) if not re.search(r"\d|'", " ".join(words))]
    assert len(usual) > 4
    for index in usual:
        tagged = tagger(words=[WORDS[index]])[0]
        assert found[index] == [[e.start, e.end, e.label] for e in tagged.entities]
    assert sum(len(found[index]) for index in usual) > 4


@pytest.mark.slow
def test_the_card_says_where_offsets_have_spaces_and_what_transformers_lacks(families):
    """Those of SentencePiece, which no setting of a tokenizer changes."""
    cards = {kind: card for (kind, pooling), (*_, card) in families.items() if pooling == "first"}
    assert {kind for kind, card in cards.items() if "strip the text that it cuts out" in card} == {"gemma2"}
    assert {kind for kind, card in cards.items() if "transformers has no model" in card} == {BARE}
    assert 'aggregation_strategy="first"' in cards["llama"]


PEFT_ALONE = """
import json, sys
sys.modules["ner_lightning"] = None
import torch
from transformers import AutoTokenizer

said = []
for folder, code, text in json.load(sys.stdin):
    coded, found = AutoTokenizer.from_pretrained(folder)(text, return_tensors="pt"), {}
    exec(code, found)
    with torch.inference_mode():
        said.append(found["model"].eval()(**coded).last_hidden_state[0].tolist())
print(json.dumps(said))
"""


def peft_lines(page):
    """The block of a page that loads an adapter."""
    return next(b for b in re.findall(r"```\w*\n(.*?)```", page, flags=re.S) if "from peft" in b)


@pytest.mark.slow
def test_the_cards_lines_make_peft_alone_give_the_same_hidden_states(llama, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(llama, "models/llama")
    run = write_checkpoint(tmp_path, "models/llama", peft="lora", lora={"rank": 2})
    tagger, text = NERTagger.from_run(str(run)), "Vera Holt left Lima"
    folder = str(export(str(run), tmp_path / "out", format="adapter"))
    card = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    assert card.index("is_causal") < card.index("## Model"), "it is at the top"
    docs = (Path(__file__).parents[2] / "docs" / "export.md").read_text(encoding="utf-8")
    lines = [
        peft_lines(card).replace("path/to/this/folder", folder),
        peft_lines(docs).replace("my-adapter", folder),
    ]
    without = lines[0].rsplit("model.config.is_causal", 1)[0]
    monkeypatch.chdir("/")  # from which the backbone's relative folder is found, too
    coded = tagger.encoder.tokenizer(text, return_tensors="pt")
    with torch.inference_mode():
        expected = tagger.tagger.emitter.backbone.model(**coded).last_hidden_state[0]
    *same, causal = alone(PEFT_ALONE, *([folder, code, text] for code in (*lines, without)))
    for hidden in same:
        torch.testing.assert_close(torch.tensor(hidden), expected, atol=1e-4, rtol=0)
    assert (torch.tensor(causal) - expected).abs().max() > 0.5, "without the line, in silence"


def test_an_adapter_whose_backbone_is_on_the_hub_names_its_commit(llama, tmp_path):
    run = write_checkpoint(tmp_path, llama, attention="causal", peft="lora", lora={"rank": 2})
    files = loading.read_tagger_files(str(run), tmp_path)
    origin = {"name": "lab/llama", "weights": "commit:abc", "folder": None}
    pretrained = Pretrained("lab/llama", on_hub=True)
    settings = {**files.settings, "backbone": "lab/llama"}
    tagger = files.build("cpu", merge=False)
    there = replace(files, origin=origin, pretrained=pretrained, settings=settings)
    exported_weights.write(tagger, there, tmp_path, {"form": "adapter"})
    config = json.loads((tmp_path / "adapter_config.json").read_text(encoding="utf-8"))
    assert (config["base_model_name_or_path"], config["revision"]) == ("lab/llama", "abc")
