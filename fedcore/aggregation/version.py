"""What goes into a round and what comes out: the base version, the updates, and the file of the next version."""

from __future__ import annotations

from dataclasses import dataclass
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
    """A checked safetensors file and the way to its bytes."""

    checked: Checked
    readinto_at: ReadAt

    def read(self, index: int, start: int, buffer: memoryview) -> None:
        """Fill ``buffer`` with bytes of tensor ``index``, from its byte ``start`` on.

        Raises
        ------
        EOFError
            The file is shorter than its header says.
        """
        layout = self.checked.layout
        read_exactly(self.readinto_at, layout.header_bytes + layout.tensors[index].offset + start, buffer)


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
