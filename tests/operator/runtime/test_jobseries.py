"""Samples of jobs: what a status says, and nothing else."""

import json
from datetime import UTC, datetime

import pytest

from fedcore.engine.reasons import EndReason
from fedcore_operator.api.job import parse_job
from fedcore_operator.runtime import metrics
from fedcore_operator.runtime.jobseries import job_samples, phase_samples
from support.operator_objects import UID, make_job, make_status, running

PLACE = ("ns", "mnist")
MET = ("QuorumMet", "True", "Enough")
PROGRESS = {"round": 7, "totalRounds": 20, "observedTime": "2026-11-25T11:59:50Z"}


def measured(**values):
    return [{"name": name, "value": value} for name, value in values.items()]


def samples(job, *pods):
    """Values by metric and the labels besides the job's own."""
    found = {}
    for metric, labels, value in job_samples(job, pods):
        assert labels[:2] == PLACE
        assert len(labels) == len(metric.labels)
        assert (metric, labels[2:]) not in found, "no series twice"
        for label, word in zip(metric.labels, labels, strict=True):
            assert not label.values or word in label.values, (metric.name, label.name, word)
        found[metric, labels[2:]] = value
    return found


def value(job, metric, *labels):
    return samples(job).get((metric, labels))


def unix(text):
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("status", "metric", "expected"),
    [
        pytest.param(running(), metrics.JOB_TARGET_ROUNDS, 20, id="rounds of the spec"),
        pytest.param(running(), metrics.JOB_DESIRED_WORKERS, 4, id="workers of the spec"),
        pytest.param(running(), metrics.JOB_CURRENT_ROUND, 0, id="no poll yet"),
        pytest.param(running(progress=PROGRESS), metrics.JOB_CURRENT_ROUND, 7, id="the round of the last poll"),
        pytest.param(running(workers={"ready": 3}), metrics.JOB_READY_WORKERS, 3, id="ready workers"),
        pytest.param(running(quorum={"required": 3}), metrics.JOB_REQUIRED_WORKERS, 3, id="required workers"),
        pytest.param(running(MET), metrics.JOB_QUORUM_MET, 1, id="quorum"),
        pytest.param(running(("QuorumMet", "False", "BelowQuorum")), metrics.JOB_QUORUM_MET, 0, id="no quorum"),
        pytest.param(running(("QuorumMet", "Unknown", "CoordinatorUnreachable")), metrics.JOB_QUORUM_MET, 0, id="nobody knows"),
        pytest.param(make_status(), metrics.JOB_QUORUM_MET, 0, id="not looked at yet"),
        pytest.param(make_status(), metrics.JOB_START, 0, id="not started"),
        pytest.param(running(), metrics.JOB_START, unix("2026-11-25T11:59:00"), id="started"),
        pytest.param(running(), metrics.JOB_COMPLETION, 0, id="not ended"),
        pytest.param(running(completionTime="2026-11-25T11:59:30Z"), metrics.JOB_COMPLETION, unix("2026-11-25T11:59:30"), id="ended"),
        pytest.param(running(progress=PROGRESS), metrics.JOB_PROGRESS, unix("2026-11-25T11:59:50"), id="last poll"),
        pytest.param(running(progress=PROGRESS), metrics.JOB_ACCURACY, None, id="nothing measured yet"),
        pytest.param(running(progress={"metrics": measured(accuracy="0.91")}), metrics.JOB_ACCURACY, 0.91, id="measured"),
        pytest.param(running(progress={"metrics": measured(accuracy="0.9", loss="2")}), metrics.JOB_LOSS, 2, id="loss"),
        pytest.param(running(progress={"metrics": measured(accuracy="")}), metrics.JOB_ACCURACY, None, id="no number"),
        pytest.param(running(progress={"metrics": measured(accuracy="nan")}), metrics.JOB_ACCURACY, None, id="not a number"),
        pytest.param(
            running(progress={"metrics": measured(accuracy="0.9")}, result={"reason": "Completed", "metrics": measured(accuracy="0.95")}),
            metrics.JOB_ACCURACY,
            0.95,
            id="the final one",
        ),
        pytest.param(
            running(progress={"metrics": measured(accuracy="0.9")}, result={"reason": "QuorumLost"}),
            metrics.JOB_ACCURACY,
            0.9,
            id="the last one of a job that failed",
        ),
    ],
)
def test_a_value_is_that_of_the_status(status, metric, expected):
    assert value(make_job(status=status), metric) == expected


