"""How experiments look: the style of the runs' own plots, and what repeats add to it. It needs matplotlib."""

from __future__ import annotations

from statistics import mean
from typing import TYPE_CHECKING

from fedcore.report.plots import picture, style

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.axes import Axes

    from fedcore.experiments.experiment import Experiment, Row

__all__ = ["draw_figure", "draw_spread"]


def draw_figure(experiment: Experiment, rows: Sequence[Row]) -> dict[str, bytes]:
    """Return an experiment's figure as ``png`` and ``svg``; the same rows give the same bytes."""
    with style.styled():
        figure = style.figure(experiment.HEIGHT)
        experiment.draw(figure, rows)
        return picture(figure)


def draw_spread(axes: Axes, groups: Mapping[float, Sequence[float]], label: str, color: str, *, shift: float = 0.0) -> None:
    """Draw every value, the mean as a line, and a bar from the least to the most, for each place on the x axis.

    Parameters
    ----------
    axes
        Where to draw.
    groups
        Values by place.
    label, color
        Of the line.
    shift
        Moves all to the side, so that two of them do not hide each other.
    """
    places = sorted(groups)
    for place in places:
        values = groups[place]
        axes.plot([place + shift] * len(values), values, color=color, marker="o", alpha=0.5, linestyle="")
    means = [mean(groups[place]) for place in places]
    below = [middle - min(groups[place]) for place, middle in zip(places, means, strict=True)]
    above = [max(groups[place]) - middle for place, middle in zip(places, means, strict=True)]
    axes.errorbar([place + shift for place in places], means, yerr=[below, above], color=color, capsize=4, label=label)
