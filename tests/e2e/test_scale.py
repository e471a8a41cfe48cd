"""Many jobs at once: before an API server alone with a kubelet's part played, and on nodes. The long ones print their figures."""

import json
import os
import re
import time
from collections import Counter

import pytest

from tests.e2e.jobs import Job, apply_job
from tests.e2e.scale import measure

MIB_ALLOWED = 512
"""The chart's limit."""
STATUS_BYTES = 64 * 1024
WORKERS = int(os.environ.get("FEDCORE_E2E_WORKERS", "40"))
"""Of the widest job. The design speaks of a hundred; two cores start forty in minutes."""
ONLY_OURS = ("federatedjobs/status", "pods", "services", "secrets", "networkpolicies", "poddisruptionbudgets")
"""What nobody but the operator writes while jobs run."""
COUNTED = re.compile(r"^apiserver_request_total\{(.*)\} (\S+)$", re.MULTILINE)


@pytest.mark.long
@pytest.mark.apiserver
@pytest.mark.timeout(3000)
def test_two_hundred_jobs_and_ten_thousand_pods(apiserver, tmp_path, capsys):
    figures = measure(jobs=200, pods=50, restarts=3, steady_seconds=120, folder=tmp_path)
    _show(capsys, figures)
    _check(figures, 200)


@pytest.mark.apiserver
def test_a_few_jobs_with_a_restart(apiserver, tmp_path):
    """The same in small, so that the figures can be had when they are wanted."""
    _check(measure(jobs=4, pods=5, restarts=1, steady_seconds=1, folder=tmp_path, settling_seconds=1), 4)


@pytest.mark.long
@pytest.mark.e2e
@pytest.mark.timeout(900, func_only=True)
def test_fifteen_jobs_of_two_workers_applied_at_once(operator, cluster, namespace, capsys):
    count = 15
    before, began = _writes(cluster), time.monotonic()
    jobs = [Job(cluster, namespace, f"many-{number}") for number in range(count)]
    spec = {"rounds": 5, "task": {"entrypoint": "fedcore.tasks.mnist:numpy_task"}, "workers": {"replicas": 2}}
    kind = {"apiVersion": "fedcore.dev/v1alpha1", "kind": "FederatedJob"}
    cluster.apply(*({**kind, "metadata": {"name": job.name}, "spec": spec} for job in jobs), namespace=namespace)
    applied = time.monotonic() - began
    ends, reasons = [], []
    for job in jobs:
        reasons.append(job.wait_end(seconds=600))
        ends.append(time.monotonic() - began)
    writes = _writes(cluster) - before
    statuses = [job.status() for job in jobs]
    each = [(status.completion_time - status.start_time).total_seconds() for status in statuses]
    figures = {
        "jobs": count,
        "applied_s": round(applied, 1),
        "all_complete_s": round(max(ends), 1),
        "job_s": {"least": min(each), "most": max(each)},
        "writes_per_job": {what: round(number / count, 2) for what, number in writes.most_common() if number},
        "operator_memory_peak_mib": _peak_mib(operator),
    }
    _show(capsys, figures)
    assert reasons == ["Completed"] * count, operator.log()
    assert {(status.restarts, status.workers.disruptions, status.result.rounds) for status in statuses} == {(0, 0, 5)}
    assert figures["operator_memory_peak_mib"] < MIB_ALLOWED


@pytest.mark.long
@pytest.mark.e2e
@pytest.mark.timeout(1500, func_only=True)
def test_one_job_of_many_workers(operator, cluster, namespace, capsys):
    workers, rounds = WORKERS, 3
    before, began = _writes(cluster), time.monotonic()
    job = apply_job(cluster, namespace, "wide", {"workers": {"replicas": workers}, "rounds": rounds})
    job.wait("all workers", lambda status: status.workers.active == workers, seconds=600)
    made = time.monotonic() - began
    quorum = job.wait("quorum", lambda status: status.quorum_first_met_time is not None, seconds=900)
    widest = len(json.dumps(job.get("fj", "wide")["status"]))
    reason = job.wait_end(seconds=900)
    status = job.status()
    figures = {
        "workers": workers,
        "rounds": status.result.rounds if status.result else 0,
        "all_pods_s": round(made, 1),
        "quorum_s": (quorum.quorum_first_met_time - quorum.start_time).total_seconds(),
        "complete_s": round(time.monotonic() - began, 1),
        "status_bytes": {"while it ran": widest, "in the end": len(json.dumps(job.get("fj", "wide")["status"]))},
        "restarts": status.restarts,
        "disruptions": status.workers.disruptions,
        "writes": {what: number for what, number in (_writes(cluster) - before).most_common() if number},
        "operator_memory_peak_mib": _peak_mib(operator),
    }
    _show(capsys, figures)
    assert reason == "Completed", operator.log()
    assert status.result.rounds == rounds
    assert max(figures["status_bytes"].values()) < STATUS_BYTES
    assert "PodCreateFailed" not in job.events()


def _check(figures, jobs):
    assert figures["ended"]["complete"] == jobs
    assert figures["applied"]["refused"] == []
    restart = figures["first_passes"][-1]["calls_per_job"]
    assert not [call for call in restart if call.startswith("create") and not call.startswith("create events")], "all is there already"
    assert max(part["memory_peak_mib"] for part in (figures["applied"], figures["steady"], figures["ended"])) < MIB_ALLOWED


def _show(capsys, figures):
    with capsys.disabled():
        print("\n" + json.dumps(figures))


def _peak_mib(operator):
    """The operator's process is the first of its container; a restart of its pod would begin anew."""
    read = ["python", "-c", "print(open('/proc/1/status').read())"]
    status = operator.cluster.kubectl("exec", f"deployment/{operator.release}", f"--namespace={operator.namespace}", "--", *read)
    return round(int(re.search(r"VmHWM:\s+(\d+) kB", status).group(1)) / 1024, 1)


def _writes(cluster):
    """Writes so far, as the API server counts them, by verb and resource. Deletions are mostly the garbage collector's."""
    found = Counter()
    for labels, value in COUNTED.findall(cluster.kubectl("get", "--raw", "/metrics")):
        known = dict(re.findall(r'(\w+)="([^"]*)"', labels))
        place = known["resource"] + (f"/{known['subresource']}" if known["subresource"] else "")
        if known["verb"] in {"POST", "PATCH", "APPLY"} and place in ONLY_OURS:
            found[f"{known['verb'].lower()} {place}" + (" (dry run)" if known["dry_run"] else "")] += int(float(value))
    return found
