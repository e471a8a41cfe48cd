"""What goes from round to round beside the model: the accumulators' memory, and threads to work side by side.

Pages fresh from the system cost more than all the arithmetic on them, so an accumulator is made once. What may run at the same time is
said here, in pure code; the threads are the caller's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from fedcore.aggregation.sums import Scratch

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from fedcore.aggregation.sums import Limbs

__all__ = ["StartAll", "Workspace", "in_turn"]

StartAll: TypeAlias = "Callable[[Sequence[Callable[[], None]]], Callable[[], None]]"
"""Starts all the calls, to be made in any order or at once, and returns what waits for them: it raises what one of them raised."""


def in_turn(calls: Sequence[Callable[[], None]]) -> Callable[[], None]:
    """Make the calls one after the other, when they are waited for: the `StartAll` without threads."""

    def wait() -> None:
        for call in calls:
            call()

    return wait


class Workspace:
    """For one open round at a time.

    Parameters
    ----------
    lanes : int
        How many calls `start_all` may have at work at once. Each has 3.4 MB of scratch.
    start_all : callable
        See `StartAll`.
    """

    def __init__(self, lanes: int = 1, start_all: StartAll = in_turn) -> None:
        self.scratch = [Scratch() for _ in range(lanes)]
        """One for each lane."""
        self.start_all = start_all
        self._limbs: list[Limbs] = []

    def accumulators(self, shapes: Sequence[tuple[int, int]]) -> list[Limbs]:
        """Return arrays of these shapes, with any content; those that were handed out before must no longer be used."""
        if [limbs.shape for limbs in self._limbs] != list(shapes):
            self._limbs = []  # before the new ones are made: never two accumulators at once
            self._limbs = [np.empty(shape, np.int64) for shape in shapes]
        return self._limbs
