"""Acceptance, start, suspend, resume, phase."""

import pytest

from fedcore_operator.api.conditions import condition
from fedcore_operator.api.job import InvalidJob
from fedcore_operator.decide.acceptance import accept, dry_run_due, refuse
from fedcore_operator.decide.answers import Verdict
from fedcore_operator.decide.lifecycle import start, suspend_or_resume
from fedcore_operator.decide.observe import Refusal
from fedcore_operator.decide.phase import phase
from fedcore_operator.plan.pods import images
from support.operator_objects import NOW, SETTINGS, ago, all_pods, make_job, make_status, pod, running, seen

ACCEPTED = ("Accepted", "True", "Valid")


@pytest.mark.parametrize(
    ("conditions", "changes", "fields", "due"),
    [
        pytest.param([], {}, {}, True, id="never tried"),
        pytest.param([ACCEPTED], {}, {}, False, id="tried"),
        pytest.param([ACCEPTED], {}, {"generation": 4}, True, id="another spec"),
        pytest.param([("Accepted", "False", "InvalidPodTemplate")], {}, {}, False, id="invalid for good"),
        pytest.param([("Accepted", "False", "PodForbidden")], {}, {}, True, id="a namespace can change"),
        pytest.param([("Complete", "True", "Completed")], {}, {"generation": 4}, False, id="finished"),
        pytest.param([], {"workers.template": {"spec": {"hostname": "x"}}}, {}, False, id="known to be invalid"),
        pytest.param([], {}, {"managed_elsewhere": True}, False, id="another controller's"),
        pytest.param([], {}, {"deleting": True}, False, id="going away"),
    ],
)
def test_dry_run_due(conditions, changes, fields, due):
    assert dry_run_due(make_job(changes, make_status(*conditions), **fields)) is due


@pytest.mark.parametrize(
    ("changes", "observed", "expected"),
    [
        pytest.param({}, {}, None, id="nothing is known"),
        pytest.param({}, {"verdict": Verdict("Valid")}, ("True", "Valid"), id="valid"),
        pytest.param({}, {"verdict": Verdict("PodForbidden", "quota")}, ("False", "PodForbidden"), id="forbidden"),
        pytest.param({"workers.template": {"spec": {"subdomain": "x"}}}, {}, ("False", "InvalidPodTemplate"), id="a reserved field"),
        pytest.param(
            {},
            {"verdict": Verdict("Valid"), "refusals": (Refusal(None, 1, "taken", NOW, conflict=True),)},
            ("False", "NameConflict"),
            id="a name that is somebody else's",
        ),
    ],
)
def test_accept(changes, observed, expected):
    job = make_job(changes)
    found = condition(accept(job.status, job, seen(**observed), NOW), "Accepted")
    assert (found and (found.status, found.reason)) == expected
    assert found is None or (found.observed_generation == 3 and found.message)


def test_a_job_that_the_models_refuse_says_why():
    job = make_job()
    fields = {name: getattr(job, name) for name in InvalidJob.__dataclass_fields__ if name != "problem"}
    status = refuse(InvalidJob(**fields, problem="spec.quorum: no"), NOW)
    found = condition(status, "Accepted")
    assert (found.reason, found.message, status.phase, status.observed_generation) == ("InvalidJob", "spec.quorum: no", "Pending", 3)


@pytest.mark.parametrize(
    ("conditions", "changes", "generation", "expected"),
    [
        pytest.param([ACCEPTED], {}, 3, NOW, id="accepted"),
        pytest.param([], {}, 3, None, id="not tried yet"),
        pytest.param([("Accepted", "False", "PodForbidden")], {}, 3, None, id="not accepted"),
        pytest.param([ACCEPTED], {}, 4, None, id="another spec was accepted"),
        pytest.param([ACCEPTED], {"suspend": True}, 3, None, id="suspended"),
    ],
)
def test_start(conditions, changes, generation, expected):
    job = make_job(changes, make_status(*conditions), generation=generation)
    status = start(job.status, job, images(job, SETTINGS), NOW)
    assert status.start_time == expected
    assert (status.images is not None) == (expected is not None)


def test_a_job_starts_once():
    job = make_job(status=running())
    assert start(job.status, job, images(job, SETTINGS), NOW) == job.status


def test_suspending_lifts_every_attempt_above_all_that_were_used():
    entries = [{"index": 0, "attempt": 3, "restarts": 2, "notBefore": "2026-11-25T12:00:30Z"}, {"index": 9, "attempt": 2}]
    ending = {"reason": "DeadlineExceeded", "since": "2026-11-25T12:00:00Z"}
    job = make_job({"suspend": True}, running(workerIndexes=entries, ending=ending, quorum={"lostSince": "2026-11-25T12:00:00Z"}))
    views = [pod(), pod(attempt=2), *(pod(index, attempt=4) for index in range(2))]
    status = suspend_or_resume(job.status, job, seen(*views), NOW)
    assert (status.attempt_base, [one.attempt for one in status.worker_indexes], status.coordinator.attempt) == (5, [5, 5], 3)
    assert (status.worker_indexes[0].restarts, status.worker_indexes[0].not_before) == (2, None)
    assert (status.workers.started, status.coordinator.started, status.quorum_first_met_time, status.ending) == ("", False, None, None)
    assert status.quorum.lost_since is None
    assert suspend_or_resume(status, job, seen(*views), NOW) == status, "once"


def test_a_job_that_is_suspended_before_it_starts_has_nothing_to_lift():
    job = make_job({"suspend": True}, make_status(ACCEPTED))
    status = suspend_or_resume(job.status, job, seen(), NOW)
    assert (status.attempt_base, status.coordinator.attempt, condition(status, "Suspended").status) == (1, 1, "True")


def test_resuming_starts_the_clocks_anew():
    job = make_job(status=running(("Suspended", "True", "Suspended"), quorumFirstMetTime=None))
    status = suspend_or_resume(job.status, job, seen(), NOW)
    assert (status.start_time, condition(status, "Suspended").reason) == (NOW, "Resumed")


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        pytest.param(make_status(), "Pending", id="new"),
        pytest.param(make_status(("Accepted", "False", "PodForbidden")), "Pending", id="not accepted"),
        pytest.param(running(coordinator={}, workers={}), "Pending", id="no pod yet"),
        pytest.param(running(quorumFirstMetTime=None), "Starting", id="below quorum since its start"),
        pytest.param(running(("QuorumMet", "True", "Enough")), "Running", id="enough"),
        pytest.param(running(("QuorumMet", "False", "BelowQuorum")), "Degraded", id="too few"),
        pytest.param(running(("QuorumMet", "Unknown", "CoordinatorUnreachable")), "Degraded", id="nobody knows"),
        pytest.param(running(("Suspended", "True", "Suspended")), "Suspended", id="suspended"),
        pytest.param(running(("Suspended", "False", "Resumed"), ("QuorumMet", "True", "Enough")), "Running", id="resumed"),
        pytest.param(running(("Suspended", "True", "Suspended"), ("Failed", "True", "QuorumLost")), "Failed", id="failed"),
        pytest.param(running(("Complete", "True", "Completed")), "Succeeded", id="completed"),
    ],
)
def test_phase(status, expected):
    assert phase(status) == expected


def test_pods_of_old_jobs_have_a_place_in_no_table():
    assert seen(*all_pods()).pods.get(0, 2) is None
    assert seen(pod(0, created_at=ago(1))).pods.at(1) == ()
