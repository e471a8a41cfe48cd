"""Every version of a namespace's pods and jobs, as the API server told it, and what must hold over the whole of it."""

import json
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from fedcore.spec import Status
from tests.cluster.errors import ClusterError
from tests.cluster.kubernetes import Kubernetes, Manifest

PODS = "/api/v1/namespaces/{}/pods"
JOBS = "/apis/fedcore.dev/v1alpha1/namespaces/{}/federatedjobs"
ENDS = ("Complete", "Failed")


@dataclass(frozen=True)
class Told:
    """One event of a watch."""

    at: float
    """When it came, by this machine's clock."""
    kind: str
    """ADDED, MODIFIED or DELETED."""
    thing: Manifest

    @property
    def name(self) -> str:
        return str(self.thing["metadata"]["name"])

    @property
    def labels(self) -> dict[str, str]:
        return dict(self.thing["metadata"].get("labels") or {})


@dataclass
class History:
    """What was told, in order."""

    pods: list[Told] = field(default_factory=list)
    jobs: list[Told] = field(default_factory=list)

    def of(self, job: str) -> list[Told]:
        """What was told of a job's pods."""
        return [one for one in list(self.pods) if one.labels.get("fedcore.dev/job") == job]

    def statuses(self, job: str) -> list[Status]:
        """All that its status ever was."""
        return [Status.model_validate(one.thing.get("status") or {}) for one in list(self.jobs) if one.name == job]

    def made(self, job: str) -> list[str]:
        """Its pods, one entry for each creation, in order and without the job's name."""
        return [one.name.removeprefix(f"{job}-") for one in self.of(job) if one.kind == "ADDED"]

    def first(self, pod: str, holds: Callable[[Manifest], object]) -> float:
        """When a pod was first told to be as it should."""
        found = next((one.at for one in list(self.pods) if one.name == pod and holds(one.thing)), None)
        if found is None:
            raise ClusterError(f"pod {pod} never was as expected; known are {sorted({one.name for one in self.pods})}")
        return found

    def ready(self, pod: str) -> float:
        """When a pod was first ready."""
        return self.first(pod, is_ready)

    def check(self, job: str) -> None:
        """Check what must hold over every history of a job, whatever happened to it."""
        self._check_pods(job)
        statuses = self.statuses(job)
        assert statuses, "nothing was told"
        for before, after in pairwise(statuses):
            _check_step(before, after)

    def _check_pods(self, job: str) -> None:
        made = self.made(job)
        assert len(made) == len(set(made)), f"an attempt was made twice: {made}"
        attempts: dict[str, int] = {}
        for name in made:
            place, _, attempt = name.rpartition("-")
            assert int(attempt) > attempts.get(place, 0), f"{name} was made after attempt {attempts[place]}"
            attempts[place] = int(attempt)
        uids = {(one.name, one.thing["metadata"]["uid"]) for one in self.of(job)}
        assert len(uids) == len({name for name, _ in uids}), f"a name was used twice: {sorted(uids)}"


def is_ready(pod: Manifest) -> bool:
    """Say whether a pod's condition Ready is true."""
    return any(one["type"] == "Ready" and one["status"] == "True" for one in pod["status"].get("conditions", []))


def _check_step(before: Status, after: Status) -> None:
    for one in before.conditions:
        if one.type in ENDS and one.status == "True":
            assert one in after.conditions, f"{one.type} did not stay as it was: {after.conditions}"
    for count in (
        lambda status: status.attempt_base,
        lambda status: status.restarts,
        lambda status: status.workers.restarts,
        lambda status: status.workers.disruptions,
        lambda status: status.coordinator.attempt,
        lambda status: status.coordinator.restarts,
        lambda status: status.coordinator.disruptions,
    ):
        assert count(after) >= count(before), f"a counter fell: {before} then {after}"
    entries = {one.index: one for one in after.worker_indexes}
    for old in before.worker_indexes:
        new = entries[old.index]
        assert (new.attempt, new.restarts, new.disruptions) >= (old.attempt, 0, 0)
        assert new.restarts >= old.restarts
        assert new.disruptions >= old.disruptions


@contextmanager
def recorded(cluster: Kubernetes, namespace: str) -> Iterator[History]:
    """Record a namespace's pods and jobs from now on. Nothing is left out: the API server tells each version to a watch."""
    history = History()
    with _watch(cluster, PODS.format(namespace), history.pods), _watch(cluster, JOBS.format(namespace), history.jobs):
        yield history


@contextmanager
def _watch(cluster: Kubernetes, path: str, into: list[Told]) -> Iterator[None]:
    version = json.loads(cluster.kubectl("get", "--raw", path))["metadata"]["resourceVersion"]
    arguments = [cluster.kubectl_program, "get", "--raw", f"{path}?watch=1&resourceVersion={version}"]
    process = subprocess.Popen(arguments, stdout=subprocess.PIPE, env=cluster.environment())
    failures: list[Any] = []

    def read() -> None:
        assert process.stdout is not None
        for line in process.stdout:
            told = json.loads(line)
            if told["type"] not in {"ADDED", "MODIFIED", "DELETED"}:
                failures.append(told)
                return
            into.append(Told(time.time(), told["type"], told["object"]))

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    try:
        yield
        assert process.poll() is None, f"the watch of {path} ended by itself"
        assert not failures, failures
    finally:
        process.terminate()
        process.wait(timeout=10)
        reader.join(timeout=10)
        assert process.stdout is not None
        process.stdout.close()
