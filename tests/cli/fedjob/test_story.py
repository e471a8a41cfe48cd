"""What happened between two looks at a job, in the events of a local run; and what the views make of it."""

from __future__ import annotations

import pytest

from fedcore.cli.board import Board, Standing, WorkerState
from fedcore.cli.fedjob.story import matter_of, tell
from fedcore.cli.fedjob.watch import closing_lines, exit_code
from fedcore.engine.reasons import EXIT_CODE, EndReason
from support.fedjob_objects import NOW, VALID, ago, event, job, last_exit, later, running, scene, unschedulable, up, waiting

ROUNDS = [{"round": number, "seconds": "1.5", "accepted": 4, "required": 3, "late": 4 - number} for number in (3, 4)]


def progress(number, accepted=0, at=1, **more):
    return {"round": number, "accepted": accepted, "observedTime": ago(at), "recentRounds": ROUNDS, **more}


def story(before, after):
    """Names and fields of what is told, without the time."""
    return [{key: value for key, value in one.items() if key != "time"} for one in tell(before, after, NOW)]


def names(before, after):
    return [one["event"] for one in story(before, after)]


def test_the_first_look_tells_what_is_and_not_how_it_came():
    entries = [{"index": 1, "attempt": 2, "restarts": 1, "lastExit": last_exit("OOMKilled", 137)}]
    raw = running(workerIndexes=entries, progress=progress(5, 2))
    told = names(None, scene(raw, [up(), up(0), up(1, 2)], [event("PodCreateFailed", "of yesterday")]))
    assert told[0] == "run_started"
    assert "worker_exited" not in told
    assert "job_event" not in told
    assert told.count("worker_registered") == 2
    assert told.count("worker_starting") == 0
    assert told[-4:] == ["round_closed", "round_opened", "progress", "job_status"]


def test_nothing_new_is_told_of_two_equal_looks():
    after = scene(running(progress=progress(5, 2)), [up(), up(0)])
    assert names(after, after) == ["progress"]


def test_rounds_and_the_accuracy_of_their_versions():
    before = scene(running(progress=progress(5) | {"recentRounds": ROUNDS[:1]}))
    metrics = {"metrics": [{"name": "accuracy", "value": "0.9"}], "metricsVersion": 3}
    told = story(before, scene(running(progress=progress(5, 1, **metrics))))
    assert [one["event"] for one in told] == ["evaluated", "round_closed", "progress"]
    assert told[0] == {"event": "evaluated", "version": 3, "metrics": {"accuracy": 0.9}}
    assert told[1] == {
        "event": "round_closed",
        "round": 4,
        "outcome": "full",
        "accepted": 4,
        "required": 3,
        "stragglers": 0,
        "duration_s": 1.5,
    }


def test_a_restarted_coordinator_opens_its_round_anew_when_it_speaks():
    before = scene(running(progress=progress(5, 2, at=30)))
    gone = {"attempt": 2, "restarts": 1, "ready": False, "notBefore": ago(10), "lastExit": last_exit("Error", 1, at=20)}
    between = scene(running(coordinator=gone, progress=progress(5, 2, at=30)))
    back = scene(running(coordinator=gone | {"ready": True}, progress=progress(5, 0, at=1)))
    told = story(before, between)
    assert told[0] == {
        "event": "coordinator_exited", "attempt": 1, "exit_code": 1, "reason": "Error", "message": None, "restart": 1, "of": 3, "in_s": 10.0
    }  # fmt: skip
    assert "round_opened" not in names(before, between)
    assert "round_opened" in names(between, back)


def test_ends_of_workers_are_told_with_their_count():
    before = scene(running())
    entries = [
        {"index": 0, "attempt": 2, "restarts": 1, "notBefore": later(8), "lastExit": last_exit("OOMKilled", 137, at=2)},
        {"index": 1, "attempt": 2, "disruptions": 1, "lastExit": last_exit("Deleted")},
        {"index": 2, "attempt": 4, "restarts": 3, "gaveUp": True, "lastExit": last_exit("Error", 1)},
    ]
    told = story(before, scene(running(workerIndexes=entries)))
    assert [(one["event"], one["worker"]) for one in told[:2]] == [("worker_exited", "worker-0"), ("worker_exited", "worker-1")]
    assert (told[0]["restart"], told[0]["of"], told[0]["in_s"]) == (1, 3, 10.0)
    assert (told[1]["disruption"], told[1]["exit_code"]) == (1, None)
    assert told[2] == {"event": "worker_gave_up", "worker": "worker-2", "attempt": 4, "exit_code": 1, "reason": "Error"}


