"""FedCore in pods without an operator: manifests that a person could write, and how each process ends."""

import json
import re

import pytest
import yaml

from tests.cluster.places import REPOSITORY
from tests.e2e.pods import Pod, ended, run

pytestmark = pytest.mark.e2e

ROUNDS = 3
WORKERS = 2
JOIN_TOKEN = "correct horse battery staple"


def coordinator(image, **changes):
    environment = {
        "FEDCORE_JOB_FILE": "/etc/fedcore/job/job.yaml",
        "FEDCORE_RUN_DIR": "/var/lib/fedcore/run",
        "FEDCORE_TOKEN_FILE": "/etc/fedcore/join/token",
        "FEDCORE_TERMINATION_FILE": "/dev/termination-log",
    }
    labels = {"app": "coordinator"}
    return Pod("coordinator", image, ["fedcore", "coordinator"], environment | changes, labels, config_map="job", secret="join")


def worker(image, index, **changes):
    environment = {
        "FEDCORE_COORDINATOR": "http://job:8470",
        "FEDCORE_ENTRYPOINT": "fedcore.tasks.mnist:numpy_task",
        "FEDCORE_INDEX": str(index),
        "FEDCORE_TOKEN_FILE": "/etc/fedcore/join/token",
        "FEDCORE_TERMINATION_FILE": "/dev/termination-log",
    }
    return Pod(f"worker-{index}", image, ["fedcore", "worker"], environment | changes, secret="join")


@pytest.fixture
def job():
    """examples/numpy.yaml, smaller."""
    job = yaml.safe_load((REPOSITORY / "examples/numpy.yaml").read_text())
    job["spec"] |= {"rounds": ROUNDS, "workers": {"replicas": WORKERS}, "metrics": {"lingerSeconds": 0}}
    return job


@pytest.fixture
def apply(cluster, namespace):
    """Apply what a job needs beside its pods: its file, its token, its Service."""

    def apply_job(job):
        port = {"name": "rpc", "port": 8470}
        # Not ready addresses too: a worker that starts first must not be told that there is no such name.
        service = {"clusterIP": "None", "publishNotReadyAddresses": True, "selector": {"app": "coordinator"}, "ports": [port]}
        cluster.apply(
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "job"}, "data": {"job.yaml": yaml.safe_dump(job)}},
            {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "join"}, "stringData": {"token": JOIN_TOKEN}},
            {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "job"}, "spec": service},
            namespace=namespace,
        )

    return apply_job


def test_a_job_trains_in_pods(cluster, namespace, apply, job, coordinator_image, numpy_worker_image):
    apply(job)
    pods = [coordinator(coordinator_image), *(worker(numpy_worker_image, index) for index in range(WORKERS))]
    cluster.apply(*(pod.manifest() for pod in pods), namespace=namespace)

    end = ended(cluster, namespace, "coordinator")
    assert end.exit_code == 0, end.log
    said = end.outcome
    assert {name: said[name] for name in ("schema", "final", "phase", "reason", "rounds")} == {
        "schema": 1,
        "final": True,
        "phase": "Succeeded",
        "reason": "Completed",
        "rounds": ROUNDS,
    }
    assert said["metrics"]["accuracy"] > 0.5
    assert said["artifact"].endswith(".safetensors")
    assert re.fullmatch("[0-9a-f]{64}", said["sha256"])
    assert len(end.message) <= 4096
    for index in range(WORKERS):
        end = ended(cluster, namespace, f"worker-{index}")
        assert end.exit_code == 0, end.log
        assert end.outcome["reason"] == "stopped"
    nodes = {item["spec"]["nodeName"] for item in cluster.get("pods", f"--namespace={namespace}")["items"]}
    assert len(nodes) > 1, "the scheduler put all on one node, so nothing crossed the network"


def test_an_invalid_job_ends_the_coordinator_with_2(cluster, namespace, apply, job, coordinator_image):
    job["spec"]["rounds"] = 0
    apply(job)
    end = run(cluster, namespace, coordinator(coordinator_image))
    assert end.exit_code == 2, end.log
    assert end.outcome["final"] is False
    assert "rounds" in end.outcome["message"]


def test_a_wrong_entrypoint_ends_a_worker_with_2(cluster, namespace, apply, job, coordinator_image, numpy_worker_image):
    apply(job)
    cluster.apply(coordinator(coordinator_image).manifest(), namespace=namespace)
    end = run(cluster, namespace, worker(numpy_worker_image, 0, FEDCORE_ENTRYPOINT="fedcore.tasks.nothing:task"))
    assert end.exit_code == 2, end.log
    assert "fedcore.tasks.nothing" in json.dumps(end.outcome)


def test_no_coordinator_ends_a_worker_with_4(cluster, namespace, apply, job, numpy_worker_image):
    apply(job)
    end = run(cluster, namespace, worker(numpy_worker_image, 0, FEDCORE_UNREACHABLE_SECONDS="2"))
    assert end.exit_code == 4, end.log
    assert end.outcome["message"].startswith("no answer from http://job:8470")
