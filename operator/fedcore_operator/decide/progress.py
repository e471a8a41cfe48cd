"""What the coordinator says of its job, as the status shows it. Shown only: it never decides the job's fate."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from fedcore.engine.reasons import Phase
from fedcore.spec.status import Metric, ProgressStatus, RecentRound, SlowWorker

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from fedcore.progress import Progress
    from fedcore.spec import Status
    from fedcore_operator.api.job import Job, StoredJob
    from fedcore_operator.decide.observe import Observation, PodView, Polled

__all__ = ["FRESH", "adopt", "adopt_last", "belongs", "fresh", "has_ended_run", "poll_address", "shown_metrics"]

FRESH = timedelta(seconds=30)
"""How long a poll says how things are."""
_WRITE_EVERY = timedelta(seconds=10)
"""The status is written for mere progress this often at most."""
_MOST_METRICS = 32
_MOST_ROUNDS = 10**9


def poll_address(job: StoredJob, pods: tuple[PodView, ...]) -> str | None:
    """Return the address of the pod to ask for progress: the current coordinator's, while it runs."""
    attempt = job.status.coordinator.attempt
    return next((pod.ip for pod in pods if pod.index is None and pod.attempt == attempt and pod.ip and pod.running_since), None)


def belongs(progress: Progress, job: StoredJob) -> bool:
    """Say whether an answer is this job's coordinator's: addresses are used again."""
    return progress.uid == job.uid and progress.attempt == job.status.coordinator.attempt


def fresh(status: Status, seen: Observation, now: datetime) -> Polled | None:
    """Return the last poll while it says how things are, and only if the current attempt said it."""
    polled = seen.polled
    if polled is None or now - polled.at > FRESH or polled.progress.attempt != status.coordinator.attempt:
        return None
    return polled


def has_ended_run(status: Status, seen: Observation, now: datetime) -> bool:
    """Say whether the coordinator says that the run is over: it waits for its last scrape, and its last word comes with its end."""
    polled = fresh(status, seen, now)
    return polled is not None and polled.progress.phase in {Phase.SUCCEEDED, Phase.FAILED}


def adopt(status: Status, _job: Job, seen: Observation, now: datetime) -> Status:
    """Return the status with the last poll in it, unless the one in it is hardly older."""
    return _adopted(status, seen, now, _WRITE_EVERY)


def adopt_last(status: Status, seen: Observation, now: datetime) -> Status:
    """Return the status of a job that ends with the last poll in it, however young the one in it is: it stays for good."""
    return _adopted(status, seen, now, timedelta(0))


def _adopted(status: Status, seen: Observation, now: datetime, least_age: timedelta) -> Status:
    polled, old = fresh(status, seen, now), status.progress
    if polled is None or (old is not None and old.observed_time is not None and polled.at < old.observed_time + least_age):
        return status
    return status.model_copy(update={"progress": _shown(polled)})


def _shown(polled: Polled) -> ProgressStatus:
    said = polled.progress
    metrics = shown_metrics(said.metrics)
    number, total = _count(said.round), _count(said.rounds)
    return ProgressStatus(
        round=number,
        total_rounds=total,
        display=f"{number}/{total}",
        accepted=_count(said.accepted),
        registered=_count(said.registered),
        late=_count(said.late),
        accuracy=next((metric.value for metric in metrics if metric.name == "accuracy"), ""),
        metrics=metrics,
        metrics_version=None if said.metrics_version is None else _count(said.metrics_version),
        recent_rounds=tuple(_round(one) for one in said.recent_rounds),
        slowest_workers=tuple(
            SlowWorker(worker=str(one.get("worker", ""))[:128], round=_count(one.get("round")), seconds=_number(one.get("round_trip_s")))
            for one in said.slowest_workers
        ),
        observed_time=polled.at,
    )


def shown_metrics(metrics: Mapping[str, float]) -> tuple[Metric, ...]:
    """Return metrics as texts, by name."""
    named = sorted((name, value) for name, value in metrics.items() if 0 < len(name) <= 64)
    return tuple(Metric(name=name, value=_number(value)) for name, value in named[:_MOST_METRICS])


def _round(said: Mapping[str, Any]) -> RecentRound:
    return RecentRound(
        round=_count(said.get("round")),
        seconds=_number(said.get("duration_s")),
        accepted=_count(said.get("accepted")),
        required=_count(said.get("required")),
        late=_count(said.get("stragglers")),
    )


def _count(value: Any) -> int:
    return min(max(value, 0), _MOST_ROUNDS) if isinstance(value, int) else 0


def _number(value: Any) -> str:
    if not isinstance(value, int | float) or not math.isfinite(value):
        return ""
    return f"{float(value):.4g}"
