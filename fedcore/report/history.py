"""A run as its report tells it: rounds, who took part in each of them with what result, what went wrong. A pure fold over events."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from fedcore.engine.reasons import EndReason, Phase, Result
from fedcore.report.tables import Tables, moment, quantile

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

__all__ = ["FAULTS", "Entry", "Happening", "History", "HistoryFold", "Part"]

FAULTS = {
    "coordinator_resumed": "coordinator restarted",
    "worker_restarted": "worker restarted",
    "worker_lost": "worker lost",
    "worker_left": "worker left",
    "update_rejected": "update rejected",
    "update_declined": "work declined",
    "deadline_missed": "deadline missed",
    "quorum_lost": "quorum lost",
    "ended": "job failed",
}
"""What is marked in plots, gravest last, and its name there."""
_ORDERLY = {"stopped", "retired", "replaced"}
"""Reasons of workers that left because they were told to."""


@dataclass(slots=True)
class Entry:
    """One worker in one round. What is not known is None."""

    epochs: float | None = None
    trip_s: float | None = None
    """Of the update that counts; of a late one if none does."""
    accepted: bool = False
    late: bool = False
    pending: bool = False
    """The round is open: the update may still come."""

    @property
    def missing(self) -> bool:
        """Whether the work never came back."""
        return not (self.accepted or self.late or self.pending)


class Happening(NamedTuple):
    """Something that a report marks."""

    time: datetime
    round: int
    """The open one, else the last one; 0 before the first."""
    kind: str
    """A key of `FAULTS`, or a word of its own for what is merely told."""
    text: str


@dataclass(frozen=True, slots=True)
class Part:
    """What one worker did in the whole run."""

    worker: str
    rounds: int
    """In how many it was given work."""
    accepted: int
    late: int
    missing: int
    """Rounds whose work never came back."""
    trip_median_s: float | None
    trip_max_s: float | None
    epochs: tuple[float, float] | None
    """Least and most it was given."""
    restarts: int

    @property
    def badness(self) -> tuple[int, float, float]:
        """Sorts workers, worst highest: rounds that did not count it, then how slow it was."""
        return self.late + self.missing, self.trip_median_s or 0.0, self.trip_max_s or 0.0


@dataclass(frozen=True)
class History:
    """A run. ``rounds`` are rows of rounds.csv and those that are not complete yet, whose outcome may be None."""

    rounds: Sequence[Mapping[str, Any]] = ()
    entries: Mapping[str, Mapping[int, Entry]] = field(default_factory=dict)
    """By worker, in the order of their numbers, and by round."""
    measured: Mapping[int, Mapping[str, float]] = field(default_factory=dict)
    """Metrics of the averaged model by version; version *n* is the model after *n* rounds."""
    measured_at: Mapping[int, float] = field(default_factory=dict)
    """Seconds from the start of the run until the round that made a version had closed."""
    happenings: Sequence[Happening] = ()
    outages: Mapping[int, float] = field(default_factory=dict)
    """Seconds from the first opening of a round to its last one: what a restart of the coordinator took from it."""
    declared: int | None = None
    restarts: Mapping[str, int] = field(default_factory=dict)
    """By worker."""

    def parts(self) -> list[Part]:
        """Return what each worker did, worst first."""
        parts = [self._part(worker, entries) for worker, entries in self.entries.items()]
        return sorted(parts, key=lambda part: part.badness, reverse=True)  # stable: alike ones stay in the order of their numbers

    def _part(self, worker: str, entries: Mapping[int, Entry]) -> Part:
        trips = sorted(one.trip_s for one in entries.values() if one.trip_s is not None)
        epochs = [one.epochs for one in entries.values() if one.epochs is not None]
        late = sum(one.late and not one.accepted for one in entries.values())
        return Part(
            worker=worker,
            rounds=len(entries),
            accepted=sum(one.accepted for one in entries.values()),
            late=late,
            missing=sum(one.missing for one in entries.values()),
            trip_median_s=quantile(trips, 0.5),
            trip_max_s=trips[-1] if trips else None,
            epochs=(min(epochs), max(epochs)) if epochs else None,
            restarts=self.restarts.get(worker, 0),
        )

    def late_by_round(self) -> dict[int, int]:
        """Return how many late updates were for each round, whenever they came."""
        counts: dict[int, int] = {}
        for entries in self.entries.values():
            for number, entry in entries.items():
                counts[number] = counts.get(number, 0) + entry.late
        return counts

    def trips(self) -> list[float]:
        """Return the round trips of all updates that counted, ascending."""
        found = (one for entries in self.entries.values() for one in entries.values())
        return sorted(one.trip_s for one in found if one.accepted and one.trip_s is not None)


class HistoryFold:
    """Collects a history, event by event."""

    def __init__(self) -> None:
        self._tables = Tables()
        self._rows: list[dict[str, Any]] = []
        self._entries: dict[str, dict[int, Entry]] = {}
        self._measured: dict[int, dict[str, float]] = {}
        self._measured_at: dict[int, float] = {}
        self._happenings: list[Happening] = []
        self._first_opened: dict[int, datetime] = {}
        self._outages: dict[int, float] = {}
        self._restarts: dict[str, int] = {}
        self._began: datetime | None = None
        self._declared: int | None = None
        self._round = 0

    def feed(self, event: Mapping[str, Any]) -> None:
        """Take the next event."""
        self._rows += (row.values for row in self._tables.feed(event) if row.table == "rounds")
        match event["event"]:
            case "run_started":
                self._began = self._began or moment(event["time"])
                self._declared = event.get("workers")
            case "spec_changed":
                self._declared = event["workers"]
                self._happen(event, "spec_changed", f"the job now has {event['workers']} workers and {event['rounds']} rounds")
            case "round_opened":
                self._open(event["round"], moment(event["time"]))
            case "task_sent":
                self._entry(event).epochs = event.get("epochs")
            case "update":
                self._update(event)
            case "evaluated":
                self._measured[event["version"]] = dict(event.get("metrics") or {})
            case "round_closed" if self._began is not None:
                self._measured_at[event["round"]] = (moment(event["time"]) - self._began).total_seconds()
            case _:
                self._note(event)

    def history(self) -> History:
        """Return what was told until now."""
        rows = [*self._rows, *(row.values for row in self._tables.incomplete())]
        still_open = {row["round"] for row in rows if row["outcome"] is None}
        for entries in self._entries.values():
            for number, entry in entries.items():
                entry.pending = number in still_open and not (entry.accepted or entry.late)
        return History(
            rounds=rows,
            entries={worker: self._entries[worker] for worker in sorted(self._entries, key=_natural)},
            measured=self._measured,
            measured_at=self._measured_at,
            happenings=self._happenings,
            outages=self._outages,
            declared=self._declared,
            restarts=self._restarts,
        )

    def _open(self, number: int, now: datetime) -> None:
        self._round = number
        if number not in self._first_opened:
            self._first_opened[number] = now
            return
        self._outages[number] = (now - self._first_opened[number]).total_seconds()
        for entries in self._entries.values():  # it collects anew
            entries.pop(number, None)

    def _entry(self, event: Mapping[str, Any]) -> Entry:
        return self._entries.setdefault(event["worker"], {}).setdefault(event["round"], Entry())

    def _update(self, event: Mapping[str, Any]) -> None:
        result = event["result"]
        if result == Result.REJECTED:
            reason = f" ({event['reason']})" if event.get("reason") else ""
            self._happen(event, "update_rejected", f"{event['worker']}: an update was rejected{reason}")
        if result not in {Result.ACCEPTED, Result.STALE}:
            return
        entry = self._entry(event)
        if result == Result.ACCEPTED:
            entry.accepted, entry.trip_s = True, event.get("round_trip_s")
            entry.epochs = event.get("epochs") if entry.epochs is None else entry.epochs
        else:
            entry.late = True
            entry.trip_s = event.get("round_trip_s") if entry.trip_s is None else entry.trip_s

    def _note(self, event: Mapping[str, Any]) -> None:
        worker = event.get("worker", "")
        match event["event"]:
            case "coordinator_resumed":
                self._happen(event, "coordinator_resumed", f"the coordinator started again, after version {event.get('version')}")
            case "worker_registered" if event.get("kind") == "restart":
                self._restarts[worker] = self._restarts.get(worker, 0) + 1
                self._happen(event, "worker_restarted", f"{worker} came back as attempt {event.get('attempt')}")
            case "worker_lost":
                self._happen(event, "worker_lost", f"{worker} was silent for {event.get('silent_s') or 0:.0f} s")
            case "worker_left" if event.get("reason") not in _ORDERLY:
                self._happen(event, "worker_left", f"{worker} left: {event.get('reason') or 'it did not say why'}")
            case "update_declined":
                self._happen(event, "update_declined", f"{worker} did not train: {event.get('reason')}")
            case "round_deadline_missed":
                text = f"the deadline passed with {event.get('accepted')} of {event.get('required')} updates"
                self._happen(event, "deadline_missed", text)
            case "quorum_lost":
                self._happen(
                    event, "quorum_lost", f"the quorum was lost: {event.get('live')} workers live, {event.get('required')} required"
                )
            case "quorum_regained":
                self._happen(event, "quorum_regained", f"the quorum was back after {event.get('lost_s') or 0:.1f} s")
            case "run_finished" if event["phase"] != Phase.SUCCEEDED and event["reason"] != EndReason.COMPLETED:
                self._happen(event, "ended", f"the job ended: {event['reason']}")
            case _:
                pass

    def _happen(self, event: Mapping[str, Any], kind: str, text: str) -> None:
        self._happenings.append(Happening(moment(event["time"]), self._round, kind, text))


def _natural(name: str) -> tuple[str, int, str]:
    """Sort worker-10 behind worker-9."""
    match = re.fullmatch(r"(.*?)(\d*)", name, re.DOTALL)
    assert match is not None
    return match[1], int(match[2] or -1), name
