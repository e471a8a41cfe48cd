"""Plots whose horizontal axis is the round, or the version that it made."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from matplotlib.ticker import MaxNLocator, PercentFormatter

from fedcore.engine.reasons import Outcome
from fedcore.report.history import FAULTS
from fedcore.report.plots import style

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from fedcore.report.history import History

__all__ = ["accuracy", "loss", "quorum", "round_duration", "traffic"]

_UNITS = ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"))
_MARKS = {
    "coordinator_resumed": ("v", style.BLACK),
    "worker_restarted": ("^", style.GREEN),
    "worker_lost": ("x", style.VERMILION),
    "worker_left": ("<", style.GREY),
    "update_rejected": ("s", style.ORANGE),
    "update_declined": (">", style.SKY),
    "deadline_missed": ("d", style.PURPLE),
    "quorum_lost": ("X", style.VERMILION),
    "ended": ("X", style.BLACK),
}


def accuracy(history: History) -> Figure | None:
    """Draw accuracy by version; None if it was never measured."""
    points = _measured(history, "accuracy")
    if not points:
        return None
    figure = style.figure(3.2)
    axes = figure.subplots()
    axes.set_title("Accuracy of the averaged model")
    _line(axes, points, style.SERIES[0], "measured")
    if all(0 <= value <= 1 for value in points.values()):
        axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=None))
    last, value = max(points.items())
    axes.annotate(f"{value:.4g}", (last, value), xytext=(0, 7), textcoords="offset points", ha="right", fontweight="bold")
    axes.margins(y=0.15)
    style.limit_rounds(axes, list(points), "version (after so many rounds)")
    return figure


def loss(history: History) -> Figure | None:
    """Draw the averaged model's loss by version, and the workers' while training; None if neither is known."""
    measured = _measured(history, "loss")
    trained = {row["round"]: row["train_loss"] for row in history.rounds if row["train_loss"] is not None}
    if not measured and not trained:
        return None
    figure = style.figure(3.2)
    axes = figure.subplots()
    axes.set_title("Loss")
    if measured:
        _line(axes, measured, style.SERIES[0], "averaged model, held-out data")
    if trained:
        _line(axes, trained, style.SERIES[1], "workers, while training")
    axes.set_ylim(bottom=min(0.0, *measured.values(), *trained.values()))
    style.legend(axes)
    style.limit_rounds(axes, [*measured, *trained], "version; of training: the round")
    return figure


def quorum(history: History) -> Figure | None:
    """Draw accepted and late updates against the required ones; None without a round."""
    if not history.rounds:
        return None
    numbers = [row["round"] for row in history.rounds]
    late_by_round = history.late_by_round()
    accepted = [float(row["accepted"] or 0) for row in history.rounds]
    late = [float(late_by_round.get(number, 0)) for number in numbers]
    required = [row["required"] for row in history.rounds]
    figure = style.figure(3.2)
    axes = figure.subplots()
    axes.set_title("Updates and quorum")
    style.columns(axes, numbers, accepted, color=style.BLUE, label="accepted")
    if any(late):
        style.columns(axes, numbers, late, on=accepted, color=style.ORANGE, hatch="////", label="late, for this round")
    _steps(axes, numbers, required, color=style.VERMILION, linestyle="--", label="required")
    _steps(axes, numbers, [row["participants"] for row in history.rounds], color=style.GREY, linestyle=":", label="given work")
    axes.set_ylim(0, None)
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_ylabel("updates")
    style.legend(axes)
    style.limit_rounds(axes, numbers)
    return figure


def round_duration(history: History) -> Figure | None:
    """Draw how long rounds were open, with what went wrong on lanes above; None without a round."""
    if not history.rounds:
        return None
    present = [kind for kind in FAULTS if any(one.kind == kind for one in history.happenings)]
    figure = style.figure(3.0 + 0.26 * len(present))
    if present:
        lanes, axes = figure.subplots(2, 1, sharex=True, height_ratios=[0.26 * len(present), 2.4])
        _lanes(lanes, history, present)
        lanes.set_title("Rounds, and what went wrong")
    else:
        axes = figure.subplots()
        axes.set_title("Rounds")
    looks: dict[str | None, dict[str, Any]] = {
        Outcome.FULL: {"color": style.BLUE, "label": "all answered"},
        Outcome.QUORUM: {"color": style.SKY, "hatch": "//", "label": "closed by quorum"},
        Outcome.ABORTED: {"color": style.GREY, "hatch": "xx", "label": "aborted"},
    }
    outages = [history.outages.get(row["round"], 0.0) for row in history.rounds]
    numbers = [row["round"] for row in history.rounds]
    for outcome, look in looks.items():
        seconds = [(row["duration_s"] or 0.0) if row["outcome"] == outcome else 0.0 for row in history.rounds]
        if any(seconds):
            style.columns(axes, numbers, seconds, on=outages, edgecolor="white", **look)
    if any(outages):
        style.columns(axes, numbers, outages, color=style.PALE, edgecolor=style.GREY, hatch="\\\\", label="until it was opened anew")
    axes.set_ylim(0, None)
    axes.set_ylabel("seconds")
    style.legend(axes)
    style.limit_rounds(axes, numbers)
    return figure


def traffic(history: History) -> Figure | None:
    """Draw payload bytes per round as the coordinator saw them; None if they are not known."""
    known = [row for row in history.rounds if row["bytes_sent"] is not None or row["bytes_received"] is not None]
    if not known:
        return None
    most = max(max(row["bytes_sent"] or 0, row["bytes_received"] or 0) for row in known)
    scale, unit = next(((size, name) for size, name in _UNITS if most >= size), (1.0, "B"))
    figure = style.figure(3.0)
    axes = figure.subplots()
    axes.set_title("Payload of the coordinator")
    for key, name, look in (("bytes_sent", "sent", style.SERIES[0]), ("bytes_received", "received", style.SERIES[1])):
        _line(axes, {row["round"]: row[key] / scale for row in known if row[key] is not None}, look, name)
    axes.set_ylim(0, None)
    axes.set_ylabel(f"{unit} per round")
    style.legend(axes)
    style.limit_rounds(axes, [row["round"] for row in known])
    return figure


def _measured(history: History, metric: str) -> dict[int, float]:
    return {version: metrics[metric] for version, metrics in sorted(history.measured.items()) if metric in metrics}


def _line(axes: Axes, points: Mapping[int, float], look: tuple[str, str, str], label: str) -> None:
    color, dash, marker = look
    axes.plot(
        list(points),
        list(points.values()),
        color=color,
        linestyle=dash,
        marker=marker if len(points) <= style.FEW_ROUNDS else "",
        label=label,
    )


def _steps(axes: Axes, numbers: Sequence[int], values: Sequence[float | None], **look: Any) -> None:
    """Draw a line that keeps its height over the width of each round."""
    edges = [number + side for number in numbers for side in (-0.5, 0.5)]
    heights = [float("nan") if value is None else float(value) for value in values for _ in range(2)]
    axes.plot(edges, heights, **look)


def _lanes(axes: Axes, history: History, kinds: Sequence[str]) -> None:
    """Mark in which rounds faults happened, a lane for each kind; a number says how many if it is more than one."""
    for lane, kind in enumerate(kinds):
        counts: dict[int, int] = {}
        for one in history.happenings:
            if one.kind == kind:
                counts[max(one.round, 1)] = counts.get(max(one.round, 1), 0) + 1
        marker, color = _MARKS[kind]
        axes.plot(list(counts), [lane] * len(counts), linestyle="", marker=marker, color=color, markersize=7, clip_on=False)
        if len(counts) <= style.FEW_ROUNDS:
            for number, count in counts.items():
                if count > 1:
                    axes.annotate(str(count), (number, lane), xytext=(6, 0), textcoords="offset points", va="center", fontsize=8.5)
    axes.set_yticks(range(len(kinds)), [FAULTS[kind] for kind in kinds])
    axes.set_ylim(-0.6, len(kinds) - 0.4)
    axes.grid(visible=True, axis="both")
    axes.tick_params(length=0, labelbottom=False)
    for spine in axes.spines.values():
        spine.set_visible(False)
