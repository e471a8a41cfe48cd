"""The last words of a run on stdout: how it ended, where its files are, what to do next."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fedcore.engine.reasons import Phase
from fedcore.report.rundir import EVENTS, LOGS, MODEL, ROUNDS, SUMMARY, UPDATES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["closing", "count", "headline", "short"]

_FEW = 4


def closing(summary: Mapping[str, Any], next_commands: Sequence[str], page: Path | None = None) -> list[str]:
    """Return the lines to print; ``page`` is the run's report, if it has one."""
    phase = summary["phase"]
    completed = summary["rounds_completed"]
    words = [headline(phase, summary["reason"], completed, summary["duration_s"])]
    words += [f"{name} {value:.3f}" for name, value in list((summary["metrics"] or {}).items())[:_FEW]]
    if completed:
        words.append(f"quorum in {summary['quorum']['rounds_with_quorum']} of {count(completed, 'round')}")
    for number, noun in (
        (summary["updates"]["late"], "late update"),
        (summary["updates"]["rejected"], "rejected update"),
        (summary["worker_restarts"], "worker restart"),
        (summary["coordinator_restarts"], "coordinator restart"),
    ):
        if number:
            words.append(count(number, noun))
    lines = [" · ".join(words)]
    if summary["message"] and phase != Phase.SUCCEEDED:
        lines.append(f"  {summary['message']}")
    run_dir = Path(summary["run_dir"])
    present = [name for name in (ROUNDS, UPDATES, EVENTS, SUMMARY, MODEL) if (run_dir / name).exists()]
    if page is None:
        lines.append(f"  Data    {short(run_dir)}/  {'  '.join(present)}")
    else:
        lines.append(f"  Report  {short(page)}      Data  {'  '.join(present)}")
    if phase != Phase.SUCCEEDED:
        lines.append(f"  Logs    {short(run_dir / LOGS)}/")
    if next_commands:
        lines.append("  Next    " + "      ".join(next_commands))
    return lines


def headline(phase: str, reason: str, completed: int, duration_s: float) -> str:
    """Return how it ended and how long that took."""
    if phase == Phase.SUCCEEDED:
        return f"✔ Succeeded: {count(completed, 'round')} in {duration_s:.1f} s"
    return f"✖ {phase}: {reason} after {count(completed, 'round')} in {duration_s:.1f} s"


def count(number: int, noun: str) -> str:
    """Return a number with its noun."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def short(path: Path) -> str:
    """Return a path as seen from here, unless it lies elsewhere."""
    relative = os.path.relpath(path)
    return str(path) if relative.startswith("..") else relative
