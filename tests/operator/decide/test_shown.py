"""What people see: progress, the coordinator's condition, events."""

import pytest

from fedcore.spec.status import Status
from fedcore_operator.api.conditions import condition
from fedcore_operator.decide.events import events_between, refusal_event
from fedcore_operator.decide.observe import Polled, Refusal, Waiting
from fedcore_operator.decide.progress import adopt, belongs, poll_address
from fedcore_operator.decide.readiness import show_coordinator
from support.operator_objects import NOW, ago, later, make_job, make_status, pod, progress, running, seen


def adopted(said=None, at=NOW, **fields):
    job = make_job(status=running(**fields))
    return adopt(job.status, job, seen(polled=Polled(said or progress(), at)), NOW).progress


def test_progress_as_it_is_shown():
    assert adopted().model_dump(mode="json", by_alias=True) == {
        "round": 7,
        "totalRounds": 20,
        "display": "7/20",
        "accepted": 2,
        "registered": 4,
        "late": 3,
        "accuracy": "0.9623",
        "metrics": [{"name": "accuracy", "value": "0.9623"}, {"name": "loss", "value": "1e-07"}],
        "metricsVersion": 6,
        "recentRounds": [{"round": 6, "seconds": "1.25", "accepted": 4, "required": 3, "late": 0}],
        "slowestWorkers": [{"worker": "worker-2", "round": 6, "seconds": "1.4"}],
        "observedTime": "2026-11-25T12:00:00Z",
    }


@pytest.mark.parametrize(
    ("at", "fields", "taken"),
    [
        pytest.param(NOW, {}, True, id="the first"),
        pytest.param(ago(31), {}, False, id="an old one"),
        pytest.param(NOW, {"progress": {"observedTime": ago(9)}}, False, id="too soon after the last"),
        pytest.param(NOW, {"progress": {"observedTime": ago(10)}}, True, id="ten seconds after it"),
        pytest.param(NOW, {"coordinator": {"attempt": 2}}, False, id="of another attempt"),
    ],
)
def test_when_a_poll_is_taken(at, fields, taken):
    found = adopted(at=at, **fields)
    assert (found is not None and found.observed_time == at) is taken


def test_hostile_progress_fits_the_schema():
    huge = {"metrics": {f"m{n}" * 40: 1.0 for n in range(99)} | {"x": float("inf")}, "round": -5, "late": 10**30}
    odd = {"recent_rounds": [{"round": "x", "duration_s": []}], "slowest_workers": [{"worker": "w" * 999}]}
    found = adopted(progress(**huge, **odd))
    status = Status(progress=found)
    assert Status.model_validate(status.to_api()) == status


def test_whom_to_ask_and_whose_answer_it_is():
    job = make_job(status=running())
    assert poll_address(job, (pod(0), pod())) == "10.0.0.1"
    assert poll_address(job, (pod(running_since=None), pod(attempt=2))) is None
    assert belongs(progress(), job)
    assert not belongs(progress(uid="other"), job)
    assert not belongs(progress(attempt=2), job)


ENDED = {"lastExit": {"reason": "Error", "time": "2026-11-25T11:59:00Z"}, "attempt": 1}


@pytest.mark.parametrize(
    ("views", "observed", "fields", "reason", "words"),
    [
        pytest.param([pod()], {}, {}, "Ready", "serves at mnist.ns.svc:8470", id="ready"),
        pytest.param(
            [pod()], {"polled": Polled(progress(phase="Succeeded"), ago(5))}, {}, "Ready", "waits for its last scrape, 45 s", id="over"
        ),
        pytest.param([pod()], {"polled": Polled(progress(phase="Failed"), ago(31))}, {}, "Ready", "serves at", id="said too long ago"),
        pytest.param([], {}, {}, "Starting", "is about to be made", id="about to be made"),
        pytest.param([], {}, {"coordinator": {**ENDED, "notBefore": later(9)}}, "Restarting", "at 2026-11-25T12:00:09Z", id="waits"),
        pytest.param([], {"refusals": (Refusal(None, 1, "quota", NOW),)}, {}, "PodCreateFailed", "quota", id="refused"),
        pytest.param([pod(ready=False)], {}, {}, "Starting", "starts", id="starts"),
        pytest.param([pod(ready=False)], {}, {"coordinator": ENDED}, "Restarting", "starts", id="starts again"),
        pytest.param([pod(ready=False, waiting=Waiting("Unschedulable", "0/3"))], {}, {}, "Unschedulable", "0/3", id="no node"),
        pytest.param([pod(ready=False, waiting=Waiting("ErrImagePull", "typo"))], {}, {}, "ImagePullFailed", "typo", id="no image"),
        pytest.param([pod(ready=False, waiting=Waiting("ContainerCreating"))], {}, {}, "Starting", "ContainerCreating", id="in the making"),
        pytest.param([pod(deleting_at=ago(31))], {}, {}, "Starting", "starts", id="lost"),
    ],
)
def test_the_coordinator_s_condition(views, observed, fields, reason, words):
    job = make_job(status=running(**fields))
    status = show_coordinator(job.status, job, seen(*views, **observed), NOW)
    found = condition(status, "CoordinatorReady")
    assert (found.reason, found.status) == (reason, "True" if reason == "Ready" else "False")
    assert words in found.message
    assert status.coordinator.ready is (reason == "Ready")
    assert status.coordinator.pod_name == "mnist-coordinator-1"


