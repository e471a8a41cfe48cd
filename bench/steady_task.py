"""A task whose pace is known: each batch takes a fixed time on an undisturbed machine, whatever else runs on this one.

The workload policies are to be measured, not the scheduling noise of a shared machine; so the time of a batch is waited for, as a worker
does that reads from a slow device, and the arithmetic beside it is small. ``--slow`` multiplies it.
"""

from __future__ import annotations

import time

import numpy as np

from fedcore.tasks.task import Context, Trained, Weights, Work

BATCHES = 20
BATCH_SECONDS = 0.005


class SteadyTask:
    """Fits a vector to this worker's own target."""

    def __init__(self, context: Context) -> None:
        self._target = np.random.RandomState(context.index).normal(size=1000).astype(np.float32)

    def samples(self) -> int:
        return BATCHES

    def initial_weights(self, seed: int) -> Weights:
        return {"vector": np.zeros(1000, np.float32) + np.float32(seed % 2)}

    def train(self, weights: Weights, work: Work) -> Trained:
        vector = weights["vector"]
        batches = max(round(BATCHES * work.epochs), 1)
        for batch in range(batches):
            time.sleep(BATCH_SECONDS)
            vector = vector + np.float32(0.01) * (self._target - vector)
            work.report((batch + 1) / batches)
            if work.superseded():
                break
        loss = float(np.mean((vector - self._target) ** 2))
        return Trained({"vector": vector}, self.samples(), loss)
