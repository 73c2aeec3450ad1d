"""Precision: those of a trainer that can be used, and which of them run the backbone in bf16."""

PRECISIONS = ("32-true", "64-true", "bf16-mixed")  # others do not leave trained weights in fp32


def names_bf16(precision: object) -> bool:
    """Whether a trainer's precision, as Lightning or a user writes it, runs the backbone in bf16."""
    return "bf16" in str(precision)
