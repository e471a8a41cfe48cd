"""What happened between two looks at a job, as the events of a local run: `fedcore.cli.board` and `fedcore.cli.plain` show both alike.

A resource says what is, not what happened, so this is a comparison. Rounds that closed between two writes of the status and are no longer
among its last five are missing; every round is in the coordinator's log and in its run directory.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fedcore.engine.reasons import EndReason, Outcome, Phase
from fedcore.spec.times import format_time

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from fedcore.cli.fedjob.scene import Scene, Told
    from fedcore.spec import Condition
    from fedcore.spec.status import CoordinatorStatus, RecentRound, WorkerIndex

__all__ = ["Event", "matter_of", "tell"]

Event = dict[str, Any]

_SHOWN_OTHERWISE = frozenset(
    {"Started", "RoundCompleted", "NotAccepted", "Suspended", "Resumed", "BelowQuorum", "QuorumRegained", "CoordinatorRestarted"}
    | {"WorkerRestarted", "WorkerDisrupted", "WorkerGaveUp", *EndReason}
)
"""Events of the operator that the status tells too, with more in it."""
_NAMED = 5


def tell(before: Scene | None, after: Scene, now: datetime) -> list[Event]:
    """Return what happened between two looks; before the first one: what is."""
    return [
        {"time": format_time(now), **event}
        for part in (_start, _size, _ends, _workers, _rounds, _course, _told, _end)
        for event in part(before, after)
    ]


def matter_of(scene: Scene) -> tuple[str, str]:
    """Return reason and message of the condition that says best what the job is at."""
    accepted, suspended = scene.condition("Accepted"), scene.condition("Suspended")
    coordinator, quorum = scene.condition("CoordinatorReady"), scene.condition("QuorumMet")
    if scene.end is not None:
        found: Condition | None = scene.end
    elif accepted is None:
        return "NotSeen", "the operator has not looked at it yet"
    elif accepted.status != "True" and scene.status.start_time is None:
        found = accepted
    elif scene.status.ending is not None:
        return scene.status.ending.reason, f"it is being ended: {scene.status.ending.message}"
    elif suspended is not None and suspended.status == "True":
        found = suspended
    elif coordinator is not None and coordinator.status != "True":
        found = coordinator
    else:
        found = quorum
    return ("", "") if found is None else (found.reason, found.message)


def _start(before: Scene | None, after: Scene) -> Iterator[Event]:
    if before is None:
        yield {"event": "run_started", "job": after.name, "workers": after.replicas, "required": after.required, "rounds": after.rounds}


def _size(before: Scene | None, after: Scene) -> Iterator[Event]:
    size = {"workers": after.replicas, "required": after.required, "rounds": after.rounds}
    if before is not None and size != {"workers": before.replicas, "required": before.required, "rounds": before.rounds}:
        yield {"event": "spec_changed", **size}


def _ends(before: Scene | None, after: Scene) -> Iterator[Event]:
    """Give the ends of attempts. Those before the first look are old news."""
    if before is None:
        return
    old, new = before.status.coordinator, after.status.coordinator
    if new.restarts + new.disruptions > old.restarts + old.disruptions:
        yield {"event": "coordinator_exited", **_ended(old, new, after.coordinator_restarts)}
    known = {one.index: one for one in before.status.worker_indexes}
    for entry in after.status.worker_indexes:
        past = known.get(entry.index)
        counted = 0 if past is None else past.restarts + past.disruptions
        if entry.restarts + entry.disruptions > counted and not entry.gave_up:
            yield {"event": "worker_exited", "worker": f"worker-{entry.index}", **_ended(past, entry, after.worker_restarts)}


def _ended(old: WorkerIndex | CoordinatorStatus | None, new: WorkerIndex | CoordinatorStatus, budget: int) -> Event:
    last = new.last_exit
    restarted = new.restarts > (0 if old is None else old.restarts)
    wait = 0.0 if new.not_before is None or last is None else max((new.not_before - last.time).total_seconds(), 0.0)
    said = {} if last is None else {"exit_code": last.exit_code, "reason": last.reason, "message": last.message or None}
    count = {"restart": new.restarts, "of": budget} if restarted else {"disruption": new.disruptions}
    return {"attempt": new.attempt - 1, "exit_code": None, **said, **count, "in_s": wait}


@dataclass(frozen=True, slots=True)
class _Standing:
    """What a worker is at. Equal ones are no news, whatever the words of the moment are."""

    event: str
    attempt: int
    reason: str = ""


def _standing(scene: Scene, index: int) -> tuple[_Standing, str]:
    entry, attempt = scene.entries.get(index), scene.attempts[index]
    if entry is not None and entry.gave_up:
        return _Standing("worker_gave_up", attempt), ""
    pod = scene.current.get(index)
    if pod is None or pod.over:
        return _Standing("", attempt), ""
    if pod.ready:
        return _Standing("worker_registered", attempt), ""
    if pod.waits_for:
        return _Standing("worker_waiting", attempt, pod.waits_for), pod.message
    return _Standing("worker_starting", attempt), ""


def _workers(before: Scene | None, after: Scene) -> Iterator[Event]:
    waiting: dict[str, list[tuple[str, str]]] = {}
    for index in range(after.replicas):
        old = None if before is None or index >= before.replicas else _standing(before, index)[0]
        new, message = _standing(after, index)
        if new == old or not new.event:
            continue
        worker, entry = f"worker-{index}", after.entries.get(index)
        event: Event = {"event": new.event, "worker": worker, "attempt": new.attempt}
        last = None if entry is None else entry.last_exit
        if new.event == "worker_gave_up":
            event |= {"exit_code": None if last is None else last.exit_code, "reason": "" if last is None else last.reason}
        elif new.event == "worker_registered":
            event["kind"] = "restart" if last is not None and before is not None else "new"
        elif new.event == "worker_waiting":
            event |= {"reason": new.reason, "message": message}
            waiting.setdefault(new.reason, []).append((worker, message))
        yield event
    for reason, ones in waiting.items():
        names = ", ".join(name for name, _ in ones[:_NAMED]) + (f" and {len(ones) - _NAMED} more" if len(ones) > _NAMED else "")
        yield {"event": "workers_waiting", "count": len(ones), "workers": names, "reason": reason, "message": ones[0][1]}


def _rounds(before: Scene | None, after: Scene) -> Iterator[Event]:
    progress, earlier = after.status.progress, None if before is None else before.status.progress
    if progress is None:
        return
    told = 0 if earlier is None or not earlier.recent_rounds else earlier.recent_rounds[-1].round
    measured = None if earlier is not None and earlier.metrics_version == progress.metrics_version else _measured(after)
    for closed in (one for one in progress.recent_rounds if one.round > told):
        if measured is not None and measured["version"] < closed.round:
            yield measured
            measured = None
        yield _closed(closed)
    if measured is not None:
        yield measured
    for slow in progress.slowest_workers:
        if earlier is None or slow not in earlier.slowest_workers:
            yield {"event": "worker_timed", "worker": slow.worker, "round": slow.round, "round_trip_s": _number(slow.seconds)}
    opened = _open_round(after)
    if opened is not None:
        if before is None or opened != _open_round(before):
            yield {"event": "round_opened", "round": progress.round, "required": after.required}
        yield {"event": "progress", "round": progress.round, "accepted": progress.accepted}


def _open_round(scene: Scene) -> tuple[int, int] | None:
    """Return which round is open, and of which attempt of the coordinator; None if none is known to be."""
    progress, coordinator = scene.status.progress, scene.status.coordinator
    if progress is None or progress.observed_time is None or scene.end is not None or not coordinator.ready or not progress.round:
        return None
    last = coordinator.last_exit
    if last is not None and progress.observed_time <= last.time:
        return None  # what its predecessor said
    return progress.round, coordinator.attempt


def _closed(one: RecentRound) -> Event:
    outcome = Outcome.FULL if not one.late else Outcome.QUORUM
    numbers = {"accepted": one.accepted, "required": one.required, "stragglers": one.late, "duration_s": _number(one.seconds)}
    return {"event": "round_closed", "round": one.round, "outcome": str(outcome), **numbers}


def _measured(scene: Scene) -> Event | None:
    progress = scene.status.progress
    if progress is None or progress.metrics_version is None or not progress.metrics:
        return None
    metrics = {one.name: value for one in progress.metrics if (value := _number(one.value)) is not None}
    return {"event": "evaluated", "version": progress.metrics_version, "metrics": metrics}


def _course(before: Scene | None, after: Scene) -> Iterator[Event]:
    if after.end is not None:
        return
    reason, message = matter_of(after)
    phase = after.status.phase or "Pending"
    if before is not None and (before.status.phase or "Pending", *matter_of(before)) == (phase, reason, message):
        return
    news = before is None or (before.status.phase or "Pending", matter_of(before)[0]) != (phase, reason)
    open_ = _open_round(after) is not None
    yield {"event": "job_status" if news else "job_message", "phase": phase, "reason": reason, "message": message, "round_open": open_}


def _told(before: Scene | None, after: Scene) -> Iterator[Event]:
    if before is None:
        return
    known = {one.uid for one in before.told}
    for one in after.told:
        if one.uid not in known and one.about == f"FederatedJob/{after.name}" and one.reason not in _SHOWN_OTHERWISE:
            yield _job_event(one)


def _job_event(one: Told) -> Event:
    return {"event": "job_event", "type": one.type, "reason": one.reason, "message": one.message}


def _end(before: Scene | None, after: Scene) -> Iterator[Event]:
    end, result = after.end, after.status.result
    if end is None or (before is not None and before.end is not None):
        return
    if result is not None and result.metrics:
        metrics = {one.name: value for one in result.metrics if (value := _number(one.value)) is not None}
        yield {"event": "evaluated", "version": result.rounds, "metrics": metrics}
    phase = Phase.SUCCEEDED if end.type == "Complete" else Phase.FAILED
    yield {"event": "run_finished", "phase": str(phase), "reason": end.reason, "message": end.message}


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
