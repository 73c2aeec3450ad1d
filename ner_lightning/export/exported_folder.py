"""Writes a trained tagger as a folder that others can load: adapter, merged model, or ONNX graph."""

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from ner_lightning.errors import UserError
from ner_lightning.export import exported_tokenizer, exported_weights
from ner_lightning.export.card import model_card
from ner_lightning.export.card_metadata import public_name
from ner_lightning.export.dequantized import compare
from ner_lightning.export.facts import facts
from ner_lightning.inference.engines.choice import OPENVINO
from ner_lightning.inference.engines.packages import require
from ner_lightning.inference.engines.timing import measure_engines
from ner_lightning.inference.loading import FORMAT, read_tagger_files
from ner_lightning.inference.tagger_files import ADAPTER, CHECKPOINT, MERGED, ONNX, ExportFormat, TaggerFiles
from ner_lightning.model.tagger import Tagger
from ner_lightning.model.weights import text_model_name
from ner_lightning.runs.folder import MANIFEST
from ner_lightning.runs.provenance import package_versions
from ner_lightning.system.output_checks import writing
from ner_lightning.system.permissions import open_to_readers_of
from ner_lightning.system.plain_settings import to_plain
from ner_lightning.system.progress import stage
from ner_lightning.system.ranges import PositiveFloat, check_setting

Precision = Literal["auto", "float32", "bfloat16"]


def export(
    run: str | None,
    output: Path,
    *,
    format: ExportFormat = "merged",
    dtype: Precision = "auto",
    temperature: float | None = None,
    root: Path = Path("runs"),
    backbone: str | None = None,
    trust: bool = False,
) -> Path:
    """Writes a trained tagger as a folder.

    Args:
        run: a run folder, a checkpoint or an exported folder; None: the last run.
        output: the folder to write, which must be missing or empty, or a link to an empty one.
        format: `merged`, `adapter` (only what was trained), `onnx`, or `openvino` (merged, and a graph).
        dtype: of a merged backbone; `auto` is the precision that it was trained to run in.
        temperature: scores are divided by it before they become probabilities; None: as it is.
        root: the folder of runs, for None.
        backbone: where the run's backbone is now; None: where it was.
        trust: run code that comes with the run's backbone, or that the run names.

    Returns:
        the folder.

    Raises:
        UserError: the run cannot be used, the folder is not empty, or the run cannot have this format.
    """
    _check_options(format, dtype, temperature)
    folder = _checked(output)
    files = read_tagger_files(run, root, backbone=backbone, trust=trust)
    _check_format(files, format)
    encoder = files.encoder(whole=True)
    tagger = _build(files, format)
    manifest = _manifest(files, format, dtype, temperature, encoder.max_length)
    stage(f"Writing {output} ...")
    with _draft_of(folder) as draft:
        loads = exported_weights.write(tagger, files, draft, manifest)
        if format == ADAPTER and (part := text_model_name(files.pretrained, trust_remote_code=trust)):
            manifest["about"]["text_model"] = part  # which PEFT alone does not find
        if manifest["form"] == MERGED and files.quantized:
            manifest["about"]["dequantized"] = compare(files, encoder, tagger)
        spaces = exported_tokenizer.write(encoder, draft)
        _measure(draft, manifest, trust)
        card = model_card(manifest, folder.name, loads=loads, spaces=spaces)
        (draft / "README.md").write_text(card, encoding="utf-8")
        (draft / MANIFEST).write_text(manifest_text(manifest), encoding="utf-8")
    return output


def _measure(draft: Path, manifest: dict[str, Any], trust: bool) -> None:
    """Adds to the manifest how fast the engines are, if there are several."""
    if "engines" in manifest:
        (draft / MANIFEST).write_text(manifest_text(manifest), encoding="utf-8")
        manifest["engines"] = measure_engines(draft, trust=trust)


@contextmanager
def _draft_of(folder: Path) -> Iterator[Path]:
    """Makes a draft folder, which becomes the folder at the end; removed if the block raises.

    A folder that is there stays, since it may be in use or a mount point; it gets the draft's files.
    """
    # Within a folder that is there: its parent may be another file system, or not ours to write.
    above = folder if folder.is_dir() else folder.parent
    draft = above / f".{folder.name}.{os.getpid()}.tmp"
    draft.mkdir(parents=True)
    try:
        yield draft
        open_to_readers_of(draft / MANIFEST, draft)
        if above is folder:
            # The manifest last: without it, nobody takes the folder for a whole one.
            for file in sorted(draft.iterdir(), key=lambda file: file.name == MANIFEST):
                file.replace(folder / file.name)
            draft.rmdir()
        else:
            draft.replace(folder)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise


