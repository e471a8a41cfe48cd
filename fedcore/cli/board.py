"""What is known of a running job, as a fold over its events: the content of the live view, without its looks."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING, Any

from fedcore.engine.reasons import Outcome, Result
from fedcore.report.tables import moment

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

__all__ = ["Board", "Standing", "WorkerState"]

_REMEMBERED_ROUNDS = 5


class WorkerState(IntEnum):
    """What a worker is at, worst first."""

    GONE = 0
    EXITED = 1
    LOST = 2
    WAITING = 3
    TRAINING = 4
    IDLE = 5
    READY = 6
    IN = 7


@dataclass(slots=True)
class Standing:
    """One worker."""

    name: str
    state: WorkerState = WorkerState.IDLE
    since: datetime | None = None
    """Of the task, of the loss, or of the time to start again."""
    trip_s: float | None = None
    epochs: float | None = None
    late_in: int | None = None
    note: str = ""


@dataclass(slots=True)
class Board:
    """The job as seen by its events. What is not known yet is None."""

    rounds: int
    required: int
    workers: dict[str, Standing]
    round: int = 0
    opened: datetime | None = None
    """When the open round opened; None when none is open."""
    accepted: int = 0
    completed: int = 0
    accuracy: dict[int, float] = field(default_factory=dict)
    """By version."""
    metrics: dict[str, float] = field(default_factory=dict)
    metrics_version: int | None = None
    status: str = "starting"
    """What the job is at when no round is open."""
    resting: WorkerState = WorkerState.IDLE
    """What a registered worker is at until more is known. On a cluster no more is: READY."""
    _openings: deque[tuple[int, datetime]] = field(default_factory=lambda: deque(maxlen=_REMEMBERED_ROUNDS + 1))
    _participants: set[str] = field(default_factory=set)
    _counted: set[str] = field(default_factory=set)

    def feed(self, event: Mapping[str, Any]) -> None:
        """Take the next event, of the coordinator or of the supervisor."""
        time = moment(event["time"])
        worker = self._worker(event) if "worker" in event else None
        match event["event"]:
            case "coordinator_resumed":
                self.status = "resumed"
            case "coordinator_exited":
                self.status = f"coordinator gone ({_how(event)}), {_again(event)}"
                self.opened = None
            case "job_status" | "job_message":
                self.status = f"{event['reason']}: {event['message']}"
                self.opened = self.opened if event["round_open"] else None
            case "spec_changed":
                self._resize(event)
            case "worker_registered" if worker is not None:
                worker.state, worker.note = self.resting, ""
            case "worker_starting" if worker is not None:
                worker.state, worker.note = WorkerState.WAITING, worker.note if worker.state is WorkerState.EXITED else "starts"
            case "worker_waiting" if worker is not None:
                worker.state, worker.note = WorkerState.WAITING, f"{event['reason']}: {event['message']}"
            case "worker_timed" if worker is not None:
                worker.trip_s = event["round_trip_s"]
            case "worker_lost" if worker is not None and worker.state > WorkerState.LOST:
                worker.state, worker.since, worker.note = WorkerState.LOST, time, f"silent for {event['silent_s']:.0f} s"
            case "worker_left" if worker is not None and worker.state > WorkerState.LOST:
                worker.state, worker.note = WorkerState.IDLE, str(event.get("reason") or "left")
            case "worker_exited" if worker is not None:
                worker.state, worker.since = WorkerState.EXITED, time
                worker.note = f"{_how(event)}, {_again(event)}" + (f" in {event['in_s']:.0f} s" if event["in_s"] else "")
            case "worker_gave_up" if worker is not None:
                worker.state, worker.note = WorkerState.GONE, f"{_how(event)}, not started again"
            case "round_opened":
                self._open(event, time)
            case "progress" if self.opened is not None:
                self.accepted = event["accepted"]
            case "task_sent" if worker is not None:
                worker.state, worker.since, worker.epochs = WorkerState.TRAINING, time, event.get("epochs")
                self._participants.add(worker.name)
            case "update" if worker is not None:
                self._update(event, worker)
            case "round_closed":
                self._close(event)
            case "evaluated":
                self.metrics, self.metrics_version = dict(event["metrics"]), event["version"]
                if "accuracy" in self.metrics:
                    self.accuracy[event["version"]] = self.metrics["accuracy"]
            case "run_finished":
                self.opened, self.status = None, "ended"
                for standing in self.workers.values():
                    standing.state = max(standing.state, WorkerState.IDLE) if standing.state > WorkerState.LOST else standing.state
            case _:
                pass

    def seconds_left(self, now: datetime) -> float | None:
        """Guess how long the job still takes, from the last rounds; None until there are two."""
        if len(self._openings) < 2 or self.status == "ended":
            return None
        (first, began), (last, latest) = self._openings[0], self._openings[-1]
        pace = (latest - began).total_seconds() / max(last - first, 1)  # not every opening is seen on a cluster
        ahead = (self.rounds - self.round + 1) * pace
        return max(ahead - (now - latest).total_seconds(), 0.0)

    def _worker(self, event: Mapping[str, Any]) -> Standing:
        return self.workers.setdefault(event["worker"], Standing(event["worker"]))

    def _open(self, event: Mapping[str, Any], time: datetime) -> None:
        if event["round"] != self.round:
            self._openings.append((event["round"], time))
        self.round, self.opened, self.required = event["round"], time, event.get("required", self.required)
        self.accepted, self._participants, self._counted = 0, set(), set()
        self.status = ""
        for standing in self.workers.values():
            if standing.state is WorkerState.IN:
                standing.state = WorkerState.IDLE

    def _resize(self, event: Mapping[str, Any]) -> None:
        self.rounds, self.required = event["rounds"], event["required"]
        declared = {f"worker-{index}": Standing(f"worker-{index}") for index in range(event["workers"])}
        self.workers = {name: self.workers.get(name, fresh) for name, fresh in declared.items()}

    def _update(self, event: Mapping[str, Any], worker: Standing) -> None:
        if event["result"] == Result.ACCEPTED and event["round"] == self.round and self.opened is not None:
            self.accepted += 1
            self._counted.add(worker.name)
            worker.state, worker.trip_s = WorkerState.IN, event.get("round_trip_s")
            worker.epochs = event.get("epochs") or worker.epochs
        elif event["result"] == Result.STALE:
            worker.late_in = event["round"]

    def _close(self, event: Mapping[str, Any]) -> None:
        if event["outcome"] != Outcome.ABORTED:
            self.completed = max(self.completed, event["round"])
        self.opened = None
        self.status = "closing" if event["round"] < self.rounds else "measuring the final model"
        for name in self._participants - self._counted:
            if self.workers[name].state > WorkerState.LOST:
                self.workers[name].late_in = event["round"]


def _how(event: Mapping[str, Any]) -> str:
    """Say how a process ended; on a cluster it may be gone without an exit code, or have a telling reason beside it."""
    code, reason = event.get("exit_code"), event.get("reason")
    return str(reason or "gone") if code is None else f"exit {code}" + (f" {reason}" if reason == "OOMKilled" else "")


def _again(event: Mapping[str, Any]) -> str:
    return f"restart {event['restart']} of {event['of']}" if "restart" in event else "starts again"
