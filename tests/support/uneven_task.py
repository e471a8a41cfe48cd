"""The digits, uneven: one worker is too slow for the rounds, whatever the machine; another sends one that is no number."""

from __future__ import annotations

import threading
from dataclasses import replace

import numpy as np

from fedcore.tasks.mnist import numpy_task


class Uneven:
    """The task of the digits, which waits before it trains, and spoils one update."""

    def __init__(self, inner, seconds, spoilt_round):
        self._inner = inner
        self._seconds = seconds
        self._spoilt_round = spoilt_round

    def __getattr__(self, name):
        return getattr(self._inner, name)

    def train(self, weights, work):
        threading.Event().wait(self._seconds)
        trained = self._inner.train(weights, work)
        if work.round == self._spoilt_round:
            self._spoilt_round = None
            trained.weights["output.bias"][3] = np.nan
        return trained


def task(context):
    """The last worker waits ``slow`` seconds, the others ``seconds``; the first one spoils its update once, in round ``spoilt``.

    All other parameters are the digits' own.
    """
    others = dict(context.parameters)
    seconds = {name: float(others.pop(name)) for name in ("seconds", "slow")}
    spoilt = int(others.pop("spoilt"))
    is_slow = context.index == context.replicas - 1
    inner = numpy_task(replace(context, parameters=others))
    return Uneven(inner, seconds["slow" if is_slow else "seconds"], spoilt if context.index == 0 else None)
