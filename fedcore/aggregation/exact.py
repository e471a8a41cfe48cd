"""Exact weighted mean of updates that lie in files: a walk over the tensors in pieces, with one accumulator of the model's size.

Memory: 8 bytes per value, 16 for float64, and about 3.4 MB of scratch for each lane, whatever the number of updates.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from fedcore.aggregation.dtypes import element_of
from fedcore.aggregation.grid import MAX_UPDATES, out_of_range
from fedcore.aggregation.sums import STRIPE_BYTES, sum_of
from fedcore.aggregation.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from fedcore.aggregation.dtypes import Element, Raw
    from fedcore.aggregation.grid import Grid
    from fedcore.aggregation.sums import Scratch, TensorSum
    from fedcore.aggregation.version import UpdateFile

__all__ = ["ExactMean", "MeanPiece", "NoUpdates", "UpdateRefused"]

_LEAST_SHARE = 2
"""Stripes that are worth a lane of their own: 2 MB."""


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
        The values' bits; to be used before the next piece is asked for.
    """

    index: int
    start: int
    raw: Raw


@dataclass(frozen=True, slots=True)
class _Block:
    """A stretch of one tensor that is handled at once."""

    index: int
    start: int
    stop: int


def _blocks(grid: Grid, rules: Sequence[TensorSum]) -> Iterator[_Block]:
    for index, (rule, tensor) in enumerate(zip(rules, grid.layout.tensors, strict=True)):
        for start in range(0, tensor.values, rule.most):
            yield _Block(index, start, min(start + rule.most, tensor.values))


class _Lane:
    """Rules, scratch and a piece of its own for what works beside others."""

    def __init__(self, grid: Grid, elements: Sequence[Element], scratch: Scratch) -> None:
        self.rules: list[TensorSum] = [sum_of(element, grid.step(index), scratch) for index, element in enumerate(elements)]
        self._elements = elements
        self._room = scratch.stripe

    def stripe(self, blocks: Sequence[_Block], half: int = 0) -> Iterator[Raw]:
        """Yield room for the values of each of these blocks, which are no more than fit together; there is room for two such stripes."""
        start = half * STRIPE_BYTES
        for block in blocks:
            element = self._elements[block.index]
            size = (block.stop - block.start) * element.size
            yield self._room[start : start + size].view(element.unsigned)
            start += _aligned(size)


def _stripes(blocks: Sequence[_Block], elements: Sequence[Element]) -> Iterator[list[_Block]]:
    """Yield consecutive blocks by as many as fit into a stripe: many small tensors are one hand-over."""
    stripe: list[_Block] = []
    free = STRIPE_BYTES
    for block in blocks:
        size = _aligned((block.stop - block.start) * elements[block.index].size)
        if size > free:
            yield stripe
            stripe, free = [], STRIPE_BYTES
        stripe.append(block)
        free -= size
    if stripe:
        yield stripe


def _grouped(stripes: Sequence[list[_Block]], count: int) -> Iterator[Sequence[list[_Block]]]:
    for first in range(0, len(stripes), count):
        yield stripes[first : first + count]


