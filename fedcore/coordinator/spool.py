"""Bodies on their way into the sum: each lies in a file of its own, and files are used again.

Creating and unlinking a file per upload costs as much as the round itself (the pages are allocated anew each time), so a pool is kept and
overwritten. Spooled bytes are never made durable: an open round collects anew after a crash.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from fedcore.aggregation import Checked

__all__ = ["Spool", "SpoolFile", "Upload"]


@dataclass(slots=True)
class SpoolFile:
    """One file of the pool, open for writing at ``position`` and reading anywhere."""

    descriptor: int
    position: int = 0

    def write(self, piece: memoryview) -> None:
        """Append a piece."""
        while piece.nbytes:
            written = os.pwrite(self.descriptor, piece, self.position)
            self.position += written
            piece = piece[written:]

    def readinto_at(self, offset: int, buffer: memoryview) -> int:
        """Fill the buffer from ``offset`` on; bytes of an earlier, longer use beyond ``position`` are not part of the file."""
        return os.preadv(self.descriptor, [buffer[: max(self.position - offset, 0)]], offset)


@dataclass(frozen=True, slots=True)
class Upload:
    """A body that passed its checks and waits to be reported."""

    id: str
    session: str
    round: int
    file: SpoolFile
    checked: Checked
    size_bytes: int
    received_at: float


class Spool:
    """The pool of files. Called from the loop's thread; the files themselves are filled and read in others."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        for leftover in folder.iterdir():
            leftover.unlink()
        self._folder = folder
        self._free: list[SpoolFile] = []
        self._made = 0

    def take(self) -> SpoolFile:
        """Return an empty file.

        Raises
        ------
        OSError
            No space, or no descriptors left.
        """
        if self._free:
            file = self._free.pop()
            file.position = 0
            return file
        path = self._folder / f"{self._made:06d}.part"
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        self._made += 1
        return SpoolFile(descriptor)

    def give_back(self, file: SpoolFile, *, discard_bytes: bool = False) -> None:
        """Return a file to the pool; ``discard_bytes`` frees its space at once, for a disk that is full."""
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
