"""Rounds when workers are killed for good as round 2 opens; and, with too many of them, an end by itself instead of a standstill."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from statistics import mean
from typing import TYPE_CHECKING, ClassVar

from fedcore.engine.quorum import required
from fedcore.engine.reasons import EndReason
from fedcore.experiments.experiment import Cells, Ended, Row, Run, counted, per_point, wrong_end
from fedcore.local.faults import Kill, worker_name
from fedcore.spec import Quorum

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from matplotlib.figure import Figure

__all__ = ["Failures"]

_KILL_ROUND = 2


@dataclass(frozen=True, slots=True)
class Failures:
    """``fedcore experiment failures``."""

    workers: int = 16
    quorum: int = 75
    kill: tuple[int, ...] = (0, 2, 4, 5)
    seeds: int = 3

    NAME: ClassVar[str] = "failures"
    TITLE: ClassVar[str] = "Rounds with workers killed for good"
    COLUMNS: ClassVar[tuple[str, ...]] = (
        *("seed", "workers", "required", "killed", "round", "duration_s", "phase", "reason", "exit_code", "run_dir"),
    )
    HEIGHT: ClassVar[float] = 4.4
    PAPER: ClassVar[str] = (
        "About 50 workers, quorum 0.75, one run each: with 0, 4, 8 and 12 killed the rounds went on; with 14 nothing moved for 600 s, and"
        " the run was stopped by hand."
    )

    @property
    def required(self) -> int:
        """Updates that close a round."""
        return required(Quorum(percent=self.quorum), self.workers)

    def runs(self) -> list[Run]:
        """Return a run for each number of killed workers and seed; the seed draws which ones."""
        return [self._run(killed, seed) for seed in range(self.seeds) for killed in self.kill]

    def _run(self, killed: int, seed: int) -> Run:
        flags = ["--workers", str(self.workers), "--set", f"spec.quorum.percent={self.quorum}"]
        for index in sorted(Random(seed).sample(range(self.workers), killed)):
            flags += ["--kill", str(Kill(worker_name(index), index, _KILL_ROUND))]
        enough = self.workers - killed >= self.required
        expected = EndReason.COMPLETED if enough else EndReason.QUORUM_UNREACHABLE
        facts = {"workers": self.workers, "required": self.required, "killed": killed}
        return Run(f"{killed}-killed-seed-{seed}", f"{killed} of {self.workers} killed", seed, facts, flags, expected)

    def rows(self, ended: Ended) -> list[Row]:
        """Read the duration of every round; that of one in which the run ended is until the end."""
        return [
            {"seed": ended.run.seed, **ended.run.facts, "round": int(row["round"]), "duration_s": row["duration_s"], **ended.end}
            for row in ended.rounds
        ]

    def wrong(self, ended: Ended) -> str:
        """See that the run completed with enough workers left, and ended as QuorumUnreachable without; and that all kills struck."""
        struck = len({fault["kill"] for fault in ended.said("fault")})
        wanted = int(ended.run.facts["killed"])
        return wrong_end(ended) or ("" if struck == wanted else f"only {struck} of {wanted} workers were killed")

    def words(self, ended: Ended) -> str:
        """Say how long rounds took, or how it ended."""
        if ended.run.expected is EndReason.COMPLETED:
            return "rounds of " + ", ".join(f"{float(row['duration_s']):.1f}" for row in ended.rounds) + " s"
        return f"{ended.summary['reason']}, exit {ended.exit_code}, {float(ended.rounds[-1]['duration_s']):.1f} s after round 2 opened"

    def draw(self, figure: Figure, rows: Sequence[Row]) -> None:
        """Draw the round of the kills and the next, and where runs without enough workers ended."""
        from fedcore.experiments.drawing import draw_spread
        from fedcore.report.plots import style

        axes = figure.subplots()
        kills = sorted({int(row["killed"]) for row in rows})
        places = {killed: float(place) for place, killed in enumerate(kills)}
        completed = [row for row in rows if row["reason"] == EndReason.COMPLETED]
        for number, color, shift in ((_KILL_ROUND, style.BLUE, -0.08), (_KILL_ROUND + 1, style.ORANGE, 0.08)):
            groups = {places[killed]: values for killed, values in _durations(completed, number).items()}
            draw_spread(axes, groups, "the round of the kills" if number == _KILL_ROUND else "the next round", color, shift=shift)
        ended = [row for row in rows if row["reason"] == EndReason.QUORUM_UNREACHABLE and int(row["round"]) == _KILL_ROUND]
        if ended:
            at = [places[int(row["killed"])] for row in ended], [float(row["duration_s"]) for row in ended]
            axes.plot(
                *at, color=style.VERMILION, marker="X", markersize=9, linestyle="", label="ended by itself: QuorumUnreachable, exit 3"
            )
        axes.set_xticks(list(places.values()), [str(killed) for killed in places])
        axes.set_xlabel(f"workers killed for good, of {self.workers} ({self.required} needed)")
        axes.set_ylabel("seconds after the round opened")
        axes.set_ylim(bottom=0)
        style.legend(axes)

    def caption(self, rows: Sequence[Row]) -> str:
        """Say who was killed when."""
        runs = len({row["run_dir"] for row in rows})
        return (
            f"{self.workers} workers, quorum {self.quorum} %: {self.required} updates close a round. Workers are killed for good as round"
            f" {_KILL_ROUND} opens. Dots: runs; line: mean; bars: least and most; crosses: the run has ended, with too few workers left."
            f" n = {_per_point(rows)} per number of killed workers, {counted(runs, 'run')} in all."
        )

    def table(self, rows: Sequence[Row]) -> tuple[Cells, list[Cells]]:
        """Return mean and range of both rounds, and how the runs ended."""
        lines: list[Cells] = []
        for killed in sorted({int(row["killed"]) for row in rows}):
            of_these = [row for row in rows if int(row["killed"]) == killed]
            durations = [_durations(of_these, number).get(killed, []) for number in (_KILL_ROUND, _KILL_ROUND + 1)]
            ends = sorted({f"{row['reason']}, exit {row['exit_code']}" for row in of_these})
            lines.append([str(killed), *(_spread(values) for values in durations), "; ".join(ends), _per_point(of_these)])
        return ("killed", "round of the kills, or until the end", "next round", "runs ended", "n"), lines


def _durations(rows: Iterable[Row], number: int) -> dict[int, list[float]]:
    found: dict[int, list[float]] = {}
    for row in rows:
        if int(row["round"]) == number and row["duration_s"] != "":
            found.setdefault(int(row["killed"]), []).append(float(row["duration_s"]))
    return found


def _per_point(rows: Iterable[Row]) -> str:
    return per_point((int(row["killed"]), int(row["seed"])) for row in rows)


def _spread(values: Sequence[float]) -> str:
    return f"{mean(values):.1f} s ({min(values):.1f} to {max(values):.1f})" if values else ""
