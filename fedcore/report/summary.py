"""summary.json: one run in one object. Its keys are API; extras are only added."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fedcore.engine.reasons import EXIT_CODE, EndReason, Outcome, Phase, Result
from fedcore.report.tables import moment

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

__all__ = ["End", "summarise"]

_RESULT_NAMES = {Result.ACCEPTED: "accepted", Result.STALE: "late", Result.DUPLICATE: "duplicate", Result.REJECTED: "rejected"}


@dataclass(frozen=True, slots=True)
class End:
    """How a run ended, where ``run_finished`` does not say it: the supervisor's own words."""

    phase: Phase
    reason: EndReason
    message: str

    @property
    def exit_code(self) -> int:
        """Exit code of ``fedcore run``."""
        return EXIT_CODE[self.reason]


def summarise(
    events: Iterable[Mapping[str, Any]],
    *,
    run_dir: Path,
    job: str = "",
    end: End | None = None,
    worker_restarts: int | None = None,
    coordinator_restarts: int | None = None,
) -> dict[str, Any]:
    """Fold a run's events into its summary.

    Parameters
    ----------
    events
        All events of the run, oldest first.
    run_dir
        Where the run's files lie.
    job
        Name of the job, for a run that ended before ``run_started``.
    end
        What to say when the events hold no ``run_finished``; without it such a run is ``Interrupted``, since it may be resumed.
    worker_restarts, coordinator_restarts
        The supervisor's count; without it they are told from the attempts that registered and from the resumes.
    """
    started: Mapping[str, Any] = {}
    finished: Mapping[str, Any] | None = None
    last: Mapping[str, Any] | None = None
    size: Mapping[str, Any] = {}
    completed: dict[int, bool] = {}
    reached: tuple[int, int, int] | None = None
    measured: Mapping[str, Any] = {}
    updates = dict.fromkeys(_RESULT_NAMES.values(), 0)
    attempts: dict[str, int] = {}
    sent_received = {"bytes_sent": 0, "bytes_received": 0}
    of_process = dict(sent_received)
    resume = 0
    open_accepted: tuple[int, int] = (0, 0)

    for event in events:
        last = event
        if event.get("resume", 0) != resume:
            resume, of_process = event["resume"], dict.fromkeys(of_process, 0)
        for key, before in of_process.items():
            if event.get(key) is not None:
                sent_received[key] += event[key] - before
                of_process[key] = event[key]
        match event["event"]:
            case "run_started":
                started = started or event
                size = event
            case "spec_changed":
                size = event
            case "worker_registered":
                attempts[event["worker"]] = max(attempts.get(event["worker"], 1), event["attempt"])
            case "round_opened":
                if reached is not None and reached[0] < event["round"] and reached[0] not in completed:
                    completed[reached[0]] = open_accepted[1] >= reached[1]  # durable, but the coordinator died before it said so
                reached = (event["round"], event.get("required", 0), resume)
                open_accepted = (event["round"], 0)
            case "update":
                updates[_RESULT_NAMES[Result(event["result"])]] += 1
                if event["result"] == Result.ACCEPTED and event["round"] == open_accepted[0]:
                    open_accepted = (event["round"], open_accepted[1] + 1)
            case "round_closed":
                if event["outcome"] != Outcome.ABORTED:
                    completed[event["round"]] = event.get("accepted", 0) >= event.get("required", 0)
            case "evaluated":
                measured = event
            case "run_finished":
                finished = event
            case _:
                pass

    if finished is not None:
        end_fields = {key: finished[key] for key in ("phase", "reason", "message", "exit_code")}
    else:
        end = end or End(Phase.INTERRUPTED, EndReason.INTERRUPTED, "the run has not ended; it can be resumed")
        end_fields = {"phase": str(end.phase), "reason": str(end.reason), "message": end.message, "exit_code": end.exit_code}
    until = finished or last
    duration = (moment(until["time"]) - moment(started["time"])).total_seconds() if started and until is not None else 0.0
    final_version = max(completed, default=0)
    metrics = dict(measured.get("metrics") or {}) if measured.get("version") == final_version else {}
    return {
        "schema": 1,
        "job": started.get("job", job),
        "run_id": started.get("run_id", ""),
        **end_fields,
        "rounds_completed": len(completed),
        "rounds_target": size.get("rounds"),
        "metrics": metrics or None,
        "duration_s": round(duration, 3),
        "quorum": {"required": size.get("required"), "rounds_with_quorum": sum(completed.values())},
        "updates": updates,
        "worker_restarts": sum(a - 1 for a in attempts.values()) if worker_restarts is None else worker_restarts,
        "coordinator_restarts": resume if coordinator_restarts is None else coordinator_restarts,
        "bytes": {"sent": sent_received["bytes_sent"], "received": sent_received["bytes_received"]},
        "run_dir": str(run_dir.absolute()),
    }
