"""Plain lines, for pipes and logs: one per event that matters, with the keys of events.jsonl; or the same as JSON."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any, Literal

from fedcore.report.tables import moment

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["PlainView", "SilentView", "line"]

_MATTER = frozenset(
    {
        *("run_started", "coordinator_resumed", "coordinator_exited", "coordinator_gave_up", "worker_exited", "worker_gave_up"),
        *("worker_lost", "quorum_lost", "quorum_regained", "round_deadline_missed", "round_closed", "run_finished", "run_interrupted"),
        *("spec_changed", "job_status", "job_event", "workers_waiting"),
        *("fault", "fault_unfired"),
    }
)
_SHOWN = {
    "run_started": ("job", "workers", "required", "rounds", "metrics"),
    "job_status": ("phase", "reason", "message"),
    "round_closed": ("round", "outcome", "accepted", "required", "stragglers", "duration_s", "version", "accuracy"),
    "run_finished": ("phase", "reason", "message", "accuracy", "run_dir"),
}
"""Fields of a line in text; of other events, all."""
_HIDDEN = frozenset({"time", "seq", "resume", "event"})


class PlainView:
    """Writes lines to stderr.

    Parameters
    ----------
    verbose : bool
        Every event, not only those that matter.
    log_format : {"text", "json"}
        How a line looks.
    rounds : int
        For ``round=2/10``.
    extras : Mapping
        Fields that the runner knows and events do not: ``metrics`` for run_started, ``run_dir`` for run_finished.
    """

    refresh_seconds: float | None = None

    def __init__(self, *, verbose: bool, log_format: Literal["text", "json"], rounds: int, extras: Mapping[str, Mapping[str, Any]]) -> None:
        self._verbose = verbose
        self._json = log_format == "json"
        self._rounds = rounds
        self._extras = extras
        self._measured: dict[str, Any] = {}

    def event(self, event: Mapping[str, Any]) -> None:
        """Take one event."""
        name = event["event"]
        if name == "spec_changed":
            self._rounds = event["rounds"]
        if name == "evaluated":
            metrics = event.get("metrics") or {}
            self._measured = {"version": event["version"], **({"accuracy": metrics["accuracy"]} if "accuracy" in metrics else {})}
        restart = name == "worker_registered" and event.get("kind") == "restart"
        if not self._verbose and name not in _MATTER and not restart:
            return
        shown = {**event, **self._extras.get(name, {})}
        if name in {"round_closed", "run_finished"}:
            shown |= self._measured
        print(json.dumps(shown, ensure_ascii=False, default=str) if self._json else line(shown, self._rounds), file=sys.stderr, flush=True)

    def refresh(self) -> None:
        """Draw nothing: lines stay as they are."""


class SilentView:
    """Shows nothing."""

    refresh_seconds: float | None = None

    def event(self, event: Mapping[str, Any]) -> None:
        """Let an event pass."""

    def refresh(self) -> None:
        """Draw nothing."""


def line(event: Mapping[str, Any], rounds: int) -> str:
    """Return ``HH:MM:SS event key=value ...`` in local time; empty and unknown values are left out."""
    fields = _SHOWN.get(event["event"]) or [key for key in event if key not in _HIDDEN]
    words = [moment(event["time"]).astimezone().strftime("%H:%M:%S"), event["event"]]
    for key in fields:
        value = event.get(key)
        if value in {None, ""} if not isinstance(value, (dict, list)) else not value:
            continue
        words.append(f"{key}={value}/{rounds}" if key == "round" and event["event"] == "round_closed" else f"{key}={_text(value)}")
    return " ".join(words)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, (dict, list)):
        return json.dumps(value, separators=(",", ":"), default=str)
    text = str(value)
    return json.dumps(text, ensure_ascii=False) if any(c in text for c in " \t\n\"'=") else text
