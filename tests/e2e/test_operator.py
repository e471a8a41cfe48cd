"""The operator on a real cluster: a job from apply to its end, and what becomes of it when something dies on the way."""

import pytest

from tests.e2e.jobs import SLOW_ROUNDS, apply_job, apply_slow_job

pytestmark = pytest.mark.e2e

CLAIM = {"spec": {"storageClassName": "local", "resources": {"requests": {"storage": "10Mi"}}}}


def test_a_job_is_applied_and_trained(operator, cluster, namespace):
    job = apply_job(cluster, namespace, "mnist", {"rounds": 10})
    assert job.wait_end() == "Completed", operator.log()
    line = job.kubectl("get", "fj", "mnist", "--no-headers").split()
    assert line[:3] == ["mnist", "Succeeded", "10/10"]
    assert float(line[5]) > 0.85
    assert line[6] == "0", "no restarts"
    status = job.status()
    assert (status.result.reason, status.result.rounds, len(status.result.sha256)) == ("Completed", 10, 64)
    assert {"Started", "Completed"} <= set(job.events())
    marks = job.get("fj", "mnist")["metadata"]
    assert "finalizers" not in marks
    assert not [name for name in marks.get("annotations", {}) if "kopf" in name]


def test_the_charts_own_test_passes(operator, cluster):
    cluster.helm("test", operator.release, f"--namespace={operator.namespace}", "--timeout=180s")


def test_a_deleted_worker_is_replaced_and_not_counted(operator, cluster, namespace):
    job = apply_slow_job(cluster, namespace, "slow", {})
    job.wait_quorum()
    job.delete_pod("worker-1-1")
    assert job.wait_end() == "Completed", operator.log()
    status = job.status()
    assert (status.workers.disruptions, status.workers.restarts) == (1, 0)
    assert [(one.index, one.attempt) for one in status.worker_indexes] == [(1, 2)]
    assert "WorkerDisrupted" in job.events()


def test_a_deleted_coordinator_goes_on_from_its_volume(operator, cluster, namespace):
    spec = {"coordinator": {"checkpoint": {"volumeClaimTemplate": CLAIM}}}
    job = apply_slow_job(cluster, namespace, "slow", spec)
    reached = job.wait_round(5).progress.round
    job.delete_pod("coordinator-1")
    job.wait("second attempt", lambda status: status.coordinator.attempt == 2 and status.coordinator.ready)
    assert job.wait_round(reached).coordinator.disruptions == 1
    assert job.wait_end() == "Completed", operator.log()
    status = job.status()
    assert (status.result.rounds, status.coordinator.restarts) == (SLOW_ROUNDS, 0)
    assert "CoordinatorRestarted" in job.events()
    assert "RestartedFromRoundOne" not in job.events()


def test_without_a_volume_a_deleted_coordinator_begins_again_and_says_so(operator, cluster, namespace):
    job = apply_slow_job(cluster, namespace, "slow", {})
    job.wait_quorum()
    job.delete_pod("coordinator-1")
    assert job.wait_end() == "Completed", operator.log()
    assert job.status().coordinator.attempt == 2
    assert "RestartedFromRoundOne" in job.events()


def test_an_operator_killed_again_and_again_changes_nothing(operator, cluster, namespace):
    job = apply_slow_job(cluster, namespace, "slow", {})
    operator.kill()
    for number in (1, SLOW_ROUNDS // 3, SLOW_ROUNDS // 2):
        job.wait_round(number)
        operator.kill()
    assert job.wait_end() == "Completed", operator.log()
    status = job.status()
    assert (status.workers.restarts, status.workers.disruptions, status.restarts, status.coordinator.attempt) == (0, 0, 0, 1)
    assert status.result.rounds == SLOW_ROUNDS
    pods = sorted(pod["metadata"]["name"] for pod in job.get("pods")["items"])
    assert pods == ["slow-coordinator-1", "slow-worker-0-1", "slow-worker-1-1", "slow-worker-2-1"]
