"""The operator as a process before an API server without nodes: what it logs, whether it is ready, and changes that no schema refuses."""

import asyncio
import gzip
import json
import subprocess

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_metrics

from support.prometheus import program
from tests.e2e.jobs import Job, apply_job
from tests.e2e.kubelet import kubelet
from tests.e2e.process import site

pytestmark = pytest.mark.apiserver

SITE = {"indexes": "0", "claimName": "site-0", "mountPath": "/data"}
AGAIN = {"indexes": "0", "claimName": "another", "mountPath": "/data"}


@pytest.fixture(scope="module")
def place(apiserver, tmp_path_factory):
    with apiserver.namespace() as namespace, site(apiserver, tmp_path_factory.mktemp("operator"), namespace) as place:
        yield place


def test_one_leads_and_one_follows_and_both_log_as_they_are_told(place):
    with place.operator("one", log_level="info", log_format="json") as one:
        one.wait_ready()
        job = apply_job(place.cluster, place.namespace, "logged", {"suspend": True})
        job.wait("verdict", lambda status: status.conditions)
        with place.operator("two", log_level="debug", log_format="text") as two:
            two.wait_until("a follower", lambda: two.asked("/readyz") == (200, "follower"))
            two.wait_until("its watches", lambda: two.asked("/healthz")[0] == 200)
            assert "lease_taken" not in two.log()
            assert one.stop() == 0, one.log()
            two.wait_ready()
            two.wait_until("a pass", lambda: " pass job=logged" in two.log())
            assert two.asked("/healthz")[0] == 200
            assert two.stop() == 0, two.log()
    said = [json.loads(line)["event"] for line in one.log().splitlines()]
    assert said == ["lease_taken", "first_pass_over", "operator_ended"]
    assert one.events("first_pass_over")[0]["jobs"] == 0
    words = [line.split()[1] for line in two.log().splitlines()]
    assert {"library", "lease_taken", "pass", "first_pass_over", "operator_ended"} <= set(words), "what kopf says looks alike"
    assert "logger=kopf" in two.log()
    assert " first_pass_over jobs=1 " in two.log()
    place.cluster.kubectl("delete", "fj", "logged", f"--namespace={place.namespace}")


def test_only_errors_are_logged_where_that_is_wanted(place):
    with place.operator("quiet", log_level="error") as quiet:
        quiet.wait_ready()
        assert quiet.stop() == 0
    assert quiet.log() == ""


async def _poll_of_each_event(cluster, job):
    async with kubelet(cluster) as nodes:
        await nodes.wait("pods", lambda: nodes.running == 4, 60)
        (seen,) = nodes.jobs.values()
        await nodes.wait("first poll", lambda: seen.polls, 60)
        before = seen.polls
        job.kubectl("annotate", "pod", f"{job.name}-coordinator-1", "a=b")
        await nodes.wait("a poll", lambda: seen.polls > before, 60)  # the next one by the clock is five minutes away


def test_an_event_of_the_coordinator_causes_a_poll(place):
    with place.operator("polls", progress_poll_seconds="300") as polls:
        polls.wait_ready()
        job = apply_job(place.cluster, place.namespace, "polled", {})
        asyncio.run(_poll_of_each_event(place.cluster, job))
        job.wait("progress", lambda status: status.progress is not None)
        _check_metrics(polls, job)
        job.kubectl("delete", "fj", "polled")


def _check_metrics(operator, job):
    """What a live operator says in a scrape: clean, and as the status and the API have it."""
    body = gzip.decompress(operator.scraped()).decode()
    samples = [sample for family in parse_metrics(body) for sample in family.samples]

    def value(name, **labels):
        found = [one.value for one in samples if one.name == f"fedcore_operator_{name}" and labels.items() <= one.labels.items()]
        return sum(found) if found else None

    of_job, status = {"namespace": job.namespace, "federatedjob": job.name}, job.status()
    assert value("leader") == 1
    assert value("job_phase", **of_job, phase=status.phase) == 1
    assert value("job_ready_workers", **of_job) == status.workers.ready
    assert value("job_pods", **of_job, phase="Running") == 4
    assert value("progress_polls_total", result="ok") >= 2
    assert value("events_total") == len(job.events())
    assert value("kube_requests_total", verb="create", code="201") >= 4
    assert value("watch_last_event_timestamp_seconds", resource="pods") > status.start_time.timestamp()
    assert value("reconcile_duration_seconds_count", result="error") == 0
    assert 0 < value("reconcile_duration_seconds_count") <= value("queue_wait_seconds_count")
    plain = operator.asked("/metrics")[1]
    done = subprocess.run([program("promtool"), "check", "metrics"], input=f"{plain}\n", capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


async def _wrong_data(cluster, job: Job):
    async with kubelet(cluster) as nodes:
        key = job.namespace, job.name
        await nodes.wait("pods", lambda: nodes.running == 3, 60)
        added = {"spec": {"workers": {"replicas": 3, "data": [SITE, AGAIN]}}}
        job.kubectl("patch", "fj", job.name, "--type=merge", f"--patch={json.dumps(added)}")
        await nodes.wait("the third worker", lambda: nodes.jobs[key].pods.get("wrong-worker-2-1") == "Running", 60)
        job.kubectl("delete", "pod", "wrong-worker-0-1")
        await nodes.wait("the next attempt", lambda: nodes.jobs[key].pods.get("wrong-worker-0-2") == "Running", 60)
        pod = job.get("pod", "wrong-worker-0-2")
        claims = [volume["persistentVolumeClaim"]["claimName"] for volume in pod["spec"]["volumes"] if "persistentVolumeClaim" in volume]
        assert claims == ["site-0"], "what it had, and nothing of what is wrong"
        assert job.condition("Accepted")[:2] == ("False", "InvalidJob")
        assert "both match index 0" in job.condition("Accepted")[2]
        repaired = {"spec": {"workers": {"data": [SITE]}}}
        job.kubectl("patch", "fj", job.name, "--type=merge", f"--patch={json.dumps(repaired)}")
        await asyncio.to_thread(job.wait, "acceptance", lambda _: job.condition("Accepted")[:2] == ("True", "Valid"))
        await nodes.end(key)
        await asyncio.to_thread(job.wait_end)


def test_a_wrong_change_does_not_harm_a_job_that_runs(place):
    with place.operator("wrong", log_format="json") as operator:
        operator.wait_ready()
        spec = {"workers": {"replicas": 2, "data": [SITE]}, "failurePolicy": {"restartBackoffSeconds": 1}}
        job = apply_job(place.cluster, place.namespace, "wrong", spec)
        asyncio.run(_wrong_data(place.cluster, job))
        status = job.status()
        assert (status.phase, status.workers.disruptions, status.restarts) == ("Succeeded", 1, 0)
        assert "NotAccepted" in job.events()
        assert operator.events("pass_failed") == [], operator.log()
        assert operator.stop() == 0
    job.kubectl("delete", "fj", "wrong")
