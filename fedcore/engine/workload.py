"""Workload policies: how many epochs a worker gets in the next round. One function per policy, all pure.

``aimd`` is additive increase, multiplicative decrease (Chiu and Jain, Computer Networks and ISDN Systems 17, 1989), with lateness as the
congestion signal: it needs no measurement, and takes work from stragglers until they arrive in time. ``deadline`` measures each
worker's pace and gives the work that lands it at the cohort's target time.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from fedcore.spec import Workload

__all__ = ["Cohort", "Pace", "after_late_round", "after_timely_round", "assign", "cohort", "measured"]

DECREASE = 0.5
SMOOTHING = 0.5
"""Weight of the newest measurement in the moving averages: two rounds are enough to follow a machine that became busy."""
LEAST_DONE = 0.01
"""Smallest share of the work that a pace is told from: below it, it would be the noise of the first batch, a hundred times over."""


@dataclass(frozen=True, slots=True)
class Pace:
    """What the policies know of one worker; kept in the checkpoint."""

    epochs: float | None = None
    """Work that ``aimd`` gives next; None: ``workload.epochs``."""
    epoch_seconds: float | None = None
    """Moving average of training seconds per epoch."""
    transfer_seconds: float | None = None
    """Moving average of all else in a round trip: transfers, evaluation, the queue."""


@dataclass(frozen=True, slots=True)
class Cohort:
    """What the ``deadline`` policy takes from all participants' paces, worked out once a round."""

    target_seconds: float | None
    """When all are to land; None while nothing has been measured."""
    epoch_seconds: float = 0.0
    transfer_seconds: float = 0.0
    """Medians, for a worker that is new."""


def cohort(workload: Workload, paces: Sequence[Pace]) -> Cohort:
    """Return what the participants have in common."""
    known = [(p.epoch_seconds, p.transfer_seconds or 0.0) for p in paces if p.epoch_seconds is not None]
    if not known:
        return Cohort(None)
    arrivals = sorted(transfer + seconds * workload.epochs for seconds, transfer in known)
    return Cohort(_quantile(arrivals, workload.quantile), median(s for s, _ in known), median(t for _, t in known))


def assign(workload: Workload, pace: Pace, others: Cohort) -> float:
    """Return the epochs of a worker's next task, within ``minEpochs`` and ``maxEpochs``."""
    epochs = _POLICIES[workload.policy](workload, pace, others)
    return min(max(epochs, workload.min_epochs), workload.ceiling)


def _fixed(workload: Workload, _pace: Pace, _others: Cohort) -> float:
    return workload.epochs


def _aimd(workload: Workload, pace: Pace, _others: Cohort) -> float:
    return workload.epochs if pace.epochs is None else pace.epochs


def _deadline(workload: Workload, pace: Pace, others: Cohort) -> float:
    if others.target_seconds is None:
        return workload.epochs
    new = pace.epoch_seconds is None
    seconds = others.epoch_seconds if pace.epoch_seconds is None else pace.epoch_seconds
    transfer = others.transfer_seconds if new else pace.transfer_seconds or 0.0
    return (others.target_seconds - transfer) / seconds if seconds > 0 else workload.ceiling


_POLICIES: dict[str, Callable[[Workload, Pace, Cohort], float]] = {"fixed": _fixed, "aimd": _aimd, "deadline": _deadline}


def after_timely_round(workload: Workload, pace: Pace, given: float) -> Pace:
    """Return the pace of a worker whose update was accepted; ``given``: the epochs it had."""
    return replace(pace, epochs=min(given + workload.increment, workload.ceiling))


def after_late_round(workload: Workload, pace: Pace, given: float, *, elapsed: float | None, done: float) -> Pace:
    """Return the pace of a worker that was late.

    Parameters
    ----------
    given : float
        The epochs it had.
    elapsed : float or None
        Seconds since it got them, None if it never did.
    done : float
        Share of the work it last reported, 0 to 1; below `LEAST_DONE` it counts as none. With it, even a worker that never arrives in
        time has its pace measured.
    """
    slower = replace(pace, epochs=max(given * DECREASE, workload.min_epochs))
    if elapsed is None:
        return slower
    at_least = max(elapsed - (pace.transfer_seconds or 0.0), 0.0) / (given * done if done >= LEAST_DONE else given)
    return _told(slower, epoch_seconds=max(at_least, pace.epoch_seconds or 0.0))


def measured(pace: Pace, *, trip_seconds: float, train_seconds: float, epochs: float) -> Pace:
    """Return the pace after a round trip of which ``train_seconds`` went into ``epochs``."""
    return _told(
        pace,
        epoch_seconds=_smooth(pace.epoch_seconds, train_seconds / epochs),
        transfer_seconds=_smooth(pace.transfer_seconds, max(trip_seconds - train_seconds, 0.0)),
    )


def _told(pace: Pace, **seconds: float) -> Pace:
    """Return the pace with new averages; with none of them if one is no finite number: a checkpoint could not hold it."""
    return replace(pace, **seconds) if all(math.isfinite(value) for value in seconds.values()) else pace


def _smooth(average: float | None, value: float) -> float:
    return value if average is None else average + SMOOTHING * (value - average)


def _quantile(ordered: Sequence[float], share: float) -> float:
    """Quantile by linear interpolation between closest ranks."""
    place = (len(ordered) - 1) * share
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)