@pytest.mark.parametrize(
    ("status", "phase"),
    [
        pytest.param(make_status(), "Pending", id="not looked at yet"),
        pytest.param(make_status(phase="Starting"), "Starting", id="as it says"),
        pytest.param(make_status(phase="Degraded"), "Degraded", id="below quorum"),
    ],
)
def test_one_phase_is_one_and_all_others_are_zero(status, phase):
    found = samples(make_job(status=status))
    phases = {labels[0]: value for (metric, labels), value in found.items() if metric is metrics.JOB_PHASE}
    assert len(phases) == 7
    assert [word for word, value in phases.items() if value] == [phase]


@pytest.mark.parametrize("reason", [EndReason.COMPLETED, EndReason.QUORUM_LOST, EndReason.COORDINATOR_FAILED])
def test_the_reason_of_the_end_is_there_once_it_is_known(reason):
    kind = "Complete" if reason is EndReason.COMPLETED else "Failed"
    found = samples(make_job(status=running((kind, "True", str(reason)))))
    assert {labels for metric, labels in found if metric is metrics.JOB_FINISHED} == {(str(reason),)}
    assert not any(metric is metrics.JOB_FINISHED for metric, _ in samples(make_job(status=running())))


def test_what_a_job_is():
    assert value(make_job({"workload.policy": "fixed"}), metrics.JOB_INFO, "my.task:make", "fixed") == 1


def test_restarts_are_those_of_the_status_by_role():
    status = running(coordinator={"restarts": 1, "disruptions": 2}, workers={"restarts": 3, "disruptions": 4})
    found = samples(make_job(status=status))
    assert {(metric, *labels): value for (metric, labels), value in found.items() if metric.name.endswith("_total")} == {
        (metrics.JOB_RESTARTS, "coordinator"): 1,
        (metrics.JOB_RESTARTS, "worker"): 3,
        (metrics.JOB_DISRUPTIONS, "coordinator"): 2,
        (metrics.JOB_DISRUPTIONS, "worker"): 4,
    }


def raw_pod(role, phase, uid=UID):
    owner = {"controller": True, "uid": uid}
    return {"metadata": {"labels": {"fedcore.dev/role": role}, "ownerReferences": [owner]}, "status": {"phase": phase} if phase else {}}


def test_pods_are_counted_by_role_and_phase_and_an_earlier_jobs_do_not_count():
    pods = [
        raw_pod("coordinator", "Running"),
        *(raw_pod("worker", phase) for phase in ("Running", "Running", "Pending", None)),
        raw_pod("worker", "Failed", uid="of before"),
        {"metadata": {}},
    ]
    found = samples(make_job(), *pods)
    counted = {labels: value for (metric, labels), value in found.items() if metric is metrics.JOB_PODS}
    assert len(counted) == 10, "what is zero is said too"
    assert {labels: value for labels, value in counted.items() if value} == {
        ("coordinator", "Running"): 1,
        ("worker", "Running"): 2,
        ("worker", "Pending"): 1,
        ("worker", "Unknown"): 1,
    }


def test_a_job_that_the_models_do_not_take_has_what_its_status_says():
    metadata = {"name": "mnist", "namespace": "ns", "uid": UID, "creationTimestamp": "2026-11-25T11:00:00Z"}
    job = parse_job(json.loads(json.dumps({"metadata": metadata, "spec": {"rounds": "many"}})))
    found = samples(job)
    assert found[metrics.JOB_PHASE, ("Pending",)] == 1
    assert not {metrics.JOB_INFO, metrics.JOB_TARGET_ROUNDS} & {metric for metric, _ in found}


def test_jobs_are_counted_by_namespace_and_phase():
    jobs = [
        make_job(status=make_status(phase="Running")),
        make_job(status=make_status(phase="Running"), name="other"),
        make_job(namespace="b"),
    ]
    found = {labels: value for _, labels, value in phase_samples(jobs)}
    assert {labels: value for labels, value in found.items() if value} == {("ns", "Running"): 2, ("b", "Pending"): 1}
    assert len(found) == 14, "every phase of each namespace that has a job"
    assert list(phase_samples([])) == []
