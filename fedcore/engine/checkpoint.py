"""What the engine keeps of a job in the checkpoint beside each version, and reads back after a restart."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from fedcore.engine.workload import Pace

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Saved"]


@dataclass(frozen=True, slots=True)
class Saved:
    """The engine's state after a round has closed. Rounds are never saved half-way: an open round collects anew."""

    version: int
    base: str
    """Base id of that version: the SHA-256 of its file."""
    size_bytes: int
    attempts: dict[str, int] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)
    displaced: dict[str, dict[str, int]] = field(default_factory=dict)
    paces: dict[str, Pace] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)
    metrics_version: int | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the state as JSON; ``base`` and ``size_bytes`` are added by who writes the version."""
        state = asdict(self)
        del state["base"], state["size_bytes"]
        return state

    @classmethod
    def from_json(cls, state: Mapping[str, Any]) -> Saved:
        """Read back what `to_json` gave, with ``base`` and ``size_bytes`` added."""
        return cls(
            version=state["version"],
            base=state["base"],
            size_bytes=state["size_bytes"],
            attempts=dict(state["attempts"]),
            names=dict(state["names"]),
            displaced={index: dict(before) for index, before in state.get("displaced", {}).items()},
            paces={index: Pace(**pace) for index, pace in state["paces"].items()},
            metrics=dict(state["metrics"]),
            metrics_version=state["metrics_version"],
        )
