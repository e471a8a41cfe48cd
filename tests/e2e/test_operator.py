"""The operator on a real cluster: a job from apply to its end, and what is left of an operator that dies meanwhile: nothing."""

import pytest

from tests.e2e.jobs import SLOW_ROUNDS, apply_job, apply_slow_job

pytestmark = pytest.mark.e2e


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


def test_without_a_volume_an_evicted_coordinator_begins_again_and_says_so(operator, cluster, namespace):
    job = apply_slow_job(cluster, namespace, "slow", {"rounds": 20})
    job.wait_quorum()
    job.evict("coordinator-1")
    assert job.wait_end() == "Completed", operator.log()
    coordinator = job.status().coordinator
    assert (coordinator.attempt, coordinator.disruptions, coordinator.restarts) == (2, 1, 0)
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
