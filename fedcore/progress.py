"""The progress contract: what a coordinator says of its job at ``/progress``, parsed by whoever shows it."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["Progress"]


class Progress(BaseModel):
    """A job at one moment. New fields may be added; a reader ignores those it does not know."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    schema_: int = Field(1, alias="schema")
    uid: str = ""
    attempt: int = 1
    run_id: str
    generation: int = 0
    phase: str
    reason: str = ""
    message: str = ""
    round: int
    """Open round, else the last one."""
    rounds: int
    accepted: int
    required: int
    registered: int
    """Live workers."""
    quorum_met: bool
    quorum_lost_seconds: float
    late: int
    """Late updates since the process started."""
    metrics: dict[str, float]
    metrics_version: int | None
    """The version that ``metrics`` were measured on."""
    recent_rounds: list[dict[str, Any]] = Field(max_length=5)
    slowest_workers: list[dict[str, Any]] = Field(max_length=3)
    checkpoint_version: int | None
