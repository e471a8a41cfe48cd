"""How the figures look. Agg and SVG only, without pyplot: nothing global, no display."""

from __future__ import annotations

from statistics import mean
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["BLUE", "GREY", "ORANGE", "RED", "draw_spread", "save_figure"]

BLUE, ORANGE, RED, GREY = "#0072b2", "#e69f00", "#d55e00", "#666666"
"""Of the palette by Okabe and Ito, which people who see fewer colours can tell apart."""
_STYLE: Any = {
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.3,
    "legend.frameon": False,
    "svg.fonttype": "path",
    "svg.hashsalt": "fedcore",
}


def save_figure(draw: Callable[[Figure], None], size: tuple[float, float], stem: Path) -> None:
    """Draw one figure, and write it as PNG and SVG. The same values give the same SVG."""
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with rc_context(_STYLE):
        figure = Figure(figsize=size, layout="constrained")
        FigureCanvasAgg(figure)
        draw(figure)
        figure.savefig(stem.with_suffix(".png"), dpi=120)
        figure.savefig(stem.with_suffix(".svg"), metadata={"Date": None})


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
        axes.plot([place + shift] * len(values), values, color=color, marker="o", markersize=4, alpha=0.5, linestyle="")
    means = [mean(groups[place]) for place in places]
    below = [middle - min(groups[place]) for place, middle in zip(places, means, strict=True)]
    above = [max(groups[place]) - middle for place, middle in zip(places, means, strict=True)]
    axes.errorbar([place + shift for place in places], means, yerr=[below, above], color=color, capsize=4, label=label)
