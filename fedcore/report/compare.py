"""Runs side by side: their figures, and the fields of their jobs that differ."""

from __future__ import annotations

import os
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Any

import yaml

from fedcore.report.content import Page, Table, number, picture, size, span
from fedcore.report.rundir import JOB
from fedcore.report.tables import quantile
from fedcore.report.write import read_history, read_summary

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from fedcore.report.history import History

__all__ = ["Run", "as_json", "compare_page", "compare_tables", "differences", "figures", "read_runs"]

_UNSET = "not set"
_CAPTIONS = {
    "accuracy": "Accuracy of the averaged model by the number of rounds.",
    "accuracy_in_time": "The same by the time since the run began: when the round that made the version had closed.",
    "round_duration": "How long each round was open.",
    "round_trip": "Round trips of the updates that counted, over the whole run: median, and the span in which eight of ten lie.",
}


@dataclass(frozen=True, slots=True)
class Run:
    """A run that is compared."""

    name: str
    summary: Mapping[str, Any]
    history: History
    job: Mapping[str, Any]
    """Its job as resolved, flat: values by path."""


def read_runs(paths: Sequence[Path]) -> list[Run]:
    """Read run directories; nothing in them is changed."""
    return [
        Run(name, read_summary(path), read_history(path), _flat(_job(path / JOB))) for name, path in zip(_names(paths), paths, strict=True)
    ]


def figures(run: Run) -> dict[str, Any]:
    """Return what is compared. Keys are API; extras are only added. None: not known."""
    summary, history = run.summary, run.history
    metrics = summary["metrics"] or (history.measured[max(history.measured)] if history.measured else {})
    durations = [row["duration_s"] for row in history.rounds if row["duration_s"] is not None and row["outcome"] != "aborted"]
    trips = history.trips()
    parts = history.parts()
    return {
        "run": run.name,
        **{key: summary[key] for key in ("job", "phase", "reason", "rounds_completed", "rounds_target")},
        "workers": history.declared,
        "required": summary["quorum"]["required"],
        **{name: metrics.get(name) for name in ("accuracy", "loss")},
        "duration_s": summary["duration_s"],
        "round_p50_s": round(median(durations), 3) if durations else None,
        "round_max_s": max(durations, default=None),
        **{f"round_trip_{name}_s": quantile(trips, share) for name, share in (("p10", 0.1), ("p50", 0.5), ("p90", 0.9))},
        **{f"updates_{key}": count for key, count in summary["updates"].items()},
        "updates_missing": sum(part.missing for part in parts),
        **{key: summary[key] for key in ("worker_restarts", "coordinator_restarts")},
        "bytes_sent": summary["bytes"]["sent"],
        "bytes_received": summary["bytes"]["received"],
        "run_dir": summary["run_dir"],
    }


def differences(runs: Sequence[Run]) -> dict[str, list[Any]]:
    """Return the fields of the jobs that are not the same in all runs, with each one's value; None where it is not set."""
    paths = sorted({path for run in runs for path in run.job})
    values = {path: [run.job.get(path) for run in runs] for path in paths}
    return {path: found for path, found in values.items() if any(value != found[0] for value in found)}


def as_json(runs: Sequence[Run]) -> dict[str, Any]:
    """Return the comparison as one object."""
    return {"schema": 1, "runs": [figures(run) for run in runs], "differences": differences(runs)}


def compare_tables(runs: Sequence[Run]) -> list[Table]:
    """Return the comparison as text, a column for each run."""
    columns = [figures(run) for run in runs]
    names = tuple(run.name for run in runs)
    shown = [key for key in columns[0] if key not in {"run", "run_dir"} and any(column[key] is not None for column in columns)]
    rows = [(_label(key), *(_text(key, column[key]) for column in columns)) for key in shown]
    other = [(path, *(_UNSET if value is None else str(value) for value in values)) for path, values in differences(runs).items()]
    tables = [Table("Figures", ("", *names), rows)]
    return [*tables, Table("What differs in the jobs", ("field", *names), other)] if other else tables


def compare_page(runs: Sequence[Run], pictures: Mapping[str, Mapping[str, bytes]]) -> Page:
    """Return the comparison as a page."""
    return Page(
        title=f"{len(runs)} runs",
        heading=f"{len(runs)} runs side by side",
        lead=compare_tables(runs),
        pictures=[picture(name, files, _CAPTIONS[name]) for name, files in pictures.items()],
    )


def _label(key: str) -> str:
    return key.removesuffix("_s").replace("_", " ")


def _text(key: str, value: Any) -> str:
    if value is None or isinstance(value, str):
        return value or ""
    if key.startswith("bytes_"):
        return size(value)
    return span(value) if key.endswith("_s") else number(value)


def _names(paths: Sequence[Path]) -> list[str]:
    """Return the directories' names, with as much of the path in front as tells them apart."""
    parts = [path.absolute().parts for path in paths]
    for length in range(1, max(map(len, parts)) + 1):
        names = [os.path.join(*each[-length:]) for each in parts]  # noqa: PTH118 - names, not places
        if len(set(names)) == len(names):
            return names
    return [f"{os.path.join(*each[-1:])} ({place})" for place, each in enumerate(parts, 1)]  # noqa: PTH118 - the same one twice


def _job(path: Path) -> Mapping[str, Any]:
    try:
        read = yaml.safe_load(path.read_text("utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        return {}
    return read if isinstance(read, dict) else {}


def _flat(value: Any, path: str = "") -> dict[str, Any]:
    if not isinstance(value, dict):
        return {path: value}
    return {inner: one for key, below in value.items() for inner, one in _flat(below, f"{path}.{key}" if path else str(key)).items()}
