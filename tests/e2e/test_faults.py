"""What dies on the way, and what becomes of the job: each end is counted as what it is, and no update is lost or counted twice."""

import hashlib

import pytest

from tests.cluster.commands import wait_until
from tests.cluster.errors import ClusterError
from tests.e2e.fedjob import Fedjob
from tests.e2e.figures import record_figure
from tests.e2e.history import recorded
from tests.e2e.jobs import SLOW_ROUNDS, apply_slow_job
from tests.e2e.nodes import kill_container, node_of
from tests.e2e.runs import CLAIM, read_run

pytestmark = pytest.mark.e2e

EXACT = {"quorum": {"percent": 100}, "workload": {"policy": "fixed"}, "failurePolicy": {"restartBackoffSeconds": 1}}
"""The model depends on every update of every round, and on nothing else."""
ON_A_VOLUME = {"coordinator": {"checkpoint": {"volumeClaimTemplate": CLAIM}}}
LOSSES = 5


def test_each_end_of_a_worker_is_counted_as_what_it_is(operator, cluster, namespace):
    def doomed(name, fates, spec):
        task = {"entrypoint": "doomed_task:task", "parameters": {"seconds": "0.4", "values": "100", "fates": fates}}
        patient = {"failurePolicy": {"restartBackoffSeconds": 1}, "quorum": {"percent": 50}}
        return apply_slow_job(cluster, namespace, name, {"task": task, **patient, **spec})

    with recorded(cluster, namespace) as history:
        job = doomed("ends", "1:3:oom,2:3:1", {"workers": {"replicas": 4}, "rounds": 40})
        fatal = doomed("fatal", "1:3:2", {"workers": {"replicas": 2}})
        job.wait_quorum()
        job.delete_pod("worker-0-1")
        assert fatal.wait_end() == "NonRetryableExit", operator.log()
        assert job.wait_end() == "Completed", operator.log()
    history.check("ends")
    history.check("fatal")
    status = job.status()
    assert [(one.index, one.attempt, one.restarts, one.disruptions) for one in status.worker_indexes] == [
        (0, 2, 0, 1),
        (1, 2, 1, 0),
        (2, 2, 1, 0),
    ]
    assert (status.workers.restarts, status.workers.disruptions, status.restarts) == (2, 1, 2)
    exits = {one.index: (one.last_exit.reason, one.last_exit.exit_code) for one in status.worker_indexes}
    assert exits[1] == ("OOMKilled", 137)
    assert exits[2] == ("Error", 1)
    assert {"WorkerRestarted", "WorkerDisrupted"} <= set(job.events())
    message = fatal.condition("Failed")[2]
    assert "fatal-worker-1-1" in message
    assert "exit code 2" in message
    assert fatal.status().restarts == 0
    for index, what in enumerate(["deleted", "killed for its memory", "ended with 1"]):
        old, new = f"ends-worker-{index}-1", f"ends-worker-{index}-2"
        ended = history.first(old, lambda pod: "deletionTimestamp" in pod["metadata"] or pod["status"]["phase"] == "Failed")
        record_figure(f"worker {what}: its next attempt is ready after (backoff 1 s where restarted)", history.ready(new) - ended, "s")


@pytest.mark.long
def test_a_coordinator_lost_five_times_counts_nothing_twice(operator, cluster, namespace, numpy_worker_image, tmp_path):
    with recorded(cluster, namespace) as history:
        calm = apply_slow_job(cluster, namespace, "calm", EXACT)
        job = apply_slow_job(cluster, namespace, "hit", {**EXACT, **ON_A_VOLUME})
        for attempt in range(1, LOSSES + 1):
            name = f"hit-coordinator-{attempt}"
            wait_until("the attempt", lambda name=name: job.status().coordinator.pod_name == name)
            job.wait_asked(2 * attempt)
            job.delete_pod(f"coordinator-{attempt}")
        assert job.wait_end() == "Completed", operator.log()
        assert calm.wait_end() == "Completed"
        run = read_run(job, numpy_worker_image)
        assert_reported(Fedjob.installed(cluster, namespace, tmp_path), status_of=calm, claim_of=job)
    history.check("hit")
    status = job.status()
    coordinator = status.coordinator
    assert (coordinator.disruptions, coordinator.restarts, coordinator.attempt) == (LOSSES, 0, LOSSES + 1)
    assert (status.workers.restarts, status.workers.disruptions, status.restarts) == (0, 0, 0)
    run.check(SLOW_ROUNDS)
    assert [began for last, began in run.resumed() if began != last + 1] == []
    assert len(run.resumed()) == LOSSES
    assert status.result.sha256 == calm.status().result.sha256, "the model is that of a run without faults, to the byte"
    assert "CoordinatorRestarted" in job.events()
    assert "RestartedFromRoundOne" not in job.events()
    record_figure(f"coordinator deleted {LOSSES} times: rounds that were closed and are lost", 0, "rounds")
    record_figure(f"coordinator deleted {LOSSES} times: rounds that were open and begin anew", run.reopened(), "rounds")
    for attempt in range(1, LOSSES + 1):
        at = history.first(f"hit-coordinator-{attempt}", lambda pod: "deletionTimestamp" in pod["metadata"])
        wait = "" if attempt <= 3 else f" (the {attempt}th in a row, which waits for {2 ** (attempt - 1)} s)"
        record_figure(f"coordinator deleted: the next round closes after{wait}", run.next_close(at), "s")


