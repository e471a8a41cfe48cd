"""The interface a user implements: what data a worker has, how it trains on it, and how it measures a model.

A task is made by its entrypoint, a callable ``(context) -> Task`` named as ``module:attribute`` in ``spec.task.entrypoint``. It knows
nothing of rounds, sockets or averages. Weights are plain numpy arrays by name, whatever framework the task uses inside.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping  # noqa: TC003 - users may ask for this interface's type hints at run time
from dataclasses import dataclass, field
from pathlib import Path  # noqa: TC003 - see above
from typing import Any, Protocol, TypeAlias

from numpy.typing import NDArray

__all__ = ["Context", "Evaluated", "Evaluates", "Task", "Trained", "Weights", "Work"]

Weights: TypeAlias = dict[str, NDArray[Any]]
"""Tensors by name. Every worker of a job uses the same names, dtypes and shapes."""


@dataclass(frozen=True, slots=True)
class Context:
    """What an entrypoint may know about the worker it runs in."""

    index: int
    """This worker's place, 0 to ``replicas - 1``: which part of the data is its own."""
    replicas: int
    """Declared number of workers when this one registered."""
    seed: int
    """``spec.seed``: a partition must depend on (index, replicas, seed) only."""
    parameters: Mapping[str, str] = field(default_factory=dict)
    """``spec.task.parameters``, free strings."""
    data_dir: Path | None = None
    """``FEDCORE_DATA``, if set: a folder with the data set."""
    log: Callable[[str], None] = print
    """Writes one line to the worker's log."""


@dataclass(frozen=True, slots=True)
class Work:
    """One order to train."""

    epochs: float
    """Passes over the local data; fractions are real: 0.5 stops half-way through the data."""
    seed: int
    """For shuffling, dropout and the like: the same (job, worker, round) always gets the same seed."""
    round: int
    superseded: Callable[[], bool] = lambda: False
    """Ask after every batch; when it turns true, return what you have at once: it will not be counted."""
    report: Callable[[float], None] = lambda _done: None
    """Tell after every batch which share of the work is done, 0 to 1."""


@dataclass(frozen=True, slots=True)
class Trained:
    """What training gave."""

    weights: Weights
    samples: int
    """Size of the local data, whatever the epochs: the weight of this update in the average."""
    loss: float | None = None
    """Mean training loss over the batches of this order."""


@dataclass(frozen=True, slots=True)
class Evaluated:
    """What measuring a model on this worker's held-out data gave."""

    samples: int
    metrics: dict[str, float] = field(default_factory=dict)
    """Means over ``samples``, by name; at most 32, finite. ``accuracy`` (0 to 1) and ``loss`` have columns of their own."""


class Task(Protocol):
    """What every task has. See `Evaluates` for the optional part."""

    def samples(self) -> int:
        """Return the size of this worker's training data."""
        ...

    def initial_weights(self, seed: int) -> Weights:
        """Return the model before training; the same for the same seed, whichever worker is asked."""
        ...

    def train(self, weights: Weights, work: Work) -> Trained:
        """Train from ``weights`` on local data, and return the new ones; ``weights`` may be changed in place."""
        ...


class Evaluates(Protocol):
    """The optional part of a task: a worker that has it can measure the averaged model."""

    def eval_samples(self) -> int:
        """Return the size of this worker's held-out data."""
        ...

    def evaluate(self, weights: Weights) -> Evaluated:
        """Measure ``weights`` on local held-out data."""
        ...
