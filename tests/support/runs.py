"""``fedcore run`` as a user starts it: a process with a deadline, and all that it leaves behind."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import re
import select
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import psutil

LIMIT_SECONDS = 60
TASK = Path(__file__).with_name("drift_task.py")
JOB = {
    "apiVersion": "fedcore.dev/v1alpha1",
    "kind": "FederatedJob",
    "metadata": {"name": "faults"},
    "spec": {
        "rounds": 4,
        "task": {"entrypoint": "drift_task:task"},
        "workload": {"policy": "fixed"},
        "quorum": {"percent": 100, "roundTimeoutSeconds": 30},
        "workers": {"replicas": 3},
        "failurePolicy": {"restartBackoffSeconds": 1},
    },
}


@dataclass
class Ended:
    """A run that has ended."""

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

    def named(self, *names):
        return [event for event in self.events if event["event"] in names]

    @property
    def rounds(self):
        return _table(self.run_dir / "rounds.csv")

    @property
    def updates(self):
        return _table(self.run_dir / "updates.csv")

    def log(self, process):
        return (self.run_dir / "logs" / f"{process}.log").read_text()

    @property
    def model(self):
        return hashlib.sha256((self.run_dir / "model.safetensors").read_bytes()).hexdigest()

    def assert_nothing_counted_twice(self):
        """In the collection that closed each round, every worker counts at most once, and the row says how many did."""
        closing = {row["round"]: row["resume"] for row in self.rounds if row["outcome"] in {"full", "quorum"}}
        counted = Counter(
            (row["round"], row["worker"])
            for row in self.updates
            if row["result"] == "accepted" and closing.get(row["round"]) == row["resume"]
        )
        assert set(counted.values()) == {1}
        rows = Counter(number for number, _ in counted)
        assert {row["round"]: int(row["accepted"]) for row in self.rounds if row["round"] in closing} == rows


def _table(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@dataclass
class Runs:
    """Starts ``fedcore run`` in the folder of one test."""

    folder: Path
    started: list[subprocess.Popen] = field(default_factory=list)
    environment: dict[str, str] = field(default_factory=dict)
    job: dict = field(default_factory=lambda: JOB)

    @property
    def run_dir(self):
        return self.folder / "run"

    def write_job(self):
        (self.folder / "job.yaml").write_text(json.dumps(self.job))

    def start(self, changes=None, *arguments, run_dir=None):
        """Start the job with fields set as given, by path."""
        self.write_job()
        fields = [part for path, value in (changes or {}).items() for part in ("--set", f"{path}={value}")]
        command = [sys.executable, "-P", "-m", "fedcore.cli.main", "run", "job.yaml", "--run-dir", str(run_dir or self.run_dir)]
        environment = {key: value for key, value in os.environ.items() if not key.startswith("FEDCORE_")} | self.environment
        process = subprocess.Popen(
            [*command, "--json", "--verbose", "--no-report", *fields, *arguments],
            cwd=self.folder, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        self.started.append(process)
        return process

    def finish(self, process, limit=LIMIT_SECONDS, run_dir=None):
        out, err = process.communicate(timeout=limit)
        assert_no_request_failed(run_dir or self.run_dir)
        return Ended(process.returncode, out, err, run_dir or self.run_dir)

    def run(self, changes=None, *arguments, run_dir=None, limit=LIMIT_SECONDS):
        return self.finish(self.start(changes, *arguments, run_dir=run_dir), limit, run_dir)

    def wait_for(self, process, *words):
        """Read a run's lines until one has all these words."""
        read = []
        for line in process.stderr:
            read.append(line)
            if all(word in line.split() for word in words):
                return line
        raise AssertionError(f"ended with {process.wait()} before it said {words}:\n{''.join(read)}")

    def kill(self):
        """End what is still there; a runner's children end with it."""
        for process in self.started:
            if process.poll() is None:
                process.kill()
            process.communicate()


def assert_no_request_failed(run_dir):
    """See that no process met an error of its own in a call or a heartbeat: those are tried again, so a run may end well all the same."""
    for log in (run_dir / "logs").glob("*.log"):
        text = log.read_text()
        assert not re.search("(request|connection|heartbeat)_failed", text), text[-3000:]


def children(process):
    """Return a runner's processes by name; the coordinator is ``coordinator``, a worker its index."""
    found = {}
    for child in psutil.Process(process.pid).children():
        command = child.cmdline()
        found[command[command.index("--index") + 1] if "worker" in command else "coordinator"] = child
    return found


def wait_for_end(pid, seconds):
    """Wait until a process that is not ours has ended."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        assert poll.poll(seconds * 1000), f"process {pid} is still there after {seconds} s"
    finally:
        os.close(descriptor)
