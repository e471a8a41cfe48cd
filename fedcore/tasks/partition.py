"""Who has which of the samples, where one data set is shared out among the workers of a demo or an experiment.

Each worker computes its share alone and never talks to the others, so a share is a function of (index, replicas, seed). The numbers are
drawn with `numpy.random.RandomState`: its stream is frozen for good, where `default_rng` may change with numpy's version, and workers of
one job may have different ones.

Kinds
-----
``random``
    A subset of the chosen samples, drawn by each worker on its own: subsets overlap, and their sizes differ, between a half and one and
    a half times the equal share (choice / replicas), and never above the choice.
``iid``
    Disjoint equal shares of the shuffled choice; sizes differ by one at most.
``dirichlet(ALPHA)``
    Disjoint shares in which the classes are unevenly mixed: for each class, the workers' proportions are drawn from Dirichlet(ALPHA). Small
    ALPHA: few classes per worker; large ALPHA: nearly iid. Li, Diao, Chen and He, Federated Learning on Non-IID Data Silos, ICDE 2022,
    arXiv:2102.02079, section IV, distribution-based label imbalance.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedcore.tasks.parameters import InvalidParameter

__all__ = ["Partition", "evaluation_share", "parse_partition"]

Indices = NDArray[np.int64]

_CHOICE, _RANDOM, _DIRICHLET = 1, 2, 3
"""Second word of a random state's seed: the kinds must not draw the same numbers from one seed."""
_DIRICHLET_MINIMUM = 10
"""Samples that each worker has at least, where there are as many: with fewer, a worker's update is noise."""
_ALLOWED = "random | iid | dirichlet(ALPHA) with ALPHA above 0, such as dirichlet(0.5)"


@dataclass(frozen=True, slots=True)
class Partition:
    """A way to share samples out; ``kind`` is ``random``, ``iid`` or ``dirichlet``."""

    kind: str
    alpha: float = 0.0

    def share(self, labels: NDArray[Any], *, images: int, index: int, replicas: int, seed: int) -> Indices:
        """Return the places, in ascending order, of one worker's samples.

        Parameters
        ----------
        labels : ndarray of shape (n,)
            Class of each sample of the whole set.
        images : int
            How many of the n samples the whole job may use, ``replicas`` at least; the choice depends on ``seed`` alone.
        index, replicas, seed : int
            The worker, 0 to ``replicas - 1``; the declared number of workers; ``spec.seed``.
        """
        if not 0 <= index < replicas <= images <= len(labels):
            raise ValueError(f"no share for worker {index} of {replicas} in {images} of {len(labels)} samples")
        chosen = np.random.RandomState([seed, _CHOICE]).permutation(len(labels))[:images].astype(np.int64)
        match self.kind:
            case "random":
                own = np.random.RandomState([seed, _RANDOM, index])
                size = round(images / replicas * own.uniform(0.5, 1.5))
                share = own.permutation(chosen)[: min(max(size, 1), images)]
            case "iid":
                share = np.array_split(chosen, replicas)[index]
            case _:
                share = _dirichlet(chosen, labels[chosen], self.alpha, replicas, np.random.RandomState([seed, _DIRICHLET]))[index]
        return np.sort(share)


def parse_partition(text: str) -> Partition:
    """Return the partition that the parameter ``partition`` names.

    Raises
    ------
    InvalidParameter
        For any other word, or an alpha that is not a number above 0.
    """
    if text in {"random", "iid"}:
        return Partition(text)
    match = re.fullmatch(r"dirichlet\(\s*([0-9.eE+-]+)\s*\)", text)
    try:
        alpha = float(match.group(1)) if match else 0.0
    except ValueError:
        alpha = 0.0
    if not 0 < alpha < float("inf"):
        raise InvalidParameter("partition", text, _ALLOWED)
    return Partition("dirichlet", alpha)


def evaluation_share(samples: int, *, index: int, replicas: int) -> Indices:
    """Return the places of one worker's held-out samples: disjoint shares that together are the whole set."""
    return np.arange(index, samples, replicas, dtype=np.int64)


def _dirichlet(chosen: Indices, labels: NDArray[Any], alpha: float, replicas: int, state: np.random.RandomState) -> list[Indices]:
    shares: list[list[int]] = [[] for _ in range(replicas)]
    for label in np.unique(labels):
        members = chosen[labels == label]
        proportions = state.dirichlet(np.full(replicas, alpha))
        if not np.isfinite(proportions).all():  # a tiny alpha underflows to 0/0: then one worker has the whole class
            proportions = np.eye(replicas)[state.randint(replicas)]
        cuts = np.rint(np.cumsum(proportions)[:-1] * len(members)).astype(np.int64)
        for share, part in zip(shares, np.split(members, cuts), strict=True):
            share.extend(part.tolist())
    minimum = min(_DIRICHLET_MINIMUM, len(chosen) // replicas)
    for share in shares:  # a worker without samples could not take part: the richest gives
        while len(share) < minimum:
            share.append(max(shares, key=len).pop())
    return [np.array(share, dtype=np.int64) for share in shares]
