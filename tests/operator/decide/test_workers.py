"""What follows from the workers' pods."""

import pytest

from fedcore_operator.decide.workers import follow_workers, gone, retire
from support.operator_objects import NOW, ago, all_pods, exited, later, make_job, pod, running, seen

BUDGET = {"workers.maxRestartsPerWorker": 1}
SPENT = {
    "index": 0,
    "attempt": 2,
    "restarts": 1,
    "streak": 1,
    "lastExit": {"reason": "Error", "exitCode": 1, "time": "2026-11-25T11:00:00Z"},
}


def follow(views, changes=None, status=None):
    job = make_job(changes, running() if status is None else status)
    return follow_workers(job.status, job, seen(*views), NOW)


def test_nothing_is_noted_of_workers_that_run():
    assert follow(all_pods()).worker_indexes == ()
    assert follow(all_pods()).workers.started == "0-3"


def test_what_is_seen_has_started():
    assert follow(all_pods(w2=None), status=running(workers={"started": ""})).workers.started == "0-1,3"


@pytest.mark.parametrize(
    ("view", "expected"),
    [
        pytest.param(pod(2, ended=1), (2, 1, 0, later(5)), id="a crash waits ten seconds from its end"),
        pytest.param(pod(2, ended=exited(4)), (2, 0, 1, ago(5)), id="a disruption does not wait"),
        pytest.param(None, (2, 0, 1, NOW), id="gone"),
    ],
)
def test_next_attempt(view, expected):
    status = follow(all_pods(w2=view))
    (entry,) = status.worker_indexes
    assert (entry.attempt, entry.restarts, entry.disruptions, entry.not_before) == expected
    assert (entry.index, entry.gave_up, status.workers.started) == (2, False, "0-1,3")


def test_an_end_is_judged_once():
    once = follow(all_pods(w2=pod(2, ended=1)))
    assert follow(all_pods(w2=pod(2, ended=1)), status=once) == once


def test_a_spent_budget_gives_the_worker_up_and_the_job_goes_on():
    views = all_pods(w0=pod(0, attempt=2, ended=1))
    status = follow(views, BUDGET, running(workerIndexes=[SPENT]))
    assert status.worker_indexes[0].gave_up
    assert (status.ending, gone(status, make_job(BUDGET))) == (None, (0,))
    assert follow(views, BUDGET, status) == status


def test_a_raised_budget_revives_the_worker():
    status = follow(all_pods(w0=None), {"workers.maxRestartsPerWorker": 2}, running(workerIndexes=[{**SPENT, "gaveUp": True}]))
    (entry,) = status.worker_indexes
    assert (entry.attempt, entry.restarts, entry.gave_up, status.workers.started) == (3, 2, False, "1-3")


def test_an_end_that_would_repeat_asks_for_the_end_of_the_job():
    views = all_pods(w1=pod(1, ended=exited(2, "invalid", "cannot import")), w2=pod(2, ended=1))
    status = follow(views)
    assert status.ending.reason == "NonRetryableExit"
    assert status.ending.message == "mnist-worker-1-1 ended with exit code 2 (invalid): cannot import"
    assert [one.index for one in status.worker_indexes] == [1], "nobody is started any more"
    assert follow(views, status=status) == status


@pytest.mark.parametrize(
    ("coordinator", "attempt"),
    [
        pytest.param(pod(running_since=ago(55)), 1, id="by the coordinator that runs"),
        pytest.param(pod(running_since=ago(2)), 2, id="by one that is no more: the next one needs workers"),
        pytest.param(pod(running_since=None), 1, id="by one whose successor is not there yet"),
    ],
)
def test_a_worker_that_was_told_to_stop(coordinator, attempt):
    status = follow(all_pods(c=coordinator, w3=pod(3, ended=exited(0, "stopped"))))
    assert max([one.attempt for one in status.worker_indexes], default=1) == attempt


@pytest.mark.parametrize(
    ("views", "started", "expected"),
    [
        pytest.param(all_pods(), "0-3", {2: 2, 3: 2}, id="those above retire"),
        pytest.param(all_pods(w3=None), "0-2", {2: 2}, id="one that was never made does not"),
        pytest.param(all_pods(), "0-1", {2: 2, 3: 2}, id="one that was made and not seen does"),
        pytest.param(all_pods(w2=None, w3=None), "0-3", {2: 2, 3: 2}, id="one that is gone does"),
    ],
)
def test_retire(views, started, expected):
    job = make_job({"workers.replicas": 2}, running(workers={"started": started}))
    status = retire(job.status, job, seen(*views))
    assert {one.index: one.attempt for one in status.worker_indexes} == expected
    assert status.workers.started == "0-1"
    assert retire(status, job, seen(*views)) == status, "once"
