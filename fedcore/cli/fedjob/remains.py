"""What the status of a job still says of its run once the run directory is gone: the end, the final metrics, the last five rounds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fedcore.engine.reasons import EXIT_CODE, EndReason, Outcome, Phase
from fedcore.report.history import History
from fedcore.report.tables import ROUND_COLUMNS

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from fedcore.cli.fedjob.scene import Scene
    from fedcore.spec.status import Metric, RecentRound

__all__ = ["remains"]


def remains(scene: Scene, run_dir: Path) -> tuple[dict[str, Any], History, str]:
    """Return summary, history and a sentence on what they lack; numbers that the status does not have are None or 0."""
    status, end = scene.status, scene.end
    recent = () if status.progress is None else status.progress.recent_rounds
    rows = [_row(one) for one in recent]
    closed = status.result.rounds if status.result is not None else recent[-1].round if recent else 0
    metrics = _numbers(status.result.metrics if status.result is not None else ())
    began = status.start_time or scene.created
    ended = status.completion_time or (end.last_transition_time if end is not None else began)
    reason = "Suspended" if end is None else end.reason
    summary = {
        "schema": 1,
        "job": scene.name,
        "run_id": scene.uid,
        "phase": str(Phase.INTERRUPTED if end is None else Phase.SUCCEEDED if end.type == "Complete" else Phase.FAILED),
        "reason": reason,
        "message": "" if end is None else end.message,
        "exit_code": EXIT_CODE[EndReason(reason)] if reason in set(EndReason) else 1,
        "rounds_completed": closed,
        "rounds_target": scene.rounds,
        "metrics": metrics or None,
        "duration_s": round((ended - began).total_seconds(), 3),
        "quorum": {"required": scene.required, "rounds_with_quorum": closed},
        "updates": {"accepted": None, "late": 0 if status.progress is None else status.progress.late, "duplicate": None, "rejected": None},
        "worker_restarts": status.workers.restarts,
        "coordinator_restarts": status.coordinator.restarts,
        "bytes": {"sent": None, "received": None},
        "run_dir": str(run_dir.absolute()),
    }
    history = History(rounds=rows, measured={closed: metrics} if metrics else {}, declared=scene.replicas)
    note = (
        f"job {scene.name} kept its run directory in its coordinator's pod, and it is gone with that: this is what the status holds, "
        "the last five rounds at most. coordinator.checkpoint.volumeClaimTemplate keeps the directory of the next job"
    )
    return summary, history, note


def _row(one: RecentRound) -> dict[str, Any]:
    known = {"round": one.round, "outcome": str(Outcome.QUORUM if one.late else Outcome.FULL), "accepted": one.accepted}
    known |= {"required": one.required, "stragglers": one.late, "duration_s": _number(one.seconds)}
    return {column: known.get(column) for column in ROUND_COLUMNS}


def _numbers(metrics: Iterable[Metric]) -> dict[str, float]:
    return {one.name: value for one in metrics if (value := _number(one.value)) is not None}


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
