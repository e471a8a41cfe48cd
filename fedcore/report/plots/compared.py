"""Plots that lay runs over one another."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.ticker import PercentFormatter

from fedcore.report.plots import style

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["lines", "spreads"]


def lines(
    curves: Mapping[str, Mapping[int, float] | Mapping[float, float]], title: str, across: str, up: str, *, from_zero: bool = False
) -> Figure | None:
    """Draw a line for each run; None without a point."""
    if not any(curves.values()):
        return None
    figure = style.figure(3.6 + _legend_inches(curves))
    axes = figure.subplots()
    axes.set_title(title)
    for place, points in enumerate(curves.values()):
        color, dash, marker = style.SERIES[place % len(style.SERIES)]
        few = len(points) <= style.FEW_ROUNDS
        axes.plot(list(points), list(points.values()), color=color, linestyle=dash, marker=marker if few else "", label=str(place))
    values = [value for points in curves.values() for value in points.values()]
    if from_zero:
        axes.set_ylim(0, None)
    elif all(0 <= value <= 1 for value in values):
        axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=None))
    axes.set_xlabel(across)
    axes.set_ylabel(up)
    _legend_below(axes, list(curves))
    return figure


def spreads(values: Mapping[str, Sequence[float]], title: str, unit: str) -> Figure | None:
    """Draw median and p10 to p90 of each run as a line with a dot; None without a value."""
    known = {name: ordered for name, ordered in values.items() if ordered}
    if not known:
        return None
    figure = style.figure(1.2 + 0.36 * len(known))
    axes = figure.subplots()
    axes.set_title(title)
    for place, (name, ordered) in enumerate(known.items()):
        low, middle, high = np.quantile(ordered, [0.1, 0.5, 0.9])
        color, _, marker = style.SERIES[list(values).index(name) % len(style.SERIES)]
        axes.plot([low, high], [place, place], color=color, linewidth=5, alpha=0.45, solid_capstyle="butt")
        axes.plot([middle], [place], color=color, marker=marker, markersize=8)
    axes.set_yticks(range(len(known)), list(known), parse_math=False)  # a $ in a name is no formula
    axes.set_ylim(len(known) - 0.4, -0.6)
    axes.set_xlim(0, None)
    axes.set_xlabel(unit)
    axes.grid(visible=True, axis="x")
    return figure


def _legend_inches(curves: Mapping[str, object]) -> float:
    return 0.2 * -(-len(curves) // 2)


def _legend_below(axes: Axes, names: Sequence[str]) -> None:
    figure = axes.get_figure()
    assert figure is not None
    legend = figure.legend(loc="outside lower left", ncols=2, handlelength=3)
    for text, name in zip(legend.get_texts(), names, strict=True):  # not as labels: one that begins with _ would be left out
        text.set_parse_math(False)
        text.set_text(name)
