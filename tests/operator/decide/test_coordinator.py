"""What follows from the coordinator's pods."""

import pytest

from fedcore.engine.reasons import EndReason
from fedcore.progress import Progress
from fedcore_operator.api.conditions import condition
from fedcore_operator.decide.coordinator import follow_coordinator, heed_final_word, is_serving
from fedcore_operator.decide.observe import Final, Pods, Polled
from support.operator_objects import NOW, UID, ago, exited, later, make_job, pod, running, seen

VOLUME = {"coordinator.checkpoint.claimName": "results"}


def follow(view, changes=None, status=None):
    job = make_job(changes, running() if status is None else status)
    return follow_coordinator(job.status, job, seen(*([] if view is None else [view])), NOW)


@pytest.mark.parametrize(
    ("view", "changes", "expected"),
    [
        pytest.param(pod(), None, (1, 0, 0), id="it runs"),
        pytest.param(pod(ended=1), None, (2, 1, 0), id="a crash is a restart"),
        pytest.param(pod(ended=137, pod_reason="Evicted"), None, (2, 0, 1), id="an eviction is not"),
        pytest.param(None, None, (2, 0, 1), id="gone without a trace"),
        pytest.param(pod(deleting_at=ago(31)), None, (2, 0, 1), id="lost with its node, without a volume"),
        pytest.param(pod(deleting_at=ago(3000)), VOLUME, (1, 0, 0), id="lost with its node, on a volume: it may still write"),
        pytest.param(pod(ended=exited(2, "RunDirectoryLocked")), VOLUME, (2, 1, 0), id="locked out by its predecessor"),
        pytest.param(pod(created_at=ago(336 * 86400)), VOLUME, (2, 0, 0), id="its certificate will expire"),
        pytest.param(pod(created_at=ago(336 * 86400)), None, (1, 0, 0), id="which is no reason to lose all rounds"),
    ],
)
def test_next_attempt(view, changes, expected):
    after = follow(view, changes).coordinator
    assert (after.attempt, after.restarts, after.disruptions) == expected
    assert after.started is (after.attempt == 1)


def test_a_pod_that_was_not_seen_yet_is_not_gone():
    status = running(coordinator={"started": False})
    assert follow(None, status=status) == status


def test_the_budget_spent_fails_the_job_with_the_last_exit():
    status = follow(pod(ended=exited(1, message="Traceback")), {"coordinator.maxRestarts": 0})
    failed = condition(status, "Failed")
    assert failed.reason == EndReason.COORDINATOR_FAILED
    assert failed.message == "mnist-coordinator-1 ended with exit code 1 (Error): Traceback; 0 of 0 restarts are spent"


def test_a_refused_job_fails_at_once():
    failed = condition(follow(pod(ended=exited(2, "InvalidJob", "no such algorithm"))), "Failed")
    assert (failed.reason, failed.message) == (
        EndReason.NON_RETRYABLE_EXIT,
        "mnist-coordinator-1 ended with exit code 2 (InvalidJob): no such algorithm",
    )


def test_nothing_is_started_while_the_end_is_asked_for():
    ending = {"reason": "DeadlineExceeded", "since": "2026-11-25T11:59:50Z"}
    status = running(ending=ending)
    assert follow(pod(ended=1), status=status) == status


def final(reason, **fields):
    return exited(0, final=Final(reason, **fields))


@pytest.mark.parametrize(
    ("views", "expected"),
    [
        pytest.param([pod(ended=final(EndReason.COMPLETED, rounds=20))], "Complete", id="completed"),
        pytest.param([pod(ended=final(EndReason.QUORUM_LOST, message="m"))], "Failed", id="failed"),
        pytest.param([pod(ended=exited(137, final=Final(EndReason.COMPLETED)))], "Complete", id="killed while it lingered"),
        pytest.param([pod(attempt=1, ended=final(EndReason.COMPLETED)), pod(attempt=2)], "Complete", id="completed while suspended"),
        pytest.param([pod(attempt=1, ended=final(EndReason.QUORUM_LOST)), pod(attempt=2)], None, id="an old one on a cut-off node"),
        pytest.param([pod(ended=1)], None, id="a crash says nothing"),
    ],
)
def test_the_last_word_decides(views, expected):
    job = make_job(status=running(coordinator={"started": True, "attempt": views[-1].attempt}))
    status = heed_final_word(job.status, job, seen(*views), NOW)
    assert [kind for kind in ("Complete", "Failed") if condition(status, kind)] == ([expected] if expected else [])


