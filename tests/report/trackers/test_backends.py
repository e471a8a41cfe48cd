"""Real runs with real back ends on disk, read back by other means than they were written; and one that raises and one that blocks."""

from __future__ import annotations

import csv
import json
import os
import re
import struct
import subprocess
import sys
import time
import urllib.request

import pytest

from support.coordinator import start_coordinator, stop_coordinator
from support.runs import TASK

LIMIT_SECONDS = 100
JOB = """\
apiVersion: fedcore.dev/v1alpha1
kind: FederatedJob
metadata: {name: tracked}
spec:
  rounds: 3
  task: {entrypoint: "drift_task:task", parameters: {seconds: "0.05"}}
  workload: {policy: fixed}
  quorum: {percent: 100, roundTimeoutSeconds: 60}
  workers: {replicas: 2}
"""
OWN = """\
import threading


class Raises:
    def on_run_start(self, run):
        raise ConnectionError("the server is down")

    log_round = on_run_end = on_run_start


class Blocks:
    def on_run_start(self, run):
        threading.Event().wait()

    log_round = on_run_end = on_run_start
"""

KEEPS = """\
import atexit
import threading


class Keeps:
    def on_run_start(self, run):
        atexit.register(threading.Event().wait)  # as TensorBoard's writer waits for a thread that a full disk has ended
        (run.run_dir / "blocked").touch()
        threading.Event().wait()

    log_round = on_run_end = on_run_start
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """One run that tells all of them, so that one that is down is seen to leave the others alone."""
    path = tmp_path_factory.mktemp("tracked")
    (path / "drift_task.py").write_text(TASK.read_text())
    (path / "own_trackers.py").write_text(OWN)
    (path / "job.yaml").write_text(JOB)
    environment = {key: value for key, value in os.environ.items() if not key.startswith("FEDCORE_")}
    environment |= {
        "PYTHONPATH": import_path(path),
        "FEDCORE_TRACKERS": "tensorboard,mlflow,own_trackers:Raises",
        "MLFLOW_TRACKING_URI": f"file:{path / 'mlruns'}",
        "MLFLOW_ALLOW_FILE_STORE": "true",
    }
    command = [sys.executable, "-P", "-m", "fedcore.cli.main", "run", "job.yaml", "--run-dir", "run", "--json", "-q", "--no-report"]
    done = subprocess.run(command, cwd=path, env=environment, capture_output=True, text=True, timeout=LIMIT_SECONDS)
    assert done.returncode == 0, done.stderr
    return path


@pytest.fixture(scope="module")
def rounds(folder):
    with (folder / "run" / "rounds.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def figures(rows):
    """What both stores must hold: each numeric column that a row has, by name and round."""
    return {
        (name, int(row["round"])): float(text)
        for row in rows
        for name, text in row.items()
        if text and name not in {"round", "resume", "outcome", "opened_at", "slowest_worker"}
    }


def records(path):
    """The records of an event file: length, checksum, that many bytes, checksum."""
    data = path.read_bytes()
    while data:
        (length,) = struct.unpack("<Q", data[:8])
        yield data[12 : 12 + length]
        data = data[12 + length + 4 :]


def test_tensorboard_has_the_figures_of_rounds_csv(folder, rounds):
    from tensorboardX.proto.event_pb2 import Event

    [path] = (folder / "run" / "tensorboard").iterdir()
    found, texts = {}, {}
    for record in records(path):
        event = Event.FromString(record)
        for value in event.summary.value:
            if value.HasField("simple_value"):
                found[value.tag, event.step] = value.simple_value
            else:
                texts[value.tag.removesuffix("/text_summary")] = value.tensor.string_val[0].decode()
    expected = figures(rounds)
    assert len(expected) > 30
    assert found == pytest.approx(expected, rel=1e-6)  # single precision
    assert json.loads(texts["summary"])["reason"] == "Completed"
    assert json.loads(texts["job"])["spec"]["rounds"] == 3


def test_mlflow_has_the_figures_of_rounds_csv(folder, rounds):
    [run] = [path.parent for path in (folder / "mlruns").glob("*/*/meta.yaml")]
    found = {}
    for path in (run / "metrics").iterdir():
        for line in path.read_text().splitlines():
            _time, value, step = line.split()
            found[path.name, int(step)] = float(value)
    assert found == figures(rounds)
    tags = {path.name: path.read_text() for path in (run / "tags").iterdir()}
    assert (tags["fedcore.job"], tags["fedcore.reason"], tags["fedcore.phase"]) == ("tracked", "Completed", "Succeeded")
    assert (run / "params" / "rounds").read_text() == "3"
    assert "status: 3" in (run / "meta.yaml").read_text()  # FINISHED


def test_one_that_raises_is_counted_logged_once_and_turned_off(folder):
    log = (folder / "run" / "logs" / "coordinator.log").read_text()
    assert log.count("tracker_failed tracker=own_trackers:Raises") == 1
    assert "ConnectionError: the server is down" in log
    assert log.count("tracker_off tracker=own_trackers:Raises failures=5") == 1
    assert "tracker=tensorboard" not in log
    assert "tracker=mlflow" not in log


def run(folder, *arguments, **environment):
    command = [sys.executable, "-P", "-m", "fedcore.cli.main", "run", "job.yaml", "--json", "-q", "--no-report", *arguments]
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("FEDCORE_", "MLFLOW_"))}
    return subprocess.run(command, cwd=folder, env=kept | environment, capture_output=True, text=True, timeout=LIMIT_SECONDS)


def test_one_that_blocks_for_ever_fails_no_run(folder):
    done = run(folder, "--run-dir", "blocked", "--tracker", "own_trackers:Blocks", PYTHONPATH=import_path(folder))
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["reason"] == "Completed"
    log = (folder / "blocked" / "logs" / "coordinator.log").read_text()
    assert "tracker_not_told tracker=own_trackers:Blocks calls=5" in log


def test_a_resumed_run_goes_on_in_the_same_mlflow_run(tmp_path):
    """In a process of its own: MLflow keeps global state, and warns of what this project does not do."""
    code = f"""
