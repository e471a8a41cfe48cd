"""Places for what is dear: one at a time for each session, and sessions take turns."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from typing import TYPE_CHECKING

from fedcore.coordinator.head import HttpRefusal

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

__all__ = ["Slots"]

_WAITING_PER_SESSION = 8


class Slots:
    """So many places; who waits longer than ``queue_seconds`` is told to come again.

    A session has one place at most, whatever it asks for, and goes to the end of the queue with its next request: so a thousand workers
    are served in order of asking, and one that asks for everything at once costs the others one place.
    """

    def __init__(self, count: int, queue_seconds: float) -> None:
        self._free = count
        self._queue_seconds = queue_seconds
        self._holding: set[str] = set()
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}
        """By session, the next one in turn first. While a place is free, only sessions wait that hold one."""

    @property
    def full(self) -> bool:
        """Whether every place is taken."""
        return not self._free

    @contextlib.asynccontextmanager
    async def taken(self, session: str) -> AsyncIterator[None]:
        """Hold a place.

        Raises
        ------
        HttpRefusal
            503: none became free in time.
        """
        if not self._free or session in self._holding:
            await self._wait(session)
        else:
            self._take(session)
        try:
            yield
        finally:
            self._give_back(session)

    async def _wait(self, session: str) -> None:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        queue = self._waiting.setdefault(session, deque())
        if len(queue) >= _WAITING_PER_SESSION:
            raise _busy("this session has enough requests waiting")
        queue.append(turn)
        try:
            async with asyncio.timeout(self._queue_seconds):
                await turn
        except BaseException as error:
            if turn.done() and not turn.cancelled():
                self._give_back(session)
            else:
                self._forget(session, turn)
            if isinstance(error, TimeoutError):
                raise _busy("all places are taken") from None
            raise

    def _take(self, session: str) -> None:
        self._free -= 1
        self._holding.add(session)

    def _give_back(self, session: str) -> None:
        self._free += 1
        self._holding.remove(session)
        if session in self._waiting:
            self._waiting[session] = self._waiting.pop(session)  # behind the others
        while self._free:
            following = next((waiting for waiting in self._waiting if waiting not in self._holding), None)
            if following is None:
                return
            turn = self._waiting[following].popleft()
            if not self._waiting[following]:
                del self._waiting[following]
            if not turn.done():
                self._take(following)
                turn.set_result(None)

    def _forget(self, session: str, turn: asyncio.Future[None]) -> None:
        queue = self._waiting.get(session)
        if queue is not None and turn in queue:
            queue.remove(turn)
            if not queue:
                del self._waiting[session]


def _busy(message: str) -> HttpRefusal:
    return HttpRefusal(503, message, reason="busy", headers={"Retry-After": "1"})
