"""What a cluster of our own allows beyond the API: reaching into the node where a pod runs."""

from tests.cluster.cluster import LocalCluster
from tests.cluster.kubernetes import Kubernetes


def node_of(cluster: Kubernetes, namespace: str, pod: str) -> str:
    """Where a pod runs."""
    return str(cluster.get(f"pod/{pod}", f"--namespace={namespace}")["spec"]["nodeName"])


def kill_container(cluster: LocalCluster, namespace: str, pod: str) -> None:
    """Send SIGKILL to the first container's process 1, which nobody inside can do: no last word, no grace."""
    found = cluster.get(f"pod/{pod}", f"--namespace={namespace}")
    container = found["status"]["containerStatuses"][0]["containerID"].removeprefix("containerd://")
    machine = cluster.machine(found["spec"]["nodeName"])
    machine.run("ctr", "--namespace=k8s.io", "task", "kill", "--signal=SIGKILL", container)
