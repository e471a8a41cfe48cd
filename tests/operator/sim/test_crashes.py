"""The operator killed after every single write of a scenario: the end is the one that it comes to undisturbed."""

import json
from datetime import timedelta

import pytest

from support.cluster_model import Cluster, KilledError, Operator


def scenario(cluster, look):
    """A job with everything in it: crashes, eviction, scaling, suspension, a lost node, completion. ``look``: the operator acts."""

    def start_all():
        for pod in list(cluster.pods.values()):
            if pod["status"]["phase"] == "Pending":
                cluster.run(pod)
            if pod["status"]["phase"] == "Running":
                cluster.get_ready(pod)

    def wait(seconds):
        cluster.now += timedelta(seconds=seconds)
        look()

    def pod(name):
        return cluster.pods[f"mnist-{name}"]

    look()
    start_all()
    look()
    cluster.end(pod("worker-0-1"), 1, "Traceback")
    cluster.evict(pod("worker-1-1"))
    look()
    wait(10)
    start_all()
    cluster.end(pod("coordinator-1"), 137)
    look()
    wait(11)
    start_all()
    look()
    cluster.edit(lambda spec: spec["workers"].update(replicas=4))
    look()
    start_all()
    look()
    cluster.edit(lambda spec: spec["workers"].update(replicas=2))
    look()
    for name in [name for name, one in cluster.pods.items() if "deletionTimestamp" in one["metadata"]]:
        cluster.complete_deletion(cluster.pods[name])
    wait(5)
    cluster.lose(pod("worker-0-2"))
    look()
    wait(61)
    start_all()
    look()
    cluster.edit(lambda spec: spec.update(suspend=True))
    look()
    for name in [name for name, one in cluster.pods.items() if "deletionTimestamp" in one["metadata"]]:
        cluster.complete_deletion(cluster.pods[name])
    look()
    cluster.edit(lambda spec: spec.update(suspend=False))
    look()
    start_all()
    look()
    (coordinator,) = [one for one in cluster.of_role("coordinator") if one["status"]["phase"] == "Running"]
    said = {"schema": 1, "final": True, "reason": "Completed", "message": "20 rounds", "rounds": 20, "metrics": {"accuracy": 0.9}}
    cluster.end(coordinator, 0, json.dumps(said))
    look()
    for one in cluster.of_role("worker"):
        if one["status"]["phase"] == "Running":
            cluster.end(one, 0, json.dumps({"schema": 1, "reason": "stopped"}))
    wait(20)
    wait(300)


def play(kill_after=None):
    """Return how a scenario ends, and how often the operator was killed; ``kill_after``: in each look, once, after so many writes."""
    volume = {"checkpoint": {"volumeClaimTemplate": {"spec": {"resources": {"requests": {"storage": "1Gi"}}}}}}
    spec = {"rounds": 20, "task": {"entrypoint": "a:b"}, "workers": {"replicas": 2}, "coordinator": volume}
    cluster = Cluster({**spec, "ttlSecondsAfterFinished": 300})
    killed = []
    operator = [Operator(cluster)]

    def look():
        if kill_after is not None:
            try:
                operator[0].pass_(stop_after=kill_after)
            except KilledError:
                killed.append(cluster.now)
                operator[0] = Operator(cluster)
        operator[0].settle()

    scenario(cluster, look)
    return cluster, len(killed)


@pytest.fixture(scope="module")
def undisturbed():
    cluster, killed = play()
    assert killed == 0
    assert cluster.status.phase == "Succeeded"
    return cluster


def test_the_scenario_counts_what_happened(undisturbed):
    status = undisturbed.status
    assert (status.workers.restarts, status.workers.disruptions) == (1, 2)
    assert (status.coordinator.restarts, status.coordinator.disruptions, status.restarts) == (1, 0, 2)
    assert [(one.index, one.restarts, one.disruptions) for one in status.worker_indexes] == [(0, 1, 1), (1, 0, 1), (2, 0, 0), (3, 0, 0)]
    assert undisturbed.pods == {}, "time to live is over"


@pytest.mark.parametrize("kill_after", range(1, 12))
def test_a_kill_after_any_write_changes_nothing(undisturbed, kill_after):
    cluster, killed = play(kill_after)
    assert killed
    assert cluster.status == undisturbed.status
    assert cluster.objects == undisturbed.objects
    assert cluster.pods == undisturbed.pods


@pytest.mark.parametrize("kill_after", [None, 1, 2, 3])
def test_a_coordinator_is_renewed_before_its_certificate_ends(kill_after):
    """On a volume, once in 335 days: not counted, and only when the one before is gone."""
    volume = {"checkpoint": {"claimName": "results"}}
    spec = {"rounds": 20, "task": {"entrypoint": "a:b"}, "workers": {"replicas": 2}, "coordinator": volume}
    cluster = Cluster(spec)
    operator = Operator(cluster)
    operator.settle()

    def start_all():
        for pod in cluster.pods.values():
            if pod["status"]["phase"] == "Pending":
                cluster.run(pod)
            cluster.get_ready(pod)

    start_all()
    operator.settle()
    cluster.now += timedelta(days=335, seconds=-1)
    operator.settle()
    assert list(cluster.pods) == ["mnist-coordinator-1", "mnist-worker-0-1", "mnist-worker-1-1"]
    certificates = [name for kind, name in cluster.objects if kind == "Secret" and "-tls-" in name]
    cluster.now += timedelta(seconds=1)
    try:
        operator.pass_(stop_after=kill_after)
    except KilledError:
        operator = Operator(cluster)
    operator.settle()
    old = cluster.pods["mnist-coordinator-1"]
    assert "deletionTimestamp" in old["metadata"]
    assert "mnist-coordinator-2" not in cluster.pods, "it waits for the volume"
    cluster.complete_deletion(old)
    operator.settle()
    start_all()
    operator.settle()
    status = cluster.status
    assert (status.coordinator.attempt, status.coordinator.restarts, status.coordinator.disruptions) == (2, 0, 0)
    assert status.coordinator.ready
    assert (status.restarts, status.workers.restarts, status.workers.disruptions) == (0, 0, 0), "and its workers stay"
    assert [name for kind, name in cluster.objects if kind == "Secret" and "-tls-" in name] == [*certificates, certificates[0][:-1] + "2"]
    cluster.now += timedelta(days=334)
    operator.settle()
    assert cluster.status.coordinator.attempt == 2
