"""The plots of a run, as PNG and SVG. It needs matplotlib, which comes with ``fedcore[report]`` and is imported when plots are drawn."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from fedcore.report.plots import compared, rounds, strip, style

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from matplotlib.figure import Figure

    from fedcore.report.history import History

__all__ = ["PLOTS", "draw", "draw_compared", "picture"]

PLOTS: dict[str, Callable[[History], Figure | None]] = {
    "accuracy": rounds.accuracy,
    "loss": rounds.loss,
    "round_trip": strip.round_trip,
    "quorum": rounds.quorum,
    "round_duration": rounds.round_duration,
    "epochs": strip.epochs,
    "bytes": rounds.traffic,
}
"""By the name of their files, in the order of the page. One whose data a run lacks is not drawn."""


def draw(history: History) -> dict[str, dict[str, bytes]]:
    """Return the plots that the run has data for, by name, each as ``png`` and ``svg``."""
    with style.styled():
        return {name: picture(figure) for name, make in PLOTS.items() if (figure := make(history)) is not None}


def draw_compared(histories: Mapping[str, History]) -> dict[str, dict[str, bytes]]:
    """Return the plots that lay runs over one another, as `draw` does; ``histories`` are by the name of the run."""
    measured = {
        name: {version: metrics["accuracy"] for version, metrics in sorted(one.measured.items()) if "accuracy" in metrics}
        for name, one in histories.items()
    }
    in_time = {
        name: {histories[name].measured_at[version]: value for version, value in curve.items() if version in histories[name].measured_at}
        for name, curve in measured.items()
    }
    durations = {
        name: {row["round"]: row["duration_s"] for row in one.rounds if row["duration_s"] is not None} for name, one in histories.items()
    }
    trips = {name: one.trips() for name, one in histories.items()}
    with style.styled():
        figures = {
            "accuracy": compared.lines(measured, "Accuracy of the averaged model", "version (after so many rounds)", ""),
            "accuracy_in_time": compared.lines(in_time, "Accuracy in time", "seconds since the run began", ""),
            "round_duration": compared.lines(durations, "Rounds", "round", "seconds", from_zero=True),
            "round_trip": compared.spreads(trips, "Round trips", "seconds"),
        }
        return {name: picture(figure) for name, figure in figures.items() if figure is not None}


def picture(figure: Figure) -> dict[str, bytes]:
    """Return a figure in both formats, without a date in it: the same run gives the same bytes."""
    engine = figure.get_layout_engine()
    if engine is not None:  # once, not once for each format: it takes half the time
        engine.execute(figure)
        figure.set_layout_engine("none")
    return {
        "png": _saved(figure, format="png", dpi=style.DPI, metadata={"Software": None}),
        "svg": _saved(figure, format="svg", metadata={"Date": None}),
    }


def _saved(figure: Figure, **how: Any) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, **how)
    return buffer.getvalue()
