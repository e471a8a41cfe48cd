"""Jobs and namespaces that are deleted in the midst of things, and jobs that end or go while no operator is there."""

import json
import time

import pytest

from tests.cluster.commands import wait_until
from tests.cluster.errors import ClusterError
from tests.e2e.figures import record_figure
from tests.e2e.history import recorded
from tests.e2e.jobs import apply_slow_job

pytestmark = pytest.mark.e2e

OWNED = "pods,services,networkpolicies,poddisruptionbudgets,persistentvolumeclaims,secrets"


def children(job, uid):
    """What is there of a job, by its uid: one of the same name may be there already."""
    owned = [item for item in job.get(OWNED)["items"] if uid in {one["uid"] for one in item["metadata"].get("ownerReferences", [])}]
    return [f"{item['kind']} {item['metadata']['name']}" for item in owned]


def test_a_deleted_job_leaves_nothing_and_its_name_is_free_at_once(operator, cluster, namespace):
    short = {"rounds": 10, "workers": {"replicas": 2}}
    job = apply_slow_job(cluster, namespace, "again", {"workers": {"replicas": 2}})
    job.wait_quorum()
    uid = job.get("fj", "again")["metadata"]["uid"]
    assert len(children(job, uid)) == 9, children(job, uid)
    with recorded(cluster, namespace) as history:
        began = time.time()
        job.kubectl("delete", "fj", "again", "--wait=false")
        job = apply_slow_job(cluster, namespace, "again", short)
        wait_until("its children gone", lambda: not children(job, uid))
        record_figure("job deleted while it runs: all its objects are gone after", time.time() - began, "s")
        assert job.wait_end() == "Completed", operator.log()
    status = job.status()
    assert (status.restarts, status.workers.disruptions, status.coordinator.attempt, status.result.rounds) == (0, 0, 1, 10)
    second = job.get("fj", "again")["metadata"]["uid"]
    assert uid != second
    owners = {one.thing["metadata"]["ownerReferences"][0]["uid"] for one in history.pods if one.kind == "ADDED"}
    assert owners == {second}, "nothing is made for a job that is gone"
    made = min(one.at for one in history.pods if one.kind == "ADDED")
    record_figure("the same name again at once: its first pod is made after", made - began, "s")


def test_a_namespace_goes_with_its_running_job_and_no_error_is_left(operator, cluster):
    with cluster.namespace() as namespace:
        job = apply_slow_job(cluster, namespace, "doomed", {"workers": {"replicas": 2}})
        job.wait_quorum()
        began = time.time()
        cluster.kubectl("delete", f"namespace/{namespace}", "--wait=false")

        def is_gone():
            return namespace not in cluster.kubectl("get", "namespaces", "--output=name")

        wait_until("the namespace gone", is_gone)
        record_figure("namespace deleted with a running job: gone after", time.time() - began, "s")
        failed = [line for line in operator.log().splitlines() if namespace in line and "pass_failed" in line]
        assert failed == []
        cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})  # which the fixture deletes


def test_what_happens_while_no_operator_is_there_is_found_afterwards(operator, cluster, namespace):
    ends = apply_slow_job(cluster, namespace, "ends", {"rounds": 20, "workers": {"replicas": 2}})
    goes = apply_slow_job(cluster, namespace, "goes", {"workers": {"replicas": 2}})
    ends.wait_quorum()
    goes.wait_quorum()
    operator.scale(0)
    try:
        uid = goes.get("fj", "goes")["metadata"]["uid"]
        began = time.time()
        goes.kubectl("delete", "fj", "goes", "--wait=true", "--timeout=30s")
        wait_until("its children gone", lambda: not children(goes, uid))
        record_figure("job deleted while the operator is down: all its objects are gone after", time.time() - began, "s")
        comes = apply_slow_job(cluster, namespace, "comes", {"rounds": 5, "workers": {"replicas": 2}})
        wait_until("end of the coordinator", lambda: _final(ends) is not None)
        said = _final(ends)
        assert ends.status().completion_time is None, "nobody was there to write it"
    finally:
        operator.scale(1)
    began = time.time()
    assert ends.wait_end() == "Completed", operator.log()
    record_figure("operator back after the end of a job: Complete after", time.time() - began, "s")
    result = ends.status().result
    assert (result.reason, result.rounds, result.sha256) == ("Completed", said["rounds"], said["sha256"])
    assert (ends.status().restarts, ends.status().coordinator.attempt) == (0, 1)
    assert "Completed" in ends.events()
    assert comes.wait_end() == "Completed", operator.log()
    with pytest.raises(ClusterError, match="NotFound"):
        goes.get("fj", "goes")


def _final(job):
    """The coordinator's last word in its pod, if it has said it."""
    pod = job.get("pod", f"{job.name}-coordinator-1")
    for container in pod["status"].get("containerStatuses", []):
        if "terminated" in container["state"]:
            return json.loads(container["state"]["terminated"]["message"])
    return None
