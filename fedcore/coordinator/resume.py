"""What a coordinator takes from the log of its predecessor, and adds to it where a crash has cut it short."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from fedcore.report.tables import moment

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fedcore.coordinator.journal import Journal
    from fedcore.coordinator.versions import Stored

__all__ = ["complete_the_log", "lost_seconds"]


def lost_seconds(past: Sequence[dict[str, Any]]) -> float:
    """Return how long the quorum had been lost, by the log, when this coordinator started."""
    last = next((event for event in reversed(past) if event["event"] in {"quorum_lost", "quorum_regained"}), None)
    if last is None or last["event"] == "quorum_regained":
        return 0.0
    return max(time.time() - moment(last["time"]).timestamp(), 0.001)


def complete_the_log(journal: Journal, resumed: Stored) -> None:
    """Write the lines that a crash between a durable version and its log has swallowed, each of them once.

    The version's state has them. A round may have been closed before, into a version that was torn: only what was logged since its last
    opening counts.
    """
    opened, since = None, journal.past
    for place, event in enumerate(journal.past):
        if event["event"] == "round_opened" and event["round"] == resumed.version:
            opened, since = event["time"], journal.past[place + 1 :]
    logged = [(event["event"], event.get("round"), event.get("version")) for event in since]
    for name, fields in resumed.state.get("closed", []):
        if (name, fields.get("round"), fields.get("version")) not in logged:
            extra = {"opened_at": opened} if name == "round_closed" else {}
            journal.append(name, {**fields, **extra}, resume=resumed.state["resume"])
