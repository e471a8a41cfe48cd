"""Bodies on their way into the sum: in memory while a fixed budget lasts, else each in a file of its own. Both are used again.

A body in memory is received where it is summed from, which spares a small model two copies. Creating and unlinking a file per upload costs
as much as the round itself (the pages are allocated anew each time), so a pool is kept and overwritten. Spooled bytes are never made
durable: an open round collects anew after a crash.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from pathlib import Path

    from fedcore.aggregation import Checked

__all__ = ["MEMORY_BYTES", "Spool", "SpoolFile", "SpoolMemory", "Spooled", "Upload"]

MEMORY_BYTES = 32 * 2**20
"""What bodies in memory take together, whatever the number of workers: part of the 64 MB that the coordinator may use beside the model."""


@dataclass(slots=True)
class SpoolFile:
    """One file of the pool, open for writing at ``position`` and reading anywhere."""

    descriptor: int
    position: int = 0

    @property
    def memory(self) -> None:
        """A file's bytes have to be read."""
        return

    def room(self, size: int) -> None:  # noqa: ARG002 - as SpoolMemory
        """Return no place in which to receive the next bytes."""
        return

    def write(self, piece: memoryview) -> None:
        """Append a piece."""
        while piece.nbytes:
            written = os.pwrite(self.descriptor, piece, self.position)
            self.position += written
            piece = piece[written:]

    def readinto_at(self, offset: int, buffer: memoryview) -> int:
        """Fill the buffer from ``offset`` on; bytes of an earlier, longer use beyond ``position`` are not part of the file."""
        return os.preadv(self.descriptor, [buffer[: max(self.position - offset, 0)]], offset)


class SpoolMemory:
    """Room for one body in memory, with the ways of a file."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.position = 0
        self._bytes = memoryview(bytearray(capacity))

    @property
    def memory(self) -> memoryview:
        """The bytes so far, where they lie."""
        return self._bytes[: self.position]

    def room(self, size: int) -> memoryview:
        """Return where the next ``size`` bytes belong: received there and then given to `write`, they are not copied."""
        return self._bytes[self.position : self.position + size]

    def write(self, piece: memoryview) -> None:
        """Append a piece; the body is no longer than was announced."""
        place = self.room(piece.nbytes)
        if piece.obj is not self._bytes.obj:
            place[:] = piece
        self.position += piece.nbytes

    def readinto_at(self, offset: int, buffer: memoryview) -> int:
        """Fill the buffer from ``offset`` on."""
        found = self.memory[offset : offset + buffer.nbytes]
        buffer[: found.nbytes] = found
        return found.nbytes


Spooled: TypeAlias = SpoolFile | SpoolMemory


@dataclass(frozen=True, slots=True)
class Upload:
    """A body that passed its checks and waits to be reported."""

    id: str
    session: str
    round: int
    file: Spooled
    checked: Checked
    size_bytes: int
    received_at: float


class Spool:
    """The pool. Called from the loop's thread; what it hands out is filled and read in others.

    Parameters
    ----------
    folder : Path
        Of the files; emptied.
    memory_bytes : int
        How much may lie in memory.
    """

    def __init__(self, folder: Path, memory_bytes: int = MEMORY_BYTES) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        for leftover in folder.iterdir():
            leftover.unlink()
        self._folder = folder
        self._free: list[SpoolFile] = []
        self._made = 0
        self._free_memory: dict[int, list[SpoolMemory]] = {}
        """By capacity. Updates of one model are of one size, or of two or three."""
        self._memory_left = memory_bytes

    def take(self, size_bytes: int) -> Spooled:
        """Return room for a body of this size.

        Raises
        ------
        OSError
            No space, or no descriptors left.
        """
        return self._take_memory(size_bytes) or self._take_file()

    def _take_memory(self, size_bytes: int) -> SpoolMemory | None:
        fitting = min((capacity for capacity in self._free_memory if capacity >= size_bytes), default=None)
        if fitting is not None:
            memory = self._pop_memory(fitting)
            memory.position = 0
            return memory
        while size_bytes > self._memory_left and self._free_memory:  # what is free is too small, and makes way
            self._memory_left += self._pop_memory(next(iter(self._free_memory))).capacity
        if size_bytes > self._memory_left:
            return None
        self._memory_left -= size_bytes
        return SpoolMemory(size_bytes)

    def _pop_memory(self, capacity: int) -> SpoolMemory:
        memory = self._free_memory[capacity].pop()
        if not self._free_memory[capacity]:
            del self._free_memory[capacity]
        return memory

    def _take_file(self) -> SpoolFile:
        if self._free:
            file = self._free.pop()
            file.position = 0
            return file
        path = self._folder / f"{self._made:06d}.part"
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        self._made += 1
        return SpoolFile(descriptor)

    def give_back(self, file: Spooled, *, discard_bytes: bool = False) -> None:
        """Return a body's room to the pool; ``discard_bytes`` frees a file's space at once, for a disk that is full."""
        if isinstance(file, SpoolMemory):
            self._free_memory.setdefault(file.capacity, []).append(file)
            return
        if discard_bytes:
            os.ftruncate(file.descriptor, 0)
        self._free.append(file)

    def make_room(self) -> None:
        """Free the space of files that hold nothing, so that the last words of a run fit on a disk that is full."""
        for file in self._free:
            with suppress(OSError):
                os.ftruncate(file.descriptor, 0)

    def close(self) -> None:
        """Close and remove all files."""
        for file in self._free:
            os.close(file.descriptor)
        self._free.clear()
        for path in self._folder.iterdir():
            path.unlink()