def _check_options(format: ExportFormat, dtype: Precision, temperature: float | None) -> None:
    check_setting("temperature", PositiveFloat | None, temperature)
    if dtype != "auto" and format not in (MERGED, OPENVINO):
        raise UserError(f"--dtype is for --format merged and openvino; {format} keeps fp32")


def _checked(output: Path) -> Path:
    """The folder to write, by its own name and not that of a link, or `.`."""
    if output.is_symlink() and not output.exists():
        raise UserError(f"--output {output} is a link to nothing; name a new folder")
    folder = output.resolve()
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise UserError(f"--output {output} already exists; name a new folder")
    with writing(f"--output {output}"):
        folder.parent.mkdir(parents=True, exist_ok=True)
    above = folder if folder.is_dir() else folder.parent
    if not os.access(above, os.W_OK):
        raise UserError(f"--output {output}: {above} is not writable")
    return folder


def _check_format(files: TaggerFiles, format: ExportFormat) -> None:
    if files.form == ONNX or (format == ADAPTER and files.form == MERGED):
        what = "an ONNX graph" if files.form == ONNX else "a merged model"
        raise UserError(
            f"{files.path} is {what}, which cannot be exported with --format {format}; "
            "name the run that it was exported from"
        )
    if files.members:
        raise UserError(
            f"{files.path} is an ensemble, and an exported folder holds a single model; "
            "export a member, or use the ensemble itself with `predict` and `serve`"
        )
    if format == OPENVINO:
        require("OpenVINO", "openvino", "openvino")
    if format == ADAPTER and not files.settings["freeze_backbone"]:
        raise UserError("the whole backbone was trained, so there is no adapter; use --format merged")


def _build(files: TaggerFiles, format: ExportFormat) -> Tagger:
    """The tagger whose weights are written.

    Raises:
        UserError: its backbone cannot be had, or not be written in this format.
    """
    merges = format != ADAPTER
    # Adapters are merged in fp32; only the result is rounded. Weights are quantised as in training.
    dequantizes = merges and files.quantized
    tagger = files.build("cpu", bf16=files.bf16 and dequantizes, merge=merges, dequantize=dequantizes)
    _check_prepared(tagger, format)
    return tagger


def _check_prepared(tagger: Tagger, format: ExportFormat) -> None:
    """Checks that what is written of a backbone can be prepared when it is loaded.

    Raises:
        UserError: `model.architecture.prepare` changed what is written, and would change it once more.
    """
    backbone = getattr(tagger.emitter, "backbone", None)
    if format in (MERGED, OPENVINO) and backbone is not None and backbone.rewritten:
        raise UserError(
            "model.architecture.prepare changes the backbone's weights or configuration, so a folder of "
            f"--format {format} would hold them changed, and loading it would change them again;\n"
            "use --format adapter or onnx"
        )


def manifest_text(manifest: Mapping[str, Any]) -> str:
    """A manifest as it is written to its file."""
    return json.dumps(manifest, indent=2, ensure_ascii=False) + "\n"


def _manifest(
    files: TaggerFiles, format: ExportFormat, dtype: Precision, temperature: float | None, max_length: int
) -> dict[str, Any]:
    settings, origin = dict(files.settings), dict(files.origin)
    bf16 = files.bf16 if dtype == "auto" else dtype == "bfloat16"
    if format != ADAPTER:
        settings |= {"peft": "none", "freeze_backbone": True, "backbone": ".", "revision": None}
        settings["architecture"] = {**settings["architecture"], "unfreeze_top": 0}
        settings["quantization"] = "none"
        origin["name"] = public_name(origin.get("name"))
        origin.pop("folder", None)
    return {
        "format": FORMAT,
        "form": MERGED if format == OPENVINO else format,
        "types": list(files.types),
        "encoding": to_plain(files.encoding) | {"max_length": max_length},
        "bf16": bf16 and format != ONNX,
        "temperature": files.temperature if temperature is None else temperature,
        "settings": settings,
        "origin": origin,
        "versions": package_versions(),
        "about": dict(files.about or (facts(files.path) if files.form == CHECKPOINT else {})),
        "trained_on": list(files.trained_on),
        **({"engines": {}} if format == OPENVINO else {}),
    }
