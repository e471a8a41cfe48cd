"""What the coordinator keeps in memory: ``python -m bench memory`` and ``python -m bench memory --minutes 30``.

The first compares its peak (VmHWM of its process) for 4, 16 and 64 workers with that of the same job whose model has 1 kB: what is left is
what the model costs. Up to 16 workers are real, above they are simulated. The second runs rounds for a while and says whether memory and
descriptors grow.
"""

from __future__ import annotations

import contextlib
import signal
import statistics
import time
from typing import Any

from bench.figures import machine, tell
from bench.job import echo_job, start_coordinator, start_workers
from bench.simulated import simulated_workers

__all__ = ["measure_memory", "measure_soak"]

REAL_WORKERS = 16
TINY_MB = 0.001
ROUNDS = 3
SAMPLE_SECONDS = 5.0


def peak(workers: int, megabytes: float) -> float:
    """Run a job of three rounds, and return the coordinator's peak in MB."""
    with contextlib.ExitStack() as stack:
        coordinator = stack.enter_context(start_coordinator(echo_job(workers, megabytes, ROUNDS)))
        if workers <= REAL_WORKERS:
            stack.enter_context(start_workers(coordinator, workers))
        else:
            stack.enter_context(simulated_workers(coordinator, workers, megabytes))
        coordinator.wait_for("run_finished", 1200, phase="Succeeded")
        return coordinator.peak_rss_mb


def measure_memory(counts: list[int], megabytes: float) -> dict[str, Any]:
    """Return peak and base for each number of workers."""
    rows = []
    for workers in counts:
        base, full = peak(workers, TINY_MB), peak(workers, megabytes)
        rows.append(
            {
                "workers": workers,
                "base_mb": round(base, 1),
                "peak_mb": round(full, 1),
                "above_base_mb": round(full - base, 1),
                "models": round((full - base) / megabytes, 2),
                "below_bound_mb": round(base + 2 * megabytes + 64 - full, 1),
            }
        )
        tell(f"memory {workers} x {megabytes:g} MB: {rows[-1]}")
    return {"bench": "memory", "mb": megabytes, "rows": rows, **machine()}


def measure_soak(workers: int, megabytes: float, minutes: float) -> dict[str, Any]:
    """Run rounds for so long, and compare the medians of memory and descriptors at the beginning with those at the end."""
    samples: list[tuple[float, float, int, int]] = []
    with start_coordinator(echo_job(workers, megabytes, 100_000)) as coordinator, start_workers(coordinator, workers) as processes:
        coordinator.wait_for("round_opened", 300, round=3)
        began = time.monotonic()
        while (now := time.monotonic() - began) < minutes * 60:
            samples.append((now, coordinator.rss_mb(), coordinator.descriptors(), coordinator.threads()))
            tell(f"soak {now:5.0f} s: {samples[-1][1]:.1f} MB, {samples[-1][2]} descriptors")
            coordinator.drain(SAMPLE_SECONDS)
        rounds = coordinator.last_round
        # The workers first: one that drains says so, and the coordinator needs no deadline to find out.
        for process in [*processes, coordinator.process]:
            process.send_signal(signal.SIGTERM)
    third = max(len(samples) // 3, 1)
    figures: dict[str, Any] = {}
    for place, name in ((1, "rss_mb"), (2, "descriptors"), (3, "threads")):
        first = statistics.median(sample[place] for sample in samples[:third])
        last = statistics.median(sample[place] for sample in samples[-third:])
        figures |= {f"{name}_first_third": round(first, 2), f"{name}_last_third": round(last, 2), f"{name}_growth": round(last - first, 2)}
    return {"bench": "soak", "workers": workers, "mb": megabytes, "minutes": minutes, "rounds": rounds, **figures, **machine()}
