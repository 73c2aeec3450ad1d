"""NERModule: the LightningModule around a tagger; steps and logging, nothing else."""

from dataclasses import dataclass, fields
from typing import Any, Literal

import torch
from torch import Tensor

from ner_lightning.data.batching import Batch
from ner_lightning.data.pretrained import folder_of, locate
from ner_lightning.data.schemes import LabelSet
from ner_lightning.errors import UserError
from ner_lightning.metrics.entity_f1 import EntityF1
from ner_lightning.model.adapters import Lora
from ner_lightning.model.backbone import Attention, AttentionImplementation
from ner_lightning.model.build import build
from ner_lightning.model.checkpoint import check_backbone, check_names, check_types, kept_names
from ner_lightning.model.extensions import LossPart, Preparation
from ner_lightning.model.extensions import loss_parts as checked
from ner_lightning.model.features import CacheSettings
from ner_lightning.model.loss import LossWeights, check_objective
from ner_lightning.model.settings import Architecture, Pooling
from ner_lightning.model.tagger import Tagger
from ner_lightning.system.ranges import (
    BelowOne,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    UnitInterval,
    UpToHalf,
    check_arguments,
    register,
)
from ner_lightning.training.averaging import WeightAverage
from ner_lightning.training.callbacks.throughput import logs_step
from ner_lightning.training.datamodule import CoNLLDataModule
from ner_lightning.training.optim import Schedule, parameter_groups
from ner_lightning.training.steps import Steps

register()
HALF = "bf16-mixed"
PREFIX = "tagger."
EVALUATIONS = ("validate", "test")  # what a trainer does outside of a fit


