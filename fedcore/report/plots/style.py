"""How plots look: one style, readable in print, colours that those who see few colours can tell apart.

The colours are those of Okabe and Ito, *Color Universal Design* (2008); where two of them meet, hatches, dashes or markers differ too. The
Figure class is used without pyplot: no window system is looked for, and no state is shared.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from matplotlib.axes import Axes

__all__ = [
    "BLACK", "BLUE", "DPI", "GREEN", "GREY", "ORANGE", "PALE", "PURPLE", "SERIES", "SKY", "VERMILION",
    "columns", "figure", "legend", "limit_rounds", "styled",
]  # fmt: skip

BLACK, GREY, PALE = "#222222", "#767676", "#e4e4e4"
BLUE, ORANGE, GREEN, VERMILION, SKY, PURPLE = "#0072b2", "#e69f00", "#009e73", "#d55e00", "#56b4e9", "#cc79a7"
SERIES = ((BLUE, "-", "o"), (ORANGE, "--", "s"), (GREEN, "-.", "^"), (VERMILION, ":", "D"), (SKY, "-", "v"), (PURPLE, "--", "P"))
"""Colour, dash and marker of lines that are compared."""
WIDTH_INCHES, DPI = 9.0, 110
FEW_ROUNDS = 60
"""Up to here a round is wide enough for a bar of its own and a marker."""

_STYLE: Any = {
    "font.family": "DejaVu Sans",  # it comes with matplotlib
    "font.size": 10.5,
    "axes.titlesize": 12,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.edgecolor": GREY,
    "axes.labelcolor": BLACK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "grid.color": PALE,
    "xtick.color": BLACK,
    "ytick.color": BLACK,
    "xtick.labelsize": 9.5,
    "ytick.labelsize": 9.5,
    "hatch.linewidth": 0.7,
    "legend.frameon": False,
    "legend.fontsize": 9.5,
    "lines.linewidth": 1.8,
    "lines.markersize": 4.5,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "figure.constrained_layout.w_pad": 0.1,  # text is a little wider in one format than in the other
    "svg.hashsalt": "fedcore",  # the same run gives the same file
}


@contextmanager
def styled() -> Iterator[None]:
    """Draw and save in this style, whatever the user's matplotlibrc says."""
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(_STYLE)
        yield


def figure(height: float) -> Figure:
    """Return an empty figure of the common width."""
    made = Figure(figsize=(WIDTH_INCHES, height), dpi=DPI, layout="constrained")
    FigureCanvasAgg(made)
    return made


def legend(axes: Axes) -> None:
    """Put the legend above the plot, where it hides nothing, if there is anything to tell apart."""
    if not axes.get_legend_handles_labels()[0]:
        return
    axes.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=5, borderaxespad=0.2, handlelength=2.2, columnspacing=1.4)


def limit_rounds(axes: Axes, numbers: Sequence[int], label: str = "round") -> None:
    """Let the axis show these rounds, with whole numbers."""
    low, high = (min(numbers), max(numbers)) if numbers else (1, 1)
    axes.set_xlim(low - 0.6, high + 0.6)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=20, integer=True))
    axes.set_xlabel(label)


def columns(axes: Axes, numbers: Sequence[int], heights: Sequence[float], *, on: Sequence[float] | None = None, **look: Any) -> None:
    """Draw a column for each round: bars, or one outline when there are many."""
    base = list(on) if on is not None else [0.0] * len(numbers)
    if len(numbers) <= FEW_ROUNDS:
        axes.bar(numbers, heights, bottom=base, width=0.72, linewidth=0, **look)
        return
    tops = [low + height for low, height in zip(base, heights, strict=True)]
    axes.fill_between(numbers, base, tops, step="mid", linewidth=0, **look)
