"""The cluster does what a real one does: names, services, policies, volumes, nodes that are lost and come back."""

import pytest

from tests.cluster.commands import wait_until
from tests.cluster.errors import ClusterError
from tests.e2e.pods import Pod, ended, run, wait_ready

pytestmark = pytest.mark.e2e

PORT = 8470
SERVE = ["python", "-m", "http.server", str(PORT), "--directory", "/tmp"]
PAUSE = ["python", "-c", "import signal; signal.pause()"]
CONNECT = "import socket, sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=5).close()"


def connects(cluster, namespace, client, host):
    try:
        cluster.kubectl("exec", client, f"--namespace={namespace}", "--", "python", "-c", CONNECT, host, str(PORT))
    except ClusterError:
        return False
    return True


@pytest.fixture
def server(cluster, namespace, coordinator_image):
    """A server behind a Service called ``server``, on the first node, and clients on that and on another node."""
    first, second = [node["metadata"]["name"] for node in cluster.get("nodes")["items"]][:2]
    pods = [
        Pod("server", coordinator_image, SERVE, labels={"app": "server"}, node=first),
        Pod("friend", coordinator_image, PAUSE, labels={"app": "friend"}, node=second),
        Pod("near", coordinator_image, PAUSE, labels={"app": "stranger"}, node=first),
        Pod("far", coordinator_image, PAUSE, labels={"app": "stranger"}, node=second),
    ]
    service = {"selector": {"app": "server"}, "ports": [{"port": PORT}]}
    cluster.apply(
        *(pod.manifest() for pod in pods),
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "server"}, "spec": service},
        namespace=namespace,
    )
    wait_ready(cluster, namespace, "server", "friend", "near", "far")
    return cluster.get("pod/server", f"--namespace={namespace}")["status"]["podIP"]


def test_network_policies_are_enforced(cluster, namespace, server):
    for client in ("friend", "near", "far"):
        for host in ("server", f"server.{namespace}.svc.cluster.local", server):
            wait_until(f"{client} to reach {host}", lambda: connects(cluster, namespace, client, host))  # noqa: B023
    rule = {"from": [{"podSelector": {"matchLabels": {"app": "friend"}}}], "ports": [{"port": PORT}]}
    spec = {"podSelector": {"matchLabels": {"app": "server"}}, "policyTypes": ["Ingress"], "ingress": [rule]}
    policy = {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": "server"}, "spec": spec}
    cluster.apply(policy, namespace=namespace)
    for client in ("near", "far"):
        wait_until(f"{client} to be kept out", lambda: not connects(cluster, namespace, client, server))  # noqa: B023
        assert not connects(cluster, namespace, client, "server")
    wait_until("the friend to be let in still", lambda: connects(cluster, namespace, "friend", "server"))
    cluster.kubectl("delete", "networkpolicy/server", f"--namespace={namespace}")
    for client in ("near", "far"):
        wait_until(f"{client} to be let in", lambda: connects(cluster, namespace, client, server))  # noqa: B023


def test_a_local_volume_keeps_what_one_pod_wrote_for_the_next(local_cluster, namespace, coordinator_image):
    request = {"accessModes": ["ReadWriteOnce"], "storageClassName": "local", "resources": {"requests": {"storage": "1Gi"}}}
    claim = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "claim"}, "spec": request}
    local_cluster.apply(claim, namespace=namespace)
    for name, script in (("writer", "open('/claim/x', 'w').write('kept')"), ("reader", "print(open('/claim/x').read())")):
        manifest = Pod(name, coordinator_image, ["python", "-c", script]).manifest()
        manifest["spec"]["volumes"].append({"name": "claim", "persistentVolumeClaim": {"claimName": "claim"}})
        manifest["spec"]["containers"][0]["volumeMounts"].append({"name": "claim", "mountPath": "/claim"})
        local_cluster.apply(manifest, namespace=namespace)
        end = ended(local_cluster, namespace, name)
        assert end.exit_code == 0, end.log
    assert end.log == "kept\n"


def test_a_pod_over_its_memory_limit_is_killed(cluster, namespace, coordinator_image):
    manifest = Pod("greedy", coordinator_image, ["python", "-c", "x = bytearray(200_000_000); print(len(x))"]).manifest()
    manifest["spec"]["containers"][0]["resources"] = {"limits": {"memory": "64Mi"}}
    cluster.apply(manifest, namespace=namespace)
    assert ended(cluster, namespace, "greedy").exit_code == 137


def test_an_image_that_is_nowhere_is_not_waited_for(cluster, namespace):
    cluster.apply(Pod("typo", "localhost/fedcore-wroker:test", PAUSE).manifest(), namespace=namespace)

    def reason():
        states = cluster.get("pod/typo", f"--namespace={namespace}")["status"].get("containerStatuses", [{}])
        return states[0].get("state", {}).get("waiting", {}).get("reason")

    wait_until("an error about the image", lambda: reason() in {"ErrImagePull", "ImagePullBackOff"})


def test_nothing_outside_of_the_cluster_can_be_reached(local_cluster, namespace, coordinator_image):
    # 192.0.2.0/24 is nobody's; what matters is that there is no route at all, so that the answer is immediate.
    script = "import socket; socket.create_connection(('192.0.2.1', 80), timeout=60)"
    end = run(local_cluster, namespace, Pod("outside", coordinator_image, ["python", "-c", script]))
    assert end.exit_code == 1
    assert "unreachable" in end.log


def test_a_node_that_is_cut_off_is_noticed_and_comes_back(local_cluster):
    node = local_cluster.nodes[-1]

    def state():
        conditions = local_cluster.get(f"node/{node}")["status"]["conditions"]
        return next(condition["status"] for condition in conditions if condition["type"] == "Ready")

    assert state() == "True"
    local_cluster.cut(node)
    try:
        wait_until(f"{node} to be missed", lambda: state() == "Unknown")
    finally:
        local_cluster.heal(node)
    wait_until(f"{node} to be back", lambda: state() == "True")