def assert_reported(fedjob, *, status_of, claim_of):
    """Of a job that has ended: the whole from its claim, by a pod that is gone afterwards; without a claim what the status holds."""
    run_dir = fedjob.folder / "hit"
    told = fedjob("report", claim_of.name, "--model", f"--run-dir={run_dir}")
    assert told.startswith(f"✔ Succeeded: {SLOW_ROUNDS} rounds in "), told
    assert f"{LOSSES} coordinator restarts" in told
    assert str(run_dir / "report.html") in told
    assert hashlib.sha256((run_dir / "model.safetensors").read_bytes()).hexdigest() == claim_of.status().result.sha256
    assert len((run_dir / "rounds.csv").read_text().splitlines()) == 1 + SLOW_ROUNDS
    assert (run_dir / "report.html").read_text().count("the coordinator started again") == LOSSES
    wait_until("the end of the pod", lambda: not claim_of.get("pods", "--selector=app.kubernetes.io/name=fedcore-report")["items"])
    told = fedjob("report", status_of.name, f"--run-dir={fedjob.folder / 'status'}")
    assert told.startswith(f"✔ Succeeded: {SLOW_ROUNDS} rounds in "), told
    assert "the last five rounds at most" in (fedjob.folder / "status/report.html").read_text()


def test_scaled_suspended_and_killed_no_update_is_lost(operator, local_cluster, namespace, numpy_worker_image):
    patient = {"quorum": {"percent": 50}, "failurePolicy": {"restartBackoffSeconds": 1}}
    spec = {**ON_A_VOLUME, **patient, "workers": {"replicas": 4}, "rounds": 100}
    with recorded(local_cluster, namespace) as history:
        job = apply_slow_job(local_cluster, namespace, "scale", spec)
        job.wait_quorum()
        job.kubectl("scale", "fj/scale", "--replicas=8")
        job.wait("8 workers", lambda status: status.workers.ready == 8)
        wait_until("a round of all 8", lambda: any(one["accepted"] == 8 for one in job.ask().recent_rounds))
        job.patch({"workers": {"replicas": 3}})
        job.wait("3 pods", lambda status: status.workers.desired == 3 and status.workers.active == 3)
        for _ in range(2):
            job.wait_asked(job.ask().round + 2)
            job.patch({"suspend": True})
            job.wait("suspension", lambda status: status.phase == "Suspended")
            wait_until("pods gone", lambda: not job.pods())
            job.patch({"suspend": False})
            job.wait("quorum again", lambda status: status.quorum_first_met_time is not None)
        job.wait_asked(job.ask().round + 1)
        kill_container(local_cluster, namespace, job.status().coordinator.pod_name)
        assert job.wait_end() == "Completed", operator.log()
        run = read_run(job, numpy_worker_image)
    history.check("scale")
    status = job.status()
    counted = (status.coordinator.restarts, status.workers.restarts, status.workers.disruptions, status.coordinator.disruptions)
    assert counted == (1, 0, 0, 0), "the kill is counted, our own deletions are not"
    run.check(100)
    assert len(run.resumed()) == 3
    assert [(last, began) for last, began in run.resumed() if began != last + 1] == [], "goes on with the round after the checkpoint"
    sizes = [one["accepted"] for one in run.of("round_closed")]
    assert max(sizes) == 8
    assert sizes[-1] <= 3
    assert [one["workers"] for one in run.of("spec_changed")][:2] == [8, 3]


def test_evictions_keep_the_budget_and_a_drain_at_100_percent_gets_through(operator, local_cluster, namespace):
    with recorded(local_cluster, namespace) as history:
        job = apply_slow_job(local_cluster, namespace, "drained", {**EXACT, "workers": {"replicas": 6}, "rounds": 80})
        job.wait("all ready", lambda status: status.workers.ready == 6)
        job.evict("worker-0-1")
        with pytest.raises(ClusterError, match="disruption budget"):
            job.evict("worker-1-1")
        job.wait("replacement", lambda status: status.workers.ready == 6 and status.workers.disruptions == 1)
        node, there = _busiest_node(job)
        try:
            options = [f"--pod-selector=fedcore.dev/job={job.name}", "--delete-emptydir-data", "--timeout=120s"]
            local_cluster.kubectl("drain", node, *options, seconds=130)
        finally:
            local_cluster.kubectl("uncordon", node)
        assert job.wait_end() == "Completed", operator.log()
    history.check("drained")
    status = job.status()
    assert (status.workers.disruptions, status.workers.restarts, status.restarts) == (1 + len(there), 0, 0)
    assert status.coordinator.attempt == 1
    begun = min(history.first(name, lambda pod: "deletionTimestamp" in pod["metadata"]) for name in there)
    gone = max(one.at for one in history.pods if one.name in there and one.kind == "DELETED")
    record_figure(f"drain of a node with {len(there)} workers at quorum 100 %", gone - begun, "s")


def _busiest_node(job):
    """The node with the most workers that is not the coordinator's, and the names of these workers."""
    coordinator = node_of(job.cluster, job.namespace, job.status().coordinator.pod_name)
    nodes: dict[str, list[str]] = {}
    for pod in job.pods():
        if pod["status"]["phase"] == "Running" and pod["metadata"]["labels"]["fedcore.dev/role"] == "worker":
            nodes.setdefault(pod["spec"]["nodeName"], []).append(pod["metadata"]["name"])
    return max(((node, sorted(names)) for node, names in nodes.items() if node != coordinator), key=lambda one: len(one[1]))