def test_workers_that_wait_are_told_once_and_together():
    before = scene(running(), [up()])
    pods = [up(), *(waiting(index, reason="ErrImagePull", message="no such image") for index in range(3)), unschedulable(3)]
    told = [one for one in story(before, scene(running(), pods)) if one["event"] == "workers_waiting"]
    assert [(one["count"], one["reason"]) for one in told] == [(3, "ImagePullFailed"), (1, "Unschedulable")]
    assert told[0]["workers"] == "worker-0, worker-1, worker-2"
    later_pods = [
        up(),
        *(waiting(index, reason="ImagePullBackOff", message="again") for index in range(3)),
        unschedulable(3, message="still"),
    ]
    assert names(scene(running(), pods), scene(running(), later_pods)) == []


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (job(), "NotSeen"),
        (job(("Accepted", "False", "InvalidPodTemplate", "no")), "InvalidPodTemplate"),
        (job(VALID, ("Suspended", "True", "Suspended", "")), "Suspended"),
        (running(("CoordinatorReady", "False", "ImagePullFailed", "")), "ImagePullFailed"),
        (running(ending={"reason": "DeadlineExceeded", "message": "15 s", "since": ago(1)}), "DeadlineExceeded"),
        (running(("QuorumMet", "False", "BelowQuorum", "2 of 4")), "BelowQuorum"),
        (running(), "Enough"),
        (job(VALID, ("Complete", "True", "Completed", "")), "Completed"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_a_job_is_at(raw, reason):
    assert matter_of(scene(raw))[0] == reason


def test_a_new_matter_is_a_line_and_new_words_for_it_are_not():
    before = scene(running(("QuorumMet", "False", "BelowQuorum", "2 of 4")))
    assert names(before, scene(running(("QuorumMet", "False", "BelowQuorum", "1 of 4")))) == ["job_message"]
    assert names(before, scene(running())) == ["job_status"]


def test_events_that_the_status_does_not_tell_are_told():
    before = scene(running())
    events = [
        event("PodCreateFailed", "quota", at=1),
        event("BelowQuorum", "2 of 4", at=2),
        event("FailedMount", about="Pod/mnist-worker-0-1"),
    ]
    told = story(before, scene(running(), [up(0)], events))
    assert [one for one in told if one["event"] == "job_event"] == [
        {"event": "job_event", "type": "Warning", "reason": "PodCreateFailed", "message": "quota"}
    ]


def test_the_end_comes_last_with_the_metrics_of_the_final_model():
    result = {"reason": "Completed", "rounds": 20, "metrics": [{"name": "accuracy", "value": "0.97"}]}
    raw = job(VALID, ("Complete", "True", "Completed", "20 rounds"), startTime=ago(60), completionTime=ago(5), result=result)
    told = story(scene(running()), scene(raw))
    assert told[-2:] == [
        {"event": "evaluated", "version": 20, "metrics": {"accuracy": 0.97}},
        {"event": "run_finished", "phase": "Succeeded", "reason": "Completed", "message": "20 rounds"},
    ]
    assert names(scene(raw), scene(raw)) == []
    assert closing_lines(scene(raw)) == ["✔ Succeeded: 20 rounds in 55.0 s · accuracy 0.970"]


@pytest.mark.parametrize("reason", EndReason)
def test_exit_codes_are_those_of_a_local_run(reason):
    kind = "Complete" if reason is EndReason.COMPLETED else "Failed"
    assert exit_code(scene(job((kind, "True", reason, "")))) == EXIT_CODE[reason]


def test_a_failed_job_closes_with_its_message_and_the_next_command():
    status = {"startTime": ago(65), "completionTime": ago(5), "workers": {"restarts": 2}, "progress": progress(5, late=1)}
    lines = closing_lines(scene(job(VALID, ("Failed", "True", "QuorumLost", "1 of 3 are there"), **status)))
    assert lines == [
        "✖ Failed: QuorumLost after 4 rounds in 60.0 s · 1 late update · 2 worker restarts",
        "  1 of 3 are there",
        "  Next    kubectl fedjob why mnist -n ns",
    ]


def test_the_board_of_a_job_on_a_cluster():
    board = Board(20, 3, {f"worker-{index}": Standing(f"worker-{index}") for index in range(4)}, resting=WorkerState.READY)
    slow = [{"worker": "worker-1", "round": 4, "seconds": "2.5"}]
    first = scene(
        running(progress=progress(5, 2, slowestWorkers=slow)), [up(), up(0), up(1), waiting(2, reason="ErrImagePull", message="no")]
    )
    for one in tell(None, first, NOW):
        board.feed(one)
    assert (board.round, board.accepted, board.completed) == (5, 2, 4)
    assert [worker.state for worker in board.workers.values()][:3] == [WorkerState.READY, WorkerState.READY, WorkerState.WAITING]
    assert board.workers["worker-2"].note == "ImagePullFailed: no"
    assert board.workers["worker-1"].trip_s == 2.5
    second = scene(
        running(("CoordinatorReady", "False", "Restarting", "it starts"), coordinator={"ready": False}, spec={"workers": {"replicas": 2}})
    )
    for one in tell(first, second, NOW):
        board.feed(one)
    assert (board.opened, board.status, list(board.workers)) == (None, "Restarting: it starts", ["worker-0", "worker-1"])
