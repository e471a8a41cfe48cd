"""What an experiment's report says: its figure, the means beside the paper's values, and each run with the command that makes it again."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from fedcore.engine.reasons import Phase
from fedcore.experiments.experiment import counted
from fedcore.report.content import Page, Table, picture, span
from fedcore.report.rundir import JOB

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fedcore.experiments.experiment import Ended, Experiment, Row, Run

__all__ = ["arguments", "experiment_page"]


def arguments(run: Run, job: str, run_dir: str) -> list[str]:
    """Return what a run is started with, after ``fedcore``."""
    return ["run", job, "--seed", str(run.seed), *run.flags, "--run-dir", run_dir]


def experiment_page(
    experiment: Experiment,
    ended: Sequence[Ended],
    rows: Sequence[Row],
    figure: Mapping[str, bytes],
    wrong: Sequence[str],
    *,
    planned: int,
    job: str,
) -> Page:
    """Return the report.

    Parameters
    ----------
    experiment, ended, rows
        What was done, and what was read off it.
    figure
        As ``png`` and ``svg``.
    wrong
        What did not go as the arithmetic says, a line for each run.
    planned
        Number of runs that were wanted.
    job
        The job file.
    """
    complete = not wrong and len(ended) == planned
    runs = [
        (
            f"{each.run.title}, seed {each.run.seed}",
            f"{each.summary.get('reason', 'no summary')}, exit {each.exit_code}",
            span(each.summary.get("duration_s")),
            shlex.join(["fedcore", *arguments(each.run, JOB, f"again/{each.run.name}")]),
        )
        for each in ended
    ]
    return Page(
        title=experiment.TITLE,
        heading=experiment.TITLE,
        phase=str(Phase.SUCCEEDED if complete else Phase.FAILED if wrong else Phase.INTERRUPTED),
        ending=f"{len(ended) - len(wrong)} of {counted(planned, 'run')} ended as the arithmetic says",
        notes=[*wrong, *([] if len(ended) == planned else [f"Broken off: {len(ended)} of {planned} runs."])],
        pictures=[picture("figure", figure, experiment.caption(rows))],
        tables=[
            Table("Values", *experiment.table(rows), note=f"The paper: {experiment.PAPER}"),
            Table("Runs", ("run", "ended", "took", "again, in this folder"), runs, words=True),
        ],
        job=job,
    )
