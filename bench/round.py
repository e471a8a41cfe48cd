"""What a round costs: ``python -m bench round --workers N --mb S [--tls]``.

The echo job on the real coordinator and real workers, against its control (`bench.control`) in the same run, in turn. A round runs from
its opening to that of the next one, so mean, new version and bookkeeping are in it. The wait for fsync measures the disk: ``ratio`` is
without it, ``ratio_durable`` with it. Ratios are taken inside each repeat. ``cpu_ratio`` compares the processor time of all processes,
which other work on the machine disturbs less.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.certificate import make_certificate
from bench.control import control_round
from bench.figures import machine, spread, tell
from bench.job import echo_job, moment, start_coordinator, start_workers

if TYPE_CHECKING:
    from bench.control import Certificate

__all__ = ["measure_round", "run_rounds"]

WARM_UP = 2
"""First rounds that are not counted: files and buffers are made in them."""


def rounds_for(megabytes: float) -> int:
    """Return how many rounds to count in each repeat: about two seconds' worth."""
    return 100 if megabytes <= 1 else 20 if megabytes <= 10 else 4 if megabytes <= 200 else 2


def run_rounds(workers: int, megabytes: float, count: int, certificate: Certificate | None = None) -> dict[str, float]:
    """Run one job, and return seconds per round, of which in fsync, and the coordinator's peak memory."""
    job = echo_job(workers, megabytes, count + WARM_UP)
    with start_coordinator(job, certificate) as coordinator, start_workers(coordinator, workers):
        coordinator.wait_for("round_opened", 600, round=WARM_UP + 1)
        warm = coordinator.cpu_seconds()
        finished = coordinator.wait_for("run_finished", 900)
        cpu = coordinator.cpu_seconds() - warm
        if finished["phase"] != "Succeeded":
            raise SystemExit(f"the job did not succeed: {finished}")
        opened = {event["round"]: moment(event) for event in coordinator.named("round_opened")}
        written = [e for e in coordinator.named("checkpoint_written") if e["version"] > WARM_UP]
        last = next(e for e in written if e["version"] == count + WARM_UP)
        seconds = moment(last) - opened[WARM_UP + 1]
        return {
            "round_s": seconds / count,
            "cpu_s": cpu / count,
            "fsync_s": sum(e["fsync_s"] for e in written) / count,
            "aggregation_s": sum(e["aggregation_s"] for e in written) / count,
            "peak_rss_mb": coordinator.peak_rss_mb,
        }


def measure_round(workers: int, megabytes: float, *, tls: bool, repeats: int, rounds: int | None = None) -> dict[str, Any]:
    """Run job and control in turn, and return the figures."""
    count = rounds or rounds_for(megabytes)
    with tempfile.TemporaryDirectory(prefix="fedcore-bench-") as folder:
        certificate = make_certificate(Path(folder)) if tls else None
        ours, controls = [], []
        for repeat in range(repeats):
            ours.append(run_rounds(workers, megabytes, count, certificate))
            controls.append(control_round(workers, megabytes, count, certificate))
            seconds, fsync, control = ours[-1]["round_s"], ours[-1]["fsync_s"], controls[-1]["round_s"]
            cpu_ratio = ours[-1]["cpu_s"] / controls[-1]["cpu_s"]
            tell(
                f"round {workers} x {megabytes:g} MB{' tls' if tls else ''} {repeat + 1}/{repeats}: {seconds:.4f} s, fsync {fsync:.4f} s, "
                f"control {control:.4f} s, ratio {(seconds - fsync) / control:.2f}, cpu ratio {cpu_ratio:.2f}"
            )
    pairs = list(zip(ours, controls, strict=True))
    return {
        "bench": "round",
        "workers": workers,
        "mb": megabytes,
        "tls": tls,
        "repeats": repeats,
        "rounds": count,
        **spread("ratio", [(our["round_s"] - our["fsync_s"]) / control["round_s"] for our, control in pairs], 3),
        **spread("ratio_durable", [our["round_s"] / control["round_s"] for our, control in pairs], 3),
        **spread("cpu_ratio", [our["cpu_s"] / control["cpu_s"] for our, control in pairs], 3),
        **spread("round_s", [each["round_s"] for each in ours], 5),
        **spread("control_s", [control["round_s"] for control in controls], 5),
        **spread("fsync_s", [each["fsync_s"] for each in ours], 5),
        **spread("aggregation_s", [each["aggregation_s"] for each in ours], 5),
        "peak_rss_mb": round(max(each["peak_rss_mb"] for each in ours), 1),
        **machine(),
    }
