"""The jobs that were there when this process began to act: until each has been looked at once, it is not ready."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from fedcore_operator.runtime.cache import Key

__all__ = ["Backlog"]


class Backlog:
    """What is left of a first pass over all jobs. A pass that failed counts: it is tried again, and the others do not wait for it."""

    def __init__(self) -> None:
        self._left: set[Key] | None = None
        self._early: set[Key] = set()
        """Looked at before it was known which jobs there are: events may be faster than the list."""
        self.over = asyncio.Event()

    @property
    def left(self) -> int | None:
        """How many jobs have not been looked at; None while it is not known which there are."""
        return None if self._left is None else len(self._left)

    def expect(self, keys: Iterable[Key]) -> None:
        """Say which jobs there are."""
        self._left = set(keys) - self._early
        self._early.clear()
        self._judge()

    def done(self, key: Key) -> None:
        """Say that a job was looked at."""
        if self._left is None:
            self._early.add(key)
        elif not self.over.is_set():
            self._left.discard(key)
            self._judge()

    def _judge(self) -> None:
        if not self._left:
            self.over.set()
