"""At most so many creations a second, over all jobs: an API server has others to serve, and etcd has to write each."""

from __future__ import annotations

__all__ = ["Pace"]


class Pace:
    """Turns at even distances, first come, first served. It has no clock: it is told the time and says how long to wait."""

    def __init__(self, per_second: float) -> None:
        self._distance = 1.0 / per_second
        self._free_at = float("-inf")

    def turn(self, now: float) -> float:
        """Take the next free turn; return in how many seconds it comes."""
        at = max(now, self._free_at)
        self._free_at = at + self._distance
        return at - now
