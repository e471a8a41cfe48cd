"""Which workers have series of their own, and since when a lost one has them no more."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

__all__ = ["KEPT_SECONDS", "Choice", "Policy", "WorkerReading", "choose"]

Policy: TypeAlias = Literal["auto", "always", "never"]

KEPT_SECONDS = 600.0
"""How long a lost worker's series stay: a restart brings it back within minutes, and a dashboard has to show who is missing."""
_ALL = 200
"""Up to so many workers ``auto`` shows all."""
_MOST = 50
"""Above that, so many."""


@dataclass(frozen=True, slots=True)
class WorkerReading:
    """One registered worker at one moment; None is not known."""

    name: str
    live: bool
    last_seen: float
    """Unix time."""
    round_trip_s: float | None
    accepted_round: int | None
    epochs: float | None
    samples: int


def choose(policy: Policy, workers: Sequence[WorkerReading]) -> Collection[str]:
    """Return the names of those that get series.

    Above 200, ``auto`` shows the 50 most telling: lost ones, the longest unseen first, as up to half of them, and beside these the slowest.
    """
    if policy == "never":
        return frozenset()
    if policy == "always" or len(workers) <= _ALL:
        return frozenset(worker.name for worker in workers)
    lost = sorted((worker for worker in workers if not worker.live), key=lambda worker: worker.last_seen)
    live = sorted((worker for worker in workers if worker.live), key=lambda worker: -(worker.round_trip_s or 0.0))
    shown = lost[: max(_MOST // 2, _MOST - len(live))]
    return frozenset(worker.name for worker in (*shown, *live[: _MOST - len(shown)]))


class Choice:
    """Keeps the choice among many from one round's close to the next: series that come and go at every scrape tell nothing."""

    def __init__(self) -> None:
        self._names: Collection[str] = frozenset()
        self._chosen_at: int | None = None

    def among(self, policy: Policy, workers: Sequence[WorkerReading], closes: int) -> Collection[str]:
        """Return the names of those that get series, ``closes`` being how often a round has closed so far."""
        if policy != "auto" or len(workers) <= _ALL:
            self._chosen_at = None
            return choose(policy, workers)
        if self._chosen_at != closes:
            self._names, self._chosen_at = choose(policy, workers), closes
        return self._names
