"""The operator, installed by its chart in a namespace at pod security level restricted."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.cluster.commands import wait_until
from tests.cluster.kubernetes import Kubernetes

CHART = Path(__file__).parents[2] / "charts/fedcore"


@dataclass(frozen=True)
class Installed:
    """A release of the chart."""

    cluster: Kubernetes
    namespace: str
    release: str

    def kill(self):
        """Take the operator's pod away at once; its Deployment makes another."""
        self.cluster.kubectl("delete", "pods", *self._selected(), "--grace-period=0", "--force", "--wait=false")

    def pod(self):
        """Name of its pod."""
        return self._pod()["metadata"]["name"]

    def node(self):
        """Name of the node it is on."""
        return self._pod()["spec"]["nodeName"]

    def wait_leads(self):
        """Wait until the Lease is its pod's: a successor of one that was killed waits for the Lease to expire."""

        def leads():
            lease = self.cluster.get("lease/fedcore-operator", f"--namespace={self.namespace}")
            pods = self.cluster.get("pods", *self._selected())["items"]
            living = [pod["metadata"]["name"] for pod in pods if "deletionTimestamp" not in pod["metadata"]]
            holder = lease["spec"].get("holderIdentity") or ""
            return len(living) == 1 and holder.startswith(f"{living[0]}_")

        wait_until("the operator's Lease", leads)

    def scale(self, replicas):
        """Take the operator away, or bring it back: wait until that is so."""
        deployment = f"deployment/{self.release}"
        self.cluster.kubectl("scale", deployment, f"--replicas={replicas}", f"--namespace={self.namespace}")
        if replicas:
            self.cluster.kubectl("rollout", "status", deployment, f"--namespace={self.namespace}", "--timeout=90s", seconds=100)
        else:
            wait_until("no operator", lambda: not self.cluster.get("pods", *self._selected())["items"])

    def log(self):
        """What it said."""
        return self.cluster.kubectl("logs", f"deployment/{self.release}", f"--namespace={self.namespace}")

    def _selected(self):
        return "--selector=app.kubernetes.io/component=operator,pod-template-hash", f"--namespace={self.namespace}"

    def _pod(self):
        pods = self.cluster.get("pods", *self._selected())["items"]
        return next(pod for pod in pods if "deletionTimestamp" not in pod["metadata"])


def image_values(place, reference):
    repository, tag = reference.rsplit(":", 1)
    return [f"--set={place}.repository={repository}", f"--set-string={place}.tag={tag}"]


@pytest.fixture(scope="session")
def operator(cluster, operator_image, coordinator_image, numpy_worker_image):
    """The release, ready."""
    with cluster.namespace() as namespace:
        values = [
            *image_values("image", operator_image),
            *image_values("jobs.coordinatorImage", coordinator_image),
            *image_values("jobs.workerImage", numpy_worker_image),
            "--set=progress.pollSeconds=1,log.format=text",
        ]
        cluster.helm("install", "fedcore", CHART, f"--namespace={namespace}", "--take-ownership", "--wait", "--timeout=180s", *values)
        try:
            yield Installed(cluster, namespace, "fedcore")
        finally:
            cluster.helm("uninstall", "fedcore", f"--namespace={namespace}", "--wait", "--timeout=180s")
