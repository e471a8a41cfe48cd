"""FederatedJobs for tests: apply one, and wait for what its status says."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fedcore.progress import Progress
from fedcore.spec import Status
from tests.cluster.commands import PATIENCE, wait_until
from tests.cluster.errors import ClusterError
from tests.cluster.kubernetes import Kubernetes, Manifest
from tests.cluster.places import REPOSITORY

SLOW_ROUNDS = 60
"""Of 0.4 s each at least."""
_ASK = "import urllib.request as r; print(r.urlopen('http://localhost:9464/progress', timeout=5).read().decode())"


@dataclass(frozen=True)
class Job:
    """A job of a namespace."""

    cluster: Kubernetes
    namespace: str
    name: str

    def status(self) -> Status:
        """What the operator says of it."""
        return Status.model_validate(self.get("fj", self.name).get("status") or {})

    def get(self, *arguments: str) -> Any:
        """``kubectl get`` in its namespace."""
        return self.cluster.get(*arguments, f"--namespace={self.namespace}")

    def kubectl(self, *arguments: str) -> str:
        """kubectl in its namespace."""
        return self.cluster.kubectl(*arguments, f"--namespace={self.namespace}")

    def delete_pod(self, name: str) -> None:
        """Delete a pod of the job without waiting for it."""
        self.kubectl("delete", "pod", f"{self.name}-{name}", "--wait=false")

    def patch(self, spec: Manifest) -> None:
        """Change fields of the job."""
        self.kubectl("patch", "fj", self.name, "--type=merge", f"--patch={json.dumps({'spec': spec})}")

    def pods(self) -> list[Manifest]:
        """The job's pods."""
        return list(self.get("pods", f"--selector=fedcore.dev/job={self.name}")["items"])

    def evict(self, name: str) -> None:
        """Ask the API for a pod's eviction, as a drain does; refused with 429 where the budget does not allow it."""
        pod = f"{self.name}-{name}"
        path = f"/api/v1/namespaces/{self.namespace}/pods/{pod}/eviction"
        eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod, "namespace": self.namespace}}
        self.cluster.kubectl("create", "--raw", path, "--filename=-", stdin=json.dumps(eviction))

    def ask(self) -> Progress:
        """Ask the coordinator itself: the status has its answers ten seconds late."""
        pod = self.status().coordinator.pod_name
        return Progress.model_validate_json(self.cluster.kubectl("exec", f"--namespace={self.namespace}", pod, "--", "python", "-c", _ASK))

    def wait_asked(self, number: int, *, seconds: float = PATIENCE) -> None:
        """Wait until the coordinator itself says that a round is reached."""
        said = ""

        def reached() -> bool:
            nonlocal said
            try:
                progress = self.ask()
            except ClusterError as error:  # between two coordinators
                said = str(error)
                return False
            said = f"round {progress.round}"
            return progress.round >= number

        try:
            wait_until(f"round {number} of job {self.name}", reached, seconds=seconds)
        except ClusterError as error:
            error.add_note(said)
            raise

    def condition(self, kind: str) -> tuple[str, str, str]:
        """Status, reason and message of a condition."""
        found = next((one for one in self.status().conditions if one.type == kind), None)
        return ("", "", "") if found is None else (found.status, found.reason, found.message)

    def wait(self, what: str, ready: Callable[[Status], object], *, seconds: float = PATIENCE) -> Status:
        """Wait until the status is as it should be, and return it."""
        seen: list[Status] = []

        def look() -> bool:
            seen[:] = [self.status()]
            return bool(ready(seen[0]))

        try:
            wait_until(f"{what} of job {self.name}", look, seconds=seconds)
        except ClusterError as error:
            error.add_note(self.kubectl("describe", "fj", self.name)[-6000:])
            error.add_note(self.kubectl("get", "pods", "-o", "wide"))
            raise
        return seen[0]

    def wait_quorum(self) -> Status:
        """Wait until training has begun."""
        return self.wait("quorum", lambda status: status.quorum_first_met_time is not None)

    def wait_round(self, number: int) -> Status:
        """Wait until a round is reached."""
        return self.wait(f"round {number}", lambda status: status.progress is not None and status.progress.round >= number)

    def wait_end(self, *, seconds: float = PATIENCE) -> str:
        """Wait for the end, and return the reason."""

        def ended(status: Status) -> bool:
            return any(one.type in {"Complete", "Failed"} and one.status == "True" for one in status.conditions)

        status = self.wait("end", ended, seconds=seconds)
        return next(one.reason for one in status.conditions if one.type in {"Complete", "Failed"} and one.status == "True")

    def events(self) -> dict[str, str]:
        """Note of the last event of each reason."""
        items = self.get("events.v1.events.k8s.io")["items"]
        ours = {"kind": "FederatedJob", "name": self.name}
        return {one["reason"]: one.get("note", "") for one in items if ours.items() <= one["regarding"].items()}


def apply_slow_job(
    cluster: Kubernetes, namespace: str, name: str, spec: Manifest, *, pod: Manifest | None = None, command: list[str] | None = None
) -> Job:
    """Apply a job whose rounds last as long on any machine, so that faults find it running. Its task comes by the pod template.

    ``pod`` is laid over the template's spec; ``command`` is what the workers run instead of their own.
    """
    sources = {
        f"{name}.py": (REPOSITORY / f"tests/support/{name}.py").read_text("utf-8") for name in ("drift_task", "doomed_task", "uneven_task")
    }
    cluster.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "task"}, "data": sources}, namespace=namespace)
    container = {
        "name": "worker",
        **({} if command is None else {"command": command}),
        "env": [{"name": "PYTHONPATH", "value": "/task"}],
        "volumeMounts": [{"name": "task", "mountPath": "/task", "readOnly": True}],
        "resources": {"limits": {"memory": "256Mi"}, "requests": {"cpu": "10m"}},
    }
    template = {"spec": {"containers": [container], "volumes": [{"name": "task", "configMap": {"name": "task"}}], **(pod or {})}}
    task = {"entrypoint": "drift_task:task", "parameters": {"seconds": "0.4", "values": "100"}, **spec.get("task", {})}
    workers = {"replicas": 3, **spec.get("workers", {}), "template": template}
    return apply_job(cluster, namespace, name, {"rounds": SLOW_ROUNDS, **spec, "task": task, "workers": workers})


def apply_job(cluster: Kubernetes, namespace: str, name: str, spec: Manifest) -> Job:
    """Apply a job that trains digits without PyTorch, with changes."""
    whole = {"rounds": 5, "task": {"entrypoint": "fedcore.tasks.mnist:numpy_task"}, "workers": {"replicas": 3}, **spec}
    manifest = {"apiVersion": "fedcore.dev/v1alpha1", "kind": "FederatedJob", "metadata": {"name": name}, "spec": whole}
    cluster.apply(manifest, namespace=namespace)
    return Job(cluster, namespace, name)
