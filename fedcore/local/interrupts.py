"""SIGINT and SIGTERM as something to wait for among others, or as what Ctrl-C is."""

from __future__ import annotations

import os
import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

__all__ = ["Interrupts", "held_back", "interruptible"]

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupts:
    """Takes SIGINT and SIGTERM while it is entered; ``waiting`` is readable when one has come."""

    def __init__(self) -> None:
        self.waiting, self._writing = os.pipe()
        for end in (self.waiting, self._writing):
            os.set_blocking(end, False)
        self._before: dict[signal.Signals, Any] = {}
        self._fd_before = -1

    def __enter__(self) -> None:
        self._fd_before = signal.set_wakeup_fd(self._writing, warn_on_full_buffer=False)
        self._before = {number: signal.signal(number, _leave_it_to_the_loop) for number in _SIGNALS}

    def __exit__(self, *_: object) -> None:
        signal.set_wakeup_fd(self._fd_before)
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def taken(self) -> int:
        """Return how many of them have come since the last time."""
        try:
            return sum(number in _SIGNALS for number in os.read(self.waiting, 4096))
        except BlockingIOError:
            return 0

    def close(self) -> None:
        """Close the pipe behind it."""
        os.close(self.waiting)
        os.close(self._writing)


def _leave_it_to_the_loop(_number: int, _frame: FrameType | None) -> None:
    pass


@contextmanager
def interruptible() -> Iterator[None]:
    """Let SIGTERM and a terminal that is closed be what Ctrl-C is, unless they are ignored."""
    with _handled_by(signal.default_int_handler, signal.SIGTERM, signal.SIGHUP):
        yield


@contextmanager
def held_back() -> Iterator[None]:
    """Hold an interrupt back until the block is done: what a started process is known by must be there for whoever ends it."""
    taken: list[int] = []
    try:
        with _handled_by(lambda number, _: taken.append(number), *_SIGNALS, signal.SIGHUP):
            yield
    finally:
        if taken:
            raise KeyboardInterrupt


@contextmanager
def _handled_by(handler: Callable[[int, FrameType | None], object], *numbers: signal.Signals) -> Iterator[None]:
    """Handle these signals otherwise for a while; one that is ignored stays ignored."""
    before = {number: signal.getsignal(number) for number in numbers}
    for number, usual in before.items():
        if usual is not signal.SIG_IGN:
            signal.signal(number, handler)
    try:
        yield
    finally:
        for number, usual in before.items():
            signal.signal(number, usual)
