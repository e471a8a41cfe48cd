"""What users get wrong and what clusters do to them: the promised condition and reason, in words."""

import pytest

from tests.e2e.jobs import apply_job, apply_slow_job

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
