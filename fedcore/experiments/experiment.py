"""What an experiment is: the runs it wants, what it reads off each, and what it makes of them all. Nothing here starts anything."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeAlias

from fedcore.engine.reasons import EXIT_CODE, EndReason
from fedcore.report.rundir import ROUNDS, UPDATES

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from matplotlib.figure import Figure

__all__ = ["Cells", "Digits", "Ended", "Experiment", "Row", "Run", "counted", "per_point", "shipped_digits", "wrong_end"]

Row: TypeAlias = Mapping[str, Any]
"""One line of results.csv."""
Cells: TypeAlias = Sequence[str]
"""One line of a table for people."""


@dataclass(frozen=True, slots=True)
class Run:
    """One ``fedcore run`` of the experiment's job file."""

    name: str
    """Of its run directory, below ``runs/``."""
    title: str
    """In words, without the seed."""
    seed: int
    facts: Mapping[str, Any]
    """What is different in this run: columns of results.csv."""
    flags: Sequence[str] = ()
    """What ``fedcore run JOB.yaml --seed N`` is given beside."""
    expected: EndReason = EndReason.COMPLETED
    """How it ends if the arithmetic holds."""


@dataclass(frozen=True, slots=True)
class Ended:
    """A run that has ended, and where it has left what."""

    run: Run
    exit_code: int
    summary: Mapping[str, Any]
    """As ``fedcore run --json`` prints it; empty if the run was killed before it could."""
    folder: Path
    """The run directory."""
    log: Path
    """What the run said on stderr: one JSON object a line."""

    @property
    def rounds(self) -> list[dict[str, str]]:
        """Rows of rounds.csv."""
        return _read(self.folder / ROUNDS)

    @property
    def updates(self) -> list[dict[str, str]]:
        """Rows of updates.csv."""
        return _read(self.folder / UPDATES)

    def said(self, event: str) -> list[dict[str, Any]]:
        """Return all that the run has logged under this name."""
        lines = (json.loads(line) for line in self.log.read_text("utf-8").splitlines() if line.startswith("{"))
        return [line for line in lines if line.get("event") == event]

    @property
    def end(self) -> dict[str, Any]:
        """How it ended, as columns of results.csv."""
        told = {key: self.summary.get(key, "") for key in ("phase", "reason")}
        return {**told, "exit_code": self.exit_code, "run_dir": f"runs/{self.run.name}"}


class Experiment(Protocol):
    """One figure."""

    NAME: ClassVar[str]
    """Of the command, of its job file in ``jobs/``, and in the folder's name."""
    TITLE: ClassVar[str]
    COLUMNS: ClassVar[tuple[str, ...]]
    """Of results.csv."""
    HEIGHT: ClassVar[float]
    """Of the figure, in inches."""
    PAPER: ClassVar[str]
    """What the paper shows instead."""

    def runs(self) -> list[Run]:
        """Return the runs, in the order in which they are made: all points of one seed, then the next seed's."""

    def rows(self, ended: Ended) -> list[Row]:
        """Read one run's rows of results.csv."""

    def wrong(self, ended: Ended) -> str:
        """Say what is not as the arithmetic has it; empty if all is."""

    def words(self, ended: Ended) -> str:
        """Say in a few words what came out of one run."""

    def draw(self, figure: Figure, rows: Sequence[Row]) -> None:
        """Draw all there is; it may be less than was wanted."""

    def caption(self, rows: Sequence[Row]) -> str:
        """Say what the figure shows, and of how many runs."""

    def table(self, rows: Sequence[Row]) -> tuple[Cells, list[Cells]]:
        """Return head and rows of a table of means and ranges, beside the paper's values where it has them."""


def wrong_end(ended: Ended) -> str:
    """Say how a run has ended otherwise than expected: reason, exit code, rounds."""
    wanted, summary = ended.run.expected, ended.summary
    if ended.exit_code != EXIT_CODE[wanted] or summary.get("reason") != wanted:
        seen = summary.get("reason", "without a summary")
        return f"ended with exit {ended.exit_code}, {seen}; expected exit {EXIT_CODE[wanted]}, {wanted}"
    done, target = summary["rounds_completed"], summary["rounds_target"]
    if wanted is EndReason.COMPLETED and done != target:
        return f"completed {done} of {target} rounds"
    return ""


def counted(number: int, noun: str) -> str:
    """Return a number with its noun."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def per_point(runs: Iterable[tuple[int, int]]) -> str:
    """Say how many runs each point has, from all pairs of point and seed: "3", or "2 to 3" after an interruption."""
    sizes = Counter(point for point, _seed in set(runs)).values()
    return " to ".join(str(size) for size in sorted({min(sizes, default=0), max(sizes, default=0)}))


@dataclass(frozen=True, slots=True)
class Digits:
    """A task of the handwritten digits."""

    entrypoint: str
    words: str


def shipped_digits() -> Digits:
    """Return the convolutional network where PyTorch is, else the perceptron in numpy, as ``fedcore run`` without a job file does."""
    if find_spec("torch"):
        return Digits("fedcore.tasks.mnist:task", "a convolutional network in PyTorch")
    return Digits("fedcore.tasks.mnist:numpy_task", "a perceptron in numpy")


def _read(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))
