"""What dies on the way, and what becomes of the job: each end is counted as what it is, and no update is lost or counted twice."""

import pytest

from tests.e2e.figures import record_figure
from tests.e2e.history import recorded
from tests.e2e.jobs import apply_slow_job

pytestmark = pytest.mark.e2e


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
