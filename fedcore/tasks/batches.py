"""Which samples come in which batch, for passes over the data that may end half-way.

Shared by the tasks, so that a fraction of an epoch, a seed and a last batch of one mean the same everywhere.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

__all__ = ["Batches"]


class Batches:
    """The batches of one order to train: a seeded new order of the samples for each pass, cut off where the epochs end.

    Parameters
    ----------
    samples : int
        Size of the local data, at least 1.
    batch_size : int
        Samples in a batch; the last of a pass has what remains. One left over joins the batch before it: BatchNorm cannot train on one.
    epochs : float
        Passes; rounded up to whole batches, and at least one batch.
    seed : int
        Of the orders: the same seed gives the same batches.

    Examples
    --------
    >>> [len(batch) for batch in Batches(samples=100, batch_size=30, epochs=1.5, seed=7)]
    [30, 30, 30, 10, 30, 30]
    """

    def __init__(self, samples: int, batch_size: int, epochs: float, seed: int) -> None:
        self._starts = list(range(0, samples, batch_size))
        if batch_size > 1 and len(self._starts) > 1 and samples - self._starts[-1] == 1:
            self._starts.pop()
        self._samples = samples
        self._seed = seed
        # Less a rounding error, lest 0.1 epochs of 10 batches become two.
        self._total = max(1, math.ceil(epochs * len(self._starts) - 1e-6))

    def __len__(self) -> int:
        """Return the number of batches, over all passes."""
        return self._total

    def __iter__(self) -> Iterator[NDArray[np.int64]]:
        """Give the places of each batch's samples."""
        state = np.random.RandomState(self._seed)
        left = self._total
        while left > 0:
            order = state.permutation(self._samples).astype(np.int64)
            yield from np.split(order, self._starts[1:])[:left]
            left -= len(self._starts)
