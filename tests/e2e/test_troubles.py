"""What users get wrong and what clusters do to them: the promised condition and reason, in words."""

import pytest

from tests.cluster.commands import wait_until
from tests.e2e.jobs import SLOW_ROUNDS, apply_job, apply_slow_job
from tests.e2e.pods import Pod, run

pytestmark = pytest.mark.e2e


def test_an_image_with_a_typo_ends_at_the_startup_deadline(operator, cluster, namespace):
    spec = {"workers": {"replicas": 2, "image": "localhost/nowhere/nothing:typo"}, "startupDeadlineSeconds": 20}
    job = apply_job(cluster, namespace, "typo", spec)
    assert job.wait_end() == "StartupDeadlineExceeded", operator.log()
    assert "StartupDeadlineExceeded" in job.events()
    assert job.kubectl("get", "fj", "typo", "-o", "wide", "--no-headers").split()[-1] == "StartupDeadlineExceeded"


def test_a_template_with_a_typo_is_not_accepted_and_can_be_repaired(operator, cluster, namespace):
    template = {"spec": {"containers": [{"name": "worker", "resorces": {}}]}}
    job = apply_job(cluster, namespace, "template", {"workers": {"replicas": 2, "template": template}})
    job.wait("verdict", lambda status: status.conditions)
    status, reason, message = job.condition("Accepted")
    assert (status, reason) == ("False", "InvalidPodTemplate"), operator.log()
    assert "resorces" in message
    assert job.get("pods")["items"] == []
    job.kubectl("patch", "fj", "template", "--type=merge", "--patch", '{"spec": {"workers": {"template": null}}}')
    assert job.wait_end() == "Completed", operator.log()


def test_what_the_namespace_forbids_is_said(operator, cluster, namespace):
    job = apply_job(cluster, namespace, "host", {"workers": {"replicas": 2, "template": {"spec": {"hostNetwork": True}}}})
    job.wait("verdict", lambda status: status.conditions)
    assert job.condition("Accepted")[:2] == ("False", "PodForbidden"), operator.log()


def test_a_task_that_cannot_be_imported_ends_the_job(operator, cluster, namespace):
    job = apply_job(cluster, namespace, "absent", {"task": {"entrypoint": "no_such_module:task"}})
    assert job.wait_end() == "NonRetryableExit", operator.log()
    assert "no_such_module" in job.condition("Failed")[2]


def test_the_deadline_ends_a_job_that_runs(operator, cluster, namespace):
    job = apply_slow_job(cluster, namespace, "late", {"activeDeadlineSeconds": 10})
    assert job.wait_end() == "DeadlineExceeded", operator.log()


def test_scaled_up_and_down_suspended_and_resumed_it_completes(operator, cluster, namespace):
    claim = {"spec": {"storageClassName": "local", "resources": {"requests": {"storage": "10Mi"}}}}
    spec = {"coordinator": {"checkpoint": {"volumeClaimTemplate": claim}}, "workers": {"replicas": 4}, "quorum": {"percent": 50}}
    job = apply_slow_job(cluster, namespace, "scale", spec)
    job.wait("4 workers", lambda status: status.progress is not None and status.progress.registered >= 2)
    job.kubectl("scale", "fj/scale", "--replicas=6")
    job.wait("6 pods", lambda status: status.workers.active == 6)
    job.kubectl("scale", "fj/scale", "--replicas=3")
    job.wait("3 pods", lambda status: status.workers.desired == 3 and status.workers.active == 3)
    reached = job.wait("a round", lambda status: status.progress is not None and status.progress.round > 1).progress.round
    job.kubectl("patch", "fj", "scale", "--type=merge", "--patch", '{"spec": {"suspend": true}}')
    job.wait("suspension", lambda status: status.phase == "Suspended")
    wait_until("pods gone", lambda: not job.get("pods")["items"])
    job.kubectl("patch", "fj", "scale", "--type=merge", "--patch", '{"spec": {"suspend": false}}')
    again = job.wait("progress", lambda status: status.progress is not None and status.progress.round > 0 and status.phase == "Running")
    assert again.progress.round >= reached
    assert job.wait_end() == "Completed", operator.log()
    status = job.status()
    assert (status.result.rounds, status.restarts) == (SLOW_ROUNDS, 0)


def test_a_stranger_reaches_neither_port_of_a_coordinator(operator, cluster, namespace, numpy_worker_image):
    job = apply_slow_job(cluster, namespace, "closed", {})
    job.wait_quorum()
    script = """
import socket
for port in (8470, 9464):
    try:
        socket.create_connection(("closed", port), timeout=3).close()
        print(port, "open")
    except OSError as error:
        print(port, type(error).__name__)
"""
    stranger = run(cluster, namespace, Pod("stranger", numpy_worker_image, ["python", "-c", script]))
    assert sorted(stranger.log.split()[1::2]) in (["TimeoutError"] * 2, ["ConnectionRefusedError"] * 2), stranger.log
    assert job.status().phase in {"Running", "Degraded"}, "it was there to be reached"
    job.kubectl("delete", "fj", "closed", "--wait=false")
