"""The files of a trained tagger, and the model that is built of them."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from ner_lightning.data.corpus_settings import Encoding
from ner_lightning.data.positions import DEFAULT, positions
from ner_lightning.data.pretrained import Pretrained
from ner_lightning.data.schemes import LabelSet
from ner_lightning.data.tokenization.encoding import Encoder, load_tokenizer
from ner_lightning.data.tokenization.exported import ExportedTokenizer, is_exported_tokenizer
from ner_lightning.inference.engines.choice import OPENVINO, TORCH
from ner_lightning.model.build import Target, build_tagger, decoder_of
from ner_lightning.model.checkpoint import EMITTER, check_backbone, check_names, saved_names
from ner_lightning.model.devices import as_current, runs_in_bf16
from ner_lightning.model.emitter import Emitter
from ner_lightning.model.tagger import Tagger
from ner_lightning.model.tagger_settings import TaggerSettings
from ner_lightning.system.progress import stage

GRAPH = "model.onnx"
OPENVINO_GRAPH = "openvino.xml"  # its weights are in the file beside it with the suffix .bin
CHECKPOINT, ADAPTER, MERGED, ONNX = "checkpoint", "adapter", "merged", "onnx"  # forms of a trained tagger
MEMBERS = "members"  # the setting with the other members of an ensemble
ExportFormat = Literal["merged", "adapter", "onnx", "openvino"]


@dataclass(frozen=True)
class TaggerFiles:
    """The files of a trained tagger.

    Attributes:
        form: `checkpoint`, or the form of an exported folder: `adapter`, `merged`, `onnx`.
        path: the checkpoint or the folder.
        settings: the settings of `TaggerSettings`, as plain values.
        types: the entity types.
        encoding: how words become sub-tokens.
        bf16: whether the backbone runs in bf16, where the device has instructions for it.
        origin: name and fingerprint of the backbone that it was trained on.
        state: the trained parameters, by their names in `Tagger`.
        pretrained: the files of the backbone; for ONNX, of the tokenizer.
        trust: whether code may run that comes with the backbone or prepares it; never read from a file.
        temperature: scores are divided by it before they become probabilities.
        about: what an exported folder says about its training.
        engines: what an export measured of each engine; None if PyTorch alone can run it.
        trained_on: fingerprints of its training data, as far as they are known; of each member's.
    """

    form: str
    path: Path
    settings: Mapping[str, Any]
    types: tuple[str, ...]
    encoding: Encoding
    bf16: bool
    origin: Mapping[str, Any]
    state: Mapping[str, Tensor]
    pretrained: Pretrained
    trust: bool = False
    temperature: float = 1.0
    about: Mapping[str, Any] | None = None
    engines: Mapping[str, Any] | None = None
    trained_on: tuple[str, ...] = ()

    @property
    def members(self) -> Sequence[Mapping[str, Any]]:
        """The settings of an ensemble's members after the first; empty for a single tagger."""
        return self.settings.get(MEMBERS) or ()

    @property
    def quantized(self) -> bool:
        """Whether the backbone's weights are in few bits."""
        return str(self.settings.get("quantization", "none")) != "none"

    def encoder(self, *, whole: bool = False) -> Encoder:
        """The encoder, from words to sub-tokens.

        Args:
            whole: with transformers' tokenizer, which can also be saved; it is slower to import.
        """
        encoding = self.encoding
        folder = Path(self.pretrained.name)
        if self.form in (MERGED, ONNX) and not whole and is_exported_tokenizer(folder):
            return Encoder(ExportedTokenizer(folder), encoding)
        if self.form == CHECKPOINT:  # an export limits the length
            # A checkpoint of an earlier version may have windows longer than its backbone's positions.
            limit = positions(self.pretrained, self.trust)
            length = min(encoding.max_length or DEFAULT, limit or sys.maxsize)
            encoding = replace(encoding, max_length=length)
        return Encoder(load_tokenizer(self.pretrained, trust_remote_code=self.trust), encoding)

    def build(
        self,
        device: str,
        *,
        engine: str = TORCH,
        bf16: bool | None = None,
        merge: bool = True,
        dequantize: bool = False,
    ) -> Tagger:
        """Builds the model.

        Args:
            device: where it will run.
            engine: what computes emissions: `torch` or `openvino`; an ONNX graph has its own.
            bf16: run the backbone in bf16; None: as it was trained, on a CPU only if it can.
            merge: merge adapters into the backbone, unless it is quantised.
            dequantize: hold the values of quantised weights in fp32; `bf16` is what they were quantised from.

        Raises:
            UserError: the backbone or the parameters are not those of the training.
        """
        if self.form == ONNX or engine == OPENVINO:
            return self._graph()
        # Weights that the files replace are drawn first: the caller's random numbers stay what they were.
        with as_current(device), torch.random.fork_rng(devices=[]):
            tagger = self._torch(device, bf16, dequantize)
        check_names(self.state, saved_names(tagger))
        tagger.load_state_dict(self.state, strict=False)
        if merge:
            tagger.emitter.merge()
        return tagger.to(device).eval()

    def _graph(self) -> Tagger:
        """A tagger whose backbone and head are a graph; the decoder stays here."""
        # The graph contains whatever prepared the backbone.
        architecture = {**self.settings["architecture"], "prepare": None}
        settings = TaggerSettings.read({**self.settings, "architecture": architecture})
        emitter: Emitter
        if self.form == ONNX:
            from ner_lightning.inference.engines.onnx import GraphEmitter

            emitter = GraphEmitter(self.path / GRAPH, settings.architecture.pooling)
        else:
            from ner_lightning.inference.engines.openvino import OpenVINOEmitter

            stage(f"Loading {self.pretrained.label} with OpenVINO ...")
            emitter = OpenVINOEmitter(
                self.path / OPENVINO_GRAPH, settings.architecture.pooling, bf16=self.bf16
            )
        tagger = Tagger(emitter, decoder_of(settings, LabelSet(self.types)))
        state = {name: value for name, value in self.state.items() if not name.startswith(EMITTER)}
        check_names(state, saved_names(tagger))
        tagger.load_state_dict(state, strict=False)
        return tagger.eval()

    def _torch(self, device: str, bf16: bool | None, dequantize: bool) -> Tagger:
        every = (self.settings, *self.members)
        settings, *members = (TaggerSettings.read(values, trust=self.trust) for values in every)
        kind = torch.device(device).type
        target = Target(
            bf16=runs_in_bf16(self.bf16, kind) if bf16 is None else bf16,
            device_type=kind,
            mergeable=self.form != MERGED,
            dequantized=dequantize,
            identified=self.form != MERGED,  # which comes with its backbone
        )
        tagger, fingerprint = build_tagger(
            settings, LabelSet(self.types), target, members=members, pretrained=self.pretrained
        )
        if target.identified:
            check_backbone(self.origin, settings.backbone, fingerprint)
        return tagger
