"""A finished coordinator serves on until its last values have been scraped: when it exits, Prometheus forgets them at once."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Scrapes", "linger_seconds", "was_awaited"]

_PATIENCE = "x-prometheus-scrape-timeout-seconds"


def linger_seconds(limit_seconds: int, *, monitored: bool, scraped: bool) -> int:
    """Return how long to wait at most for a scrape after the end: only where somebody scrapes, or will."""
    return limit_seconds if monitored or scraped else 0


def was_awaited(headers: Mapping[str, str], took_seconds: float) -> bool:
    """Say whether a scrape that took so long still had somebody who waited for it: Prometheus says with each how long it will."""
    try:
        return took_seconds < float(headers.get(_PATIENCE, "inf"))
    except ValueError:
        return True


class Scrapes:
    """Who asks for the metrics, and whether the final ones have been fetched. Used in the loop's thread.

    Parameters
    ----------
    monitored : bool
        Whether somebody is known to scrape, whoever has come so far.
    """

    def __init__(self, *, monitored: bool = False) -> None:
        self._monitored = monitored
        self._seen = False
        self._fetched = asyncio.Event()

    def linger_seconds(self, limit_seconds: int) -> int:
        """Return how long to wait at most for a scrape after the end."""
        return linger_seconds(limit_seconds, monitored=self._monitored, scraped=self._seen)

    def begun(self) -> None:
        """Note that a scrape has begun."""
        self._seen = True

    def answered(self, *, final: bool) -> None:
        """Note that a scrape has been answered to its last byte; whether the values were final when it began, its caller knows."""
        if final:
            self._fetched.set()

    async def wait(self, seconds: float) -> bool:
        """Wait until the final values have been fetched, at most so long; return whether they have."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._fetched.wait(), seconds)
        return self._fetched.is_set()
