"""From launch to the first open round: ``python -m bench start``.

``fedcore run`` of the digits without PyTorch, 4 workers, quorum 100 %: coordinator and workers started, data loaded, first weights made.
The control, in turn, is the least that can be done: as many interpreters as the run has processes, each importing numpy and pydantic.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bench.figures import machine, spread, tell
from bench.job import FEDCORE, moment

__all__ = ["measure_start"]

JOB = """\
apiVersion: fedcore.dev/v1alpha1
kind: FederatedJob
metadata: {{name: start}}
spec:
  rounds: 1
  task: {{entrypoint: "fedcore.tasks.mnist:numpy_task", parameters: {{images: "400"}}}}
  quorum: {{percent: 100}}
  workers: {{replicas: {workers}}}
"""


def start_seconds(workers: int) -> float:
    """Run the job, and return the time from launch to ``round_opened``."""
    with tempfile.TemporaryDirectory(prefix="fedcore-bench-") as folder:
        job = Path(folder) / "job.yaml"
        job.write_text(JOB.format(workers=workers), encoding="utf-8")
        launched = time.time()
        command = [*FEDCORE, "run", str(job), "--run-dir", str(Path(folder) / "run"), "--json", "-q"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
        if done.returncode:
            raise SystemExit(f"the run did not succeed: {done.stderr[-2000:]}")
        lines = (Path(folder) / "run" / "events.jsonl").read_text("utf-8").splitlines()
        opened = next(event for event in map(json.loads, lines) if event["event"] == "round_opened")
        return moment(opened) - launched


def interpreter_seconds(count: int) -> float:
    """Start interpreters side by side, and return the time until all have ended."""
    began = time.time()
    processes = [subprocess.Popen([sys.executable, "-P", "-c", "import numpy, pydantic"]) for _ in range(count)]
    for process in processes:
        process.wait()
    return time.time() - began


def measure_start(workers: int, *, repeats: int) -> dict[str, Any]:
    """Run both in turn, and return the figures."""
    interpreter_seconds(workers + 2)  # not counted: fills the page cache
    ours, controls = [], []
    for repeat in range(repeats):
        ours.append(start_seconds(workers))
        controls.append(interpreter_seconds(workers + 2))
        tell(f"start {workers} {repeat + 1}/{repeats}: {ours[-1]:.2f} s, interpreters {controls[-1]:.2f} s")
    return {
        "bench": "start",
        "workers": workers,
        "repeats": repeats,
        **spread("start_s", ours, 3),
        **spread("control_s", controls, 3),
        **spread("ratio", [our / control for our, control in zip(ours, controls, strict=True)], 3),
        **machine(),
    }
