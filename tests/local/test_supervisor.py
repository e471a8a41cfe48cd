"""The supervisor's decisions, with no process in sight."""

from __future__ import annotations

from signal import SIGKILL, SIGTERM

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedcore.engine.reasons import EndReason, Phase
from fedcore.engine.restarts import Cause, RestartPolicy
from fedcore.local.messages import Exited, JobFinished, Note, Send, Start, StopAsked, Tell, Tick
from fedcore.local.supervisor import (
    COORDINATOR_ALONE_SECONDS,
    DISMISSAL_SECONDS,
    DRAIN_SECONDS,
    END_ASKED_SECONDS,
    WORKERS_ALONE_SECONDS,
    Supervisor,
    worker_cause,
)
from fedcore.report.summary import End

NON_RETRYABLE = frozenset({2})
EVERYONE = {"coordinator", "worker-0", "worker-1"}


def supervisor(workers=1, coordinator=1, attempts=None):
    made = Supervisor(2, RestartPolicy(workers, 10), RestartPolicy(coordinator, 10), NON_RETRYABLE, attempts)
    assert {action.name for action in made.start(0)} == EVERYONE
    return made


def of(kind, actions):
    return [action for action in actions if isinstance(action, kind)]


@pytest.mark.parametrize(
    ("code", "reason", "cause"),
    [
        (0, "stopped", Cause.FINISHED),
        (3, "stopped", Cause.FINISHED),
        (0, "retired", Cause.FINISHED),
        (0, "left", Cause.DISRUPTED),
        (0, "", Cause.DISRUPTED),
        (3, "", Cause.DISRUPTED),
        (4, "unreachable", Cause.DISRUPTED),
        (2, "invalid", Cause.FATAL),
        (1, "crashed", Cause.FAILED),
        (137, "", Cause.FAILED),
        (143, "", Cause.FAILED),
    ],
)
def test_worker_cause(code, reason, cause):
    assert worker_cause(Exited("worker-0", code, reason), NON_RETRYABLE) is cause


def test_the_coordinator_starts_first():
    made = Supervisor(2, RestartPolicy(0, 1), RestartPolicy(0, 1), NON_RETRYABLE, {"worker-1": 3, "coordinator": 1})
    assert made.start(0) == [Start("coordinator", 2), Start("worker-0", 1), Start("worker-1", 4)]


def test_a_killed_worker_starts_again_after_its_backoff():
    made = supervisor()
    assert made.handle(Exited("worker-1", 137), 5) == [
        Note(
            "worker_exited",
            {"worker": "worker-1", "attempt": 1, "exit_code": 137, "reason": None, "message": None, "restart": 1, "of": 1, "in_s": 10.0},
        )
    ]
    assert made.next_deadline() == 15
    assert made.handle(Tick(), 14.9) == []
    assert made.handle(Tick(), 15) == [Start("worker-1", 2)]
    assert made.worker_restarts == 1


def test_a_worker_over_budget_is_gone_and_the_coordinator_told():
    made = supervisor(workers=0)
    actions = made.handle(Exited("worker-1", 1, "crashed", "boom"), 5)
    assert of(Tell, actions) == [Tell((1,), None)]
    assert of(Note, actions)[0].event == "worker_gave_up"
    assert not made.done
    assert made.worker_restarts == 0


def test_a_workers_non_retryable_exit_is_asked_of_the_coordinator():
    made = supervisor()
    (told,) = of(Tell, made.handle(Exited("worker-0", 2, "invalid", "no such module"), 5))
    assert told.end.reason is EndReason.NON_RETRYABLE_EXIT
    assert told.end.message == "worker-0 ended with exit code 2: no such module"
    made.handle(JobFinished(), 6)
    assert made.end is None


def test_an_end_asked_for_in_vain_is_decided_here():
    made = supervisor()
    made.handle(Exited("worker-0", 2), 5)
    actions = made.handle(Tick(), 5 + END_ASKED_SECONDS)
    assert {action.name for action in of(Send, actions)} == {"coordinator", "worker-1"}
    assert made.end.reason is EndReason.NON_RETRYABLE_EXIT


def test_an_end_wanted_while_there_is_no_coordinator_is_decided_here():
    made = supervisor()
    made.handle(Exited("coordinator", 137), 4)
    made.handle(Exited("worker-0", 2), 5)
    assert made.end.reason is EndReason.NON_RETRYABLE_EXIT
    other = supervisor()
    other.handle(Exited("worker-0", 2), 4)
    other.handle(Exited("coordinator", 137), 5)
    assert other.end.reason is EndReason.NON_RETRYABLE_EXIT


def test_a_killed_coordinator_starts_again_and_its_workers_stay():
    made = supervisor()
    actions = made.handle(Exited("coordinator", 137), 5)
    assert of(Send, actions) == []
    assert made.handle(Tick(), 15) == [Start("coordinator", 2)]
    assert made.coordinator_restarts == 1


def test_a_coordinator_over_budget_ends_the_job():
    made = supervisor(coordinator=0)
    actions = made.handle(Exited("coordinator", 1, "", "disk on fire"), 5)
    assert of(Send, actions) == [Send("worker-0", SIGTERM), Send("worker-1", SIGTERM)]
    assert (made.end.phase, made.end.reason, made.end.exit_code) == (Phase.FAILED, EndReason.COORDINATOR_FAILED, 1)
    assert "disk on fire" in made.end.message
    made.handle(Exited("worker-0", 0), 6)
    assert not made.done
    made.handle(Exited("worker-1", 0), 6)
    assert made.done


