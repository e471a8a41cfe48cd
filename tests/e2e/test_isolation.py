"""Who reaches whom in a namespace that enforces ``restricted`` and denies all traffic by default: the same probe from every kind of pod."""

import base64
import json

import pytest

from fedcore.wire.protocol import FaultCode
from fedcore_operator.api.names import OPERATOR_LABELS
from tests.cluster.commands import wait_until
from tests.cluster.errors import ClusterError
from tests.e2e.jobs import apply_slow_job
from tests.e2e.pods import Pod, ended, wait_ready

pytestmark = pytest.mark.e2e

PROBE = """
import http.client, json, os, socket, ssl, time, urllib.request, xmlrpc.client

def reach(target):
    host, port = target.rsplit(":", 1)
    try:
        socket.create_connection((host, int(port)), timeout=4).close()
    except OSError as error:
        return "no name" if isinstance(error, socket.gaierror) else "blocked"
    return "open"

# Policies reach the nodes a moment after a pod: what is let through, and what is not, say when they are there.
deadline = time.monotonic() + 60
while (reach(os.environ["OPEN"]) != "open" or reach(os.environ["CLOSED"]) == "open") and time.monotonic() < deadline:
    time.sleep(0.2)
found = {"reached": {target: reach(target) for target in os.environ["TARGETS"].split()}}
rpc = os.environ.get("RPC")
if rpc:
    trust = ssl._create_unverified_context()
    def ask(method, path, body=None, headers={}):
        connection = http.client.HTTPSConnection(rpc, timeout=10, context=trust)
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        return answer.status, len(answer.read())
    def call(method, *arguments):
        try:
            return repr(getattr(xmlrpc.client.ServerProxy("https://" + rpc + "/RPC2", context=trust).fedcore, method)(*arguments))
        except xmlrpc.client.Fault as fault:
            return fault.faultCode
    guess = {"Authorization": "Bearer guessed"}
    hello = {"protocol": "1", "name": "worker-999", "index": 999, "attempt": 1, "instance": "probe", "samples": 1}
    found["http"] = [
        ask("GET", "/v1/weights/0"), ask("GET", "/v1/weights/0", headers=guess), ask("PUT", "/v1/uploads/1", b"x" * 8, guess),
    ]
    found["no token"] = call("register", hello)
    found["wrong token"] = call("register", {**hello, "token": "guessed"})
    found["guessed session"] = [call("weights", "guessed", 0), call("next_task", "guessed", 0.0), call("status", "guessed")]
    found["right token"] = call("register", {**hello, "token": os.environ["TOKEN"]})
metrics = os.environ.get("METRICS")
if metrics:
    with urllib.request.urlopen("http://" + metrics + "/progress", timeout=4) as answer:
        found["progress"] = json.load(answer)["phase"]
print(json.dumps(found))
"""
LISTEN = """
import socket
listening = socket.create_server(("", 8080))
while True:
    listening.accept()[0].close()
"""
MODEL_BYTES = 800_000


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


