"""The file that a pod's readiness probe looks for: there while the worker is registered, and for a while after."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["ReadyFile"]


class ReadyFile:
    """Present since the first `seen`, gone when `check` finds that the last one is too long ago."""

    def __init__(self, path: Path | None, grace_seconds: float) -> None:
        self._path = path
        self._grace_seconds = grace_seconds
        self._seen_at = 0.0
        self._present = False

    def seen(self) -> None:
        """Note that the coordinator knows this worker."""
        self._seen_at = time.monotonic()
        if self._path is not None and not self._present:
            self._path.touch()
            self._present = True

    def check(self) -> None:
        """Remove the file if the worker has been without a session for too long."""
        if self._present and time.monotonic() - self._seen_at > self._grace_seconds:
            self.remove()

    def remove(self) -> None:
        """Remove the file: the worker ends."""
        if self._path is not None:
            self._path.unlink(missing_ok=True)
        self._present = False
