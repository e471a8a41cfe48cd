"""What the events of a run say that metrics show: a fold, so that a resumed coordinator knows what its predecessor did.

Each event also gives what it adds to counters and histograms. A process counts only what it has written itself; of its predecessor's
events it takes the state and drops the rest.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from fedcore.coordinator import metrics as m
from fedcore.engine.reasons import Outcome, Result
from fedcore.report.tables import moment

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from fedcore.metrics import Metric

__all__ = ["History", "Observation", "WorkerHistory"]

_TRIPS = {Result.ACCEPTED, Result.STALE}


class Observation(NamedTuple):
    """What an event adds: an amount to a counter, or a value to a histogram."""

    metric: Metric
    labels: tuple[str, ...] = ()
    value: float = 1.0


@dataclass(slots=True)
class WorkerHistory:
    """What is known of one worker; None until it is."""

    round_trip_s: float | None = None
    """Its latest, whatever became of the update."""
    accepted_round: int | None = None
    """The last round that it counted in."""
    epochs: float | None = None
    """Work it was last given."""
    given_round: int = 0


@dataclass(slots=True)
class History:
    """State of the fold; times are Unix seconds, 0 before they are known."""

    started_at: float = 0.0
    finished_at: float = 0.0
    checkpoint_at: float = 0.0
    round_opened_at: float = 0.0
    """Of the latest opening; whether that round is open still, the engine knows."""
    quorum_lost_at: float = 0.0
    """Since when the quorum is lost; 0 while it is met."""
    model_bytes: int | None = None
    closed: Mapping[str, Any] | None = None
    """The last ``round_closed`` of a round that was not aborted."""
    closes: int = 0
    """Such rounds, as often as they closed."""
    carried: tuple[int, int] | None = None
    """Bytes sent and received by the process that ended the run, as the run's last event says."""
    workers: dict[str, WorkerHistory] = field(default_factory=dict)
    _collecting: bool = False
    """Whether this process has seen the opening of the latest round."""
    _longest_train_s: float | None = None

    def feed(self, event: Mapping[str, Any]) -> Iterable[Observation]:
        """Take the next event of the run, and return what it adds."""
        match event["event"]:
            case "task_sent":
                return self._sent(event)
            case "update":
                return self._update(event)
            case "task_superseded":
                return self._trip(event, "superseded")
            case "round_opened":
                return self._opened(event)
            case "round_closed":
                return self._closed(event)
            case "checkpoint_written":
                return self._written(event)
            case "worker_registered":
                return (Observation(m.REGISTRATIONS, (event["kind"],)),)
            case "worker_lost":
                return (Observation(m.WORKERS_LOST),)
            case "round_deadline_missed":
                return (Observation(m.DEADLINES_MISSED),)
            case _:
                self._note(event)
                return ()

    def _note(self, event: Mapping[str, Any]) -> None:
        """Take an event that adds nothing."""
        match event["event"]:
            case "run_started":
                self.started_at = self.started_at or _seconds(event)
            case "coordinator_resumed":
                self._collecting, self._longest_train_s = False, None
                for worker in self.workers.values():  # what it was counted in before an open round that begins anew is not known
                    if worker.accepted_round is not None and worker.accepted_round >= event["round"]:
                        worker.accepted_round = None
            case "worker_left":
                self.workers.pop(event["worker"], None)
            case "quorum_lost":
                self.quorum_lost_at = _seconds(event)
            case "quorum_regained":
                self.quorum_lost_at = 0.0
            case "run_finished":
                self.finished_at = _seconds(event)
                self.carried = event.get("bytes_sent", 0), event.get("bytes_received", 0)
            case _:
                pass

    def _worker(self, event: Mapping[str, Any]) -> WorkerHistory:
        return self.workers.setdefault(event["worker"], WorkerHistory())

    def _sent(self, event: Mapping[str, Any]) -> list[Observation]:
        worker, epochs = self._worker(event), event["epochs"]
        added = [Observation(m.ASSIGNED_EPOCHS, value=epochs)]
        if worker.epochs is not None and worker.epochs != epochs and worker.given_round < event["round"]:
            added.append(Observation(m.ADJUSTMENTS, ("increase" if epochs > worker.epochs else "decrease",)))
        worker.epochs, worker.given_round = epochs, event["round"]
        return added

    def _update(self, event: Mapping[str, Any]) -> list[Observation]:
        result = event["result"]
        added = [Observation(m.UPDATES, (result,))]
        if result in _TRIPS and event["round_trip_s"] is not None:
            added += self._trip(event, result)
        if result == Result.ACCEPTED:
            self._worker(event).accepted_round = event["round"]
            added.append(Observation(m.SAMPLES, value=event["samples"]))
            if event["train_s"] is not None:
                self._longest_train_s = max(self._longest_train_s or 0.0, event["train_s"])
        elif result == Result.STALE:
            added.append(Observation(m.STALENESS, value=event["staleness_rounds"]))
        elif result == Result.REJECTED:
            added.append(Observation(m.UPDATES_REJECTED, (event["reason"],)))
        return added

    def _trip(self, event: Mapping[str, Any], result: str) -> tuple[Observation, ...]:
        self._worker(event).round_trip_s = event["round_trip_s"]
        return (Observation(m.ROUND_TRIP, (result,), event["round_trip_s"]),)

    def _opened(self, event: Mapping[str, Any]) -> list[Observation]:
        opened, added = _seconds(event), []
        if self._collecting and self._longest_train_s is not None:
            added.append(Observation(m.ROUND_OVERHEAD, value=max(opened - self.round_opened_at - self._longest_train_s, 0.0)))
        self.round_opened_at, self._collecting, self._longest_train_s = opened, True, None
        return added

    def _closed(self, event: Mapping[str, Any]) -> list[Observation]:
        outcome = event["outcome"]
        added = [Observation(m.ROUNDS_ENDED, (outcome,))]
        if event.get("quorum_wait_s") is not None:
            added.append(Observation(m.QUORUM_WAIT, value=event["quorum_wait_s"]))
        if outcome != Outcome.ABORTED:
            self.closed, self.closes = dict(event), self.closes + 1
            added.append(Observation(m.ROUND_DURATION, (outcome,), event["duration_s"]))
            added.append(Observation(m.STRAGGLERS, value=event["stragglers"]))
        return added

    def _written(self, event: Mapping[str, Any]) -> list[Observation]:
        self.checkpoint_at, self.model_bytes = _seconds(event), event["bytes"]
        added = [Observation(m.CHECKPOINT, value=event["duration_s"])]
        if event["version"] > 0:  # the first weights are nobody's sum
            added.append(Observation(m.AGGREGATION, value=event["aggregation_s"]))
        return added


def _seconds(event: Mapping[str, Any]) -> float:
    return moment(event["time"]).timestamp()