def test_a_coordinators_last_word_counts_without_its_log():
    made = supervisor()
    said = End(Phase.FAILED, EndReason.CHECKPOINT_FAILED, "No space left on device")
    actions = made.handle(Exited("coordinator", 1, "CheckpointFailed", said.message, said), 5)
    assert made.end is said
    assert {action.name for action in of(Send, actions)} == {"worker-0", "worker-1"}
    assert of(Start, made.handle(Tick(), 100)) == []


@pytest.mark.parametrize(
    ("reason", "expected"), [("", EndReason.NON_RETRYABLE_EXIT), ("RunDirectoryLocked", None)], ids=["invalid job", "predecessor's lock"]
)
def test_a_coordinators_exit_2(reason, expected):
    made = supervisor()
    made.handle(Exited("coordinator", 2, reason), 5)
    assert (made.end.reason if made.end else None) is expected


def test_a_finished_job_is_left_to_end_by_itself():
    made = supervisor()
    assert made.handle(JobFinished(), 100) == []
    assert made.handle(Exited("worker-0", 0, "stopped"), 100.1) == []
    assert made.handle(Exited("coordinator", 0), 101) == []
    assert made.next_deadline() == 101 + WORKERS_ALONE_SECONDS
    assert made.handle(Tick(), 101 + WORKERS_ALONE_SECONDS) == [Send("worker-1", SIGTERM)]
    assert made.handle(Tick(), 100 + DISMISSAL_SECONDS + DRAIN_SECONDS) == [Send("worker-1", SIGKILL)]
    made.handle(Exited("worker-1", 137), 131)
    assert made.done
    assert made.end is None


def test_a_coordinator_whose_workers_are_all_gone_need_not_wait_for_them():
    made = supervisor(workers=0)
    made.handle(Exited("worker-0", 137), 5)
    made.handle(JobFinished(), 100)
    made.handle(Exited("worker-1", 0, "stopped"), 100.5)
    assert made.next_deadline() == 100.5 + COORDINATOR_ALONE_SECONDS
    assert made.handle(Tick(), 100.5 + COORDINATOR_ALONE_SECONDS) == [Send("coordinator", SIGTERM)]


def test_a_coordinator_that_waits_for_its_last_scrape_is_given_the_time():
    made = supervisor(workers=0)
    made.handle(JobFinished(linger_seconds=45), 100)
    made.handle(Exited("worker-0", 0, "stopped"), 100.5)
    made.handle(Exited("worker-1", 0, "stopped"), 100.5)
    assert made.next_deadline() == 145 + COORDINATOR_ALONE_SECONDS
    assert len(of(Send, made.handle(StopAsked(), 101))) == 1


def test_nothing_starts_after_the_end():
    made = supervisor()
    made.handle(Exited("worker-0", 137), 5)
    made.handle(JobFinished(), 6)
    assert of(Start, made.handle(Tick(), 1000)) == []


def test_the_first_signal_drains_and_the_second_kills():
    made = supervisor()
    assert {(action.name, action.signal) for action in made.handle(StopAsked(), 5)} == {(name, SIGTERM) for name in EVERYONE}
    assert made.next_deadline() == 5 + DRAIN_SECONDS
    made.handle(Exited("coordinator", 143), 6)
    assert {(action.name, action.signal) for action in made.handle(StopAsked(), 7)} == {("worker-0", SIGKILL), ("worker-1", SIGKILL)}
    assert made.end.reason is EndReason.INTERRUPTED
    assert made.end.exit_code == 130


def test_a_signal_after_the_end_hurries_and_keeps_the_end():
    made = supervisor()
    made.handle(JobFinished(), 5)
    assert len(of(Send, made.handle(StopAsked(), 6))) == 3
    assert made.end is None


NAMES = st.sampled_from(sorted(EVERYONE))
EVENTS = st.one_of(
    st.builds(Exited, NAMES, st.sampled_from([0, 1, 2, 3, 4, 137, 143]), st.sampled_from(["", "stopped", "left", "RunDirectoryLocked"])),
    st.just(JobFinished()),
    st.just(StopAsked()),
    st.just(Tick()),
)


@given(history=st.lists(st.tuples(EVENTS, st.floats(0, 60)), max_size=60), budget=st.integers(0, 3))
def test_any_history_comes_to_an_end(history, budget):
    made = supervisor(workers=budget, coordinator=budget)
    running, attempts, now = set(EVERYONE), dict.fromkeys(EVERYONE, 1), 0.0

    def follow(actions):
        for action in actions:
            if isinstance(action, Start):
                assert action.name not in running
                assert action.attempt > attempts[action.name]
                running.add(action.name)
                attempts[action.name] = action.attempt
            elif isinstance(action, Send):
                assert action.name in running

    for event, passed in history:
        now += passed
        if isinstance(event, Exited):
            if event.name not in running:
                continue
            running.discard(event.name)
        follow(made.handle(event, now))
    follow(made.handle(JobFinished(), now))
    for name in sorted(running):  # whoever is left is killed in the end
        while made.next_deadline() is not None:
            now = max(now, made.next_deadline())
            follow(made.handle(Tick(), now))
        running.discard(name)
        follow(made.handle(Exited(name, 137), now))
    assert made.done
