"""NERModule: the LightningModule around a tagger; steps and logging, nothing else."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor

from ner_lightning.data.batching import Batch
from ner_lightning.data.pretrained import folder_of, locate
from ner_lightning.data.schemes import LabelSet
from ner_lightning.errors import UserError
from ner_lightning.metrics.entity_f1 import EntityF1
from ner_lightning.model.adapters import Lora
from ner_lightning.model.backbone import Attention
from ner_lightning.model.build import Target, build_tagger
from ner_lightning.model.checkpoint import PREFIX, check_belongs, check_names, saved_names
from ner_lightning.model.emitter import BackboneEmitter
from ner_lightning.model.extensions import preparation
from ner_lightning.model.loss import Loss
from ner_lightning.model.pinning import pinned
from ner_lightning.model.quantization import Quantization
from ner_lightning.model.tagger import Tagger
from ner_lightning.model.tagger_settings import Architecture, Cache, Peft, Runtime, TaggerSettings
from ner_lightning.system.plain_settings import coerced, to_plain
from ner_lightning.system.ranges import check_arguments, register
from ner_lightning.training.averaging import WeightAverage
from ner_lightning.training.datamodule import CoNLLDataModule
from ner_lightning.training.optim import Optimizer, parameter_groups
from ner_lightning.training.plain_config import plain_config, plain_data
from ner_lightning.training.resuming import check_settings
from ner_lightning.training.scoring_module import EVALUATIONS, ScoringModule
from ner_lightning.training.stored_settings import StoredSettings, check_unchanged
from ner_lightning.training.target import fits_target, report_fp32_fallback, target_of
from ner_lightning.training.trainer_checks import check_built_trainer, check_encoded_data

register()


class NERModule(StoredSettings, ScoringModule):
    """A backbone with adapters, a word-level head, a CRF and a compound loss.

    Args:
        backbone: a Hub id, a folder, a GGUF file, or `package:module/file.gguf`.
        types: the entity types; taken from the data.
        revision: the backbone's branch, tag or commit on the Hub.
        attention: `bidirectional` lets each word see its right context, `causal` does not.
        freeze_backbone: leave the backbone's own weights as they are. Its own dropout is off either way.
        peft: `lora` adds adapters, `none` does not.
        lora: the adapters' settings.
        use_crf: a CRF over the words; false for a softmax at each word.
        quantization: hold the frozen backbone in 4 (nf4) or 8 bits (int8); needs the extra `quant`.
        architecture: what else the tagger is made of.
        loss: weights of the loss's parts.
        optimizer: learning rates, their schedule, and averaging.
        runtime: how the backbone is run.
        cache: keep on disk what the frozen layers compute.
        members: the other members of an ensemble; `ner-lightning ensemble` writes them.
    """

    _target = Target()  # what the tagger was built for

    def __init__(
        self,
        backbone: str = "meta-llama/Llama-3.2-1B-Instruct",
        types: list[str] | None = None,
        revision: str | None = None,
        attention: Attention = "bidirectional",
        freeze_backbone: bool = True,
        peft: Peft = "lora",
        lora: Lora = Lora(),
        use_crf: bool = True,
        quantization: Quantization = "none",
        architecture: Architecture = Architecture(),
        loss: Loss = Loss(),
        optimizer: Optimizer = Optimizer(),
        runtime: Runtime = Runtime(),
        cache: Cache = Cache(),
        members: list[dict[str, Any]] | None = None,
    ) -> None:
        super().__init__()
        check_arguments(type(self), locals(), "model.")
        if not types:
            raise UserError("model.types: there are no entity types to learn")
        runtime, architecture = coerced(Runtime, runtime), coerced(Architecture, architecture)
        trust = runtime.trust_remote_code
        loss, optimizer = Loss.of(loss, use_crf, trust=trust), coerced(Optimizer, optimizer)
        self.settings = TaggerSettings(
            backbone=backbone,
            revision=revision,
            attention=attention,
            freeze_backbone=freeze_backbone,
            peft=peft,
            lora=coerced(Lora, lora),
            use_crf=use_crf,
            quantization=quantization,
            architecture=replace(architecture, prepare=preparation(architecture.prepare, trust=trust)),
            loss=loss,
            runtime=runtime,
        )
        self.members = [TaggerSettings.read(member, trust=trust) for member in members or ()]
        self.optimizer_settings, self.cache = optimizer, coerced(Cache, cache)
        self.labels, self.pretrained, self.weights_id = LabelSet(tuple(types)), locate(backbone, revision), ""
        self.save_hyperparameters(self._in_use() | {"members": to_plain(members)})
        self.strict_loading = False  # the frozen backbone is not in a checkpoint; see load_state_dict
        self.tagger = None
        self._kept: dict[str, Tensor] = {}  # what a tagger has learned, while another is built around it
        self.metrics = torch.nn.ModuleDict({s: EntityF1(types) for s in ("val", "test")})
        self.average = WeightAverage(optimizer.averaging)

    def _in_use(self) -> dict[str, Any]:
        more = {"types": self.labels.types, "optimizer": self.optimizer_settings, "cache": self.cache}
        settings: dict[str, Any] = to_plain(vars(self.settings) | more)
        settings["runtime"]["trust_remote_code"] = False  # consent is never read from a checkpoint
        return settings

    @property
    def built(self) -> Tagger:
        """The tagger, once `configure_model` has built it."""
        assert self.tagger is not None, "configure_model comes first"
        return self.tagger

    def setup(self, stage: str) -> None:
        """Checks trainer and data; the metrics learn of gold types that the model does not know: missed."""
        check_built_trainer(self.trainer)
        check_unchanged(self, self._in_use())
        data = getattr(self.trainer, "datamodule", None)
        if not isinstance(data, CoNLLDataModule):
            return
        check_encoded_data(self.settings, self.labels.types, data)
        if stage == "fit":
            weights, teacher = data.corpus.weights("train"), data.corpus.teacher
            self.settings.loss.check_data(weights, teacher, use_crf=self.settings.use_crf)
        if stage != "predict":
            name, split = ("test", "test") if stage == "test" else ("val", "valid")
            data.corpus.warn_of_unknown(split)
            self.metrics[name] = EntityF1(data.corpus.scored_labels(split).types)

    def configure_model(self) -> None:
        """Loads the backbone and builds the tagger, in the precision that the trainer was given.

        A tagger that was built for another precision, device or packing is built anew around what it learned.
        """
        trainer = self._trainer
        fitting = trainer is not None and trainer.state.fn == "fit"
        if fitting and self._merged:  # nothing is left to train
            if self.loaded_step:
                raise UserError("an evaluation merged this NERModule's adapters: make a new one to train")
            self.unmerge()
        if self.members and fitting:
            raise UserError("an ensemble is not trained; train its members, and put them together again")
        if self.tagger is not None:
            unfit = fitting and self._target.mergeable  # of an evaluation that broke off
            alike = trainer is None or fits_target(self._target, self._target_of(trainer))
            if self._merged or (alike and not unfit):
                return
            names = saved_names(self.tagger)
            self._kept = {name: value for name, value in self.tagger.state_dict().items() if name in names}
            self.tagger = None
        self._merging = not self._kept and trainer is not None and trainer.state.fn in EVALUATIONS
        self._target = self._target_of(trainer)
        if trainer is not None:
            report_fp32_fallback(trainer)
        given: Any = {"members": self.members, "pretrained": self.pretrained}
        self.tagger, self.weights_id = build_tagger(self.settings, self.labels, self._target, **given)
        if self._kept:
            self.tagger.load_state_dict(self._kept, strict=False)
            self._kept = {}

    def _target_of(self, trainer: pl.Trainer | None) -> Target:
        """What a tagger is built for, with a trainer or without one."""
        cached, compiled = self.cache.enabled, self.settings.runtime.compile
        if trainer is None:
            return Target(device_type=self.device.type, compiled=compiled, cached=cached)
        # One pass of an evaluation ends before compilation would pay.
        compiled = compiled and trainer.state.fn not in EVALUATIONS
        return target_of(trainer, mergeable=self._merging, compiled=compiled, cached=cached)

    def configure_callbacks(self) -> list[Callback]:
        """Also what fills the cache of features, if it is enabled."""
        callbacks = super().configure_callbacks()
        if self.cache.enabled:
            from ner_lightning.training.callbacks.fill_cache import FillFeatureCache  # which knows this class

            callbacks.append(FillFeatureCache())
        return callbacks

    def training_step(self, batch: Batch) -> dict[str, Tensor]:
        """One batch's loss; see `TrainingModule.step_output`."""
        assert batch.tags is not None, "training data has tags"
        decoder, teacher = self.built.decoder, batch.teacher
        how: Any = {"partial": batch.partial, "weights": batch.weights}
        parts = decoder.losses(self.built(batch), batch.tags, batch.mask, teacher=teacher, **how)
        words = decoder.loss.counted(batch.tags, batch.mask, taught=teacher is not None, **how)
        output = self.step_output(decoder.total(parts), words)
        self.log_parts(parts, words)
        return output

    def configure_optimizers(self) -> Any:
        """AdamW with a rate for each part, and its schedule over the real number of steps."""
        emitter, decoder = self.built.emitter, self.built.decoder
        assert isinstance(emitter, BackboneEmitter), "an ensemble is not trained"
        groups = parameter_groups(emitter.backbone, emitter.head, decoder.crf, self.optimizer_settings)
        return self.adamw(groups, self.optimizer_settings)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keeps what was trained, and the name and exact weights of what was not."""
        if self._merged:
            raise UserError("an evaluation merged this NERModule's adapters: they can no longer be saved")
        super().on_save_checkpoint(checkpoint)
        checkpoint |= self.average.save(checkpoint["state_dict"], self.built, PREFIX)
        saved = {PREFIX + name for name in saved_names(self.built)}
        checkpoint["state_dict"] = {n: v for n, v in checkpoint["state_dict"].items() if n in saved}
        checkpoint["backbone"] = {
            "name": self.settings.backbone,
            "revision": self.hparams["revision"],
            "weights": self.weights_id,
            "folder": folder_of(self.settings.backbone, self.pretrained),
        }
        # That of the command, if there is one; with a plain `Trainer` what module and data module know.
        checkpoint.setdefault("config", plain_config(self.trainer, self.hparams, self.labels.types))
        checkpoint.setdefault("data", plain_data(self.trainer))

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Checks that a checkpoint belongs to this model: same backbone weights, same parameters."""
        self.unmerge()
        self._follow(checkpoint["backbone"])
        fitting = self._trainer is not None and self.trainer.state.fn == "fit"
        check_settings(checkpoint, {"model": self._in_use()}, training=fitting)
        self.configure_model()
        check_belongs(checkpoint, self.settings.backbone, self.weights_id, self.labels.types)
        check_names(checkpoint["state_dict"], {PREFIX + name for name in saved_names(self.built)})
        super().on_load_checkpoint(checkpoint)

    def _follow(self, origin: Mapping[str, Any]) -> None:
        """Takes the commit of a checkpoint's training; `load_from_checkpoint` has taken a branch's newest."""
        asked, weights = self.hparams["revision"], origin.get("weights")
        if self._trainer is not None or weights == self.weights_id or asked != origin.get("revision"):
            return
        every = {**to_plain(vars(self.settings)), "members": [to_plain(vars(one)) for one in self.members]}
        found = pinned(every, origin)
        self.settings = replace(self.settings, revision=found["revision"])
        revisions = [its["revision"] for its in found["members"]]
        self.members = [replace(o, revision=r) for o, r in zip(self.members, revisions, strict=True)]
        self.pretrained = locate(self.settings.backbone, self.settings.revision)
        self.tagger = None
