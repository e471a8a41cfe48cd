"""Calls that wait for their answer, and the timers of each worker: one heap, entries checked when they come due."""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field
from enum import IntEnum

__all__ = ["Call", "Parked", "Polls"]


class Call(IntEnum):
    """The calls that may be parked, at most one of each per session."""

    TASK = 0
    HEARTBEAT = 1


@dataclass(frozen=True, slots=True)
class Parked:
    """A call waiting under ``ticket`` until ``until``; ``round`` is the one a heartbeat speaks of."""

    ticket: int
    until: float
    round: int = 0


@dataclass(slots=True)
class Polls:
    """Parked calls by session."""

    _parked: dict[tuple[str, Call], Parked] = field(default_factory=dict)
    _heap: list[tuple[float, int, str, Call]] = field(default_factory=list)

    def park(self, session: str, call: Call, parked: Parked) -> Parked | None:
        """Park a call; return the one it takes the place of, which has to be answered now."""
        previous = self._parked.get((session, call))
        self._parked[session, call] = parked
        heapq.heappush(self._heap, (parked.until, parked.ticket, session, call))
        return previous

    def take(self, session: str, call: Call) -> Parked | None:
        """Return and forget a parked call."""
        return self._parked.pop((session, call), None)

    def sessions(self, call: Call) -> list[str]:
        """Return the sessions that have such a call parked."""
        return [session for session, kind in self._parked if kind is call]

    def next_expiry(self) -> float | None:
        """Return when the first parked call has waited long enough."""
        while self._heap and not self._current(self._heap[0]):
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def expired(self, now: float) -> list[tuple[str, Call, Parked]]:
        """Return and forget the calls that have waited long enough."""
        due = []
        while (at := self.next_expiry()) is not None and at <= now:
            _, _, session, call = heapq.heappop(self._heap)
            due.append((session, call, self._parked.pop((session, call))))
        return due

    def _current(self, entry: tuple[float, int, str, Call]) -> bool:
        _, ticket, session, call = entry
        parked = self._parked.get((session, call))
        return parked is not None and parked.ticket == ticket
