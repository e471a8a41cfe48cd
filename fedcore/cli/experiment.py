"""``fedcore experiment``: the figures of the ancestor's paper, made anew. What is wrong with the flags is said before anything starts."""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from fedcore.experiments.experiment import Experiment

__all__ = ["app"]

_USAGE = 2
_NEEDED = ("matplotlib", "jinja2")

app = typer.Typer(no_args_is_help=True, help="Make the figures of the ancestor's paper anew, each of real runs with repeats.")

_Seeds = Annotated[int, typer.Option(min=1, max=100, help="Repeats of each point, with seeds 0, 1, 2...")]


def _numbers(flag: str, text: str, least: int, most: int) -> tuple[int, ...]:
    try:
        numbers = tuple(int(word) for word in text.split(","))
    except ValueError:
        numbers = ()
    if not numbers or not all(least <= number <= most for number in numbers) or len(set(numbers)) < len(numbers):
        raise typer.BadParameter(f'"{text}" will not do; allowed: different numbers from {least} to {most}, such as 1,2,4', param_hint=flag)
    return numbers


@app.command(
    "accuracy-vs-workers",
    epilog="Examples: [bold]fedcore experiment accuracy-vs-workers[/bold]  ·  "
    "[bold]FEDCORE_DATA=FOLDER fedcore experiment accuracy-vs-workers --images 40000[/bold], as in the paper",
)
def accuracy_vs_workers(
    *,
    workers: Annotated[str, typer.Option(metavar="N,N...", help="Numbers of workers.")] = "1,2,4,8",
    seeds: _Seeds = 3,
    images: Annotated[
        int,
        typer.Option(
            min=1, max=60_000, help="Training images in all, 12000 are in the package; more are taken from the whole set (FEDCORE_DATA)."
        ),
    ] = 6_000,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds of each run.")] = 2,
    epochs: Annotated[float, typer.Option(min=0.1, max=1000, help="Local epochs in a round.")] = 4.5,
) -> None:
    """Measure the averaged model trained by more and more workers: the same images split evenly, quorum 100 %.

    Exit codes: 0 every run ended as it should, 1 one did not, 2 nothing was started, 130 interrupted (what had ended is kept).
    """
    from fedcore.experiments.accuracy import AccuracyByWorkers

    _conduct(AccuracyByWorkers(_numbers("--workers", workers, 1, 1000), seeds, images, rounds, epochs))


@app.command(
    "round-trips",
    epilog="Examples: [bold]fedcore experiment round-trips[/bold]  ·  "
    "[bold]fedcore experiment round-trips --workers 50 --slow worker-7=4[/bold]",
)
def round_trips(
    *,
    workers: Annotated[int, typer.Option(min=1, max=1000, help="Workers of each run.")] = 8,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds of each run.")] = 10,
    slow: Annotated[
        list[str] | None,
        typer.Option(metavar="WORKER=FACTOR", help="Who is slowed. Repeatable. Default: worker-2=3 and worker-5=6, of those there are."),
    ] = None,
    seeds: _Seeds = 3,
) -> None:
    """Time every worker's trip in every round, some of them slowed, quorum 80 %: a heat strip and the spread.

    Exit codes: 0 every run ended as it should, 1 one did not, 2 nothing was started, 130 interrupted (what had ended is kept).
    """
    from fedcore.experiments.trips import SLOWED, RoundTrips
    from fedcore.local.faults import parse_slow

    try:
        slowed = SLOWED if slow is None else tuple(parse_slow(text) for text in slow)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--slow") from None
    if slow is None:
        slowed = tuple(each for each in slowed if each.index < workers)
    _conduct(RoundTrips(workers, rounds, slowed, seeds))


@app.command(
    epilog="Examples: [bold]fedcore experiment failures[/bold]  ·  "
    "[bold]fedcore experiment failures --workers 50 --kill 0,4,8,12,14[/bold], as in the paper"
)
def failures(
    *,
    workers: Annotated[int, typer.Option(min=1, max=1000, help="Workers of each run.")] = 16,
    quorum: Annotated[int, typer.Option(min=1, max=100, help="spec.quorum.percent.")] = 75,
    kill: Annotated[str, typer.Option(metavar="N,N...", help="How many are killed for good as round 2 opens.")] = "0,2,4,5",
    seeds: _Seeds = 3,
) -> None:
    """Kill workers for good and time the rounds; with too few left a run ends by itself, exit 3 and QuorumUnreachable.

    Exit codes: 0 every run ended as it should, 1 one did not, 2 nothing was started, 130 interrupted (what had ended is kept).
    """
    from fedcore.experiments.failures import Failures

    _conduct(Failures(workers, quorum, _numbers("--kill", kill, 0, workers), seeds))


def _conduct(experiment: Experiment) -> None:
    missing = [name for name in _NEEDED if find_spec(name) is None]
    if missing:
        print(f'error: {" and ".join(missing)} not installed: pip install "fedcore[report]"; nothing was started', file=sys.stderr)
        raise typer.Exit(_USAGE)
    from fedcore.experiments.conduct import FIGURE, RESULTS, conduct
    from fedcore.experiments.experiment import counted
    from fedcore.report.rundir import REPORT

    done = conduct(experiment, Path("experiments"))
    if done.refused:
        print(done.refused, end="", file=sys.stderr)
        raise typer.Exit(done.exit_code)
    as_planned = len(done.ended) - len(done.wrong)
    print(f"{as_planned} of {counted(done.total, 'run')} ended as the arithmetic says, {done.seconds:.0f} s in all")
    for line in done.wrong:
        print(f"  ✖ {line}")
    if done.rows:
        folder = os.path.relpath(done.folder)
        print(f"  Report  {folder}/{REPORT}      Data  {RESULTS}  {FIGURE}.png  {FIGURE}.svg  runs/")
    raise typer.Exit(done.exit_code)
