"""What may end a worker from outside: SIGTERM, SIGINT, and the death of the process that started it.

Signals reach a thread of their own through `signal.set_wakeup_fd`: it sees them while the main thread is deep inside a matrix product, and
it may take locks, which a signal handler must not. The first signal asks for a drain, the second ends the process at once.
"""

from __future__ import annotations

import os
import select
import signal
import threading
import time
from typing import TYPE_CHECKING

from fedcore.log import log_event

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Supervision"]

_KILLED = 143
_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Supervision:
    """Asks the worker to stop, and ends the process if it does not.

    Parameters
    ----------
    drain_seconds : float
        From the first signal to the end at the latest.

    Attributes
    ----------
    stopping : threading.Event
        Set by the first signal.
    """

    def __init__(self, drain_seconds: float) -> None:
        self.stopping = threading.Event()
        self._drain_seconds = drain_seconds
        self._asked: list[Callable[[], None]] = []
        self._overdue: Callable[[], None] = lambda: None

    def on_stop(self, action: Callable[[], None]) -> None:
        """Add what is done, on another thread, when the worker is asked to stop."""
        self._asked.append(action)

    def on_overdue(self, action: Callable[[], None]) -> None:
        """Set the last thing that is done before a process that did not drain in time is ended."""
        self._overdue = action

    def install(self, lifeline_fd: int | None) -> None:
        """Take over the signals of this process and watch the lifeline; called from the main thread, once."""
        reading, writing = os.pipe()
        os.set_blocking(writing, False)
        for number in _SIGNALS:
            signal.signal(number, _leave_it_to_the_thread)
        signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
        # A process that a task forks, such as a data loader, must neither swallow its own SIGTERM nor pass it on to this one.
        os.register_at_fork(after_in_child=_restore_signals)
        threading.Thread(target=self._watch, args=(reading, lifeline_fd), name="supervision", daemon=True).start()

    def _watch(self, signals: int, lifeline: int | None) -> None:
        watched = select.poll()
        for descriptor in (signals, lifeline):
            if descriptor is not None:
                watched.register(descriptor, select.POLLIN)
        deadline: float | None = None
        while True:
            timeout = None if deadline is None else max(0.0, deadline - time.monotonic()) * 1000
            ready = [descriptor for descriptor, _ in watched.poll(timeout)]
            if lifeline in ready and not os.read(lifeline, 4096):
                os._exit(_KILLED)
            numbers = os.read(signals, 64) if signals in ready else b""
            for number in numbers:
                if number not in _SIGNALS:
                    continue
                if deadline is not None:
                    os._exit(_KILLED)
                deadline = time.monotonic() + self._drain_seconds
                self._ask(signal.Signals(number).name)
            if deadline is not None and time.monotonic() >= deadline:
                log_event("drain_overdue", after_s=self._drain_seconds)
                self._overdue()
                os._exit(0)

    def _ask(self, name: str) -> None:
        log_event("drain", signal=name)
        self.stopping.set()
        for action in self._asked:
            action()


def _leave_it_to_the_thread(_number: int, _frame: object) -> None:
    pass


def _restore_signals() -> None:
    try:
        signal.set_wakeup_fd(-1)
        for number in _SIGNALS:
            signal.signal(number, signal.SIG_DFL)
    except ValueError:
        pass  # forked from another thread than the main one: handlers cannot be set there, and a task that does so has its own
