"""Tells trackers without ever waiting for one: each has a thread and a short queue, and is given up when it fails on and on."""

from __future__ import annotations

import re
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Any

from fedcore.log import log_event

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from fedcore.report.trackers.protocol import RoundRow, RunInfo, Summary, Tracker
    from fedcore.report.trackers.registry import Maker

__all__ = ["CALL_SECONDS", "END_SECONDS", "FAILURES", "INTERRUPTED_SECONDS", "WAITING", "Trackers"]

CALL_SECONDS = 30.0
"""A call that takes longer counts as failed, and while it lasts so does each that would wait behind it."""
FAILURES = 5
"""Failed calls in a row after which a tracker is off."""
WAITING = 64
"""Calls that may wait: rounds of a few milliseconds come faster than a tracker on the network takes them."""
END_SECONDS = 10.0
"""What trackers get after the end of a run."""
INTERRUPTED_SECONDS = 3.0
"""The same when the process was told to go: whoever told it will not wait for long."""
_CREDENTIALS = re.compile(r"(?<=//)[^/\s@]+@")
"""In an address that a library repeats in its error."""


class Trackers:
    """Many trackers as one that neither fails nor blocks.

    Parameters
    ----------
    makers : Mapping
        What makes each tracker, by name; called in the tracker's thread.
    clock : callable
        Monotonic seconds.
    """

    def __init__(self, makers: Mapping[str, Maker] | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._each = {name: _Delivery(name, make, clock) for name, make in (makers or {}).items()}

    @property
    def errors(self) -> dict[str, int]:
        """Failed calls by tracker, so far."""
        return {name: each.errors() for name, each in self._each.items()}

    @property
    def stuck(self) -> bool:
        """Whether one of them still is at a call: what its library does when the interpreter ends may not come to an end either."""
        return any(each.stuck for each in self._each.values())

    def on_run_start(self, run: RunInfo) -> None:
        """Tell all of them that a run begins or goes on; before anything else."""
        for each in self._each.values():
            each.start(run)

    def log_round(self, row: RoundRow) -> None:
        """Tell all of them of a round."""
        for each in self._each.values():
            each.offer("log_round", row)

    def on_run_end(self, summary: Summary) -> None:
        """Tell all of them of the end."""
        for each in self._each.values():
            each.offer("on_run_end", summary)

    def close(self, seconds: float) -> None:
        """Let them finish, together for ``seconds`` at most; what they have not taken by then counts as failed."""
        deadline = time.monotonic() + seconds
        for each in self._each.values():
            each.finish()
        for each in self._each.values():
            each.wait(max(0.0, deadline - time.monotonic()))


class _Delivery:
    """One tracker, its thread and its queue."""

    def __init__(self, name: str, make: Maker, clock: Callable[[], float]) -> None:
        self._name = name
        self._make = make
        self._clock = clock
        self._run: RunInfo | None = None
        self._tracker: Tracker | None = None
        """None until its ``on_run_start`` has succeeded."""
        self._changed = threading.Condition()
        self._waiting: deque[tuple[str, Any]] = deque()
        self._running_since: float | None = None
        self._given_up = False
        """Whether the running call has been counted as failed."""
        self._errors = 0
        self._in_a_row = 0
        self._over = False
        """The run is: nothing more is taken."""
        self._off = False
        """The tracker is: too much has failed."""
        # A call that hangs cannot be ended: the thread must not keep the process.
        self._thread = threading.Thread(target=self._deliver, name=f"tracker-{name}", daemon=True)

    def errors(self) -> int:
        with self._changed:
            self._look()
            return self._errors

    @property
    def stuck(self) -> bool:
        return self._thread.is_alive()

    def start(self, run: RunInfo) -> None:
        self._run = run
        self._thread.start()
        self.offer("on_run_start", run)

    def offer(self, method: str, argument: Any) -> None:
        with self._changed:
            self._look()
            if self._over or self._off:
                return
            if self._given_up or len(self._waiting) >= WAITING:
                self._failed("it does not keep up")
                return
            self._waiting.append((method, argument))
            self._changed.notify()

    def finish(self) -> None:
        with self._changed:
            self._over = True
            self._changed.notify()

    def wait(self, seconds: float) -> None:
        if self._run is None:
            return
        self._thread.join(seconds)
        with self._changed:
            left = len(self._waiting) + (self._running_since is not None and not self._given_up)
            if left:
                self._waiting.clear()
                self._errors += left
                self._given_up = True
                log_event("tracker_not_told", at="warning", tracker=self._name, calls=left)

    # -- in the tracker's thread ------------------------------------------------------------------------------------------------------

    def _deliver(self) -> None:
        while (call := self._next()) is not None:
            method, argument = call
            error: BaseException | None = None
            try:
                self._call(method, argument)
            except BaseException as raised:  # noqa: BLE001 - whatever a tracker does, the run does not care
                error = raised
            with self._changed:
                counted, self._given_up, self._running_since = self._given_up, False, None
                if error is None:
                    self._in_a_row = 0
                elif not counted:
                    self._failed(f"{type(error).__name__}: {error}")

    def _next(self) -> tuple[str, Any] | None:
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._over or self._off)
            if not self._waiting:
                return None
            self._running_since = self._clock()
            return self._waiting.popleft()

    def _call(self, method: str, argument: Any) -> None:
        if self._tracker is None:
            assert self._run is not None
            tracker = self._make()
            tracker.on_run_start(self._run)
            self._tracker = tracker
        if method != "on_run_start":
            getattr(self._tracker, method)(argument)

    # -- with the lock held -----------------------------------------------------------------------------------------------------------

    def _look(self) -> None:
        """Count a call that takes too long, once."""
        if self._running_since is not None and not self._given_up and self._clock() - self._running_since > CALL_SECONDS:
            self._given_up = True
            self._failed(f"no answer for {CALL_SECONDS:g} s")

    def _failed(self, why: str) -> None:
        why = _CREDENTIALS.sub("", why)
        self._errors += 1
        self._in_a_row += 1
        if self._in_a_row == 1:  # the others of a row say the same
            log_event("tracker_failed", at="warning", tracker=self._name, error=why)
        if self._in_a_row >= FAILURES and not self._off:
            self._off = True
            self._waiting.clear()
            self._changed.notify()
            log_event("tracker_off", at="warning", tracker=self._name, failures=self._in_a_row, error=why)