class NERModule(Steps):
    """A backbone with adapters, a word-level head, a CRF and a compound loss.

    Args:
        backbone: a Hub id, a folder, a GGUF file, or `package:module/file.gguf`.
        types: the entity types; taken from the data.
        revision: the backbone's branch, tag or commit on the Hub.
        attention: `bidirectional` lets each word see its right context, `causal` does not.
        causal_below: layers at the bottom that stay causal when the others are bidirectional.
        layers: use only this many layers, from the bottom; null uses all.
        freeze_backbone: leave the backbone's own weights as they are.
        peft: `lora` adds adapters, `none` does not.
        lora: the adapters' settings.
        unfreeze_top: train this many of the last layers whole.
        pooling: which of a word's sub-tokens stands for it: `first`, `last`, or their `mean`.
        dropout: on word vectors.
        word_dropout: share of words that the backbone does not get to read while training.
        use_crf: a CRF over the words; false for a softmax at each word.
        constrained: decode only legal BIO2 sequences.
        loss: weights of the loss's parts.
        lr: peak learning rate of adapters, or of the backbone's own weights.
        head_lr: peak learning rate of the head; null takes `lr`.
        crf_lr: peak learning rate of the CRF; null takes ten times the head's.
        weight_decay: of AdamW, on matrices.
        warmup: share of the steps in which learning rates rise.
        schedule: how they fall afterwards.
        averaging: score and keep an average of the weights, in the mean this share of the steps so far old;
            0 averages nothing.
        attn_implementation: of attention; `auto` takes what measured fastest.
        gradient_checkpointing: recompute activations in the backward pass: less memory, slower.
        compile: compile the backbone's layers: a minute at the start, then faster.
        cache: keep on disk what the layers that are not trained compute.
        prepare: changes the loaded backbone first: a `Preparation` of your own, by `class_path`.
        loss_parts: parts of the loss of your own, each a `LossPart` by `class_path`.
        trust_remote_code: run Python code that comes with the backbone's weights.
        members: the other members of an ensemble; `ner-lightning ensemble` writes them.
    """

    def __init__(
        self,
        backbone: str = "meta-llama/Llama-3.2-1B-Instruct",
        types: list[str] | None = None,
        revision: str | None = None,
        attention: Attention = "bidirectional",
        causal_below: NonNegativeInt = 0,
        layers: PositiveInt | None = None,
        freeze_backbone: bool = True,
        peft: Literal["none", "lora"] = "lora",
        lora: Lora = Lora(),  # noqa: B008  (frozen, so sharing it is safe)
        unfreeze_top: NonNegativeInt = 0,
        pooling: Pooling = "last",
        dropout: BelowOne = 0.1,
        word_dropout: BelowOne = 0.0,
        use_crf: bool = True,
        constrained: bool = True,
        loss: LossWeights = LossWeights(),  # noqa: B008  (frozen)
        lr: PositiveFloat = 1e-4,
        head_lr: PositiveFloat | None = None,
        crf_lr: PositiveFloat | None = None,
        weight_decay: NonNegativeFloat = 0.01,
        warmup: UnitInterval = 0.1,
        schedule: Schedule = "linear",
        averaging: UpToHalf = 0.0,
        attn_implementation: AttentionImplementation = "auto",
        gradient_checkpointing: bool = False,
        compile: bool = False,
        cache: CacheSettings = CacheSettings(),  # noqa: B008  (frozen)
        prepare: Preparation | None = None,
        loss_parts: list[LossPart] | None = None,
        trust_remote_code: bool = False,
        members: list[dict[str, Any]] | None = None,
    ) -> None:
        super().__init__()
        check_arguments(type(self), locals(), "model.")
        self.save_hyperparameters(ignore=["prepare", "loss_parts"])  # no plain values
        self.strict_loading = False  # the frozen backbone is not in a checkpoint; see load_state_dict
        if not types:
            raise UserError("model.types: there are no entity types to learn")
        self.cache = cache
        self.average = WeightAverage(averaging)
        self._averaged: dict[str, Any] | None = None  # of the checkpoint that is continued
        self.labels = LabelSet(tuple(types))
        self.loss_parts = checked(loss_parts)
        self.architecture = Architecture.of({**self.hparams, "prepare": prepare})
        check_objective(self.architecture.weights, use_crf, [part.weight for part in self.loss_parts])
        self.pretrained = locate(backbone, revision)
        self.weights_id: str | None = None
        self.tagger: Tagger | None = None
        self.metrics = torch.nn.ModuleDict({s: EntityF1(types) for s in ("val", "test")})
        self._merges = False  # whether adapters are about to be merged

    @property
    def built(self) -> Tagger:
        """The tagger, once `configure_model` has built it."""
        assert self.tagger is not None, "configure_model comes first"
        return self.tagger

    def setup(self, stage: str) -> None:
        """Lets the metrics know gold types that the model does not: their entities count as missed."""
        data = getattr(self.trainer, "datamodule", None)
        if isinstance(data, CoNLLDataModule):
            name, split = ("test", "test") if stage == "test" else ("val", "valid")
            data.warn_of_unknown(split)
            self.metrics[name] = EntityF1(data.scored_labels(split).types)

    def configure_model(self) -> None:
        """Loads the backbone and builds the tagger, in the precision that the trainer was given."""
        if self.tagger is not None:
            return
        hparams = self.hparams
        trainer = self._trainer
        self._merges = trainer is not None and trainer.state.fn in EVALUATIONS
        if hparams["members"] and trainer is not None and trainer.state.fn == "fit":
            raise UserError("an ensemble is not trained; train its members, and put them together again")
        self.tagger, self.weights_id = build(
            self.pretrained,
            self.labels,
            self.architecture,
            hparams["members"],
            bf16=trainer is not None and trainer.precision == HALF,
            implementation=hparams["attn_implementation"],
            device_type=self.device.type if trainer is None else trainer.strategy.root_device.type,
            checkpointing=hparams["gradient_checkpointing"],
            compiled=hparams["compile"] and not self._merges,  # one pass is over before it would pay
            cached=self.cache.enabled,
            mergeable=self._merges,
            packed=trainer is not None and getattr(trainer.datamodule, "packing", False),  # type: ignore[attr-defined]
            trust_remote_code=hparams["trust_remote_code"],
        )
        self.tagger.loss_parts = self.loss_parts

    def training_step(self, batch: Batch) -> dict[str, Tensor]:
        """One batch's loss; see `Steps.step_output`."""
        assert batch.tags is not None, "training data has tags"
        parts = self.built.losses(self.built(batch), batch.tags, batch.mask)
        words = batch.mask.sum()
        output = self.step_output(self.built.total(parts), words)
        # For loggers and an epoch's line alone: `log` costs as much as a step of a head.
        if self.trainer.is_last_batch or logs_step(self.trainer, ahead=1):
            sums = torch.stack([words.to(output["loss"].dtype), *(part.detach() for part in parts.values())])
            count, *means = self.trainer.strategy.reduce(sums, reduce_op="mean").unbind()
            for name, mean in zip(parts, means, strict=True):
                self.log(f"train/{name}", mean / count, batch_size=1)
        return output

    def validation_step(self, batch: Batch) -> Any:
        """Scores a validation batch."""
        return self._evaluate("val", batch)

    def test_step(self, batch: Batch) -> Any:
        """Scores a test batch."""
        return self._evaluate("test", batch)

    def _evaluate(self, stage: str, batch: Batch) -> "Prediction":
        assert batch.tags is not None, "evaluation data has tags"
        emissions = self.built(batch)
        # To the loss, words of types that the model does not know are O: the best that it can predict.
        known = torch.where(batch.tags < len(self.labels), batch.tags, 0)
        parts = self.built.losses(emissions, known, batch.mask)
        tags = self.built.decode(emissions, batch.mask)
        metric: Any = self.metrics[stage]
        metric.update(tags, batch.tags, batch.mask)
        metric.add_loss(self.built.total(parts))
        return Prediction(batch.index, batch.mask, batch.tags, emissions, tags)

    def on_validation_epoch_end(self) -> None:
        """Logs validation metrics."""
        self._log_metrics("val")

    def on_test_epoch_end(self) -> None:
        """Logs test metrics."""
        self._log_metrics("test")

    def _log_metrics(self, stage: str) -> None:
        metric: Any = self.metrics[stage]
        for name, value in metric.compute().items():
            self.log(f"{stage}/{name}", value, prog_bar=name == "f1", rank_zero_only=False)

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """Takes a step, and counts its outcome in the average."""
        super().optimizer_step(*args, **kwargs)
        self.average.update(self.built)

    def on_validation_start(self) -> None:
        """Merges the adapters, see `_merge`; within a fit the average is scored."""
        self._merge()
        self.average.exchange(self.built)

    def on_validation_end(self) -> None:
        """Takes the weights up again."""
        self.average.exchange(self.built)

    def on_train_start(self) -> None:
        """Continues weights and random numbers where they were when the checkpoint was written."""
        super().on_train_start()
        if self._averaged is not None:
            self.average.restore(self.built, self._averaged)
            self._averaged = None

    def on_train_end(self) -> None:
        """Leaves the model as it was scored."""
        self.average.settle(self.built)

    def on_test_start(self) -> None:
        """Merges the adapters; see `_merge`."""
        self._merge()

    def _merge(self) -> None:
        """Outside of a fit the model that is scored is the one that prediction and export use, and faster."""
        if self._merges:
            self.built.merge()
            self._merges = False

    def on_validation_epoch_start(self) -> None:
        """Forgets the counts of the epoch before."""
        self.metrics["val"].reset()  # type: ignore[operator]

    def on_test_epoch_start(self) -> None:
        """Forgets the counts of an earlier test."""
        self.metrics["test"].reset()  # type: ignore[operator]

    def configure_optimizers(self) -> Any:
        """AdamW with a rate for each part, and its schedule over the real number of steps."""
        hparams = self.hparams
        head_lr = hparams["lr"] if hparams["head_lr"] is None else hparams["head_lr"]
        groups = parameter_groups(
            self.built,
            lr=hparams["lr"],
            head_lr=head_lr,
            crf_lr=10 * head_lr if hparams["crf_lr"] is None else hparams["crf_lr"],
            weight_decay=hparams["weight_decay"],
        )
        return self.adamw(groups, hparams)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keeps what was trained, and the name and exact weights of what was not."""
        super().on_save_checkpoint(checkpoint)
        checkpoint |= self.average.save(checkpoint["state_dict"], self.built, PREFIX)
        kept = {PREFIX + name for name in kept_names(self.built)}
        state = checkpoint["state_dict"]
        checkpoint["state_dict"] = {name: state[name] for name in state if name in kept}
        checkpoint["backbone"] = {
            "name": self.hparams["backbone"],
            "revision": self.hparams["revision"],
            "weights": self.weights_id,
            "folder": folder_of(self.hparams["backbone"], self.pretrained),
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Checks that a checkpoint belongs to this model: same backbone weights, same parameters."""
        self.configure_model()
        check_backbone(checkpoint["backbone"], self.hparams["backbone"], self.weights_id)
        check_types(checkpoint["hyper_parameters"]["types"], self.labels.types)
        kept = {PREFIX + name for name in kept_names(self.built)}
        check_names(checkpoint["state_dict"], kept)
        self._averaged = checkpoint.get("averaged")
        super().on_load_checkpoint(checkpoint)


@dataclass(frozen=True)
class Prediction:
    """What an evaluation step hands to callbacks.

    Attributes:
        index: each sentence's position in its split. *Shape:* (B,)
        mask: true on real words. *Shape:* (B, W)
        gold: gold tag ids. *Shape:* (B, W)
        emissions: *Shape:* (B, W, C)
        tags: predicted tag ids. *Shape:* (B, W)
    """

    index: Tensor
    mask: Tensor
    gold: Tensor
    emissions: Tensor
    tags: Tensor

    def to(self, device: torch.device) -> "Prediction":
        """The same on another device."""
        return Prediction(*(getattr(self, field.name).to(device) for field in fields(self)))
