"""A worker in another language, with a stock XML-RPC client, takes part in a job of the real coordinator."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path
from xmlrpc.client import Binary
from xmlrpc.server import SimpleXMLRPCServer

import numpy as np
import pytest
from safetensors.numpy import save

ROOT = Path(__file__).parents[2]
FEDCORE = str(Path(sys.executable).with_name("fedcore"))
IMAGES = 200

JOB = """\
apiVersion: fedcore.dev/v1alpha1
kind: FederatedJob
metadata: {name: foreign}
spec:
  rounds: 2
  task: {entrypoint: "fedcore.tasks.mnist:numpy_task", parameters: {images: "400"}}
  workload: {policy: fixed, epochs: 1}
  quorum: {percent: 100, roundTimeoutSeconds: 60}
  workers: {replicas: 2}
"""


@pytest.fixture
def ruby():
    found = shutil.which("ruby")
    probe = ["ruby", "-e", 'require "xmlrpc/client"']
    if found is None or subprocess.run(probe, stderr=subprocess.DEVNULL, timeout=60, check=False).returncode != 0:
        missing = "ruby with xmlrpc/client is not installed; Debian has it as the package ruby"
        if os.environ.get("CI"):
            pytest.fail(missing)
        pytest.skip(missing)
    return found


@pytest.fixture
def spawn(tmp_path):
    """Start a process whose stderr goes to a file and, line by line, to a list that ``.seen(text)`` waits on."""
    started = []

    def spawn(*command, **environment):
        process = Observed(command, {**os.environ, **environment})
        started.append(process)
        return process

    yield spawn
    for process in started:
        process.end()


class Observed:
    def __init__(self, command, environment):
        self.lines = []
        self._over = False
        self._changed = threading.Condition()
        self.process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        for line in self.process.stderr:
            with self._changed:
                self.lines.append(line)
                self._changed.notify_all()
        with self._changed:
            self._over = True
            self._changed.notify_all()

    def seen(self, text, timeout=60.0):
        with self._changed:
            self._changed.wait_for(lambda: self._over or any(text in line for line in self.lines), timeout)
            matching = [line for line in self.lines if text in line]
        assert matching, "".join(self.lines)
        return matching[0]

    def wait(self, timeout=90.0):
        code = self.process.wait(timeout)
        self._reader.join(10)
        return code

    def end(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
        self.wait()
        self.process.stderr.close()


def own_images(path):
    """Write images as a site would have them: a CSV file."""
    with np.load(ROOT / "fedcore/tasks/mnist/data/mnist-subset.npz") as arrays:
        images, labels = arrays["train_images"][-IMAGES:], arrays["train_labels"][-IMAGES:]
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([int(label), *image.ravel().tolist()] for label, image in zip(labels, images, strict=True))
    return path


def test_a_ruby_worker_trains_beside_ours(ruby, spawn, tmp_path):
    job, token, run_dir = tmp_path / "job.yaml", tmp_path / "token", tmp_path / "run"
    job.write_text(JOB)
    token.write_text("a-token-of-no-use-elsewhere\n")
    ports = ("--host", "127.0.0.1", "--port", "0", "--metrics-port", "0")
    coordinator = spawn(FEDCORE, "coordinator", "--job", str(job), "--run-dir", str(run_dir), "--token-file", str(token), *ports)
    listening = coordinator.seen("listening ")
    url = next(field.removeprefix("url=") for field in listening.split() if field.startswith("url=")).strip('"')

    ours = spawn(
        *(FEDCORE, "worker", "--coordinator", url, "--index", "0", "--token-file", str(token)),
        *("--entrypoint", "fedcore.tasks.mnist:numpy_task"),
    )
    foreign = spawn(
        *(ruby, str(ROOT / "examples/ruby/worker.rb"), url, str(own_images(tmp_path / "images.csv"))),
        FEDCORE_INDEX="1",
        FEDCORE_NAME="ruby-1",
        FEDCORE_TOKEN_FILE=str(token),
    )
    assert coordinator.wait() == 0, "".join(coordinator.lines + foreign.lines)
    assert ours.wait() == 0, "".join(ours.lines)
    assert foreign.wait() == 0, "".join(foreign.lines)

    events = [json.loads(line) for line in (run_dir / "events.jsonl").read_text().splitlines()]
    updates = [event for event in events if event["event"] == "update"]
    assert sorted((update["round"], update["worker"], update["result"]) for update in updates) == [
        (1, "ruby-1", "accepted"),
        (1, "worker-0", "accepted"),
        (2, "ruby-1", "accepted"),
        (2, "worker-0", "accepted"),
    ]
    theirs = [update for update in updates if update["worker"] == "ruby-1"]
    assert all(update["samples"] == IMAGES for update in theirs)
    assert theirs[1]["train_loss"] < theirs[0]["train_loss"]


class Script:
    """A coordinator that says what it is told to, and notes what it hears."""

    def __init__(self, superseded):
        self._superseded = superseded
        self.heard = []
        weights = {"hidden.weight": (784, 2), "hidden.bias": (2,), "output.weight": (2, 10), "output.bias": (10,)}
        self._body = Binary(save({name: np.full(shape, 0.01, np.float32) for name, shape in weights.items()}))
        self._server = SimpleXMLRPCServer(("127.0.0.1", 0), logRequests=False)
        for name in ("register", "next_task", "heartbeat", "weights", "submit"):
            self._server.register_function(getattr(self, name), f"fedcore.{name}")
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def close(self):
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def register(self, _hello):
        return {"session": "s", "heartbeat_seconds": 0.0}

    def next_task(self, _session, _wait):
        self.heard.append("next_task")
        if "submit" in self.heard or len(self.heard) > 50:
            return {"kind": "stop", "reason": "Completed"}
        base = {"id": "b", "version": 0}
        return {"kind": "train", "round": 1, "base": base, "work": {"epochs": 1.0, "deadline_seconds": 60.0}, "seed": 1}

    def heartbeat(self, _session, _round, _done, _wait):
        self.heard.append("heartbeat")
        return {"superseded": self.heard.count("heartbeat") in self._superseded, "deadline_seconds": 60.0}

    def weights(self, _session, _version):
        self.heard.append("weights")
        return self._body

    def submit(self, _session, _round, _update):
        self.heard.append("submit")
        return {"result": "accepted", "reason": ""}


def test_a_superseded_round_that_is_handed_out_again_is_trained_again(ruby, spawn, tmp_path):
    script = Script(superseded={1, 2})
    try:
        (tmp_path / "images.csv").write_text("".join(f"{label},{','.join(['0'] * 783)},255\n" for label in range(3)))
        foreign = spawn(ruby, str(ROOT / "examples/ruby/worker.rb"), script.url, str(tmp_path / "images.csv"))
        assert foreign.wait() == 0, "".join(foreign.lines)
    finally:
        script.close()
    interrupted = ["next_task", "weights", "heartbeat"]
    assert script.heard[:6] == interrupted * 2
    assert script.heard[6:8] == ["next_task", "weights"]
    assert script.heard[-2:] == ["submit", "next_task"]
