"""What gauges show: engine and history at one moment, read when somebody asks."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from fedcore.coordinator import metrics as m
from fedcore.coordinator.perworker import KEPT_SECONDS, WorkerReading

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from fedcore.coordinator.history import History
    from fedcore.engine.engine import Engine
    from fedcore.engine.membership import Worker
    from fedcore.metrics import Metric

__all__ = ["Series", "job_series", "read_workers", "worker_series"]

Series: TypeAlias = "tuple[Metric, tuple[str, ...], float]"
"""A metric, the values of its labels, and the value."""

_EVAL_NAMES = 16
"""So many of a task's own metrics have a series: their names are the user's."""
_NAME_CHARS = 64
"""And none whose name is longer, or not to be printed: workers send them, and a scrape has to stay readable."""


def job_series(engine: Engine, history: History, *, resumes: int) -> Iterator[Series]:
    """Yield what is known of the job itself; what is not known yet has no series."""
    yield from _standing(engine, history)
    yield from _quorum(engine, history)
    yield from _last_round(history)
    yield from _evaluation(engine)
    yield m.RESTARTS, (), resumes
    if history.model_bytes is not None:
        yield m.MODEL_BYTES, (), history.model_bytes


def _standing(engine: Engine, history: History) -> Iterator[Series]:
    spec, end = engine.spec, engine.end
    yield from _one_of(m.PHASE, engine.phase)
    yield from _one_of(m.FINISHED, None if end is None else end.reason)
    yield m.RUN_START, (), history.started_at
    yield m.RUN_END, (), history.finished_at
    yield m.CHECKPOINT_TIME, (), history.checkpoint_at
    yield m.CURRENT_ROUND, (), engine.current_round
    yield m.TARGET_ROUNDS, (), spec.rounds
    yield m.ROUND_START, (), history.round_opened_at if engine.round_open else 0.0
    yield m.ROUND_TIMEOUT, (), spec.quorum.round_timeout_seconds
    yield m.DECLARED_WORKERS, (), spec.workers.replicas


def _one_of(metric: Metric, value: str | None) -> Iterator[Series]:
    for known in metric.labels[0].values:
        yield metric, (known,), float(known == value)


def _quorum(engine: Engine, history: History) -> Iterator[Series]:
    yield m.REQUIRED_UPDATES, (), engine.required
    if engine.round is not None:
        yield m.ACCEPTED_UPDATES, (), engine.round.accepted
    else:
        yield m.ACCEPTED_UPDATES, (), 0 if history.closed is None else history.closed["accepted"]
    yield m.QUORUM_MET, (), engine.quorum.met
    yield m.QUORUM_LOST_TIME, (), 0.0 if engine.quorum.met else history.quorum_lost_at
    yield m.LOSS_GRACE, (), engine.spec.quorum.loss_grace_period_seconds


def _last_round(history: History) -> Iterator[Series]:
    closed = history.closed
    if closed is None:
        return
    yield m.LAST_ACCEPTED, (), closed["accepted"]
    yield m.LAST_PARTICIPANTS, (), closed["participants"]
    yield m.LAST_STRAGGLERS, (), closed["stragglers"]
    yield m.LAST_SAMPLES, (), closed["samples"]
    if closed["train_loss"] is not None:
        yield m.TRAIN_LOSS, (), closed["train_loss"]


def _evaluation(engine: Engine) -> Iterator[Series]:
    if engine.metrics_version is None:
        return
    yield m.EVAL_VERSION, (), engine.metrics_version
    named = {"accuracy": m.EVAL_ACCURACY, "loss": m.EVAL_LOSS}
    others = [name for name in sorted(engine.metrics) if name not in named and len(name) <= _NAME_CHARS and name.isprintable()]
    for name, metric in named.items():
        if name in engine.metrics:
            yield metric, (), engine.metrics[name]
    for name in others[:_EVAL_NAMES]:
        yield m.EVAL_METRIC, (name,), engine.metrics[name]


def read_workers(engine: Engine, history: History, now: float, unix_now: float) -> tuple[list[WorkerReading], list[Series]]:
    """Return the workers that may have series of their own, one for each name, and how many there are in each state."""
    training = _training(engine)
    counts = dict.fromkeys(m.WORKERS.labels[0].values, 0)
    readings: dict[str, WorkerReading] = {}
    for worker in engine.members.everyone():
        if worker.preparing:
            continue
        counts["lost" if not worker.live else "training" if worker.index in training else "idle"] += 1
        known = readings.get(worker.name)
        if (worker.live or now < worker.silent_at + KEPT_SECONDS) and not (known is not None and known.live):
            readings[worker.name] = _reading(worker, history, unix_now - now)
    return list(readings.values()), [(m.WORKERS, (state,), count) for state, count in counts.items()]


def _training(engine: Engine) -> frozenset[int]:
    if not engine.round_open or engine.round is None:
        return frozenset()
    participants = engine.round.participants.items()
    return frozenset(index for index, participant in participants if participant.sent_at is not None and participant.answered is None)


def _reading(worker: Worker, history: History, unix_offset: float) -> WorkerReading:
    known = history.workers.get(worker.name)
    return WorkerReading(
        worker.name,
        worker.live,
        round(unix_offset + worker.last_heard, 3),
        None if known is None else known.round_trip_s,
        None if known is None else known.accepted_round,
        None if known is None else known.epochs,
        worker.samples,
    )


def worker_series(workers: Sequence[WorkerReading], shown: Iterable[str]) -> Iterator[Series]:
    """Yield the series of those that are shown, and how many are not."""
    names = frozenset(shown)
    dropped = 0
    for worker in workers:
        if worker.name not in names:
            dropped += 1
            continue
        labels = (worker.name,)
        yield m.WORKER_UP, labels, float(worker.live)
        yield m.WORKER_LAST_SEEN, labels, worker.last_seen
        yield m.WORKER_SAMPLES, labels, worker.samples
        for metric, value in (
            (m.WORKER_ROUND_TRIP, worker.round_trip_s),
            (m.WORKER_LAST_ROUND, worker.accepted_round),
            (m.WORKER_EPOCHS, worker.epochs),
        ):
            if value is not None:
                yield metric, labels, value
    yield m.SERIES_DROPPED, (), dropped
