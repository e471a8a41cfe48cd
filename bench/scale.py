"""A thousand workers on one coordinator: ``python -m bench scale --workers 1000``.

Simulated workers (`bench.simulated`), a model of 0.1 MB, quorum 100 %. The control is the same job with a hundred workers in the same
run, in turn: ``cost_ratio`` is a round's time per worker at N over that at 100. Beside it the registration storm, and what the coordinator
holds: threads, descriptors, memory.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bench.figures import machine, spread, tell
from bench.job import echo_job, moment, start_coordinator
from bench.simulated import simulated_workers

if TYPE_CHECKING:
    from bench.job import Coordinator

__all__ = ["measure_scale"]

CONTROL_WORKERS = 100


def run_scale(workers: int, megabytes: float, count: int) -> dict[str, float]:
    """Run one job of ``count`` rounds after one that is not counted."""
    with start_coordinator(echo_job(workers, megabytes, count + 1)) as coordinator, simulated_workers(coordinator, workers, megabytes):
        coordinator.wait_for("round_opened", 600, round=count + 1)
        held = holdings(coordinator)
        finished = coordinator.wait_for("run_finished", 1200)
        if finished["phase"] != "Succeeded":
            raise SystemExit(f"the job did not succeed: {finished}")
        registered = [moment(event) for event in coordinator.named("worker_registered")]
        opened = {event["round"]: moment(event) for event in coordinator.named("round_opened")}
        last = next(e for e in coordinator.named("checkpoint_written") if e["version"] == count + 1)
        seconds = (moment(last) - opened[2]) / count
        storm = max(registered) - min(registered)
        return {
            "round_s": seconds,
            "per_worker_ms": 1000 * seconds / workers,
            "registration_s": storm,
            "peak_rss_mb": coordinator.peak_rss_mb,
            **held,
        }


def holdings(coordinator: Coordinator) -> dict[str, float]:
    """Return threads and descriptors of the coordinator now."""
    return {"threads": coordinator.threads(), "descriptors": coordinator.descriptors()}


def measure_scale(workers: int, megabytes: float, *, rounds: int, repeats: int) -> dict[str, Any]:
    """Run N and the control in turn, and return the figures."""
    large, small = [], []
    for repeat in range(repeats):
        large.append(run_scale(workers, megabytes, rounds))
        small.append(run_scale(CONTROL_WORKERS, megabytes, rounds))
        tell(
            f"scale {workers} {repeat + 1}/{repeats}: {large[-1]['round_s']:.2f} s a round, {large[-1]['per_worker_ms']:.2f} ms a worker; "
            f"{CONTROL_WORKERS}: {small[-1]['per_worker_ms']:.2f} ms"
        )
    pairs = list(zip(large, small, strict=True))
    figures: dict[str, float] = {}
    for key in ("round_s", "per_worker_ms", "registration_s"):
        figures |= spread(key, [each[key] for each in large])
    return {
        "bench": "scale",
        "workers": workers,
        "control_workers": CONTROL_WORKERS,
        "mb": megabytes,
        "repeats": repeats,
        "rounds": rounds,
        **spread("cost_ratio", [one["per_worker_ms"] / other["per_worker_ms"] for one, other in pairs], 3),
        **figures,
        **spread("control_per_worker_ms", [each["per_worker_ms"] for each in small]),
        **{key: max(each[key] for each in large) for key in ("threads", "descriptors", "peak_rss_mb")},
        **{f"control_{key}": max(each[key] for each in small) for key in ("threads", "descriptors", "peak_rss_mb")},
        **machine(),
    }
