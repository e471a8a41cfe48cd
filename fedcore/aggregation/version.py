"""What goes into a round and what comes out: the base version, the updates, and the file of the next version."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from fedcore.aggregation.check import Checked, ReadAt, read_exactly
from fedcore.aggregation.dtypes import element_of
from fedcore.aggregation.grid import Grid
from fedcore.aggregation.layout import Layout

if TYPE_CHECKING:
    from collections.abc import Callable

    from fedcore.aggregation.dtypes import Raw

__all__ = ["BaseVersion", "StoredFile", "UpdateFile", "VersionWriter", "Write"]

Write: TypeAlias = "Callable[[memoryview], None]"
"""Takes the next bytes of a file; the memory is used again once it returns."""


@dataclass(frozen=True)
class StoredFile:
    """A checked safetensors file and the way to its bytes: ``memory``, if they lie there."""

    checked: Checked
    readinto_at: ReadAt
    memory: memoryview | None = field(default=None, kw_only=True)

    def read(self, index: int, start: int, buffer: memoryview) -> None:
        """Fill ``buffer`` with bytes of tensor ``index``, from its byte ``start`` on.

        Raises
        ------
        EOFError
            The file is shorter than its header says.
        """
        read_exactly(self.readinto_at, self._place(index) + start, buffer)

    def values(self, index: int, start: int, room: Raw) -> Raw:
        """Return as many values as fit into ``room``, from byte ``start`` of tensor ``index`` on: read into it, or where they lie.

        Raises
        ------
        EOFError
            As `read`.
        """
        if self.memory is None:
            self.read(index, start, room.view(np.uint8).data)
            return room
        return np.frombuffer(self.memory, room.dtype, room.size, self._place(index) + start)

    def _place(self, index: int) -> int:
        layout = self.checked.layout
        return layout.header_bytes + layout.tensors[index].offset


@dataclass(frozen=True)
class BaseVersion(StoredFile):
    """The version that a round starts from."""

    @property
    def layout(self) -> Layout:
        """The tensors of the model."""
        return self.checked.layout

    @cached_property
    def grid(self) -> Grid:
        """The steps on which the round is summed."""
        return Grid.of(self.checked)


@dataclass(frozen=True)
class UpdateFile(StoredFile):
    """One accepted update.

    Attributes
    ----------
    worker : str
        Its sender. Rules that need an order take that of the names, never that of arrival.
    samples : int
        Its weight, 1 to 2**29 - 1.
    """

    worker: str
    samples: int


class VersionWriter:
    """Writes a version piece by piece, with its header first, and notes what a check of the file would find."""

    def __init__(self, base: Layout, write: Write) -> None:
        self._write = write
        header = base.encode()
        self.layout = Layout.from_header(header)
        self._peaks = [0] * len(self.layout.tensors)
        write(memoryview(header))

    def append(self, index: int, raw: Raw) -> None:
        """Write the next values of tensor ``index``; all tensors come in order, each from its first value to its last."""
        peak = element_of(self.layout.tensors[index]).peak(raw)
        self._peaks[index] = max(self._peaks[index], peak)
        self._write(raw.view(np.uint8).data)

    def finish(self) -> Checked:
        """Return the version's layout and peaks."""
        magnitudes = (element_of(tensor).magnitude(peak) for tensor, peak in zip(self.layout.tensors, self._peaks, strict=True))
        return Checked(self.layout, tuple(magnitudes))
