"""A task whose result depends on every update, exactly: weights drift by numbers drawn from (worker, round, base)."""

from __future__ import annotations

import threading

import numpy as np

from fedcore.tasks.parameters import InvalidParameter
from fedcore.tasks.task import Evaluated, Trained


class Drift:
    """As large and as slow as the job says, whatever the machine."""

    def __init__(self, context):
        self.index = context.index
        self.values = int(context.parameters.get("values", "50000"))
        slowest = float(context.parameters.get("seconds", "0.2"))
        self.seconds = slowest * (context.index + 1) / context.replicas  # one after the other, so that faults find some counted

    def samples(self):
        return 100 + self.index

    def initial_weights(self, seed):
        return {"w": np.random.default_rng(seed).standard_normal(self.values).astype(np.float32)}

    def train(self, weights, work):
        threading.Event().wait(self.seconds)  # as real work would take, so that faults strike in its midst
        drift = np.random.default_rng(work.seed).standard_normal(self.values).astype(np.float32)
        return Trained({"w": weights["w"] * np.float32(0.9) + drift}, self.samples(), loss=1.0 / work.round)

    def eval_samples(self):
        return 10

    def evaluate(self, weights):
        return Evaluated(10, {"loss": float(np.abs(weights["w"]).mean())})


def task(context):
    return Drift(context)


def refusing(context):
    if context.index == 1:
        raise InvalidParameter("learningRate", "big", "a number above 0", "it is a word")
    return Drift(context)
