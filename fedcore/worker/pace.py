"""A slower machine, emulated: after each batch the worker waits as much longer as the given factor says."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from threading import Event

__all__ = ["Pace"]


class Pace:
    """Stretches the time between its calls by ``factor``; a wait ends at once when ``interrupted`` is set."""

    def __init__(self, factor: float, interrupted: Event) -> None:
        self._factor = factor
        self._interrupted = interrupted
        self._last = time.monotonic()

    def keep(self) -> None:
        """Wait for as long as the slower machine would still need."""
        if self._factor > 1.0:
            self._interrupted.wait((time.monotonic() - self._last) * (self._factor - 1.0))
            self._last = time.monotonic()
