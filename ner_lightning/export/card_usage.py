"""How an exported folder is used, as its model card says it: with ner-lightning, transformers or PEFT."""

import json
from collections.abc import Iterator, Mapping
from importlib.metadata import PackageNotFoundError, metadata
from typing import Any

from ner_lightning.analysis.render.blocks import Block, Code, Heading, Items, Table, Text
from ner_lightning.data.pretrained import PACKAGE_PREFIX
from ner_lightning.export.card_metadata import HERE, shown_text
from ner_lightning.inference.engines.choice import BATCH, OPENVINO, SENTENCE, TORCH
from ner_lightning.inference.tagger_files import ADAPTER, MERGED, ONNX

PACKAGE = "ner-lightning"
_SPEED = (
    "Beside the merged model in bf16, the ONNX graph of a tagger of 135M parameters took as long for one "
    "sentence (0.98 times) and had 0.39 of the words/s in full batches, on two cores with bf16 instructions. "
    "This one was not measured: compare the words/s that this command prints for it and for an export with "
    "--format merged:"
)


def use(manifest: Mapping[str, Any], *, loads: bool, spaces: bool) -> Iterator[Block]:
    """The section of the card.

    Args:
        manifest: the folder's manifest.
        loads: whether `AutoModelForTokenClassification` loads the folder.
        spaces: whether the tokenizer's offsets count the space before a word as part of it.
    """
    yield Heading(2, "How to use it")
    text = shown_text(manifest) or "Your text."
    engines = manifest.get("engines")
    extra = "[onnx]" if manifest["form"] == ONNX else "" if engines is None else "[openvino]"
    yield Code(
        f"{_installed(manifest, extra)}"
        "from ner_lightning import NERTagger\n\n"
        f'tagger = NERTagger.from_pretrained("{HERE}")\n'
        f"print(tagger({_quoted(text)}).entities)"
    )
    if example := manifest["about"].get("example"):
        found = ", ".join(f"{each['label']} “{each['text']}”" for each in example["entities"])
        yield Text(f"The sentence is from its test data, in which it found {found}.")
    if manifest["form"] == ONNX:
        yield Text(_SPEED)
        yield Code(f"ner-lightning predict {HERE} --input texts.txt --output out.jsonl")
    if engines:
        yield from _engines(engines)
    if manifest["form"] == ADAPTER and manifest["settings"]["peft"] != "none":
        yield from _with_peft(manifest)
    if loads:
        yield from _with_transformers(manifest, spaces)
    elif manifest["settings"]["use_crf"]:
        yield Text("It has a CRF, so transformers alone cannot decode it.")
    elif manifest["form"] == MERGED and not _differences(manifest):
        yield Text(
            "transformers has no model for token classification with this backbone: AutoModel loads the "
            "backbone, and the linear head after it is in tagger.safetensors."
        )


def _installed(manifest: Mapping[str, Any], extra: str) -> str:
    """How to install the package, as comments: where its repository is, if the package says that."""
    version = (manifest.get("versions") or {}).get(PACKAGE, "")
    urls = [url.partition(", ")[2] for url in _project_urls()]
    where = f", {urls[0]}" if urls else ", which its author has"
    return (
        f"# It needs the Python package {PACKAGE} {version}".rstrip() + ": from its wheel, or\n"
        f"# in a clone of its repository{where}: pip install '.{extra}'\n"
    )


def _project_urls() -> list[str]:
    try:
        return metadata(PACKAGE).get_all("Project-URL") or []
    except PackageNotFoundError:
        return []


def _quoted(text: str) -> str:
    """A text as a string of Python."""
    return json.dumps(text, ensure_ascii=False)


def _engines(engines: Mapping[str, Any]) -> Iterator[Block]:
    yield Table(
        "Measured at export, on the machine that made this folder; `engine` of `from_pretrained` chooses",
        ["engine", "ms for a sentence of 20 words", "words/s in full batches"],
        [
            [name, f"{engines[key][SENTENCE]:.1f}", f"{engines[key][BATCH]:,.0f}"]
            for name, key in (("PyTorch", TORCH), ("OpenVINO", OPENVINO))
        ],
    )


