"""How a figure is told: medians with their spread, ratios taken inside each repeat, and the machine they belong to."""

from __future__ import annotations

import contextlib
import os
import platform
import ssl
import statistics
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fedcore import __version__

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["TICK_SECONDS", "cpu_seconds", "machine", "spread", "tell"]

TICK_SECONDS = 1 / os.sysconf("SC_CLK_TCK")
"""The least processor time that the system counts."""


def cpu_seconds(pids: Iterable[int]) -> float:
    """Return the processor time that these processes have used; one that has ended is left out."""
    ticks = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            fields = Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
    return ticks * TICK_SECONDS


def spread(name: str, values: Sequence[float], digits: int = 4) -> dict[str, float]:
    """Return median, smallest and largest under ``name``, ``name_min`` and ``name_max``."""
    return {
        name: round(statistics.median(values), digits),
        f"{name}_min": round(min(values), digits),
        f"{name}_max": round(max(values), digits),
    }


def machine() -> dict[str, Any]:
    """Say what the figures were measured on."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "machine": f"{os.cpu_count()} x {_processor()}, {memory:.0f} GiB",
        "versions": {
            "fedcore": __version__,
            "python": platform.python_version(),
            "numpy": np.__version__,
            "openssl": ssl.OPENSSL_VERSION,
            "kernel": platform.release(),
        },
    }


def tell(line: str) -> None:
    """Say on stderr how far a bench is; stdout is for its result."""
    print(line, file=sys.stderr, flush=True)


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
