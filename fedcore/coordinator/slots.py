"""Places for what is dear, handed out in order of asking."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from fedcore.coordinator.head import HttpRefusal

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

__all__ = ["Slots"]


class Slots:
    """So many places; who waits longer than ``queue_seconds`` is told to come again."""

    def __init__(self, count: int, queue_seconds: float) -> None:
        self._semaphore = asyncio.Semaphore(count)
        self._queue_seconds = queue_seconds

    @contextlib.asynccontextmanager
    async def taken(self) -> AsyncIterator[None]:
        """Hold a place.

        Raises
        ------
        HttpRefusal
            503: none became free in time.
        """
        if self._semaphore.locked():
            try:
                async with asyncio.timeout(self._queue_seconds):
                    await self._semaphore.acquire()
            except TimeoutError:
                raise HttpRefusal(503, "all places are taken", reason="busy", headers={"Retry-After": "1"}) from None
        else:
            await self._semaphore.acquire()  # at once; a clock would cost more than the place
        try:
            yield
        finally:
            self._semaphore.release()
