"""The task that measures nothing but the round: each worker adds a small number to the model and sends it back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fedcore.tasks.task import Context, Trained, Weights, Work

if TYPE_CHECKING:
    from numpy.typing import NDArray

TENSOR_VALUES = 1_000_000
SAMPLES = 100


class EchoTask:
    """A model of ``megabytes`` (1 MB = 10**6 bytes) in float32 tensors of at most 4 MB."""

    def __init__(self, context: Context) -> None:
        self._values = int(float(context.parameters["megabytes"]) * 1e6 / 4)
        self._small = np.float32(1e-4 * (context.index + 1))

    def samples(self) -> int:
        return SAMPLES

    def initial_weights(self, seed: int) -> Weights:
        random = np.random.default_rng(seed)
        sizes = [TENSOR_VALUES] * (self._values // TENSOR_VALUES) + [self._values % TENSOR_VALUES]
        return {f"layer{place:04d}.weight": random.standard_normal(size, np.float32) for place, size in enumerate(sizes) if size}

    def train(self, weights: Weights, work: Work) -> Trained:
        del work
        for values in weights.values():
            add_small(values, self._small)
        return Trained(weights, SAMPLES)


def add_small(values: NDArray[np.float32], small: np.float32) -> None:
    np.add(values, small, out=values)
