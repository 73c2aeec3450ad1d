"""What the CPU can compute, as Linux tells it."""

from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")


def cpu_features() -> str:
    """What `/proc/cpuinfo` says; empty on other systems."""
    return CPUINFO.read_text(encoding="utf-8") if CPUINFO.is_file() else ""


def is_intel_without_amx(features: str) -> bool:
    """Whether this is a CPU of Intel's that has AVX512_BF16 and no AMX, which virtual machines often hide.

    Args:
        features: as `cpu_features` returns them.
    """
    return "GenuineIntel" in features and "avx512_bf16" in features and "amx_bf16" not in features
