"""The averaged model's metrics: means of what the workers measured on their own held-out data, weighted by its size."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from fedcore.wire.protocol import MAX_METRICS

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["acceptable", "is_due", "weighted_mean"]


def acceptable(metrics: Mapping[str, float]) -> bool:
    """Say whether metrics are few and finite."""
    return len(metrics) <= MAX_METRICS and all(math.isfinite(value) for value in metrics.values())


def is_due(version: int, every_rounds: int) -> bool:
    """Say whether a version is measured in the round that starts from it. The first weights are not: nobody has trained them."""
    return version > 0 and every_rounds > 0 and version % every_rounds == 0


def weighted_mean(evaluations: Mapping[int, tuple[int, Mapping[str, float]]]) -> tuple[int, dict[str, float]]:
    """Return the samples behind, and the weighted mean of, each metric; one whose sum is beyond a double is left out.

    Summed by index, so that arrival order does not show.
    """
    total = sum(samples for samples, _ in evaluations.values())
    weights: dict[str, int] = {}
    sums: dict[str, float] = {}
    for _, (samples, metrics) in sorted(evaluations.items()):
        for name, value in metrics.items():
            weights[name] = weights.get(name, 0) + samples
            sums[name] = sums.get(name, 0.0) + samples * value
    return total, {name: sums[name] / weights[name] for name in sorted(sums) if math.isfinite(sums[name])}
