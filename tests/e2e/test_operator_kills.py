"""The operator killed at random instants, twenty times during a job to which faults happen: the end is that of a job without them."""

import os
import random
import secrets
import time

import pytest

from tests.cluster.commands import wait_until
from tests.e2e.figures import record_figure
from tests.e2e.history import is_ready, recorded
from tests.e2e.jobs import apply_slow_job
from tests.e2e.nodes import kill_container
from tests.e2e.runs import CLAIM, read_run

pytestmark = [pytest.mark.e2e, pytest.mark.long, pytest.mark.timeout(1300, func_only=True)]

KILLS = 20
ROUNDS = 280
WORKERS = 3
SUSPENDED = {6, 13}
"""Before these kills the job is suspended, and after them it is resumed."""


def test_an_operator_killed_twenty_times_at_random_changes_nothing(operator, local_cluster, namespace, numpy_worker_image):
    seed = int(os.environ.get("FEDCORE_SEED") or secrets.randbelow(2**31))
    print(f"FEDCORE_SEED={seed} repeats the choices")
    chance = random.Random(seed)
    exact = {
        "quorum": {"percent": 100},
        "workload": {"policy": "fixed"},
        "failurePolicy": {"restartBackoffSeconds": 1},
        "rounds": ROUNDS,
        "task": {"parameters": {"seconds": "1.5", "values": "100"}},
    }
    volume = {"coordinator": {"checkpoint": {"volumeClaimTemplate": CLAIM}, "maxRestarts": 100}}
    done = {"worker deleted": 0, "worker killed": 0, "coordinator deleted": 0}
    with recorded(local_cluster, namespace) as history:
        calm = apply_slow_job(local_cluster, namespace, "calm", exact)
        hit = apply_slow_job(
            local_cluster, namespace, "hit", {**exact, **volume, "workers": {"replicas": WORKERS, "maxRestartsPerWorker": 100}}
        )
        hit.wait_quorum()
        for number in range(KILLS):
            operator.wait_leads()
            if number in SUSPENDED:
                wait_until("the job whole", lambda: _whole(hit))
                hit.patch({"suspend": True})
            elif what := _harm(hit, local_cluster, chance):
                done[what] += 1
            time.sleep(chance.uniform(0, 3))  # not for anything: this is the random instant
            if number % 5 == 4:
                kill_container(local_cluster, operator.namespace, operator.pod())
            operator.kill()
            if number in SUSPENDED:
                hit.patch({"suspend": False})
        assert hit.status().completion_time is None, "it has ended before the last kill: raise ROUNDS"
        for job in (calm, hit):
            assert job.wait_end(seconds=600) == "Completed", operator.log()
        run = read_run(hit, numpy_worker_image)
    history.check("calm")
    history.check("hit")
    run.check(ROUNDS)
    assert [began for last, began in run.resumed() if began != last + 1] == []
    status, undisturbed = hit.status(), calm.status()
    assert status.result.sha256 == undisturbed.result.sha256
    assert status.workers.restarts == status.restarts == done["worker killed"]
    assert status.workers.disruptions == done["worker deleted"]
    assert (status.coordinator.disruptions, status.coordinator.restarts) == (done["coordinator deleted"], 0)
    assert (undisturbed.restarts, undisturbed.workers.disruptions, undisturbed.coordinator.attempt) == (0, 0, 1)
    assert sorted(history.made("calm")) == ["coordinator-1", *(f"worker-{index}-1" for index in range(WORKERS))]
    record_figure("kills of the operator, every fifth by SIGKILL", KILLS, "kills")
    record_figure("faults and suspensions of the job between them", sum(done.values()) + len(SUSPENDED), "faults")
    record_figure("versions of status and pods checked", len(history.jobs) + len(history.pods), "versions")


def _whole(job):
    """The pods of the job if the current attempts, and nobody else, are there and ready."""
    status = job.status()
    attempts = {one.index: one.attempt for one in status.worker_indexes}
    current = {f"{job.name}-worker-{index}-{attempts.get(index, status.attempt_base)}" for index in range(WORKERS)}
    living = [pod for pod in job.pods() if pod["status"]["phase"] in {"Pending", "Running"}]
    whole = [pod for pod in living if is_ready(pod) and "deletionTimestamp" not in pod["metadata"]]
    names = {pod["metadata"]["name"] for pod in whole}
    is_whole = status.phase == "Running" and len(living) == len(whole) and names == current | {status.coordinator.pod_name}
    return whole if is_whole else []


def _harm(job, cluster, chance):
    """Do something to the job if it is whole, and say what: a fault on top of another could not be counted from here."""
    whole = _whole(job)
    if not whole:
        return None
    pod = chance.choice(whole)
    name = pod["metadata"]["name"].removeprefix(f"{job.name}-")
    if name.startswith("coordinator") or chance.random() < 0.5:
        job.delete_pod(name)
        what = f"{name.split('-')[0]} deleted"
    else:
        kill_container(cluster, job.namespace, f"{job.name}-{name}")
        what = "worker killed"
    uid = pod["metadata"]["uid"]

    def has_ended():
        found = [one for one in job.pods() if one["metadata"]["uid"] == uid]
        return not found or found[0]["status"]["phase"] == "Failed" or "deletionTimestamp" in found[0]["metadata"]

    wait_until(f"end of {name}", has_ended)
    return what
