"""Who is asked for progress, and what was said last. A poll never holds up a pass: its answer causes the next one."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from fedcore_operator.decide.observe import Polled
from fedcore_operator.io.progress import Silence, fetch_progress

if TYPE_CHECKING:
    from collections.abc import Callable

    import aiohttp

    from fedcore_operator.runtime.cache import Key
    from fedcore_operator.runtime.queue import Queue

__all__ = ["Poller"]

_AT_ONCE = 32


class Poller:
    """Polls in the background, each job at most every ``seconds``, but at once after an event of its coordinator's pod.

    Parameters
    ----------
    polled : callable
        Told how each poll went: ``ok``, or a word of `Silence`.
    """

    def __init__(
        self,
        session: aiohttp.ClientSession,
        queue: Queue,
        seconds: float,
        clock: Callable[[], float],
        polled: Callable[[str], None],
    ) -> None:
        self._session = session
        self._queue = queue
        self._seconds = seconds
        self._clock = clock
        self._polled = polled
        self._at_once = asyncio.Semaphore(_AT_ONCE)
        self._asked: dict[Key, tuple[float, str]] = {}
        self._last: dict[Key, Polled] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def last(self, key: Key) -> Polled | None:
        """Return the last answer."""
        return self._last.get(key)

    def ask(self, key: Key, address: str) -> None:
        """Ask the coordinator at an address, unless it was asked a moment ago."""
        now = self._clock()
        asked_at, asked = self._asked.get(key, (now - self._seconds, ""))
        # Half a second of slack: a pass that wakes for the poll a little early must not put it off to the next one.
        if address == asked and now < asked_at + self._seconds - 0.5:
            return
        self._asked[key] = now, address
        task = asyncio.create_task(self._fetch(key, address))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def hasten(self, key: Key) -> None:
        """Let the next `ask` ask, however short ago the last one was: something has happened to the coordinator."""
        if key in self._asked:
            self._asked[key] = float("-inf"), ""

    def forget(self, key: Key) -> None:
        """Drop what is known of a job that is gone."""
        self._asked.pop(key, None)
        self._last.pop(key, None)

    async def _fetch(self, key: Key, address: str) -> None:
        async with self._at_once:
            said = await fetch_progress(self._session, address)
        self._polled(str(said) if isinstance(said, Silence) else "ok")
        if not isinstance(said, Silence) and key in self._asked:
            self._last[key] = Polled(said, datetime.now(UTC).replace(microsecond=0))
            self._queue.add(key)