def _aligned(size: int) -> int:
    return -(-size // 8) * 8


class ExactMean:
    """Adds up updates in any order and gives the same bytes for all of them.

    Parameters
    ----------
    grid : Grid
        Of the base version.
    workspace : Workspace, optional
        Memory and threads; one that worked in it before cannot be used any more.

    References
    ----------
    Demmel and Nguyen, Fast Reproducible Floating-Point Summation, ARITH 2013; see `fedcore.aggregation.sums`.
    """

    def __init__(self, grid: Grid, workspace: Workspace | None = None) -> None:
        self.count = 0
        """Updates added."""
        self.samples = 0
        """Their samples, together."""
        self._grid = grid
        self._workspace = workspace or Workspace()
        self._elements = [element_of(tensor) for tensor in grid.layout.tensors]
        self._lanes = [_Lane(grid, self._elements, scratch) for scratch in self._workspace.scratch]
        shapes = [(rule.limbs, tensor.values) for rule, tensor in zip(self._lanes[0].rules, grid.layout.tensors, strict=True)]
        self._limbs = self._workspace.accumulators(shapes)
        self._stripes = list(_stripes(list(_blocks(grid, self._lanes[0].rules)), self._elements))
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
        self._require_room(updates)
        self._torn = True
        share = max(-(-len(self._stripes) // len(self._lanes)), _LEAST_SHARE)
        shares = _grouped(self._stripes, share)
        calls = [partial(self._add, lane, stripes, updates) for lane, stripes in zip(self._lanes, shares, strict=False)]
        self._workspace.start_all(calls)()
        self._torn = False
        self._count(updates)

    def _count(self, updates: Sequence[UpdateFile]) -> None:
        self.count += len(updates)
        self.samples += sum(update.samples for update in updates)

    def _add(self, lane: _Lane, stripes: Sequence[Sequence[_Block]], updates: Sequence[UpdateFile]) -> None:
        places = [update.checked.layout.places for update in updates]
        for blocks in stripes:
            for block, raw in zip(blocks, lane.stripe(blocks), strict=True):
                self._add_block(lane, block, raw, updates, places)

    def _add_block(self, lane: _Lane, block: _Block, raw: Raw, updates: Sequence[UpdateFile], places: Sequence[Mapping[str, int]]) -> None:
        limbs, rule = self._limbs[block.index][:, block.start : block.stop], lane.rules[block.index]
        add = rule.add if self.count else rule.begin  # the memory is of an earlier round
        name = self._grid.layout.tensors[block.index].name
        for update, place in zip(updates, places, strict=True):
            add(limbs, update.values(place[name], block.start * raw.itemsize, raw), update.samples)
            add = rule.add

    def pieces(self, *last: UpdateFile) -> Iterator[MeanPiece]:
        """Add the last updates and yield the mean, rounded to each tensor's dtype, tensor by tensor in the base's order.

        In one pass: what is added to is divided while it is in the cache. After the last piece the sum is whole again.

        Raises
        ------
        NoUpdates
            Nothing was added.
        UpdateRefused, EOFError, OSError
            As `add`.
        """
        self._require_room(last)
        if not self.count + len(last):
            raise NoUpdates("no update was added, so there is no mean")
        return self._mean(last)

    def _mean(self, last: Sequence[UpdateFile]) -> Iterator[MeanPiece]:
        self._torn = bool(last)
        places = [update.checked.layout.places for update in last]
        count, samples = self.count + len(last), self.samples + sum(update.samples for update in last)

        def work(lane: _Lane, blocks: Sequence[_Block], half: int) -> None:
            for block, raw in zip(blocks, lane.stripe(blocks, half), strict=True):
                self._add_block(lane, block, raw, last, places)
                lane.rules[block.index].mean(self._limbs[block.index][:, block.start : block.stop], raw, count, samples)

        def finished(working: Sequence[tuple[_Lane, Sequence[_Block]]], half: int) -> Iterator[MeanPiece]:
            for lane, blocks in working:
                for block, raw in zip(blocks, lane.stripe(blocks, half), strict=True):
                    yield MeanPiece(block.index, block.start, raw)

        # While the caller writes the pieces of one group of stripes, the lanes are at work on the next, in the other half of their room.
        before: Sequence[tuple[_Lane, Sequence[_Block]]] = ()
        half = 0
        for stripes in _grouped(self._stripes, len(self._lanes)):
            working = list(zip(self._lanes, stripes, strict=False))
            wait = self._workspace.start_all([partial(work, lane, blocks, half) for lane, blocks in working])
            try:
                yield from finished(before, 1 - half)
            finally:
                wait()
            before, half = working, 1 - half
        yield from finished(before, 1 - half)
        self._torn = False
        self._count(last)

    def _require_room(self, updates: Sequence[UpdateFile]) -> None:
        if self._torn:
            raise RuntimeError("an update broke off while it was added; the sum cannot be used any more")
        for update in updates:
            self._require_fit(update)
        if self.count + len(updates) > MAX_UPDATES:
            raise UpdateRefused(f"a round takes {MAX_UPDATES} updates, this would be one of {self.count + len(updates)}")

    def _require_fit(self, update: UpdateFile) -> None:
        difference = update.checked.layout.differs_from(self._grid.layout) or out_of_range(update.checked, self._grid, update.samples)
        if difference:
            raise UpdateRefused(f"update of {update.worker}: {difference}")
