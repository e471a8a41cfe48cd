"""rounds.csv and updates.csv as a pure fold over events, so that a running job, a resumed one and ``fedcore report`` give the same rows.

A round's counts run from its opening to the next one's; its accuracy is measured one round later. So a row of rounds.csv is complete
when the *next* round closes, or when the job ends. A row of updates.csv is complete at once.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from statistics import median
from typing import TYPE_CHECKING, Any, Literal

from fedcore.engine.reasons import Outcome, Result

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["ROUND_COLUMNS", "UPDATE_COLUMNS", "Row", "Tables", "moment", "quantile"]

ROUND_COLUMNS = (
    *("round", "resume", "outcome", "opened_at", "duration_s", "overhead_s", "participants", "required", "accepted", "late", "duplicate"),
    *("rejected", "stragglers", "lost", "deadlines_missed", "quorum_wait_s", "round_trip_p50_s", "round_trip_p95_s", "round_trip_max_s"),
    *("slowest_worker", "aggregation_s", "checkpoint_s", "samples", "epochs_min", "epochs_median", "epochs_max", "bytes_sent"),
    *("bytes_received", "train_loss", "accuracy", "loss"),
)
UPDATE_COLUMNS = (
    *("time", "resume", "round", "worker", "attempt", "result", "reason", "round_trip_s", "train_s", "epochs", "samples", "bytes"),
    *("staleness_rounds", "base_version", "train_loss", "eval_accuracy", "eval_loss"),
)
_COUNTED = {Result.STALE: "late", Result.DUPLICATE: "duplicate", Result.REJECTED: "rejected"}


@dataclass(frozen=True, slots=True)
class Row:
    """A complete row of one of the two tables; ``values`` has its columns in order, None where a value is unknown."""

    table: Literal["rounds", "updates"]
    values: dict[str, Any]


@dataclass(slots=True)
class _Round:
    """What is known so far of one round. `reopen` forgets what a new collection replaces and keeps what has happened."""

    number: int
    resume: int
    opened: datetime
    """Latest opening: where the collection that may close began."""
    participants: int | None = None
    required: int | None = None
    accepted: int = 0
    trips: list[tuple[float, str]] = field(default_factory=list)
    longest_train_s: float | None = None
    epochs: dict[str, float] = field(default_factory=dict)
    closed: dict[str, Any] | None = None
    followed: datetime | None = None
    """When the next round opened."""
    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(("late", "duplicate", "rejected", "lost", "deadlines_missed"), 0))
    sent: int | None = None
    received: int | None = None
    made: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)

    def open(self, event: Mapping[str, Any]) -> None:
        """Begin to collect, anew after a restart of the coordinator."""
        self.resume, self.opened = event.get("resume", 0), moment(event["time"])
        self.participants, self.required = event.get("participants"), event.get("required")
        self.accepted, self.trips, self.longest_train_s, self.epochs = 0, [], None, {}

    def carry(self, sent: int | None, received: int | None) -> None:
        """Add payload bytes; None stays None until something is known."""
        if sent is not None:
            self.sent = (self.sent or 0) + sent
        if received is not None:
            self.received = (self.received or 0) + received


class Tables:
    """Rows of both tables, handed out as they become complete."""

    def __init__(self) -> None:
        self._rounds: dict[int, _Round] = {}
        """Rounds whose row is not out yet: at most the open one and the one before."""
        self._open: _Round | None = None
        self._early = _Round(0, 0, datetime.fromtimestamp(0, UTC))
        """What happens before round 1 opens; it counts into row 1."""
        self._bytes = {"bytes_sent": 0, "bytes_received": 0}
        self._resume = 0

    def feed(self, event: Mapping[str, Any]) -> list[Row]:
        """Take the next event of the run, and return the rows that are complete with it, in order."""
        self._count_bytes(event)
        match event["event"]:
            case "round_opened":
                return self._opened(event)
            case "task_sent":
                current = self._rounds.get(event["round"])
                if current is not None and event.get("epochs") is not None:
                    current.epochs[event["worker"]] = event["epochs"]
            case "update":
                return [self._update(event)]
            case "worker_lost":
                self._here.counts["lost"] += 1
            case "round_deadline_missed":
                self._here.counts["deadlines_missed"] += 1
            case "spec_changed":
                if self._open is not None and self._open.closed is None:
                    self._open.required = event["required"]
            case "round_closed":
                return self._closed(event)
            case "evaluated":
                measured = self._rounds.get(event["version"])
                if measured is not None:
                    measured.metrics = dict(event.get("metrics") or {})
            case "checkpoint_written":
                maker = self._rounds.get(event["version"])
                if maker is not None:
                    maker.made = dict(event)
            case "run_finished":
                return self._finished(event)
            case _:
                pass
        return []

    def incomplete(self) -> list[Row]:
        """Return the rows that are not complete yet, as far as they are known: what a report shows of a run that has not ended."""
        return [_row(current) for _, current in sorted(self._rounds.items())]

    @property
    def _here(self) -> _Round:
        """The round that happenings count into: from its opening to the next one's."""
        return self._open or self._early

    def _count_bytes(self, event: Mapping[str, Any]) -> None:
        """Turn the process's running totals into what was carried since the last time they were told."""
        if "bytes_sent" not in event and "bytes_received" not in event:
            return
        if event.get("resume", 0) != self._resume:
            self._resume = event.get("resume", 0)
            self._bytes = dict.fromkeys(self._bytes, 0)
        new = {key: event.get(key) for key in self._bytes}
        carried = {key: None if value is None else value - self._bytes[key] for key, value in new.items()}
        self._here.carry(carried["bytes_sent"], carried["bytes_received"])
        self._bytes.update({key: value for key, value in new.items() if value is not None})

    def _opened(self, event: Mapping[str, Any]) -> list[Row]:
        number = event["round"]
        known = self._rounds.get(number)
        if known is not None:
            known.open(event)
            return []
        rows = []
        before, self._open = self._open, _Round(number, 0, moment(event["time"]))
        self._rounds[number] = self._open
        self._open.open(event)
        if before is None:
            self._open.counts, self._open.sent, self._open.received = self._early.counts, self._early.sent, self._early.received
        else:
            before.followed = self._open.opened
            if before.closed is None:  # the coordinator died after the version was durable, before it could say so
                before.closed = {"outcome": str(Outcome.FULL if before.accepted == before.participants else Outcome.QUORUM)}
                rows = self._release(before.number)
        return rows

    def _update(self, event: Mapping[str, Any]) -> Row:
        result = event["result"]
        if result == Result.ACCEPTED:
            current = self._rounds.get(event["round"])
            if current is not None and event.get("resume", 0) == current.resume:
                current.accepted += 1
                if event.get("round_trip_s") is not None:
                    current.trips.append((event["round_trip_s"], event["worker"]))
                if event.get("train_s") is not None:
                    current.longest_train_s = max(current.longest_train_s or 0.0, event["train_s"])
        elif result in _COUNTED:
            self._here.counts[_COUNTED[Result(result)]] += 1
        values = {column: event.get(column) for column in UPDATE_COLUMNS}
        metrics = event.get("metrics") or {}
        for name in ("accuracy", "loss"):
            if values[f"eval_{name}"] is None:
                values[f"eval_{name}"] = metrics.get(name)
        return Row("updates", values)

    def _closed(self, event: Mapping[str, Any]) -> list[Row]:
        current = self._rounds.get(event["round"])
        if current is None:
            return []
        current.closed = dict(event)
        return self._release(current.number) if event["outcome"] != Outcome.ABORTED else []

    def _release(self, closed: int) -> list[Row]:
        """Hand out the rows before the round that has just closed."""
        return [_row(self._rounds.pop(number)) for number in sorted(self._rounds) if number < closed]

    def _finished(self, event: Mapping[str, Any]) -> list[Row]:
        for current in self._rounds.values():
            if current.closed is None:
                lasted = moment(event["time"]) - current.opened
                current.closed = {"outcome": str(Outcome.ABORTED), "duration_s": round(lasted.total_seconds(), 3)}
        rows = [_row(current) for _, current in sorted(self._rounds.items())]
        self._rounds, self._open = {}, None
        return rows


