"""Events of a run, written by hand: what a coordinator would put into events.jsonl."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

START = datetime(2026, 11, 24, 9, 11, 3, tzinfo=UTC)


class Log(list):
    """Events with times in seconds after the start, numbered like the coordinator's."""

    def add(self, at, event, resume=0, **fields):
        time = (START + timedelta(seconds=at)).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        self.append({"time": time, "seq": len(self) + 1, "resume": resume, "event": event, **fields})
        return self

    def update(self, at, round_number, worker, result="accepted", resume=0, **fields):
        known = {"reason": "", "round_trip_s": None, "train_s": None, "epochs": 1.0, "samples": 100, "bytes": 400}
        known |= {"staleness_rounds": 0, "base_version": round_number - 1, "train_loss": 0.5, "eval_samples": 0, "metrics": {}}
        return self.add(at, "update", resume, round=round_number, worker=worker, attempt=1, result=result, **(known | fields))

    def closed(self, at, round_number, resume=0, **fields):
        known = {"outcome": "full", "duration_s": 1.0, "participants": 2, "required": 2, "accepted": 2, "stragglers": 0}
        known |= {"lost": 0, "deadlines_missed": 0, "quorum_wait_s": 0.25, "samples": 200, "train_loss": 0.5}
        return self.add(at, "round_closed", resume, round=round_number, **(known | fields))


def begin(log):
    """Open round 1 of two for two workers."""
    log.add(0, "run_started", run_id="r1", job="mnist", version="0.1.0", rounds=2, workers=2, required=2, seed=0)
    for index in range(2):
        log.add(0.5, "worker_registered", worker=f"worker-{index}", attempt=1, kind="new", samples=100)
    log.add(1, "round_opened", round=1, version=0, participants=2, required=2, deadline_s=600, bytes_sent=10, bytes_received=20)
    log.add(1, "task_sent", round=1, worker="worker-0", attempt=1, epochs=1.0, evaluate=False)
    log.add(1, "task_sent", round=1, worker="worker-1", attempt=1, epochs=0.5, evaluate=False)
    return log
