"""Heat strips, worker x round: one picture in place of a line for each of fifty workers, which nobody could follow.

Above the strip lies what all workers did, as median and the band in which eight of ten lie. The strip shows every worker while there is
room for it, else the worst ones; what a thousand did is in the band.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import matplotlib as mpl
import numpy as np
from matplotlib.colors import LogNorm, Normalize
from matplotlib.ticker import NullFormatter, StrMethodFormatter

from fedcore.report.plots import style

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy.typing as npt
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.colorbar import Colorbar
    from matplotlib.figure import Figure

    from fedcore.report.history import Entry, History, Part

__all__ = ["epochs", "round_trip", "stragglers"]

_ALL_WORKERS = 60
_WORST_WORKERS = 40
_MOST_COLUMNS = 300
"""More rounds are put together in groups, each shown by its largest value."""
_NAMED = 6
_SLOW = 2.0
"""Times the median of all workers: slower ones are stragglers, even if no round was closed without them."""
_LOG_RANGE = 20.0
_ROW_INCHES = 0.17


@dataclass(frozen=True, slots=True)
class _Subject:
    """What a strip shows of an entry."""

    title: str
    unit: str
    value: Callable[[Entry], float | None]
    counts: Callable[[Entry], bool]
    """Whether it is part of the band."""
    blames: bool
    """Whether those who were late or away are marked."""


_TRIP = _Subject("Round trips", "seconds", lambda entry: entry.trip_s, lambda entry: entry.accepted, blames=True)
_EPOCHS = _Subject("Epochs given to each worker", "epochs", lambda entry: entry.epochs, lambda _: True, blames=False)


def round_trip(history: History) -> Figure | None:
    """Draw round trips; None if none is known."""
    return _strip(history, _TRIP)


def epochs(history: History) -> Figure | None:
    """Draw the work that was handed out; None if none is known."""
    return _strip(history, _EPOCHS)


def stragglers(parts: Sequence[Part]) -> list[Part]:
    """Return those who came late, stayed away, or took more than twice as long as the median worker; worst first."""
    medians = sorted(part.trip_median_s for part in parts if part.trip_median_s is not None)
    middle = float(np.median(medians)) if medians else float("inf")
    return [part for part in parts if part.late or part.missing or (part.trip_median_s or 0.0) > _SLOW * middle]


def _strip(history: History, subject: _Subject) -> Figure | None:
    numbers = sorted({number for entries in history.entries.values() for number in entries})
    everyone = list(history.entries)
    values = _values(history, everyone, numbers, subject.value)
    if not numbers or np.isnan(values).all():
        return None
    parts = history.parts()
    bad = [part.worker for part in stragglers(parts)] if subject.blames else []
    shown = everyone if len(everyone) <= _ALL_WORKERS else [part.worker for part in parts[:_WORST_WORKERS]]
    if not subject.blames and np.nanmin(values) == np.nanmax(values):
        return _alike(values, numbers, subject)
    figure = style.figure(2.4 + _ROW_INCHES * max(len(shown), 4))
    band, strip = figure.subplots(2, 1, sharex=True, height_ratios=[1.5, _ROW_INCHES * max(len(shown), 4) + 0.1])
    norm = _norm(values)
    _draw_band(band, _masked(history, everyone, numbers, values, subject), numbers, subject, logarithmic=isinstance(norm, LogNorm))
    band.set_title(subject.title)
    image = _draw_cells(strip, history, shown, numbers, subject, norm)
    strip.set_yticks(range(len(shown)), shown, fontsize=8.5 if len(shown) <= 24 else 7.5)
    for label in strip.get_yticklabels():
        if label.get_text() in bad:
            label.set_fontweight("bold")
    if len(shown) < len(everyone):
        strip.set_ylabel(f"the {len(shown)} worst of {len(everyone)} workers")
    bar = figure.colorbar(image, ax=strip, pad=0.01, aspect=30, fraction=0.03)
    bar.set_label(subject.unit)
    _plain(bar)
    style.limit_rounds(strip, numbers)
    if subject.blames:
        named = ", ".join(bad[:_NAMED]) + (f" and {len(bad) - _NAMED} more" if len(bad) > _NAMED else "")
        strip.set_xlabel(f"round        stragglers: {named}" if bad else "round        no stragglers")
    return figure


def _alike(values: npt.NDArray[np.float64], numbers: Sequence[int], subject: _Subject) -> Figure:
    """Draw what was the same for everyone all the time: a strip of one colour says nothing."""
    figure = style.figure(1.9)
    axes = figure.subplots()
    axes.set_title(f"{subject.title}: {np.nanmax(values):g} to everyone, in every round")
    _draw_band(axes, values, numbers, subject, logarithmic=False)
    axes.tick_params(labelbottom=True)
    style.limit_rounds(axes, numbers)
    return figure


def _values(
    history: History, workers: Sequence[str], numbers: Sequence[int], value: Callable[[Entry], float | None]
) -> npt.NDArray[np.float64]:
    """Return worker x round, NaN where there is nothing."""
    place = {number: column for column, number in enumerate(numbers)}
    values = np.full((len(workers), len(numbers)), np.nan)
    for row, worker in enumerate(workers):
        for number, entry in history.entries[worker].items():
            found = value(entry)
            if found is not None:
                values[row, place[number]] = found
    return values


def _masked(
    history: History, workers: Sequence[str], numbers: Sequence[int], values: npt.NDArray[np.float64], subject: _Subject
) -> npt.NDArray[np.float64]:
    counted = _values(history, workers, numbers, lambda entry: 1.0 if subject.counts(entry) else None)
    return np.where(np.isnan(counted), np.nan, values)


def _norm(values: npt.NDArray[np.float64]) -> Normalize:
    """Return a scale from 0, or a logarithmic one if most of it would be empty; a few small values do not stretch that."""
    low, high = float(np.nanquantile(values, 0.05)), float(np.nanmax(values))
    if low > 0 and high > _LOG_RANGE * low:
        return LogNorm(low, high, clip=True)
    return Normalize(0.0, high or 1.0)


def _draw_band(axes: Axes, values: npt.NDArray[np.float64], numbers: Sequence[int], subject: _Subject, *, logarithmic: bool) -> None:
    known = ~np.isnan(values).all(axis=0)
    rounds = np.array(numbers)[known]
    low, middle, high = np.nanquantile(values[:, known], [0.1, 0.5, 0.9], axis=0)
    few = len(rounds) <= style.FEW_ROUNDS
    axes.fill_between(rounds, low, high, color=style.SKY, alpha=0.45, linewidth=0, label="p10 to p90")
    axes.plot(rounds, middle, color=style.BLUE, marker="o" if few else "", label="median")
    axes.plot(rounds, np.nanmax(values[:, known], axis=0), color=style.VERMILION, linestyle=":", marker="^" if few else "", label="largest")
    if logarithmic:
        axes.set_yscale("log")
        _plain_axis(axes.yaxis)
    else:
        axes.set_ylim(0, None)
    axes.set_ylabel(subject.unit)
    axes.tick_params(labelbottom=False)
    style.legend(axes)


def _draw_cells(
    axes: Axes, history: History, shown: Sequence[str], numbers: Sequence[int], subject: _Subject, norm: Normalize
) -> mpl.cm.ScalarMappable:
    """Fill the cells: coloured by value, grey where work was given and nothing is known of it, white where none was given."""
    size = -(-len(numbers) // _MOST_COLUMNS)
    values = _grouped(_values(history, shown, numbers, subject.value), size)
    given = _grouped(_values(history, shown, numbers, lambda _: 1.0), size)
    missing = _grouped(_values(history, shown, numbers, lambda entry: 1.0 if entry.missing else None), size)
    late = _grouped(_values(history, shown, numbers, lambda entry: 1.0 if entry.late and not entry.accepted else None), size)
    first, last = numbers[0] - 0.5, numbers[0] - 0.5 + size * values.shape[1]
    extent = (first, last, len(shown) - 0.5, -0.5)
    pale = mpl.colors.ListedColormap([style.PALE])
    axes.imshow(given, aspect="auto", interpolation="nearest", extent=extent, cmap=pale, norm=Normalize(0, 2))
    image = axes.imshow(values, aspect="auto", interpolation="nearest", extent=extent, cmap="cividis_r", norm=norm)
    small = 3.0 if values.shape[1] > 80 or len(shown) > 40 else 5.0
    for cells, marker, name in ((late, "o", "late"), (missing, "x", "no update")) if subject.blames else ():
        rows, places = np.nonzero(~np.isnan(cells))
        if len(rows):
            at = first + size * (places + 0.5)
            axes.plot(at, rows, linestyle="", marker=marker, markersize=small, color=style.VERMILION, markeredgewidth=1.2, label=name)
    style.legend(axes)
    axes.grid(visible=False)
    return image


def _grouped(values: npt.NDArray[np.float64], size: int) -> npt.NDArray[np.float64]:
    """Put columns together in groups, each by its largest value."""
    if size == 1:
        return values
    padded = np.pad(values, ((0, 0), (0, -values.shape[1] % size)), constant_values=np.nan)
    grouped: npt.NDArray[np.float64] = np.fmax.reduce(padded.reshape(len(values), -1, size), axis=2)
    return grouped


def _plain(bar: Colorbar) -> None:
    if isinstance(bar.norm, LogNorm):
        _plain_axis(bar.ax.yaxis)


def _plain_axis(axis: Axis) -> None:
    """Write 0.5 and 20, not powers of ten."""
    axis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axis.set_minor_formatter(NullFormatter())