def _row(current: _Round) -> Row:
    closed = current.closed or {}
    overhead = None
    if current.followed is not None and current.longest_train_s is not None:
        overhead = round((current.followed - current.opened).total_seconds() - current.longest_train_s, 6)
    trips = sorted(trip for trip, _ in current.trips)
    epochs = sorted(current.epochs.values())
    values = {
        "round": current.number,
        "resume": current.resume,
        "outcome": closed.get("outcome"),
        "opened_at": current.opened,
        "duration_s": closed.get("duration_s"),
        "overhead_s": overhead,
        "participants": closed.get("participants", current.participants),
        "required": closed.get("required", current.required),
        "accepted": closed.get("accepted", current.accepted),
        "late": current.counts["late"],
        "duplicate": current.counts["duplicate"],
        "rejected": current.counts["rejected"],
        "stragglers": closed.get("stragglers"),
        "lost": current.counts["lost"],
        "deadlines_missed": current.counts["deadlines_missed"],
        "quorum_wait_s": closed.get("quorum_wait_s"),
        "round_trip_p50_s": quantile(trips, 0.5),
        "round_trip_p95_s": quantile(trips, 0.95),
        "round_trip_max_s": trips[-1] if trips else None,
        "slowest_worker": max(current.trips)[1] if trips else None,
        "aggregation_s": current.made.get("aggregation_s"),
        "checkpoint_s": current.made.get("duration_s"),
        "samples": closed.get("samples"),
        "epochs_min": epochs[0] if epochs else None,
        "epochs_median": median(epochs) if epochs else None,
        "epochs_max": epochs[-1] if epochs else None,
        "bytes_sent": current.sent,
        "bytes_received": current.received,
        "train_loss": closed.get("train_loss"),
        "accuracy": current.metrics.get("accuracy"),
        "loss": current.metrics.get("loss"),
    }
    return Row("rounds", values)


def moment(time: str | float) -> datetime:
    """Read a time of events.jsonl: RFC 3339, or Unix seconds."""
    if isinstance(time, str):
        return datetime.fromisoformat(time).astimezone(UTC)
    return datetime.fromtimestamp(time, UTC)


def quantile(ordered: Sequence[float], share: float) -> float | None:
    """Return the value below which ``share`` of an ascending sequence lies, interpolated between neighbours; None if it is empty."""
    if not ordered:
        return None
    place = share * (len(ordered) - 1)
    below = int(place)
    above = min(below + 1, len(ordered) - 1)
    return round(ordered[below] + (ordered[above] - ordered[below]) * (place - below), 6)
