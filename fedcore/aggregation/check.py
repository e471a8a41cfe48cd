"""Checks of one update while its bytes arrive: what fails is refused before anything is merged, and nothing is read twice.

Whether a value is out of range depends on the update's samples, which come with the report after the body; so the body's check notes each
tensor's largest magnitude, and `fedcore.aggregation.grid.out_of_range` decides from that.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from fedcore.aggregation.dtypes import UnsupportedTensor, element_of
from fedcore.aggregation.layout import MAX_HEADER_BYTES, PREFIX_BYTES, InvalidHeader, Layout, header_size
from fedcore.engine.reasons import Rejection

if TYPE_CHECKING:
    from collections.abc import Callable

    from fedcore.aggregation.dtypes import Element

__all__ = ["LONG_PIECE_BYTES", "PIECE_BYTES", "Checked", "ReadAt", "Rejected", "UpdateCheck", "check_file", "read_exactly"]

PIECE_BYTES = 256 * 1024
"""Unit of a transfer by way of a buffer: half a cache, and few enough calls that their cost does not show."""
LONG_PIECE_BYTES = 4 * PIECE_BYTES
"""Unit where the whole body lies in memory: no cache holds that, so fewer calls are worth more."""

ReadAt: TypeAlias = "Callable[[int, memoryview], int]"
"""``read_at(offset, buffer)`` fills the buffer from a file's ``offset`` on and returns the bytes read, as `os.preadv` does."""


@dataclass(frozen=True, slots=True)
class Rejected:
    """Which check failed, and what it saw."""

    reason: Rejection
    detail: str


@dataclass(frozen=True, slots=True)
class Checked:
    """A file that passed: every value is finite, the length is right.

    Attributes
    ----------
    layout : Layout
        Of this very file.
    peaks : tuple of float or int
        Largest magnitude in each tensor of ``layout.tensors``, 0 for an empty one; int for integers and bool.
    """

    layout: Layout
    peaks: tuple[float, ...]


