"""Who ends a job, and when."""

import pytest

from fedcore_operator.api.conditions import condition
from fedcore_operator.decide.deadlines import ask_for_end, decide_end, due_times
from fedcore_operator.decide.observe import Polled, Waiting
from support.operator_objects import NOW, ago, all_pods, make_job, pod, progress, running, seen


def gave_up(*indexes):
    return {"workerIndexes": [{"index": index, "gaveUp": True} for index in indexes]}


@pytest.mark.parametrize(
    ("changes", "fields", "reason"),
    [
        pytest.param({}, {}, None, id="nothing is due"),
        pytest.param({"startupDeadlineSeconds": 60}, {"quorumFirstMetTime": None}, "StartupDeadlineExceeded", id="no quorum in time"),
        pytest.param({"startupDeadlineSeconds": 61}, {"quorumFirstMetTime": None}, None, id="there is a second left"),
        pytest.param({"startupDeadlineSeconds": 60}, {}, None, id="the quorum came in time"),
        pytest.param({"startupDeadlineSeconds": 0}, {"quorumFirstMetTime": None}, None, id="it waits for ever"),
        pytest.param({"activeDeadlineSeconds": 60}, {}, "DeadlineExceeded", id="it ran for too long"),
        pytest.param({"activeDeadlineSeconds": 61}, {}, None, id="it may run on"),
        pytest.param({}, gave_up(0), None, id="three of four can still make three"),
        pytest.param({}, gave_up(0, 3), "QuorumUnreachable", id="two of four cannot"),
        pytest.param({"workers.replicas": 3}, gave_up(1, 3), "QuorumUnreachable", id="those above replicas count for nothing"),
    ],
)
def test_what_is_asked_for(changes, fields, reason):
    job = make_job(changes, running(**fields))
    ending = ask_for_end(job.status, job, seen(), NOW).ending
    assert (ending and (ending.reason, ending.since)) == (reason and (reason, NOW))


def test_a_startup_deadline_says_what_kept_the_pods():
    image = Waiting("ImagePullBackOff", 'Back-off pulling image "x:typo"')
    stuck = [pod(index, ready=False, running_since=None, waiting=image) for index in (0, 1)]
    kept = ("CoordinatorReady", "False", "Unschedulable")
    job = make_job({"startupDeadlineSeconds": 60}, running(kept, quorumFirstMetTime=None, quorum={"required": 3}))
    shown = job.status.model_copy(update={"conditions": tuple(told(one) for one in job.status.conditions)})
    ending = ask_for_end(shown, job, seen(*stuck), NOW).ending
    assert ending.message == (
        "only 0 of 3 required workers came within 60 s; mnist-coordinator-1: no node has room; "
        '2 wait, worker-0: ImagePullBackOff: Back-off pulling image "x:typo"'
    )


def told(one):
    return one.model_copy(update={"message": "mnist-coordinator-1: no node has room"}) if one.type == "CoordinatorReady" else one


def test_what_was_asked_for_first_counts():
    job = make_job({"activeDeadlineSeconds": 1}, running(ending={"reason": "NonRetryableExit", "since": "2026-11-25T11:59:59Z"}))
    assert ask_for_end(job.status, job, seen(), NOW) == job.status


def asked(seconds):
    return {"ending": {"reason": "DeadlineExceeded", "message": "m", "since": ago(seconds)}}


@pytest.mark.parametrize(
    ("views", "fields", "changes", "reason"),
    [
        pytest.param(all_pods(), {}, {}, None, id="nothing is asked for"),
        pytest.param(all_pods(), asked(1), {}, None, id="the coordinator was just asked"),
        pytest.param(all_pods(), asked(59), {}, None, id="it has a second left"),
        pytest.param(all_pods(), asked(61), {}, "DeadlineExceeded", id="it did not end in time"),
        pytest.param(all_pods(c=None), asked(1), {}, "DeadlineExceeded", id="it is not there"),
        pytest.param(all_pods(c=pod(ended=1)), asked(1), {}, "DeadlineExceeded", id="it crashed"),
        pytest.param(all_pods(c=pod(running_since=None)), asked(1), {}, "DeadlineExceeded", id="it never ran"),
        pytest.param([], {"quorum": {"lostSince": "2026-11-25T11:58:01Z"}}, {"quorum.lossGracePeriodSeconds": 60}, None, id="119 s lost"),
        pytest.param(
            [], {"quorum": {"lostSince": "2026-11-25T11:58:00Z"}}, {"quorum.lossGracePeriodSeconds": 60}, "QuorumLost", id="120 s lost"
        ),
        pytest.param(
            [], {"quorum": {"lostSince": "2026-11-24T00:00:00Z"}}, {"quorum.lossGracePeriodSeconds": 0}, None, id="it waits for ever"
        ),
    ],
)
def test_what_is_decided(views, fields, changes, reason):
    job = make_job(changes, running(**fields))
    failed = condition(decide_end(job.status, job, seen(*views), NOW), "Failed")
    assert (failed and failed.reason) == reason


@pytest.mark.parametrize(
    ("phase", "seconds", "reason"),
    [
        pytest.param("Succeeded", 104, None, id="a run that is over waits for its last scrape"),
        pytest.param("Failed", 104, None, id="so does one that failed"),
        pytest.param("Succeeded", 106, "DeadlineExceeded", id="it should have ended by then"),
        pytest.param("Running", 61, "DeadlineExceeded", id="a run that goes on does not wait"),
    ],
)
def test_a_run_that_was_over_in_time_may_wait_for_its_scrape(phase, seconds, reason):
    job = make_job({"metrics.lingerSeconds": 45}, running(**asked(seconds)))
    polled = Polled(progress(phase=phase), ago(5))
    failed = condition(decide_end(job.status, job, seen(*all_pods(), polled=polled), NOW), "Failed")
    assert (failed and failed.reason) == reason


def test_every_deadline_wakes():
    changes = {"activeDeadlineSeconds": 100, "startupDeadlineSeconds": 200, "quorum.lossGracePeriodSeconds": 300}
    fields = {"quorumFirstMetTime": None, "quorum": {"lostSince": "2026-11-25T12:00:00Z"}, **asked(1)}
    job = make_job(changes, running(**fields))
    assert sorted((time - NOW).total_seconds() for time in due_times(job.status, job)) == [40, 59, 104, 140, 360]
