"""What a tracker is, and what it is told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path  # noqa: TC003 - part of the public class
from typing import Any, Protocol, TypeAlias

__all__ = ["RoundRow", "RunInfo", "Summary", "Tracker", "numbers"]

RoundRow: TypeAlias = Mapping[str, Any]
"""One complete row of rounds.csv: its columns with their values, None where one is unknown, ``opened_at`` a datetime."""
Summary: TypeAlias = Mapping[str, Any]
"""What stands in summary.json."""


@dataclass(frozen=True, slots=True)
class RunInfo:
    """The run that begins, or goes on."""

    job: str
    run_id: str
    """The same after a restart of the coordinator, unlike any other run's."""
    resume: int
    """How often the coordinator was started again."""
    spec: Mapping[str, Any]
    """The job's spec as resolved, in the job file's words."""
    run_dir: Path


class Tracker(Protocol):
    """Takes a run's figures somewhere. All calls come from one thread; an exception is counted, a call over 30 s too.

    A ``log_round`` or ``on_run_end`` that follows on an ``on_run_start`` that failed is preceded by another ``on_run_start``.
    """

    def on_run_start(self, run: RunInfo) -> None:
        """Begin; called again after a resume, in a new process."""

    def log_round(self, row: RoundRow) -> None:
        """Take a round: when the next one has closed, since that is when its accuracy is known, or at the end."""

    def on_run_end(self, summary: Summary) -> None:
        """Take the end. A run that is interrupted has none: it may go on."""


def numbers(row: RoundRow) -> dict[str, float]:
    """Return the columns that are figures, without those that say which round it is."""
    return {
        name: float(value)
        for name, value in row.items()
        if isinstance(value, int | float) and not isinstance(value, bool) and name not in {"round", "resume"}
    }
