"""Follows a file while it is written: one thread hashes what is there already, another sends it on to the disk.

Hash and disk are as slow as the arithmetic that produces the bytes. Side by side, a version takes as long as the slowest of the three, and
what is left to wait for at the end is short.
"""

from __future__ import annotations

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from fedcore.aggregation import PIECE_BYTES
from fedcore.coordinator.futures import settle

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from concurrent.futures import Future

__all__ = ["Followed", "Follower"]

_HASH_BYTES = 2**20
"""What is hashed at once; a smaller file is hashed at its end, without the hand-over."""
_SYNC_BYTES = 32 * 2**20
"""How much may wait to be sent to the disk."""


class Follower:
    """A thread that hashes and three that wait for the disk, for one file at a time."""

    def __init__(self) -> None:
        self._hashing = ThreadPoolExecutor(1, thread_name_prefix="hash")
        self._syncing = ThreadPoolExecutor(3, thread_name_prefix="sync")

    def follow(self, descriptor: int) -> Followed:
        """Begin with an empty file, open for reading and writing."""
        return Followed(descriptor, self._hashing, self._syncing)

    def call_all(self, calls: Sequence[Callable[[], None]]) -> None:
        """Wait for several calls to the disk at once: it does them together. Raises what one of them raised, when all have ended."""
        settle([self._syncing.submit(call) for call in calls])

    def close(self) -> None:
        """End the threads."""
        self._hashing.shutdown()
        self._syncing.shutdown()


class Followed:
    """One file on its way. Every call of `grown` is followed by one of `settle`, also when the file is given up."""

    def __init__(self, descriptor: int, hashing: ThreadPoolExecutor, syncing: ThreadPoolExecutor) -> None:
        self._descriptor = descriptor
        self._hashing, self._syncing = hashing, syncing
        self._digest = hashlib.sha256()
        self._buffer = memoryview(bytearray(PIECE_BYTES))
        self._pending: list[Future[None]] = []
        self._hashed = self._sent = 0

    def grown(self, size_bytes: int) -> None:
        """Say how far the file has been written."""
        if size_bytes - self._hashed >= _HASH_BYTES:
            self._pending.append(self._hashing.submit(self._hash, self._hashed, size_bytes))
            self._hashed = size_bytes
        if size_bytes - self._sent >= _SYNC_BYTES:
            self._pending.append(self._syncing.submit(os.fdatasync, self._descriptor))
            self._sent = size_bytes

    def settle(self) -> None:
        """Wait for what is under way.

        Raises
        ------
        OSError
            The file could not be read, or the disk did not take it: the system says so once, and a later fsync may not repeat it.
        """
        pending, self._pending = self._pending, []
        settle(pending)

    def sha256(self, size_bytes: int) -> str:
        """Return the checksum of the whole file, in hex; raises as `settle` does."""
        self.settle()
        self._hash(self._hashed, size_bytes)
        return self._digest.hexdigest()

    def _hash(self, start: int, stop: int) -> None:
        while start < stop:
            count = os.preadv(self._descriptor, [self._buffer[: stop - start]], start)
            if not count:
                raise EOFError(f"the file ends at byte {start} of {stop}")
            self._digest.update(self._buffer[:count])
            start += count
