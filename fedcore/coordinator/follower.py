"""Follows a file while it is written, and sends it on to the disk: at the end there is little left to wait for."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from fedcore.coordinator.futures import settle

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from concurrent.futures import Future

__all__ = ["Followed", "Follower"]

_SYNC_BYTES = 32 * 2**20
"""How much may wait to be sent to the disk."""


class Follower:
    """Three threads that wait for the disk, for one file at a time."""

    def __init__(self) -> None:
        self._syncing = ThreadPoolExecutor(3, thread_name_prefix="sync")

    def follow(self, descriptor: int) -> Followed:
        """Begin with an empty file, open for writing."""
        return Followed(descriptor, self._syncing)

    def call_all(self, calls: Sequence[Callable[[], None]]) -> None:
        """Wait for several calls to the disk at once: it does them together. Raises what one of them raised, when all have ended."""
        settle([self._syncing.submit(call) for call in calls])

    def close(self) -> None:
        """End the threads."""
        self._syncing.shutdown()


class Followed:
    """One file on its way. Every call of `grown` is followed by one of `settle`, also when the file is given up."""

    def __init__(self, descriptor: int, syncing: ThreadPoolExecutor) -> None:
        self._descriptor = descriptor
        self._syncing = syncing
        self._pending: list[Future[None]] = []
        self._sent = 0

    def grown(self, size_bytes: int) -> None:
        """Say how far the file has been written."""
        if size_bytes - self._sent >= _SYNC_BYTES:
            self._pending.append(self._syncing.submit(os.fdatasync, self._descriptor))
            self._sent = size_bytes

    def settle(self) -> None:
        """Wait for what is under way.

        Raises
        ------
        OSError
            The disk did not take it: the system says so once, and a later fsync may not repeat it.
        """
        pending, self._pending = self._pending, []
        settle(pending)