def test_the_last_poll_of_a_job_stays_in_its_status_however_soon_it_came():
    told = Final(EndReason.COMPLETED, rounds=20, metrics=(("accuracy", 0.97),))
    job = make_job(status=running(progress={"round": 7, "observedTime": "2026-11-25T11:59:57Z"}))
    lately = Polled(progress(round=20, recent_rounds=[{"round": 19, "duration_s": 1.25}]), ago(2))
    status = heed_final_word(job.status, job, seen(pod(ended=exited(0, final=told)), polled=lately), NOW)
    assert [one.round for one in status.progress.recent_rounds] == [19]
    assert (status.progress.display, status.progress.metrics_version, status.progress.accuracy) == ("20/20", 20, "0.97")


def progress(**said):
    known = {"run_id": "r", "phase": "Running", "rounds": 20, "accepted": 2, "required": 3, "registered": 4, "quorum_lost_seconds": 0}
    more = {"quorum_met": True, "late": 0, "metrics": {}, "metrics_version": None, "slowest_workers": [], "checkpoint_version": 6}
    return Progress.model_validate({"schema": 1, "uid": UID, **known, **more, **said})


@pytest.mark.parametrize(
    ("word", "met_at", "quorum"),
    [
        pytest.param(Final(EndReason.COMPLETED, rounds=20), NOW, "True", id="completed"),
        pytest.param(Final(EndReason.QUORUM_LOST, rounds=3), NOW, "False", id="lost after three rounds"),
        pytest.param(Final(EndReason.STARTUP_DEADLINE_EXCEEDED), None, "False", id="never met"),
    ],
)
def test_rounds_that_closed_between_two_looks_had_a_quorum(word, met_at, quorum):
    job = make_job(status=running(("QuorumMet", "False", "BelowQuorum"), quorumFirstMetTime=None))
    status = heed_final_word(job.status, job, seen(pod(ended=exited(0, final=word))), NOW)
    assert (status.quorum_first_met_time, condition(status, "QuorumMet").status) == (met_at, quorum)


def test_a_completed_job_keeps_what_was_reached():
    told = Final(EndReason.COMPLETED, rounds=20, metrics=(("accuracy", 0.96234), ("loss", 0.1)), artifact="model.safetensors", sha256="ab")
    job = make_job(status=running(progress={"round": 19, "totalRounds": 20, "display": "19/20"}))
    status = heed_final_word(job.status, job, seen(pod(ended=exited(0, final=told))), NOW)
    assert (status.progress.display, status.progress.accuracy, status.completion_time) == ("20/20", "0.9623", NOW)
    assert status.result.model_dump() == {
        "reason": "Completed",
        "rounds": 20,
        "metrics": ({"name": "accuracy", "value": "0.9623"}, {"name": "loss", "value": "0.1"}),
        "artifact": "model.safetensors",
        "sha256": "ab",
    }
    assert condition(status, "Complete").message == "20 rounds, accuracy 0.9623"


@pytest.mark.parametrize(
    ("view", "expected"),
    [
        pytest.param(pod(), True, id="runs"),
        pytest.param(pod(deleting_at=later(5)), True, id="drains"),
        pytest.param(pod(deleting_at=ago(31)), False, id="lost"),
        pytest.param(pod(running_since=None), False, id="waits for a node"),
        pytest.param(pod(ended=1), False, id="ended"),
        pytest.param(pod(attempt=2), False, id="another attempt"),
    ],
)
def test_is_serving(view, expected):
    assert is_serving(running(), Pods.of([view]), NOW) is expected
