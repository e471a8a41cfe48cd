"""At most so many creations a second, over all jobs: an API server has others to serve, and etcd has to write each."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Gate", "Pace"]


class Pace:
    """Turns at even distances. It has no clock: it is told the time and says how long to wait."""

    def __init__(self, per_second: float) -> None:
        self._distance = 1.0 / per_second
        self._free_at = float("-inf")

    def turn(self, now: float) -> float:
        """Take the next free turn; return in how many seconds it comes."""
        at = max(now, self._free_at)
        self._free_at = at + self._distance
        return at - now


class Gate:
    """Lets one after the other through, first come, first served, each at its turn."""

    def __init__(self, pace: Pace, clock: Callable[[], float]) -> None:
        self._pace = pace
        self._clock = clock
        self._first = asyncio.Lock()

    async def wait(self) -> None:
        """Wait for the next turn."""
        # Turns are taken one by one: were they all taken at once, those that a busy moment has delayed would come in a burst after it.
        async with self._first:
            await asyncio.sleep(self._pace.turn(self._clock()))
