"""Accuracy of the averaged model by number of workers: the same images split evenly, every worker needed in every round."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import mean
from typing import TYPE_CHECKING, ClassVar

from fedcore.experiments.experiment import Cells, Ended, Row, Run, counted, per_point, shipped_digits, wrong_end

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.figure import Figure

__all__ = ["PUBLISHED", "AccuracyByWorkers"]

PUBLISHED = {1: 0.9776, 2: 0.9739, 4: 0.9693, 8: 0.9502}
"""The paper's accuracy for 1, 2, 4 and 8 workers: 40,000 images, quorum 1.0, 2 rounds of 4 to 5 epochs, one run each."""
SHIPPED_IMAGES = 12_000
"""Training images in the package; more are taken from the whole set."""


@dataclass(frozen=True, slots=True)
class AccuracyByWorkers:
    """``fedcore experiment accuracy-vs-workers``."""

    workers: tuple[int, ...] = (1, 2, 4, 8)
    seeds: int = 3
    images: int = 6_000
    rounds: int = 2
    epochs: float = 4.5

    NAME: ClassVar[str] = "accuracy-vs-workers"
    TITLE: ClassVar[str] = "Accuracy by number of workers"
    COLUMNS: ClassVar[tuple[str, ...]] = (
        *("seed", "workers", "images", "rounds", "epochs", "accuracy", "loss", "duration_s", "phase", "reason", "exit_code", "run_dir"),
    )
    HEIGHT: ClassVar[float] = 4.4
    PAPER: ClassVar[str] = (
        "40,000 images, quorum 1.0, 2 rounds of 4 to 5 local epochs: 97.76, 97.39, 96.93, 95.02 % with 1, 2, 4, 8 workers, one run each;"
        " the mean of the accuracies of the workers' own models."
    )

    def runs(self) -> list[Run]:
        """Return a run for each number of workers and seed."""
        return [self._run(workers, seed) for seed in range(self.seeds) for workers in self.workers]

    def _run(self, workers: int, seed: int) -> Run:
        dataset = "shipped" if self.images <= SHIPPED_IMAGES else "full"
        fields = {
            "spec.task.entrypoint": shipped_digits().entrypoint,
            "spec.task.parameters.images": self.images,
            "spec.task.parameters.dataset": dataset,
            "spec.workload.epochs": self.epochs,
        }
        flags = ["--workers", str(workers), "--rounds", str(self.rounds)]
        for field, value in fields.items():
            flags += ["--set", f"{field}={value}"]
        facts = {"workers": workers, "images": self.images, "rounds": self.rounds, "epochs": self.epochs}
        return Run(f"{workers}-workers-seed-{seed}", counted(workers, "worker"), seed, facts, flags)

    def rows(self, ended: Ended) -> list[Row]:
        """Read the final model's accuracy and loss."""
        metrics = ended.summary.get("metrics") or {}
        measured = {name: metrics.get(name, "") for name in ("accuracy", "loss")}
        return [{"seed": ended.run.seed, **ended.run.facts, **measured, "duration_s": ended.summary.get("duration_s", ""), **ended.end}]

    def wrong(self, ended: Ended) -> str:
        """See that the run completed, and that its final model was measured."""
        return wrong_end(ended) or ("" if "accuracy" in (ended.summary["metrics"] or {}) else "the final model was not measured")

    def words(self, ended: Ended) -> str:
        """Say the accuracy."""
        return f"accuracy {100 * ended.summary['metrics']['accuracy']:.2f} %"

    def draw(self, figure: Figure, rows: Sequence[Row]) -> None:
        """Draw every run, the mean and the range by number of workers, and the paper's values."""
        from fedcore.experiments.drawing import draw_spread
        from fedcore.report.plots import style

        axes = figure.subplots()
        found = _by_workers(rows)
        places = {workers: float(place) for place, workers in enumerate(found)}
        draw_spread(axes, {places[workers]: values for workers, values in found.items()}, "averaged model", style.BLUE)
        published = [(places[workers], 100 * PUBLISHED[workers]) for workers in found if workers in PUBLISHED]
        if published:
            axes.plot(*zip(*published, strict=True), color=style.GREY, marker="D", linestyle="--", label="the paper (40,000 images)")
        axes.set_xticks(list(places.values()), [str(workers) for workers in places])
        axes.set_xlabel("workers")
        axes.set_ylabel("accuracy on the test images, %")
        style.legend(axes)

    def caption(self, rows: Sequence[Row]) -> str:
        """Say what was trained on what."""
        runs = per_point((int(row["workers"]), int(row["seed"])) for row in rows)
        return (
            f"{self.images:,} images split evenly, quorum 100 %, {counted(self.rounds, 'round')} of {self.epochs:g} epochs,"
            f" {shipped_digits().words}; the averaged model on the whole test set."
            f" Dots: runs; line: mean; bars: least and most. n = {runs} per number of workers."
        )

    def table(self, rows: Sequence[Row]) -> tuple[Cells, list[Cells]]:
        """Return mean and range by number of workers, and the paper's value."""
        lines: list[Cells] = []
        for workers, values in _by_workers(rows).items():
            published = f"{100 * PUBLISHED[workers]:.2f} %" if workers in PUBLISHED else "not given"
            seconds = mean(float(row["duration_s"]) for row in rows if int(row["workers"]) == workers)
            spread = [f"{value:.2f} %" for value in (mean(values), min(values), max(values))]
            lines.append([str(workers), *spread, published, str(len(values)), f"{seconds:.0f} s"])
        return ("workers", "accuracy, mean", "least", "most", "the paper", "n", "a run took"), lines


def _by_workers(rows: Sequence[Row]) -> dict[int, list[float]]:
    """Return the accuracies, in percent, by number of workers in ascending order; a run that failed has none."""
    found: dict[int, list[float]] = {}
    for row in sorted(rows, key=lambda row: int(row["workers"])):
        if row["accuracy"] != "":
            found.setdefault(int(row["workers"]), []).append(100 * float(row["accuracy"]))
    return found
