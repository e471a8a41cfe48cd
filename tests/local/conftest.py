"""Real runs on loopback: a tiny task, a job of three workers, and ``fedcore run`` as a process."""

from __future__ import annotations

import csv
import json
import os
import select
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from support.runs import assert_no_request_failed

LIMIT_SECONDS = 90

TASK = '''
"""Four numbers that every worker moves by one per round; accuracy grows with them."""
import threading

import numpy as np

from fedcore.tasks.task import Evaluated, Trained

WORK_SECONDS = 0.15


class Steps:
    def __init__(self, index):
        self.index = index

    def samples(self):
        return 10 + self.index

    def initial_weights(self, seed):
        return {"w": np.zeros(4, np.float32)}

    def train(self, weights, work):
        threading.Event().wait(WORK_SECONDS)  # as long as real work would take, so that faults strike in its midst
        return Trained({"w": weights["w"] + 1}, self.samples(), 1.0 / work.round)

    def eval_samples(self):
        return 5

    def evaluate(self, weights):
        return Evaluated(5, {"accuracy": float(weights["w"][0]) / 10, "loss": 1.0})


def task(context):
    return Steps(context.index)


class Speechless(Steps):
    """Reports no loss, and takes longer to begin than a worker goes without a sign of life."""

    def samples(self):
        threading.Event().wait(0.5)
        return 10

    def train(self, weights, work):
        return Trained({"w": weights["w"] + 1}, 10)


def speechless(context):
    return Speechless(context.index)


def refusing(context):
    from fedcore.tasks.parameters import InvalidParameter

    if context.index == 1:
        raise InvalidParameter("size", "big", "small", "it does not fit")
    return Steps(context.index)
'''
JOB = """\
apiVersion: fedcore.dev/v1alpha1
kind: FederatedJob
metadata: {name: steps}
spec:
  rounds: 3
  task:
    entrypoint: steps_task:task
  workload: {policy: fixed}
  quorum: {percent: 100, roundTimeoutSeconds: 60}
  workers: {replicas: 3}
  failurePolicy: {restartBackoffSeconds: 1}
"""


@dataclass
class Finished:
    """What a run left behind."""

    exit_code: int
    stdout: str
    stderr: str
    run_dir: Path

    @property
    def summary(self):
        return json.loads((self.run_dir / "summary.json").read_text())

    @property
    def events(self):
        return [json.loads(line) for line in (self.run_dir / "events.jsonl").read_text().splitlines()]

    @property
    def rounds(self):
        with (self.run_dir / "rounds.csv").open(newline="") as file:
            return list(csv.DictReader(file))


@dataclass
class Runs:
    """Starts ``fedcore run`` on the job of this test."""

    folder: Path
    started: list[subprocess.Popen] = field(default_factory=list)
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def job(self):
        return self.folder / "job.yaml"

    @property
    def run_dir(self):
        return self.folder / "run"

    def start(self, *arguments, job=True):
        """Start a run; its report takes longer than most runs here, so who wants it says ``--report``."""
        return self._start("run", *(["job.yaml"] if job else []), "--run-dir", str(self.run_dir), "--no-report", *arguments)

    def command(self, *arguments):
        """Run any other command of ``fedcore``."""
        return self.finish(self._start(*arguments))

    def _start(self, *arguments):
        environment = {key: value for key, value in os.environ.items() if not key.startswith("FEDCORE_")} | self.environment
        command = [sys.executable, "-P", "-m", "fedcore.cli.main", *arguments]
        process = subprocess.Popen(command, cwd=self.folder, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.started.append(process)
        return process

    def finish(self, process):
        out, err = process.communicate(timeout=LIMIT_SECONDS)
        return Finished(process.returncode, out, err, self.run_dir)

    def run(self, *arguments, job=True):
        return self.finish(self.start(*arguments, job=job))

    def wait_for(self, process, word):
        """Read a run's lines until one has this word."""
        for line in process.stderr:
            if word in line:
                return line
        raise AssertionError(f"ended with {process.wait()} before it said {word}")

    def wait_for_ends(self, pids):
        """Wait until all these processes are gone."""
        for pid in pids:
            try:
                descriptor = os.pidfd_open(pid)
            except ProcessLookupError:
                continue
            poll = select.poll()
            poll.register(descriptor, select.POLLIN)
            gone = poll.poll(LIMIT_SECONDS * 1000)
            os.close(descriptor)
            assert gone, f"process {pid} is still there"

    def children(self):
        """Return the ids of processes that work on this run directory."""
        return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit() and self._is_ours(entry.name)]

    def _is_ours(self, pid):
        try:
            command = Path(f"/proc/{pid}/cmdline").read_bytes()
        except OSError:
            return False
        return str(self.run_dir).encode() in command and b"\0run\0" not in command


@pytest.fixture
def runs(tmp_path):
    (tmp_path / "steps_task.py").write_text(TASK)
    made = Runs(tmp_path)
    made.job.write_text(JOB)
    yield made
    for process in made.started:
        if process.poll() is None:
            process.kill()
        process.communicate()
    made.wait_for_ends(made.children())
    assert_no_request_failed(made.run_dir)
