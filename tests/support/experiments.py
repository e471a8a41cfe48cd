"""Summaries of runs that an experiment has made."""

from __future__ import annotations

SUMMARY = {
    "phase": "Succeeded",
    "reason": "Completed",
    "rounds_completed": 3,
    "rounds_target": 3,
    "metrics": {"accuracy": 0.975, "loss": 0.1},
    "duration_s": 12.5,
}
UNREACHABLE = {**SUMMARY, "phase": "Failed", "reason": "QuorumUnreachable", "rounds_completed": 1, "metrics": None}
