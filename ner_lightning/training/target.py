"""What a trainer builds its model for: precision, device, and the rows that it is given."""

import lightning.pytorch as pl

from ner_lightning.model.build import Target
from ner_lightning.model.devices import runs_in_bf16
from ner_lightning.system.precision import names_bf16
from ner_lightning.system.progress import stage


def in_bf16(trainer: pl.Trainer) -> bool:
    """Whether a trainer runs the backbone in bf16; its device may not."""
    return runs_in_bf16(names_bf16(trainer.precision), trainer.strategy.root_device.type)


def target_of(
    trainer: pl.Trainer, *, compiled: bool, mergeable: bool = False, cached: bool = False
) -> Target:
    """A trainer's target; for arguments see `Target`."""
    batches = getattr(getattr(trainer, "datamodule", None), "batches", None)
    return Target(
        bf16=in_bf16(trainer),
        device_type=trainer.strategy.root_device.type,
        packed=batches is not None and batches.packing,
        mergeable=mergeable,
        compiled=compiled,
        cached=cached,
    )


def report_fp32_fallback(trainer: pl.Trainer) -> None:
    """Prints a line if the backbone cannot run in bf16, which the trainer asks for."""
    if names_bf16(trainer.precision) and not in_bf16(trainer):
        what = "CPU" if trainer.strategy.root_device.type == "cpu" else "GPU"
        stage(f"This {what} has no fast products in bf16: the backbone runs in fp32, which is faster here.")


def fits_target(built: Target, wanted: Target) -> bool:
    """Whether a tagger that was built for one target gives what one of its own would give for another."""
    alike = all(getattr(built, name) == getattr(wanted, name) for name in ("bf16", "device_type"))
    return alike and (built.packed or not wanted.packed)
