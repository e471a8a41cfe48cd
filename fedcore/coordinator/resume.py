"""What a coordinator takes from the log of its predecessor, and adds to it where a crash has cut it short."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fedcore.report.tables import moment

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fedcore.coordinator.journal import Journal
    from fedcore.coordinator.versions import Stored

__all__ = ["active_seconds", "complete_the_log", "last_size", "lost_seconds"]

_LEAST_LOST_SECONDS = 0.001
"""A quorum that was lost in the last line of the log: the clock runs, and 0 would say that it does not."""


def active_seconds(past: Sequence[dict[str, Any]]) -> float:
    """Return for how long coordinators have run the job before this one, by the log: the time between them was nobody's."""
    if not past:
        return 0.0
    total, first = 0.0, past[0]
    for before, event in zip(past, [*past[1:], None], strict=True):
        if event is None or event["resume"] != before["resume"]:
            total += max((moment(before["time"]) - moment(first["time"])).total_seconds(), 0.0)
            first = event or before
    return total


def lost_seconds(past: Sequence[dict[str, Any]]) -> float:
    """Return for how long the quorum had been lost while coordinators ran, by the log, when this one started; 0 if it was met."""
    place = next((at for at in reversed(range(len(past))) if past[at]["event"] in {"quorum_lost", "quorum_regained"}), None)
    if place is None or past[place]["event"] == "quorum_regained":
        return 0.0
    return max(active_seconds(past[place:]), _LEAST_LOST_SECONDS)


def last_size(past: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return rounds, workers and required as the log last had them."""
    last: dict[str, Any] = next((event for event in reversed(past) if event["event"] in {"run_started", "spec_changed"}), {})
    return {key: last.get(key) for key in ("rounds", "workers", "required")}


def complete_the_log(journal: Journal, resumed: Stored) -> None:
    """Write the lines that a crash between a durable version and its log has swallowed, each of them once.

    The version's state has them; they get the time of the last line there is, so that the interruption counts for nobody. A round may
    have been closed before, into a version that was torn: only what was logged since its last opening counts.
    """
    opened, since = None, journal.past
    last = journal.past[-1]["time"] if journal.past else None
    for place, event in enumerate(journal.past):
        if event["event"] == "round_opened" and event["round"] == resumed.version:
            opened, since = event["time"], journal.past[place + 1 :]
    logged = [(event["event"], event.get("round"), event.get("version")) for event in since]
    for name, fields in resumed.state.get("closed", []):
        if (name, fields.get("round"), fields.get("version")) not in logged:
            extra = {"opened_at": opened} if name == "round_closed" else {}
            journal.append(name, {**fields, **extra}, resume=resumed.state["resume"], time=last)
