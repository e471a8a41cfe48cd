"""The operator, installed by its chart in a namespace at pod security level restricted."""

from dataclasses import dataclass
from pathlib import Path

import pytest

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
        pods = "app.kubernetes.io/component=operator,pod-template-hash"
        self.cluster.kubectl(
            "delete", "pods", f"--selector={pods}", f"--namespace={self.namespace}", "--grace-period=0", "--force", "--wait=false"
        )

    def log(self):
        """What it said."""
        return self.cluster.kubectl("logs", f"deployment/{self.release}", f"--namespace={self.namespace}")


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
