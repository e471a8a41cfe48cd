"""A run in which all that metrics, boards and alerts speak of happens: one worker is slow, one is killed and comes back, dies again and is
given up, and a stranger and a client of a test do what they should not. The digits are real, and so is everything else.
"""

from __future__ import annotations

import json
import xmlrpc.client
from typing import TYPE_CHECKING

import numpy as np
import pytest
from safetensors.numpy import load, save

from support.coordinator import Coordinator, Worker
from support.runs import Runs, children

if TYPE_CHECKING:
    from pathlib import Path

    from support.runs import Ended

NAME = "digits"
DOOMED = 3
ROUNDS = 12
LIMIT_SECONDS = 240
"""On an idle machine it takes 17."""
JOB = {
    "apiVersion": "fedcore.dev/v1alpha1",
    "kind": "FederatedJob",
    "metadata": {"name": NAME},
    "spec": {
        "rounds": ROUNDS,
        "task": {"entrypoint": "fedcore.tasks.mnist:numpy_task", "parameters": {"images": "2000", "partition": "dirichlet(1.0)"}},
        "workload": {"policy": "aimd", "epochs": 2},
        "quorum": {"percent": 60, "roundTimeoutSeconds": 30, "graceSeconds": 1},
        "workers": {"replicas": 5, "maxRestartsPerWorker": 1},
        "failurePolicy": {"restartBackoffSeconds": 1},
    },
}
"""Three of five make a round. Who is slow makes each last until the grace is over, so that there is time for all the rest."""
_PACE = ("--slow", "worker-0=200", *(part for index in (1, 2, 3, 4) for part in ("--slow", f"worker-{index}=20")))
_KILL = ("--kill", f"worker-{DOOMED}@2")


def run_eventfully(
    folder: Path, metrics_port: int, changes: dict[str, object] | None = None, *arguments: str, limit: float = LIMIT_SECONDS
) -> Ended:
    """Run the job, with fields set as given, to its end, and let everything happen in it."""
    runs = Runs(folder, job=JOB)
    try:
        process = runs.start(changes, "--metrics-port", str(metrics_port), *_PACE, *_KILL, *arguments)
        runs.wait_for(process, "worker_registered", f"worker=worker-{DOOMED}", "attempt=2")
        children(process)[str(DOOMED)].kill()
        runs.wait_for(process, "worker_gave_up", f"worker=worker-{DOOMED}")
        _visit(runs.run_dir, metrics_port)
        return runs.finish(process, limit)
    finally:
        runs.kill()


def _visit(run_dir: Path, metrics_port: int) -> None:
    """Be turned away, come late, send what is no number, and leave."""
    token = (run_dir / ".local" / "token").read_text()
    coordinator = Coordinator(None, run_dir, _port(run_dir), metrics_port)
    visitor = Worker(coordinator, DOOMED)
    try:
        with pytest.raises(xmlrpc.client.Fault):
            visitor.register(attempt=3, token="a guess")
        visitor.register(attempt=3, token=token)
        late = _train_task(visitor)
        weights = load(_get(visitor, late["base"]["href"]))
        status, answer = visitor.put(late["round"], late["base"]["id"], save(weights))
        assert status == 201, answer
        while not visitor.rpc.fedcore.heartbeat(visitor.session, late["round"], 0.5, 5.0)["superseded"]:
            pass
        assert visitor.submit(late["round"], late["base"]["id"], answer["upload"])["result"] == "stale"

        broken = _train_task(visitor)
        weights["output.bias"][3] = np.nan
        status, answer = visitor.put(broken["round"], broken["base"]["id"], save(weights))
        assert (status, answer["result"]) == (422, "rejected"), answer
        visitor.rpc.fedcore.leave(visitor.session, "done")
    finally:
        for proxy in coordinator.proxies:
            proxy("close")()


def _port(run_dir: Path) -> int:
    events = [json.loads(line) for line in (run_dir / "events.jsonl").read_text().splitlines() if line.endswith("}")]
    return int(next(event["url"] for event in events if event["event"] == "listening").rpartition(":")[2])


def _train_task(worker: Worker) -> dict:
    while (task := worker.task(5.0))["kind"] != "train":
        pass
    return task


def _get(worker: Worker, path: str) -> bytes:
    connection = worker.coordinator.http(30)
    connection.request("GET", path, headers={"Authorization": f"Bearer {worker.session}"})
    response = connection.getresponse()
    body = response.read()
    connection.close()
    assert response.status == 200, body
    return body
