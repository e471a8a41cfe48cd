"""A short run, written by hand: what a coordinator would put into events.jsonl."""

from __future__ import annotations

import pytest

from support.events import Log, begin


@pytest.fixture
def log():
    return Log()


@pytest.fixture
def two_rounds(log):
    """Two rounds that end well; one update late, one sent twice, one refused, a worker restarted in round 2."""
    begin(log)
    log.update(1.75, 1, "worker-0", round_trip_s=0.75, train_s=0.5, eval_samples=50)
    log.update(1.8, 1, "worker-1", "rejected", reason="non_finite", round_trip_s=None)
    log.update(2, 1, "worker-1", round_trip_s=1.0, train_s=0.875, epochs=0.5)
    log.closed(2, 1)
    log.add(2, "checkpoint_written", version=1, duration_s=0.01, aggregation_s=0.02, bytes=400, base="ab")
    log.update(2.01, 1, "worker-1", "duplicate")
    log.add(2.125, "round_opened", round=2, version=1, participants=2, required=2, deadline_s=600, bytes_sent=810, bytes_received=1220)
    log.add(2.125, "task_sent", round=2, worker="worker-0", attempt=1, epochs=1.0, evaluate=True)
    log.update(2.2, 1, "worker-1", "stale", round_trip_s=1.2, staleness_rounds=1)
    log.add(2.3, "worker_lost", worker="worker-1", attempt=1, silent_s=15.0)
    log.add(2.4, "worker_registered", worker="worker-1", attempt=2, kind="restart", samples=100)
    log.add(2.4, "task_sent", round=2, worker="worker-1", attempt=2, epochs=0.25, evaluate=True)
    log.update(3, 2, "worker-0", round_trip_s=0.5, train_s=0.25, metrics={"accuracy": 0.5, "loss": 1.5})
    log.update(3.5, 2, "worker-1", round_trip_s=0.75, train_s=0.5, epochs=0.25, metrics={"accuracy": 0.75, "loss": 1.0})
    log.add(3.5, "evaluated", version=1, samples=100, workers=2, metrics={"accuracy": 0.625, "loss": 1.25})
    log.closed(3.5, 2, duration_s=1.375, lost=1, quorum_wait_s=0.5)
    log.add(3.5, "checkpoint_written", version=2, duration_s=0.01, aggregation_s=0.02, bytes=400, base="cd")
    log.add(4, "evaluated", version=2, samples=100, workers=2, metrics={"accuracy": 0.875, "loss": 0.5, "f1": 0.8})
    log.add(4, "run_finished", phase="Succeeded", reason="Completed", message="", exit_code=0, bytes_sent=1610, bytes_received=2020)
    return log


@pytest.fixture
def resumed(log):
    """The coordinator dies in round 1 and reopens it; round 2 is open when the job ends."""
    begin(log)
    log.update(1.75, 1, "worker-0", round_trip_s=0.75, train_s=0.5)
    log.update(1.8, 1, "worker-1", "rejected", reason="norm")
    log.add(9, "coordinator_resumed", 1, round=1, version=0)
    log.add(9, "round_opened", 1, round=1, version=0, participants=1, required=2, deadline_s=600, bytes_sent=0, bytes_received=0)
    log.update(9.5, 1, "worker-0", resume=1)
    log.add(9.5, "task_sent", 1, round=1, worker="worker-1", attempt=1, epochs=2.0, evaluate=False)
    log.update(11, 1, "worker-1", resume=1, round_trip_s=1.5, train_s=1.0, epochs=2.0)
    log.closed(11, 1, resume=1, duration_s=2.0)
    log.add(11, "checkpoint_written", 1, version=1, duration_s=0.01, aggregation_s=0.02, bytes=400, base="ab")
    log.add(11.5, "round_opened", 1, round=2, version=1, participants=2, required=2, deadline_s=600, bytes_sent=800, bytes_received=840)
    log.update(12, 2, "worker-0", resume=1, round_trip_s=0.5, train_s=0.25)
    log.add(20, "round_deadline_missed", 1, round=2, accepted=1, required=2)
    log.add(
        *(31.5, "run_finished", 1),
        phase="Failed",
        reason="QuorumLost",
        message="quorum lost",
        exit_code=3,
        bytes_sent=1000,
        bytes_received=900,
    )
    return log
