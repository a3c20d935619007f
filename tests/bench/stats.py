"""Medians, percentiles, and what machine they were measured on."""

import math
import os
import platform
from collections.abc import Sequence
from pathlib import Path
from statistics import median

__all__ = ["load", "machine", "median", "percentile"]


def percentile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that at least `share` (0–1) of the values do not exceed."""
    ordered = sorted(values)
    return ordered[max(math.ceil(len(ordered) * share), 1) - 1]


def load() -> str:
    """Return the load average of the last minute."""
    return f"{os.getloadavg()[0]:.1f}"


def machine() -> dict[str, str]:
    """Return processor, cores, memory, kernel and Python."""
    model = next((line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")), platform.machine())
    total_kib = next((int(line.split()[1]) for line in _lines("/proc/meminfo") if line.startswith("MemTotal")), 0)
    return {
        "processor": model, "cores": str(len(os.sched_getaffinity(0))), "memory": f"{total_kib / 2**20:.0f} GiB",
        "kernel": platform.release(), "python": platform.python_version(), "load": load(),
    }  # fmt: skip


def _lines(path: str) -> list[str]:
    return Path(path).read_text(encoding="utf-8").splitlines()
