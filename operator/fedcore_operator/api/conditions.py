"""Conditions: their types and words, and how one is set. ``Complete`` and ``Failed`` are the core Job's names: waiting reads alike."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Literal

from fedcore.spec.status import Condition, Status

if TYPE_CHECKING:
    from datetime import datetime

__all__ = ["ConditionType", "Reason", "State", "condition", "end_reason", "holds", "is_finished", "set_condition"]

State = Literal["True", "False", "Unknown"]
_MOST_CHARS = 1024


class ConditionType(StrEnum):
    """What a condition is about, in the order in which conditions stand."""

    ACCEPTED = "Accepted"
    SUSPENDED = "Suspended"
    COORDINATOR_READY = "CoordinatorReady"
    QUORUM_MET = "QuorumMet"
    COMPLETE = "Complete"
    FAILED = "Failed"


class Reason(StrEnum):
    """Words of the conditions that do not end a job; the others are those of `fedcore.engine.reasons.EndReason`."""

    VALID = "Valid"
    VALID_NOT_DRY_RUN = "ValidNotDryRun"
    INVALID_JOB = "InvalidJob"
    INVALID_POD_TEMPLATE = "InvalidPodTemplate"
    POD_FORBIDDEN = "PodForbidden"
    NAME_CONFLICT = "NameConflict"
    SUSPENDED = "Suspended"
    RESUMED = "Resumed"
    READY = "Ready"
    STARTING = "Starting"
    RESTARTING = "Restarting"
    UNSCHEDULABLE = "Unschedulable"
    IMAGE_PULL_FAILED = "ImagePullFailed"
    POD_CREATE_FAILED = "PodCreateFailed"
    FINISHED = "Finished"
    ENOUGH = "Enough"
    BELOW_QUORUM = "BelowQuorum"
    NOT_STARTED = "NotStarted"
    COORDINATOR_UNREACHABLE = "CoordinatorUnreachable"


_ORDER = {str(kind): place for place, kind in enumerate(ConditionType)}


def condition(status: Status, kind: ConditionType) -> Condition | None:
    """Return a condition, None if it was never set."""
    return next((one for one in status.conditions if one.type == kind), None)


def holds(status: Status, kind: ConditionType) -> bool:
    """Say whether a condition is True."""
    found = condition(status, kind)
    return found is not None and found.status == "True"


def is_finished(status: Status) -> bool:
    """Say whether the job has ended. That never changes again."""
    return holds(status, ConditionType.COMPLETE) or holds(status, ConditionType.FAILED)


def end_reason(status: Status) -> str:
    """Return why the job has ended; empty while it has not."""
    ends = (condition(status, kind) for kind in (ConditionType.COMPLETE, ConditionType.FAILED))
    return next((one.reason for one in ends if one is not None and one.status == "True"), "")


def set_condition(
    status: Status, kind: ConditionType, state: State, reason: str, message: str, *, generation: int, now: datetime
) -> Status:
    """Return the status with a condition set; its time of transition changes with its state only."""
    old = condition(status, kind)
    new = Condition(
        type=str(kind),
        status=state,
        reason=str(reason),
        message=message[:_MOST_CHARS],
        last_transition_time=old.last_transition_time if old is not None and old.status == state else now,
        observed_generation=generation,
    )
    others = [one for one in status.conditions if one.type != kind]
    conditions = sorted([*others, new], key=lambda one: _ORDER.get(one.type, len(_ORDER)))
    return status.model_copy(update={"conditions": tuple(conditions)})
