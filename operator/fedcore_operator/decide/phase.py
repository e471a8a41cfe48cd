"""The phase: for display only, the first word that fits. No decision looks at it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from fedcore_operator.api.conditions import ConditionType, holds

if TYPE_CHECKING:
    from fedcore.spec import Status

__all__ = ["PhaseWord", "phase"]

PhaseWord = Literal["Pending", "Suspended", "Starting", "Running", "Degraded", "Succeeded", "Failed"]


def phase(status: Status) -> PhaseWord:
    """Return the phase of a job with this status."""
    if holds(status, ConditionType.FAILED):
        return "Failed"
    if holds(status, ConditionType.COMPLETE):
        return "Succeeded"
    if holds(status, ConditionType.SUSPENDED):
        return "Suspended"
    if status.start_time is None or not (status.coordinator.started or status.workers.started):
        return "Pending"
    if status.quorum_first_met_time is None:
        return "Starting"
    return "Running" if holds(status, ConditionType.QUORUM_MET) else "Degraded"