class UpdateCheck:
    """Checks one body as it arrives, in pieces of any size.

    Parameters
    ----------
    base : Layout or None
        What the update must hold. None for the first weights of a job, which may be any that can be averaged.
    size_bytes : int or None
        Announced length of the body, if known: a wrong one is then refused with the header.
    """

    def __init__(self, base: Layout | None = None, *, size_bytes: int | None = None) -> None:
        self._base = base
        self._size_bytes = size_bytes
        # JSON objects cost some fifty times their text, so an update's header may not be much longer than it needs to be.
        self._limit = MAX_HEADER_BYTES if base is None else min(MAX_HEADER_BYTES, 2 * base.header_bytes + 65_536)
        self._head = bytearray()
        self._head_bytes = PREFIX_BYTES
        self._received = 0
        self._layout: Layout | None = None
        self._elements: list[Element] = []
        self._peaks: list[int] = []
        self._index = -1
        self._left = 0
        """Bytes of tensor ``_index`` that have not come yet."""
        self._split = bytearray()
        """First bytes of a value that the end of a piece cut in two."""
        self._rejected: Rejected | None = None

    @property
    def layout(self) -> Layout | None:
        """The body's layout, once its header has come."""
        return self._layout

    def feed(self, piece: memoryview | bytes) -> Rejected | None:
        """Take the next bytes. The first verdict stands, and what comes after it is not looked at."""
        view = memoryview(piece).cast("B")
        self._received += len(view)
        if self._rejected is None and self._layout is None:
            view = self._feed_header(view)
        if self._rejected is None and len(view):
            self._feed_data(view)
        return self._rejected

    def finish(self) -> Checked | Rejected:
        """Say what became of the body, now that its last byte has come."""
        if self._rejected is not None:
            return self._rejected
        if self._layout is None:
            return Rejected(Rejection.LENGTH, f"the body ends within its header, after {self._received} of {self._head_bytes} bytes")
        if self._received != self._layout.file_bytes:
            return self._wrong_length(self._received, self._layout)
        peaks = tuple(element.magnitude(peak) for element, peak in zip(self._elements, self._peaks, strict=True))
        return Checked(self._layout, peaks)

    def _feed_header(self, view: memoryview) -> memoryview:
        """Collect the header from ``view`` and return what is left of it."""
        while self._rejected is None and self._layout is None and len(view):
            taken = view[: self._head_bytes - len(self._head)]
            self._head += taken
            view = view[len(taken) :]
            if len(self._head) < self._head_bytes:
                break
            try:
                if self._head_bytes == PREFIX_BYTES and (size := header_size(self._head, self._limit)) > PREFIX_BYTES:
                    self._head_bytes = size
                    continue
                layout = Layout.from_header(self._head)
            except InvalidHeader as error:
                self._rejected = Rejected(Rejection.HEADER, str(error))
            else:
                self._head = bytearray()
                self._begin(layout)
        return view

    def _begin(self, layout: Layout) -> None:
        if self._size_bytes not in {None, layout.file_bytes}:
            self._rejected = self._wrong_length(self._size_bytes or 0, layout)
            return
        difference = None if self._base is None else layout.differs_from(self._base)
        if difference is None:
            try:
                self._elements = [element_of(tensor) for tensor in layout.tensors]
            except UnsupportedTensor as error:
                difference = str(error)
        if difference is not None:
            self._rejected = Rejected(Rejection.LAYOUT, difference)
            return
        self._layout = layout
        self._peaks = [0] * len(layout.tensors)

    def _feed_data(self, view: memoryview) -> None:
        assert self._layout is not None
        while len(view) and self._rejected is None:
            if not self._left:
                self._index += 1
                if self._index == len(self._layout.tensors):
                    self._rejected = self._wrong_length(max(self._received, self._size_bytes or 0), self._layout)
                    return
                self._left = self._layout.tensors[self._index].nbytes
                continue
            part = view[: self._left]
            view = view[len(part) :]
            self._feed_tensor(part, self._layout.tensors[self._index].nbytes - self._left)
            self._left -= len(part)

    def _feed_tensor(self, part: memoryview, offset: int) -> None:
        """Look at bytes of one tensor, of which ``offset`` have come before; a value cut in two waits for its other half."""
        size = self._elements[self._index].size
        first = offset // size
        if self._split:
            missing = size - len(self._split)
            self._split += part[:missing]
            part = part[missing:]
            if len(self._split) < size:
                return
            self._look(memoryview(bytes(self._split)), first)
            self._split.clear()
            first += 1
        whole = len(part) - len(part) % size
        for start in range(0, whole, LONG_PIECE_BYTES):
            self._look(part[start : min(whole, start + LONG_PIECE_BYTES)], first + start // size)
        self._split += part[whole:]

    def _look(self, values: memoryview, first: int) -> None:
        element = self._elements[self._index]
        raw = np.frombuffer(values, dtype=element.unsigned)
        peak = element.peak(raw)
        if element.infinity and peak >= element.infinity and self._rejected is None:
            assert self._layout is not None
            index = first + element.first_non_finite(raw)
            name = self._layout.tensors[self._index].name
            self._rejected = Rejected(Rejection.NON_FINITE, f"tensor {name!r} holds NaN or infinity at flat index {index}")
        self._peaks[self._index] = max(self._peaks[self._index], peak)

    @staticmethod
    def _wrong_length(size_bytes: int, layout: Layout) -> Rejected:
        return Rejected(Rejection.LENGTH, f"the body has {size_bytes} bytes, its header says {layout.file_bytes}")


def read_exactly(read_at: ReadAt, offset: int, buffer: memoryview) -> None:
    """Fill the whole buffer from a file.

    Raises
    ------
    EOFError
        The file ends before.
    """
    while len(buffer):
        count = read_at(offset, buffer)
        if count <= 0:
            raise EOFError(f"the file ends at byte {offset}, {len(buffer)} more were expected")
        offset += count
        buffer = buffer[count:]


def check_file(read_at: ReadAt, size_bytes: int, base: Layout | None = None) -> Checked | Rejected:
    """Check a file that is already there: a version after a restart, the initial weights."""
    check = UpdateCheck(base, size_bytes=size_bytes)
    buffer = memoryview(bytearray(PIECE_BYTES))
    for offset in range(0, size_bytes, PIECE_BYTES):
        piece = buffer[: min(PIECE_BYTES, size_bytes - offset)]
        read_exactly(read_at, offset, piece)
        if rejected := check.feed(piece):
            return rejected
    return check.finish()
