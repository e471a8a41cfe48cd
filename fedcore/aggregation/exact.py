"""Exact weighted mean of updates that lie in files: a walk over the tensors in pieces, with one accumulator of the model's size.

Memory: 8 bytes per value, 16 for float64, and about 1.5 MB of scratch, whatever the number of updates.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fedcore.aggregation.dtypes import element_of
from fedcore.aggregation.grid import MAX_UPDATES, out_of_range
from fedcore.aggregation.sums import BLOCK_VALUES, Scratch, sum_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fedcore.aggregation.dtypes import Raw
    from fedcore.aggregation.grid import Grid
    from fedcore.aggregation.sums import Limbs, TensorSum
    from fedcore.aggregation.version import UpdateFile

__all__ = ["ExactMean", "MeanPiece", "NoUpdates", "UpdateRefused"]


class NoUpdates(ValueError):  # noqa: N818 - a state of the round
    """A mean of nothing was asked for: rounds close with at least one update."""


class UpdateRefused(ValueError):  # noqa: N818 - an answer
    """An update does not belong in this sum; nothing of it was added."""


@dataclass(frozen=True, slots=True)
class MeanPiece:
    """Some values of the rounded mean.

    Attributes
    ----------
    index : int
        Which tensor of the base.
    start : int
        Flat index of the first value.
    raw : ndarray
        The values' bits; overwritten by the next piece.
    """

    index: int
    start: int
    raw: Raw


@dataclass(frozen=True, slots=True)
class _Block:
    """A stretch of one tensor that is handled at once."""

    index: int
    start: int
    raw: Raw
    limbs: Limbs


class ExactMean:
    """Adds up updates in any order and gives the same bytes for all of them.

    Parameters
    ----------
    grid : Grid
        Of the base version.

    References
    ----------
    Demmel and Nguyen, Fast Reproducible Floating-Point Summation, ARITH 2013; see `fedcore.aggregation.sums`.
    """

    def __init__(self, grid: Grid) -> None:
        self.count = 0
        """Updates added."""
        self.samples = 0
        """Their samples, together."""
        self._grid = grid
        scratch = Scratch()
        self._elements = [element_of(tensor) for tensor in grid.layout.tensors]
        self._sums: list[TensorSum] = [sum_of(element, grid.step(index), scratch) for index, element in enumerate(self._elements)]
        self._limbs: list[Limbs] = [
            np.zeros((rule.limbs, tensor.values), np.int64) for rule, tensor in zip(self._sums, grid.layout.tensors, strict=True)
        ]
        self._piece = np.empty(BLOCK_VALUES, np.uint64)
        self._torn = False

    def add(self, *updates: UpdateFile) -> None:
        """Add updates; several in one call are cheaper, as the accumulator goes through memory once for all.

        Raises
        ------
        UpdateRefused
            One has other tensors, a value out of range, or is the 4,097th; nothing was added.
        EOFError, OSError
            A file could not be read. The sum is then lost: part of the update is in it.
        """
        self._require_whole()
        for update in updates:
            self._require_fit(update)
        if self.count + len(updates) > MAX_UPDATES:
            raise UpdateRefused(f"a round takes {MAX_UPDATES} updates, this would be one of {self.count + len(updates)}")
        places = [update.checked.layout.places for update in updates]
        self._torn = True
        for block in self._blocks():
            buffer = block.raw.view(np.uint8).data
            name = self._grid.layout.tensors[block.index].name
            for update, place in zip(updates, places, strict=True):
                update.read(place[name], block.start * block.raw.itemsize, buffer)
                self._sums[block.index].add(block.limbs, block.raw, update.samples)
        self._torn = False
        self.count += len(updates)
        self.samples += sum(update.samples for update in updates)

    def pieces(self) -> Iterator[MeanPiece]:
        """Yield the mean, rounded to each tensor's dtype, tensor by tensor in the base's order; the sums stay as they are.

        Raises
        ------
        NoUpdates
            Nothing was added.
        """
        self.require_updates()
        for block in self._blocks():
            self._sums[block.index].mean(block.limbs, block.raw, self.count, self.samples)
            yield MeanPiece(block.index, block.start, block.raw)

    def require_updates(self) -> None:
        """Raise `NoUpdates` if there is no mean yet; for callers that write something before the first piece."""
        self._require_whole()
        if not self.count:
            raise NoUpdates("no update was added, so there is no mean")

    def _blocks(self) -> Iterator[_Block]:
        for index, (element, limbs) in enumerate(zip(self._elements, self._limbs, strict=True)):
            values = limbs.shape[1]
            # Eight-byte values come by half as many, so that a piece stays at 256 KiB.
            block_values = BLOCK_VALUES // 2 if element.size == 8 else BLOCK_VALUES
            for start in range(0, values, block_values):
                count = min(block_values, values - start)
                yield _Block(index, start, self._piece.view(element.unsigned)[:count], limbs[:, start : start + count])

    def _require_fit(self, update: UpdateFile) -> None:
        difference = update.checked.layout.differs_from(self._grid.layout) or out_of_range(update.checked, self._grid, update.samples)
        if difference:
            raise UpdateRefused(f"update of {update.worker}: {difference}")

    def _require_whole(self) -> None:
        if self._torn:
            raise RuntimeError("an update broke off while it was added; the sum cannot be used any more")