def test_only_who_may_reaches_a_coordinator_and_only_with_the_token(operator, cluster, guarded, numpy_worker_image):
    values = {"task": {"parameters": {"seconds": "0.4", "values": str(MODEL_BYTES // 4)}}, "rounds": 400}
    job = apply_slow_job(cluster, guarded, "closed", values)
    listener = Pod("listener", numpy_worker_image, ["python", "-c", LISTEN], labels={"app": "listener"})
    cluster.apply(listener.manifest(), namespace=guarded)
    wait_ready(cluster, guarded, "listener")
    job.wait_quorum()
    address = cluster.get("pod/listener", f"--namespace={guarded}")["status"]["podIP"]
    rpc, metrics = f"closed.{guarded}.svc:8470", f"closed.{guarded}.svc:9464"
    elsewhere, api = f"{address}:8080", "kubernetes.default.svc:443"
    targets = {"TARGETS": f"{rpc} {metrics} {elsewhere} {api}"}
    uid = job.get("fj", "closed")["metadata"]["uid"]
    token = base64.b64decode(job.get("secret", f"closed-{uid[:8]}-join")["data"]["token"]).decode()
    worker_labels = {"fedcore.dev/job": "closed", "fedcore.dev/role": "worker"}

    def probe(name, labels, environment, namespace=guarded):
        pod = Pod(name, numpy_worker_image, ["python", "-c", PROBE], {**targets, **environment}, labels=labels)
        cluster.apply(pod.manifest(), namespace=namespace)
        return name, namespace

    probes = [
        probe("stranger", {"app": "stranger"}, {"OPEN": elsewhere, "CLOSED": rpc}),
        probe("like-a-worker", worker_labels, {"OPEN": rpc, "CLOSED": elsewhere, "RPC": rpc, "TOKEN": token}),
        probe(
            "like-the-operator",
            {**OPERATOR_LABELS, "app": "probe"},
            {"OPEN": metrics, "CLOSED": rpc, "METRICS": metrics},
            operator.namespace,
        ),
    ]
    try:
        stranger, worker, scraper = (json.loads(_log(cluster, *one)) for one in probes)
    finally:
        cluster.kubectl("delete", "pod", "like-the-operator", f"--namespace={operator.namespace}", "--wait=false")

    assert stranger["reached"] == {rpc: "blocked", metrics: "blocked", elsewhere: "open", api: "open"}, "it can reach what lets it in"
    assert worker["reached"] == {rpc: "open", metrics: "blocked", elsewhere: "blocked", api: "blocked"}, "only the coordinator, and DNS"
    assert (scraper["reached"][rpc], scraper["reached"][metrics]) == ("blocked", "open")
    assert scraper["progress"] == "Running"

    assert [status for status, _ in worker["http"]] == [401, 401, 401]
    assert max(size for _, size in worker["http"]) < 1000, "nothing of the model"
    assert worker["no token"] == worker["wrong token"] == FaultCode.UNAUTHORIZED
    assert set(worker["guessed session"]) <= {FaultCode.UNAUTHORIZED, FaultCode.UNKNOWN_SESSION}
    assert worker["right token"] == FaultCode.BUSY, "the token is right, and there is no place 999"

    status = job.status()
    assert (status.phase, status.restarts, status.workers.disruptions) == ("Running", 0, 0), "it was there to be reached, and took no harm"
    job.wait("all workers in the progress", lambda status: status.progress.registered == 3)


def _log(cluster, name, namespace):
    end = ended(cluster, namespace, name)
    assert end.exit_code == 0, end.log
    return end.log.splitlines()[-1]


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


@pytest.mark.long
def test_a_worker_with_a_wrong_token_ends_the_job_in_words(operator, cluster, namespace):
    """On a node of its own: a kubelet keeps a Secret for as long as a pod there mounts it."""
    here, there = [
        {"kubernetes.io/hostname": node["metadata"]["labels"]["kubernetes.io/hostname"]} for node in cluster.get("nodes")["items"][:2]
    ]
    data = [{"indexes": "0", "nodeSelector": here}, {"indexes": "1", "nodeSelector": there}]
    spec = {
        "coordinator": {"template": {"spec": {"nodeSelector": here}}},
        "workers": {"replicas": 1, "data": data},
        "quorum": {"percent": 50},
        "rounds": 500,
    }
    job = apply_slow_job(cluster, namespace, "wrong", spec)
    job.wait_quorum()
    name = f"wrong-{job.get('fj', 'wrong')['metadata']['uid'][:8]}-join"
    authority = job.get("secret", name)["data"]["ca.crt"]
    job.kubectl("delete", "secret", name)
    wrong = {"token": base64.b64encode(b"wrong").decode(), "ca.crt": authority}
    cluster.apply({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "data": wrong}, namespace=namespace)
    job.kubectl("scale", "fj", "wrong", "--replicas=2")
    assert job.wait_end() == "NonRetryableExit", operator.log()
    message = job.condition("Failed")[2]
    assert "wrong-worker-1-1" in message
    assert "the token is wrong" in message
