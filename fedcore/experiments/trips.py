"""Round trips of every worker in every round, some workers slowed: a heat strip for each run, and the spread by round."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, ClassVar

from fedcore.engine.reasons import Result
from fedcore.experiments.experiment import Cells, Ended, Row, Run, counted, shipped_digits, wrong_end
from fedcore.local.faults import Slow, worker_name
from fedcore.report.tables import quantile

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage

__all__ = ["SLOWED", "RoundTrips"]

SLOWED = (Slow(2, 3.0), Slow(5, 6.0))
"""Who is slowed unless said otherwise: two, of whom the quorum of 80 % can do without one."""


@dataclass(frozen=True, slots=True)
class RoundTrips:
    """``fedcore experiment round-trips``."""

    workers: int = 8
    rounds: int = 10
    slow: tuple[Slow, ...] = SLOWED
    seeds: int = 3

    NAME: ClassVar[str] = "round-trips"
    TITLE: ClassVar[str] = "Round trips by worker and round"
    COLUMNS: ClassVar[tuple[str, ...]] = ("seed", "round", "worker", "result", "round_trip_s", "train_s", "epochs")
    HEIGHT: ClassVar[float] = 6.4
    PAPER: ClassVar[str] = (
        "About 50 workers, quorum 0.8, 10 rounds, trips of 8 to 157 s, one run: one line for each worker, which nobody can tell apart."
    )

    def runs(self) -> list[Run]:
        """Return a run for each seed."""
        flags = [
            "--workers",
            str(self.workers),
            "--rounds",
            str(self.rounds),
            "--set",
            f"spec.task.entrypoint={shipped_digits().entrypoint}",
        ]
        for slow in self.slow:
            flags += ["--slow", f"{worker_name(slow.index)}={slow.factor:g}"]
        return [Run(f"seed-{seed}", counted(self.workers, "worker"), seed, {}, flags) for seed in range(self.seeds)]

    def rows(self, ended: Ended) -> list[Row]:
        """Read every update, accepted or late."""
        wanted = {Result.ACCEPTED, Result.STALE}
        copied = ("round", "worker", "result", "round_trip_s", "train_s", "epochs")
        return [{"seed": ended.run.seed, **{key: row[key] for key in copied}} for row in ended.updates if row["result"] in wanted]

    def wrong(self, ended: Ended) -> str:
        """See that the run completed: the slow ones get less work until they keep up, and one of them may stay behind."""
        return wrong_end(ended)

    def words(self, ended: Ended) -> str:
        """Say how long trips took."""
        trips = sorted(_seconds(self.rows(ended)))
        return f"{len(trips)} trips of {trips[0]:.1f} to {trips[-1]:.1f} s, median {median(trips):.1f} s"

    def draw(self, figure: Figure, rows: Sequence[Row]) -> None:
        """Draw a strip for each run, and every trip with median and band below."""
        seeds = sorted({int(row["seed"]) for row in rows})
        grid = figure.add_gridspec(2, 1, height_ratios=(1.1, 1))
        strips, spread = (figure.add_subfigure(grid[place]) for place in range(2))
        axes = strips.subplots(1, len(seeds), sharey=True, squeeze=False)[0]
        trips = _seconds(rows)
        for seed, each in zip(seeds, axes, strict=True):
            image = self._draw_strip(each, [row for row in rows if int(row["seed"]) == seed], (min(trips), max(trips)))
            each.set_title(f"seed {seed}", fontsize=10)
        strips.colorbar(image, ax=list(axes), label="round trip, s")
        self._draw_spread(spread.subplots(), rows)

    def _draw_strip(self, axes: Axes, rows: Sequence[Row], span: tuple[float, float]) -> AxesImage:
        import numpy as np
        from matplotlib.colors import LogNorm
        from matplotlib.ticker import MaxNLocator

        from fedcore.report.plots import style

        cells = np.full((self.workers, self.rounds), np.nan)
        late = []
        for row in rows:
            place = _index(row), int(row["round"]) - 1
            if row["round_trip_s"] != "":
                cells[place] = float(row["round_trip_s"])
            if row["result"] == Result.STALE:
                late.append(place)
        extent = (0.5, self.rounds + 0.5, self.workers - 0.5, -0.5)
        image = axes.imshow(cells, cmap="cividis", norm=LogNorm(*span), aspect="auto", extent=extent)
        axes.plot([number + 1 for _, number in late], [index for index, _ in late], color=style.VERMILION, marker="x", linestyle="")
        axes.grid(visible=False)
        axes.xaxis.set_major_locator(MaxNLocator(nbins=10, integer=True))
        axes.set_xlabel("round")
        slowed = {slow.index: f" ({slow.factor:g}x slower)" for slow in self.slow}
        every = max(self.workers // 16, 1)  # of fifty workers not every name fits
        named = [index for index in range(self.workers) if index % every == 0 or index in slowed]
        axes.set_yticks(named, [f"{worker_name(index)}{slowed.get(index, '')}" for index in named])
        return image

    def _draw_spread(self, axes: Axes, rows: Sequence[Row]) -> None:
        from fedcore.report.plots import style

        accepted = [row for row in rows if row["result"] == Result.ACCEPTED and row["round_trip_s"] != ""]
        late = [row for row in rows if row["result"] == Result.STALE and row["round_trip_s"] != ""]
        by_round: dict[int, list[float]] = {}
        for row in [*accepted, *late]:
            by_round.setdefault(int(row["round"]), []).append(float(row["round_trip_s"]))
        numbers = sorted(by_round)
        low, middle, high = ([quantile(sorted(by_round[number]), share) or 0.0 for number in numbers] for share in (0.1, 0.5, 0.9))
        axes.fill_between(numbers, low, high, color=style.BLUE, alpha=0.2, linewidth=0, label="p10 to p90")
        axes.plot(numbers, middle, color=style.BLUE, label="median")
        for which, color, marker, label in ((accepted, style.BLUE, "o", "counted"), (late, style.VERMILION, "x", "late")):
            if which:
                axes.plot(*_trips(which), color=color, marker=marker, label=label, linestyle="", markersize=4, alpha=0.6)
        style.limit_rounds(axes, numbers)
        axes.set_yscale("log")
        axes.set_ylabel("round trip, s")
        style.legend(axes)

    def caption(self, rows: Sequence[Row]) -> str:
        """Say who was slowed and what the marks are."""
        slowed = ", ".join(f"{worker_name(slow.index)} {slow.factor:g} times" for slow in self.slow) or "nobody"
        runs = len({row["seed"] for row in rows})
        return (
            f"{counted(self.workers, 'worker')} with unequal shares of the data, quorum 80 %, workload aimd,"
            f" {shipped_digits().words}; slowed: {slowed}."
            " Above: one strip per run; a cross: the update came late, an empty cell: none came. Below: every trip, median and band over"
            f" all runs. Both scales are logarithmic. n = {counted(runs, 'run')}, {counted(len(rows), 'trip')}."
        )

    def table(self, rows: Sequence[Row]) -> tuple[Cells, list[Cells]]:
        """Return quantiles of the trips in the first round, in the last, and in all."""
        last = max(int(row["round"]) for row in rows)
        lines: list[Cells] = []
        for name, of_these in (
            ("round 1", [row for row in rows if int(row["round"]) == 1]),
            (f"round {last}", [row for row in rows if int(row["round"]) == last]),
            ("all rounds", list(rows)),
        ):
            trips = sorted(_seconds(of_these))
            shares = [f"{quantile(trips, share) or 0.0:.2f} s" for share in (0.0, 0.1, 0.5, 0.9, 1.0)]
            late = sum(row["result"] == Result.STALE for row in of_these)
            lines.append([name, *shares, str(late), str(len(of_these))])
        return ("", "shortest", "p10", "median", "p90", "longest", "late", "updates"), lines


def _index(row: Row) -> int:
    return int(str(row["worker"]).removeprefix("worker-"))


def _seconds(rows: Iterable[Row]) -> list[float]:
    return [float(row["round_trip_s"]) for row in rows if row["round_trip_s"] != ""]


def _trips(rows: Sequence[Row]) -> tuple[list[int], list[float]]:
    return [int(row["round"]) for row in rows], _seconds(rows)