import pathlib
from fedcore.report.trackers import RunInfo
from fedcore.report.trackers.mlflow import MLflow

for resume in (0, 1):
    tracker = MLflow()
    tracker.on_run_start(RunInfo("mnist", "r1", resume, {{"rounds": 2}}, pathlib.Path({str(tmp_path)!r})))
    tracker.log_round({{"round": resume + 1, "accuracy": 0.5, "loss": None, "outcome": "full"}})
tracker.on_run_end({{"phase": "Failed", "reason": "QuorumLost", "message": "too few"}})
"""
    environment = {**os.environ, "MLFLOW_TRACKING_URI": f"file:{tmp_path}/mlruns", "MLFLOW_ALLOW_FILE_STORE": "true"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=LIMIT_SECONDS)
    assert done.returncode == 0, done.stderr
    [metric] = (tmp_path / "mlruns").glob("*/*/metrics/*")
    assert metric.name == "accuracy"
    assert [line.split()[1:] for line in metric.read_text().splitlines()] == [["0.5", "1"], ["0.5", "2"]]
    assert "status: 4" in (metric.parents[1] / "meta.yaml").read_text()  # FAILED


@pytest.mark.parametrize(
    ("variables", "flags", "said"),
    [
        pytest.param({}, ["--tracker", "wandb"], '"wandb" is no tracker', id="flag"),
        pytest.param({"FEDCORE_TRACKERS": "tensorboard,nothing"}, [], '"nothing" is no tracker', id="variable"),
        pytest.param({}, ["--tracker", "mlflow"], "MLFLOW_TRACKING_URI is not set", id="no server named"),
    ],
)
def test_run_refuses_before_it_starts(folder, variables, flags, said):
    done = run(folder, "--run-dir", "refused", *flags, **variables)
    assert done.returncode == 2
    assert said in done.stderr
    assert "nothing was started" in done.stderr
    assert not (folder / "refused").exists()


def test_failures_are_in_the_metrics(tmp_path, monkeypatch):
    (tmp_path / "own_trackers.py").write_text(OWN)
    monkeypatch.setenv("PYTHONPATH", import_path(tmp_path))
    coordinator = start_coordinator(tmp_path, JOB, "--tracker", "own_trackers:Raises")
    try:
        url = f"http://127.0.0.1:{coordinator.metrics_port}/metrics"
        deadline = time.monotonic() + LIMIT_SECONDS
        found = None
        while found != "1.0" and time.monotonic() < deadline:  # its thread makes the call when it comes to it
            text = urllib.request.urlopen(url, timeout=10).read().decode()
            found = re.search(
                r'^fedcore_tracker_errors_total{federatedjob="tracked",tracker="own_trackers:Raises"} (.*)$', text, re.MULTILINE
            )[1]
        assert found == "1.0"
    finally:
        stop_coordinator(coordinator)


def test_one_that_keeps_the_interpreter_does_not_keep_the_process(tmp_path, monkeypatch):
    (tmp_path / "own_trackers.py").write_text(KEEPS)
    monkeypatch.setenv("PYTHONPATH", import_path(tmp_path))
    coordinator = start_coordinator(tmp_path, JOB, "--tracker", "own_trackers:Keeps")
    try:
        deadline = time.monotonic() + LIMIT_SECONDS
        while not (coordinator.run_dir / "blocked").exists():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        coordinator.process.terminate()
        assert coordinator.process.wait(60) == 143
    finally:
        stop_coordinator(coordinator)


def import_path(folder):
    return os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])


def test_the_coordinator_refuses_before_it_starts(folder):
    command = [sys.executable, "-P", "-m", "fedcore.cli.main", "coordinator", "--job", "job.yaml", "--run-dir", "refused", "--port", "0"]
    environment = {**os.environ, "FEDCORE_TRACKERS": "nothing"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=LIMIT_SECONDS)
    assert done.returncode == 2
    assert 'error: --tracker (or FEDCORE_TRACKERS): "nothing" is no tracker' in done.stderr
