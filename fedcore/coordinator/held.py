"""The version that all workers fetch, kept in memory while it is small: read from its file once, not once for each of them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from fedcore.aggregation import LONG_PIECE_BYTES

if TYPE_CHECKING:
    from fedcore.coordinator.bodies import ReadPiece

__all__ = ["HELD_BYTES", "HeldVersion"]

HELD_BYTES = 16 * 2**20
"""Largest version that is held: part of the 64 MB that the coordinator may use beside the model."""


class HeldVersion:
    """Hands out the newest version's bytes. Asked in the loop's thread; what it returns reads in others."""

    def __init__(self) -> None:
        self._version = -1
        self._room = bytearray()
        self._there: list[bool] = []
        """Which pieces have been read."""

    def reader(self, version: int, file: int, size: int) -> ReadPiece | None:
        """Return what reads pieces of this version, whose open file has ``size`` bytes.

        None if it is not held: it is too large, older than the one that is, or that one is still being sent to somebody.
        """
        if size > HELD_BYTES or version < self._version or (version > self._version and not self._free_room(size)):
            return None
        if version > self._version:
            self._version, self._there = version, [False] * -(-size // LONG_PIECE_BYTES)
        # The reader looks at the memory from now on, so that it is not taken for the next version before the reader is done.
        whole, there = memoryview(self._room), self._there

        def read(offset: int, most: int) -> memoryview:
            number, inside = divmod(offset, LONG_PIECE_BYTES)
            start = number * LONG_PIECE_BYTES
            piece = whole[start : start + LONG_PIECE_BYTES]
            if not there[number]:  # two threads may find it so at once: they read the same bytes to the same place
                if os.preadv(file, [piece], start) < len(piece):
                    return piece[:0]
                there[number] = True
            return piece[inside : inside + most]

        return read

    def _free_room(self, size: int) -> bool:
        """Make the room one for a version of this size, if nobody looks at it."""
        try:
            self._room.append(0)  # refused while anybody does
        except BufferError:
            return False
        if len(self._room) == size + 1:
            self._room.pop()
        else:
            self._room = bytearray(size)
        return True
