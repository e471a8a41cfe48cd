"""When a process that ended is started again: one policy for the operator's pods and the local runner's processes.

It knows neither pods nor exit codes. Whoever watches a process makes a `Cause` of its end; times are seconds on any clock that the
caller uses throughout (the operator takes Unix time from the API's timestamps, the local runner its monotonic clock).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

__all__ = ["FREE_DISRUPTIONS", "LONGEST_BACKOFF_SECONDS", "STABLE_SECONDS", "Cause", "GaveUp", "Record", "RestartPolicy", "after_end"]

LONGEST_BACKOFF_SECONDS = 300.0
STABLE_SECONDS = 600.0
"""An attempt that lasted this long ends a streak: what happened before it says nothing of what happens now."""
FREE_DISRUPTIONS = 3
"""Ends of a streak up to which a disruption costs no wait. After them it waits too, so that a pod evicted for what it does itself
(filling its disk, say) cannot spin."""


class Cause(StrEnum):
    """Why an attempt ended, as far as starting another one goes."""

    FINISHED = "finished"
    """Its work is done: nothing follows."""
    DISRUPTED = "disrupted"
    """Others ended it (eviction, a lost node, a coordinator out of reach): costs no budget."""
    FAILED = "failed"
    """It ended by its own fault, out of memory included: costs a restart."""
    FATAL = "fatal"
    """Starting it again would end the same way: an invalid job, an entrypoint that cannot be imported."""


@dataclass(frozen=True, slots=True)
class Record:
    """What is remembered of one place, a worker's index or the coordinator."""

    attempt: int = 1
    """The current attempt: running, or to be started at ``not_before``. Never falls."""
    restarts: int = 0
    """Attempts started after a failure. This is what the budget bounds."""
    disruptions: int = 0
    """Attempts started after a disruption."""
    streak: int = 0
    """Ends in a row, of either kind, without an attempt of `STABLE_SECONDS` between them."""
    not_before: float = 0.0
    """When the current attempt may be started, in seconds on the caller's clock."""


@dataclass(frozen=True, slots=True)
class GaveUp:
    """No further attempt: the budget is spent (`Cause.FAILED`), or another would end the same way (`Cause.FATAL`)."""

    record: Record
    """As it was: with a larger budget, the same call to `after_end` gives the next attempt."""
    cause: Cause


@dataclass(frozen=True, slots=True)
class RestartPolicy:
    """The two numbers a job sets."""

    max_restarts: int
    """Attempts that may be started after a failure; 0: the first failure is the last."""
    backoff_seconds: float
    """Wait after the first end of a streak; doubles with each, up to `LONGEST_BACKOFF_SECONDS`."""

    def backoff(self, streak: int) -> float:
        """Return the wait after the ``streak``-th end in a row, in seconds."""
        doublings = min(streak - 1, 16)  # far beyond the longest wait; keeps the power small
        return min(self.backoff_seconds * 2.0**doublings, LONGEST_BACKOFF_SECONDS)


def after_end(record: Record, cause: Cause, started_at: float | None, ended_at: float, policy: RestartPolicy) -> Record | GaveUp:
    """Decide what follows the end of the current attempt.

    Parameters
    ----------
    record
        The place, with the attempt that ended as its current one.
    started_at, ended_at
        When that attempt started and ended; ``started_at`` is None if it was never seen running.

    Returns
    -------
    Record | GaveUp
        The place with its next attempt and the time to start it; the record unchanged after `Cause.FINISHED`.
    """
    if cause is Cause.FINISHED:
        return record
    if cause is Cause.FATAL or (cause is Cause.FAILED and record.restarts >= policy.max_restarts):
        return GaveUp(record, cause)
    lasted = started_at is not None and ended_at - started_at >= STABLE_SECONDS
    streak = 1 if lasted else record.streak + 1
    free = cause is Cause.DISRUPTED and streak <= FREE_DISRUPTIONS
    not_before = ended_at if free else ended_at + policy.backoff(streak)
    following = replace(record, attempt=record.attempt + 1, streak=streak, not_before=not_before)
    if cause is Cause.DISRUPTED:
        return replace(following, disruptions=record.disruptions + 1)
    return replace(following, restarts=record.restarts + 1)