def told(before, after, changes=None):
    return [(event.type, event.reason, event.message) for event in events_between(make_job(changes), before, after)]


EXIT = {"reason": "OOMKilled", "exitCode": 137, "time": "2026-11-25T11:59:00Z"}
FIRST, SECOND = ({"round": n, "seconds": "1.25", "accepted": 4, "required": 3, "late": 0} for n in (6, 7))


@pytest.mark.parametrize(
    ("before", "after", "reasons"),
    [
        pytest.param(running(), running(), [], id="nothing"),
        pytest.param(make_status(), running(), ["Started"], id="the start"),
        pytest.param(make_status(), make_status(("Accepted", "False", "PodForbidden")), ["NotAccepted"], id="not accepted"),
        pytest.param(
            make_status(("Accepted", "False", "PodForbidden")), make_status(("Accepted", "False", "PodForbidden")), [], id="still not"
        ),
        pytest.param(running(), running(("Suspended", "True", "Suspended")), ["Suspended"], id="suspended"),
        pytest.param(running(("Suspended", "True", "Suspended")), running(("Suspended", "False", "Resumed")), ["Resumed"], id="resumed"),
        pytest.param(
            running(), running(workerIndexes=[{"index": 2, "attempt": 2, "restarts": 1, "lastExit": EXIT}]), ["WorkerRestarted"], id="crash"
        ),
        pytest.param(
            running(),
            running(workerIndexes=[{"index": 2, "attempt": 2, "disruptions": 1, "lastExit": EXIT}]),
            ["WorkerDisrupted"],
            id="spot",
        ),
        pytest.param(running(), running(workerIndexes=[{"index": 2, "gaveUp": True, "lastExit": EXIT}]), ["WorkerGaveUp"], id="gave up"),
        pytest.param(running(), running(coordinator={"attempt": 2, "restarts": 1, "lastExit": EXIT}), ["RestartedFromRoundOne"], id="anew"),
        pytest.param(
            running(("QuorumMet", "True", "Enough")), running(("QuorumMet", "False", "BelowQuorum")), ["BelowQuorum"], id="below quorum"
        ),
        pytest.param(
            running(("QuorumMet", "False", "BelowQuorum")), running(("QuorumMet", "True", "Enough")), ["QuorumRegained"], id="regained"
        ),
        pytest.param(
            running(quorumFirstMetTime=None), running(("QuorumMet", "False", "BelowQuorum"), quorumFirstMetTime=None), [], id="never met"
        ),
        pytest.param(
            running(progress={"recentRounds": [FIRST], "observedTime": ago(30)}),
            running(progress={"recentRounds": [FIRST, SECOND], "observedTime": NOW}),
            ["RoundCompleted"],
            id="a round",
        ),
        pytest.param(
            running(progress={"recentRounds": [FIRST], "observedTime": ago(30)}),
            running(progress={"recentRounds": [FIRST, SECOND], "observedTime": ago(20)}),
            [],
            id="another one in the same minute",
        ),
        pytest.param(running(), running(("Failed", "True", "QuorumLost")), ["QuorumLost"], id="failed"),
        pytest.param(running(), running(("Complete", "True", "Completed")), ["Completed"], id="completed"),
        pytest.param(running(("Complete", "True", "Completed")), running(("Complete", "True", "Completed")), [], id="ended before"),
    ],
)
def test_events(before, after, reasons):
    assert [reason for _, reason, _ in told(before, after)] == reasons


def test_what_events_say():
    restarted = running(workerIndexes=[{"index": n, "attempt": 2, "restarts": 1, "lastExit": EXIT} for n in range(7)])
    ((kind, _, message),) = told(running(), restarted)
    workers = ", ".join(f"worker-{n} (OOMKilled)" for n in range(5))
    assert (kind, message) == ("Warning", f"{workers} and 2 more; at most 3 each")
    volume = {"coordinator.checkpoint.claimName": "c"}
    before = running(progress={"round": 7})
    after = running(progress={"round": 7}, coordinator={"attempt": 2, "restarts": 1, "lastExit": EXIT})
    assert told(before, after, volume) == [
        (
            "Warning",
            "CoordinatorRestarted",
            "attempt 1 ended (OOMKilled), restart 1 of 3; goes on from its newest checkpoint, it was in round 7",
        )
    ]
    refused = refusal_event(make_job(), Refusal(0, 1, "exceeded quota", NOW))
    assert (refused.reason, refused.message) == ("PodCreateFailed", "mnist-worker-0-1: exceeded quota")
