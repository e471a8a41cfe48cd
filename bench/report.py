"""What a report costs: ``python -m bench report``.

Two parts. ``fedcore run`` with and without its report in turn, on the same small job: what a user waits longer, from the summary to the end
of the process, since all before it is the same. And ``fedcore report`` on
two run directories: that of such a run, and one of the real coordinator with simulated workers (`bench.simulated`), a thousand of them.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bench.figures import machine, spread, tell
from bench.job import FEDCORE, ROOT, echo_job, start_coordinator
from bench.simulated import simulated_workers

__all__ = ["measure_report"]

JOB = ROOT / "examples" / "numpy.yaml"
FEW_WORKERS, FEW_ROUNDS = 8, 10
MEGABYTES = 0.001
SECONDS_A_ROUND = 30


def measure_report(workers: int, rounds: int, repeats: int) -> dict[str, Any]:
    """Return both parts."""
    with tempfile.TemporaryDirectory(prefix="fedcore-bench-") as folder:
        place = Path(folder)
        bare, whole = [], []
        for repeat in range(repeats):
            bare.append(run(place / f"bare-{repeat}", "--no-report"))
            whole.append(run(place / f"whole-{repeat}", "--report"))
            tell(f"report {repeat + 1}/{repeats}: the end of a run takes {bare[-1]:.2f} s, with its report {whole[-1]:.2f} s")
        few = write(place / f"whole-{repeats - 1}", repeats)
        many = write(simulate(place, workers, rounds), 1)
    return {
        "bench": "report",
        "repeats": repeats,
        **spread("end_s", bare, 2),
        **spread("longer_s", [one - other for one, other in zip(whole, bare, strict=True)], 2),
        "few": {"workers": FEW_WORKERS, "rounds": FEW_ROUNDS, **few},
        "many": {"workers": workers, "rounds": rounds, **many},
        **machine(),
    }


def run(run_dir: Path, report: str) -> float:
    """Return how long ``fedcore run`` goes on after it has written its summary: all that a report can make longer."""
    size = ["--workers", str(FEW_WORKERS), "--rounds", str(FEW_ROUNDS)]
    command = [*FEDCORE, "run", str(JOB), "--run-dir", str(run_dir), "--json", "-q", report, *size]
    subprocess.run(command, check=True, stdout=subprocess.PIPE)
    return time.time() - (run_dir / "summary.json").stat().st_mtime


def simulate(place: Path, workers: int, rounds: int) -> Path:
    """Return the run directory of a job with many workers."""
    tell(f"report: {rounds} rounds of {workers} simulated workers")
    with (
        start_coordinator(echo_job(workers, MEGABYTES, rounds), folder=place) as coordinator,
        simulated_workers(coordinator, workers, MEGABYTES),
    ):
        for number in range(1, rounds + 1):
            coordinator.wait_for("round_closed", 600 if number == 1 else SECONDS_A_ROUND, round=number)
            coordinator.events.clear()
        coordinator.wait_for("run_finished", SECONDS_A_ROUND)
        kept = place / "many"
        kept.mkdir()
        for name in ("events.jsonl", "job.yaml"):
            shutil.copyfile(coordinator.run_dir / name, kept / name)
        return kept


def write(run_dir: Path, repeats: int) -> dict[str, Any]:
    """Return time and memory of ``fedcore report``, and the sizes of what it reads and writes."""
    seconds, peaks = [], []
    for _ in range(repeats):
        began = time.monotonic()
        with subprocess.Popen([*FEDCORE, "report", str(run_dir)], stdout=subprocess.DEVNULL, stderr=sys.stderr) as process:
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise SystemExit(f"fedcore report ended with {process.returncode}")
        seconds.append(time.monotonic() - began)
        peaks.append(usage.ru_maxrss * 1024 / 1e6)
    octets = {name: (run_dir / file).stat().st_size for name, file in (("events_mb", "events.jsonl"), ("html_mb", "report.html"))}
    octets["plots_mb"] = sum(path.stat().st_size for path in (run_dir / "plots").iterdir())
    found = {**spread("report_s", seconds, 2), "peak_rss_mb": round(max(peaks)), **{name: round(n / 1e6, 2) for name, n in octets.items()}}
    tell(f"report: {json.dumps(found)}")
    return found
