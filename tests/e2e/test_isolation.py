"""Who reaches whom in a namespace that enforces ``restricted`` and denies all traffic by default: the same probe from every kind of pod."""

import pytest

from tests.cluster.commands import wait_until
from tests.cluster.errors import ClusterError
from tests.e2e.jobs import apply_slow_job

pytestmark = pytest.mark.e2e


def policy(name, labels, **spec):
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": name},
        "spec": {"podSelector": {"matchLabels": labels} if labels else {}, **spec},
    }


@pytest.fixture
def guarded(cluster, namespace):
    """Nobody may talk to anybody, but for two pods of the tests: one that may reach all, and one that all may reach."""
    cluster.apply(
        policy("default-deny", {}, policyTypes=["Ingress", "Egress"]),
        policy("strangers", {"app": "stranger"}, policyTypes=["Egress"], egress=[{}]),
        policy("listeners", {"app": "listener"}, policyTypes=["Ingress"], ingress=[{}]),
        namespace=namespace,
    )
    return namespace


def test_a_secret_that_is_lost_comes_back_the_same(operator, cluster, guarded):
    job = apply_slow_job(cluster, guarded, "keys", {"workers": {"replicas": 2}, "rounds": 40})
    job.wait_quorum()
    name = f"keys-{job.get('fj', 'keys')['metadata']['uid'][:8]}-join"
    before = job.get("secret", name)
    job.kubectl("delete", "secret", name)
    job.delete_pod("worker-0-1")

    def is_back():
        try:
            return job.get("secret", name)["metadata"]["uid"] != before["metadata"]["uid"]
        except ClusterError:
            return False

    wait_until("the Secret", is_back)
    assert job.get("secret", name)["data"] == before["data"]
    assert job.wait_end() == "Completed", operator.log()
    status = job.status()
    assert (status.workers.disruptions, status.restarts) == (1, 0)
