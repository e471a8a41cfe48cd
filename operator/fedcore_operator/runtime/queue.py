"""Which job is looked at next: each key once, at its time, and never by two workers."""

from __future__ import annotations

import asyncio
import heapq
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from fedcore_operator.runtime.cache import Key

__all__ = ["Queue"]


class Queue:
    """A queue of keys with times. What is added while its key is worked on waits until that is done.

    Parameters
    ----------
    waited : callable
        Told of each key that is taken for how many seconds it had been due.
    """

    def __init__(self, clock: Callable[[], float], waited: Callable[[float], None]) -> None:
        self._clock = clock
        self._waited = waited
        self._due: dict[Key, float] = {}
        self._order: list[tuple[float, Key]] = []
        """A heap of the keys in ``_due`` that nobody works on, and of entries that are out of date: ten thousand events come at once."""
        self._busy: set[Key] = set()
        self._changed = asyncio.Event()

    def add(self, key: Key, delay: float = 0.0) -> None:
        """Let a key be looked at after so many seconds, or earlier if that was said already."""
        at = self._clock() + delay
        if at < self._due.get(key, float("inf")):
            self._due[key] = at
            self._line_up(key)

    async def take(self) -> Key:
        """Return the key whose turn it is; `done` has to follow."""
        while True:
            self._changed.clear()
            while self._order and not self._holds(*self._order[0]):
                heapq.heappop(self._order)
            wait = None
            if self._order:
                at, key = self._order[0]
                now = self._clock()
                if at <= now:
                    self._waited(now - at)
                    heapq.heappop(self._order)
                    del self._due[key]
                    self._busy.add(key)
                    return key
                wait = at - now
            try:
                await asyncio.wait_for(self._changed.wait(), wait)
            except TimeoutError:
                continue

    def depth(self) -> int:
        """Return how many keys are due."""
        now = self._clock()
        return sum(at <= now for at in tuple(self._due.values()))

    def overdue(self) -> float:
        """Return for how many seconds the first of all has waited for its turn."""
        return max((self._clock() - at for at in self._due.values()), default=0.0)

    def done(self, key: Key) -> None:
        """Say that a key is not worked on any more."""
        self._busy.discard(key)
        self._line_up(key)

    def _line_up(self, key: Key) -> None:
        if key in self._due and key not in self._busy:
            heapq.heappush(self._order, (self._due[key], key))
            self._changed.set()

    def _holds(self, at: float, key: Key) -> bool:
        return key not in self._busy and self._due.get(key) == at
