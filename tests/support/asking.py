"""Asking a Prometheus what a board asks, as Grafana would."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from support.prometheus import QueryError

if TYPE_CHECKING:
    from support.prometheus import Prometheus
    from tests.dashboards.queries import Query


@dataclass(frozen=True)
class Answer:
    """What Prometheus says to a query, as numbers; a variable's values count as what they are."""

    problem: str = ""
    finite: tuple[float, ...] = ()


def ask(prometheus: Prometheus, query: Query, start: float, end: float) -> Answer:
    """Ask for a time range, at its end."""
    try:
        if query.label is not None:
            found = prometheus.label_values(query.label, query.expr, start, end)
            return Answer("" if found else "no values", tuple(range(1, len(found) + 1)))
        if query.instant:
            samples = [value for _, value in prometheus.query(query.expr, end)]
        else:
            # A second more, since what was only seen in the last scrape would lie between the last two steps.
            series = prometheus.query_range(query.expr, start, end + 1, step=1)
            samples = [value for _, line in series for value in line]
    except QueryError as error:
        return Answer(str(error))
    finite = tuple(value for value in samples if math.isfinite(value))
    return Answer("" if finite else f"no data ({len(samples)} samples, none finite)", finite)
