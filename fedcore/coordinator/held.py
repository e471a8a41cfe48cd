"""The version that all workers fetch, kept in memory while it is small: read from its file once, not once for each of them."""

from __future__ import annotations

import os
from contextlib import suppress
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
        self._tag = ""
        self._room = bytearray()
        self._there: list[bool] = []
        """Which pieces have been read."""

    def reader(self, tag: str, file: int, size: int) -> ReadPiece | None:
        """Return what reads pieces of this version, whose open file has ``size`` bytes; None if it is too large to be held."""
        if size > HELD_BYTES:
            return None
        if tag != self._tag:
            self._tag, self._room, self._there = tag, self._free_room(size), [False] * -(-size // LONG_PIECE_BYTES)
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

    def _free_room(self, size: int) -> bytearray:
        """Return memory for a version: that of the one before, unless it is still being sent to somebody."""
        if len(self._room) == size:
            with suppress(BufferError):
                self._room.append(self._room.pop())  # refused while anybody looks at it
                return self._room
        return bytearray(size)
