"""What is told in events: the differences of two statuses, in words. Posted after the second one was written, so never twice."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from fedcore_operator.api import names
from fedcore_operator.api.conditions import ConditionType, Reason, condition, holds, is_finished
from fedcore_operator.plan.storage import has_volume

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from fedcore.spec import Status
    from fedcore.spec.status import WorkerIndex
    from fedcore_operator.api.job import Job, StoredJob
    from fedcore_operator.decide.observe import Refusal

__all__ = ["Event", "events_between", "refusal_event", "refused_event"]

_NAMED = 5
"""Workers that an event names; of more it says how many."""


@dataclass(frozen=True, slots=True)
class Event:
    """One event of a job."""

    type: Literal["Normal", "Warning"]
    reason: str
    message: str


def events_between(job: Job, before: Status, after: Status) -> tuple[Event, ...]:
    """Return what happened from one status to the next."""
    return tuple(
        event
        for part in (
            _acceptance(before, after),
            _life(before, after),
            _coordinator(job, before, after),
            _workers(job, before, after),
            _quorum(before, after),
            _rounds(before, after),
            _end(before, after),
        )
        for event in part
    )


def refusal_event(job: StoredJob, refusal: Refusal) -> Event:
    """Return the event of a pod that the API server did not let us create; posted when that happens."""
    return Event("Warning", "PodCreateFailed", f"{names.pod_name(job, refusal.index, refusal.attempt)}: {refusal.message}")


def refused_event(before: Status, after: Status) -> tuple[Event, ...]:
    """Return what is told of a job that the models do not take: that they do not, and its end."""
    return (*_acceptance(before, after), *_end(before, after))


def _acceptance(before: Status, after: Status) -> Iterator[Event]:
    old, new = condition(before, ConditionType.ACCEPTED), condition(after, ConditionType.ACCEPTED)
    if new is None or new.status == "True":
        return
    if old is None or (old.status, old.reason, old.message) != (new.status, new.reason, new.message):
        yield Event("Warning", "NotAccepted", f"{new.reason}: {new.message}")


def _life(before: Status, after: Status) -> Iterator[Event]:
    was, now = holds(before, ConditionType.SUSPENDED), holds(after, ConditionType.SUSPENDED)
    if now and not was:
        yield Event("Normal", "Suspended", "pods are deleted; state and counters are kept")
    elif was and not now:
        yield Event("Normal", "Resumed", "the job goes on with the round after its newest checkpoint")
    if before.start_time is None and after.start_time is not None:
        yield Event("Normal", "Started", f"coordinator at {after.coordinator.address}")


def _coordinator(job: Job, before: Status, after: Status) -> Iterator[Event]:
    old, new = before.coordinator, after.coordinator
    ended = new.restarts + new.disruptions > old.restarts + old.disruptions
    if not ended or new.last_exit is None:
        return
    count = f"restart {new.restarts} of {job.spec.coordinator.max_restarts}" if new.restarts > old.restarts else "disruption, not counted"
    round_ = 0 if before.progress is None else before.progress.round
    said = f"attempt {old.attempt} ended ({new.last_exit.reason}), {count}"
    if has_volume(job):
        yield Event("Warning", "CoordinatorRestarted", f"{said}; goes on from its newest checkpoint, it was in round {round_}")
    else:
        yield Event("Warning", "RestartedFromRoundOne", f"{said}; without a checkpoint volume round {round_} is lost, it begins at round 1")


def _workers(job: Job, before: Status, after: Status) -> Iterator[Event]:
    known = {one.index: one for one in before.worker_indexes}

    def grown(count: Callable[[WorkerIndex], int]) -> list[WorkerIndex]:
        return [one for one in after.worker_indexes if count(one) > (count(known[one.index]) if one.index in known else 0)]

    restarted = grown(lambda one: one.restarts)
    if restarted:
        yield Event("Warning", "WorkerRestarted", _named(restarted) + f"; at most {job.spec.workers.max_restarts_per_worker} each")
    disrupted = grown(lambda one: one.disruptions)
    if disrupted:
        yield Event("Normal", "WorkerDisrupted", _named(disrupted) + "; not counted")
    given_up = grown(lambda one: one.gave_up)
    if given_up:
        yield Event("Warning", "WorkerGaveUp", _named(given_up) + f"; all {job.spec.workers.max_restarts_per_worker} restarts are spent")


def _named(entries: list[WorkerIndex]) -> str:
    named = [f"worker-{one.index} ({'?' if one.last_exit is None else one.last_exit.reason})" for one in entries[:_NAMED]]
    more = f" and {len(entries) - _NAMED} more" if len(entries) > _NAMED else ""
    return ", ".join(named) + more


def _quorum(before: Status, after: Status) -> Iterator[Event]:
    old, new = condition(before, ConditionType.QUORUM_MET), condition(after, ConditionType.QUORUM_MET)
    if is_finished(after) or new is None or before.quorum_first_met_time is None:
        return
    if new.reason == Reason.BELOW_QUORUM and old is not None and old.reason != Reason.BELOW_QUORUM:
        yield Event("Warning", "BelowQuorum", new.message)
    elif new.reason == Reason.ENOUGH and old is not None and old.reason == Reason.BELOW_QUORUM:
        yield Event("Normal", "QuorumRegained", new.message)


def _rounds(before: Status, after: Status) -> Iterator[Event]:
    old, new = before.progress, after.progress
    if new is None or new.observed_time is None or not new.recent_rounds:
        return
    closed = new.recent_rounds[-1]
    known = 0 if old is None or not old.recent_rounds else old.recent_rounds[-1].round
    told_at = None if old is None else old.observed_time
    same_minute = told_at is not None and told_at.replace(second=0) == new.observed_time.replace(second=0)
    if closed.round > known and not same_minute:
        accuracy = f", accuracy {new.accuracy}" if new.accuracy else ""
        said = f"round {closed.round} of {new.total_rounds}: {closed.accepted} updates of {closed.required} required in {closed.seconds} s"
        yield Event("Normal", "RoundCompleted", said + accuracy)


def _end(before: Status, after: Status) -> Iterator[Event]:
    if is_finished(before):
        return
    complete, failed = condition(after, ConditionType.COMPLETE), condition(after, ConditionType.FAILED)
    if complete is not None:
        yield Event("Normal", complete.reason, complete.message)
    elif failed is not None:
        yield Event("Warning", failed.reason, failed.message)
