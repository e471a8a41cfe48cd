"""Tasks for the worker's tests; loaded as a user's would be."""

from __future__ import annotations

import threading

import numpy as np

from fedcore.tasks.parameters import Parameters
from fedcore.tasks.task import Evaluated, Trained

TRAINED: list[int] = []
BATCHES: list[float] = []


class Toy:
    """Adds one to each value, in place."""

    def __init__(self, context):
        self.context = context

    def samples(self):
        return 10

    def initial_weights(self, seed):
        return {"w": np.full(4, seed, np.float32)}

    def train(self, weights, work):
        TRAINED.append(work.round)
        weights["w"] += 1
        work.report(1.0)
        return Trained(weights, 10, 0.5)


class Measuring(Toy):
    """Also measures."""

    def eval_samples(self):
        return 5

    def evaluate(self, weights):
        return Evaluated(5, {"accuracy": float(weights["w"][0]), "broken": float("nan")})


class HalfDone(Toy):
    """Comes half-way, and waits there until it is told to stop."""

    def train(self, weights, work):
        work.report(0.5)
        while not work.superseded():
            threading.Event().wait(0.01)
        return Trained(weights, 10)


class Patient(Toy):
    """Trains until it is told to stop."""

    def train(self, weights, work):
        TRAINED.append(work.round)
        while not work.superseded():
            BATCHES.append(0.0)
            threading.Event().wait(0.005)
            work.report(0.5)
        return Trained(weights, 10)


class Deaf(Toy):
    """Never asks whether it is still wanted."""

    def train(self, weights, work):
        TRAINED.append(work.round)
        threading.Event().wait()


class Crashing(Toy):
    """Fails."""

    def train(self, weights, work):
        raise ZeroDivisionError("too small a batch")


class Casting(Toy):
    """Returns another dtype than it was given."""

    def train(self, weights, work):
        return Trained({"w": weights["w"].astype(np.float64)}, 10)


def Picky(context):  # named as the classes are, for the fixture's sake
    """Takes no parameters."""
    parameters = Parameters(context.parameters)
    parameters.finish()
    return Toy(context)
