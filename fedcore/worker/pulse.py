"""Signs of life while a worker is busy, and how it learns at once that its work is no longer wanted.

One thread for the life of the worker, with a connection of its own: while a task is under way it keeps a heartbeat parked at the
coordinator, which answers when the round is over. A short task ends before the first one is sent, so that fast rounds do not pay for it.
"""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from fedcore.log import log_event, log_failure
from fedcore.worker.ending import Ended
from fedcore.worker.session import SessionLost

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fedcore.worker.session import Session

__all__ = ["Busy", "Pulse"]

_FIRST_AFTER_SECONDS = 0.2
_LEAST_INTERVAL_SECONDS = 0.1


@dataclass(slots=True)
class Busy:
    """One stretch of work. ``round`` is None for work that no round waits for."""

    round: int | None
    done: float = 0.0
    superseded: threading.Event = field(default_factory=threading.Event)
    over: threading.Event = field(default_factory=threading.Event)


class Pulse:
    """The heartbeat thread.

    Parameters
    ----------
    session : Session
        Registered already.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._changed = threading.Condition()
        self._busy: Busy | None = None
        self._stopping = False
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="pulse", daemon=True)
        self._thread.start()

    @contextmanager
    def busy(self, round_number: int | None) -> Iterator[Busy]:
        """Give signs of life until the block is left."""
        busy = Busy(round_number)
        with self._changed:
            self._busy = busy
            if self._stopping:
                busy.superseded.set()
            self._changed.notify()
        try:
            yield busy
        finally:
            with self._changed:
                self._busy = None
            busy.over.set()

    def stop_work(self) -> None:
        """Declare the work under way, and any later one, unwanted: the worker is to end."""
        with self._changed:
            self._stopping = True
            if self._busy is not None:
                self._busy.superseded.set()

    def close(self) -> None:
        """End the thread; calls still under way have been broken off."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join(_FIRST_AFTER_SECONDS)

    def _run(self) -> None:
        while (busy := self._next()) is not None:
            try:
                if not busy.over.wait(_FIRST_AFTER_SECONDS):
                    self._accompany(busy)
            except Ended as ended:
                # The worker's own next call meets the same end; until then its work is in vain.
                log_event("work_in_vain", reason=str(ended.ending.reason))
                busy.superseded.set()
                busy.over.wait()
            except Exception as error:  # noqa: BLE001 - the thread has to outlive a bug: without it the worker counts as lost
                log_failure("heartbeat_failed", error)
                busy.over.wait()

        self._session.disconnect()

    def _next(self) -> Busy | None:
        with self._changed:
            self._changed.wait_for(lambda: self._busy is not None or self._closed)
            return None if self._closed else self._busy

    def _accompany(self, busy: Busy) -> None:
        while not busy.over.is_set():
            began = time.monotonic()
            interval = self._session.welcome.heartbeat_seconds
            try:
                if busy.round is None or busy.superseded.is_set():
                    self._session.sign_of_life()
                else:
                    interval = _LEAST_INTERVAL_SECONDS  # parked, so the coordinator sets the pace
                    if self._session.heartbeat(busy.round, busy.done, parked=True).superseded:
                        busy.superseded.set()
            except SessionLost as lost:
                self._session.renew(lost.stale)
                interval = _LEAST_INTERVAL_SECONDS
            busy.over.wait(max(0.0, began + interval - time.monotonic()))
