"""Expressions over the catalogues' metrics, for what is chosen in a board's menus.

``$window`` is the time a rate looks back. It is a menu and not Grafana's ``$__rate_interval``, which is four scrapes: where a round takes
longer than that, no update falls into it, and every quantile is a gap.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from fedcore.metrics import Kind, Metric

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["ALERTS", "PROCESS_MEMORY", "PROCESS_START", "Scope"]

PROCESS_START: Final = "process_start_time_seconds"
PROCESS_MEMORY: Final = "process_resident_memory_bytes"
"""Of the library's collector for the process itself."""
ALERTS: Final = "ALERTS"
"""Prometheus's own, one series per alert that is pending or firing."""


class Scope:
    """The series that a board is about.

    Parameters
    ----------
    *matchers : str
        Label matchers that every selector gets, over the board's variables.
    """

    def __init__(self, *matchers: str) -> None:
        self._matchers = matchers

    def series(self, metric: Metric | str, *matchers: str) -> str:
        """Select the series of a metric, a histogram's part by its name."""
        if isinstance(metric, Metric):
            assert metric.kind is not Kind.HISTOGRAM, f"{metric.name}: say which part"
            metric = metric.name
        every = (*self._matchers, *matchers)
        return f"{metric}{{{', '.join(every)}}}" if every else metric

    def last(self, metric: Metric | str, *matchers: str) -> str:
        """Take the last value in the time range: what has ended shows how it ended."""
        return f"last_over_time({self.series(metric, *matchers)}[$__range])"

    def newest(self, expression: str) -> str:
        """Keep what the newest process says.

        On Kubernetes a coordinator that is replaced is a new pod, whose predecessor stays in the time range with its last word.
        """
        return f"({expression}) and on (instance) topk(1, {self.last(PROCESS_START)})"

    def rate(self, metric: Metric | str, *matchers: str, by: str = "", over: str = "$window") -> str:
        """Return a counter's rate per second, summed."""
        return f"sum{_by(by)} (rate({self.series(metric, *matchers)}[{over}]))"

    def per_minute(self, metric: Metric, *matchers: str, by: str = "") -> str:
        """Return a counter's rate per minute, summed: what happens a few times a minute is not read in thousandths."""
        return f"60 * {self.rate(metric, *matchers, by=by)}"

    def increase(self, metric: Metric, *matchers: str, by: str = "") -> str:
        """Return how often something happened within the window, for what is rare: a whole number, though Prometheus extrapolates."""
        return f"round(sum{_by(by)} (increase({self.series(metric, *matchers)}[$window])))"

    def quantile(self, share: float, metric: Metric, *matchers: str, by: str = "", over: str = "$window") -> str:
        """Return a quantile of a histogram over all series, or by a label."""
        assert metric.kind is Kind.HISTOGRAM
        labels = f"le, {by}" if by else "le"
        return f"histogram_quantile({share:g}, {self.rate(f'{metric.name}_bucket', *matchers, by=labels, over=over)})"

    def mean(self, metric: Metric, *matchers: str) -> str:
        """Return the mean of a histogram's observations."""
        assert metric.kind is Kind.HISTOGRAM
        return f"{self.rate(f'{metric.name}_sum', *matchers)} / ({self.rate(f'{metric.name}_count', *matchers)} > 0)"

    def ratio(self, part: Iterable[str], whole: Iterable[str]) -> str:
        """Divide, leaving a gap where the whole is 0."""
        return f"({' + '.join(part)}) / (({' + '.join(whole)}) > 0)"


def _by(labels: str) -> str:
    return f" by ({labels})" if labels else ""