def _with_peft(manifest: Mapping[str, Any]) -> Iterator[Block]:
    backbone = str(manifest["settings"]["backbone"])
    bidirectional = manifest["settings"]["attention"] == "bidirectional"
    needed = "; the last line is needed, since the backbone's own config may leave attention causal"
    yield Text(f"With PEFT alone, for hidden states without head and CRF{needed * bidirectional}:")
    lines = [
        "from peft import AutoPeftModelForFeatureExtraction\n",
        f'model = AutoPeftModelForFeatureExtraction.from_pretrained("{HERE}")',
    ]
    if backbone.startswith(PACKAGE_PREFIX) or backbone.endswith(".gguf"):
        lines = [
            "from peft import PeftModel\n",
            f'model = PeftModel.from_pretrained(backbone, "{HERE}")  # of AutoModel, by gguf_file',
        ]
    elif part := manifest["about"].get("text_model"):  # of a multimodal backbone
        lines = [
            "from peft import PeftModel",
            "from transformers import AutoModel\n",
            f"backbone = AutoModel.from_pretrained({_quoted(backbone)})",
            f'model = PeftModel.from_pretrained(backbone.{part}, "{HERE}")',
        ]
    if bidirectional:
        lines.append("model.config.is_causal = False  # as it was trained: bidirectional attention")
    yield Code("\n".join(lines))
    if differences := _differences(manifest):
        yield Text(f"PEFT alone computes other hidden states than ner-lightning, because {differences}.")


def _differences(manifest: Mapping[str, Any]) -> str:
    """What other libraries would not do when they load the backbone."""
    architecture, encoding = manifest["settings"]["architecture"], manifest.get("encoding", {})
    layers, below = architecture.get("layers"), architecture.get("causal_below")
    found = [
        layers and manifest["form"] == ADAPTER and f"only the first {layers} layers are used",
        below and f"attention is causal in the first {below} layers",
        architecture.get("unfreeze_top") and "layers that were trained whole are in tagger.safetensors",
        architecture.get("prepare") and "code of its own prepares the backbone",
        encoding.get("repeats") and "each text is read several times",
    ]
    return ", and ".join(text for text in found if text)


def _with_transformers(manifest: Mapping[str, Any], spaces: bool) -> Iterator[Block]:
    settings = manifest["settings"]
    pooling = settings["architecture"]["pooling"]
    yield Text("Without ner-lightning, with transformers 5.2 or later, which supports is_causal:")
    if pooling == "first":
        yield Code(
            "from transformers import pipeline\n\n"
            f'tagger = pipeline("token-classification", "{HERE}", aggregation_strategy="first")'
        )
    else:
        yield Code(
            "from transformers import AutoModelForTokenClassification, AutoTokenizer\n\n"
            f'model = AutoModelForTokenClassification.from_pretrained("{HERE}")\n'
            f'tokenizer = AutoTokenizer.from_pretrained("{HERE}")'
        )
    texts = [
        f"A word's score is {_WORDS[pooling]}, and ner-lightning splits punctuation off words.",
        f"Attention is {settings['attention']}, as config.json says; older versions of "
        "transformers would make it causal.",
    ]
    if pooling != "first":
        texts.append("The strategies of a transformers pipeline score words in other ways.")
    if spaces:
        texts.append(
            "The tokenizer counts the space before a word as part of it, so a pipeline's start may be "
            "that of the space: strip the text that it cuts out."
        )
    if (temperature := manifest["temperature"]) != 1:
        texts.append(
            f"Its probabilities are not calibrated there: divide the logits by {temperature:g}, which is "
            "ner-lightning's temperature."
        )
    if settings["architecture"]["constrained"]:
        texts.append("The best tag of each word need not be legal BIO2; ner-lightning decodes legal tags.")
    yield Items(texts)


_WORDS = {
    "first": "that of its first sub-token",
    "last": "that of its last sub-token",
    "mean": "the mean of those of its sub-tokens",
}
