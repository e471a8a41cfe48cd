"""An experiment's report: one HTML file that needs nothing beside it but the links to its runs."""

from __future__ import annotations

import shlex
from importlib.resources import files
from typing import TYPE_CHECKING

from fedcore import __version__
from fedcore.report.rundir import JOB, write_atomically

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from fedcore.experiments.experiment import Ended, Experiment, Row, Run

__all__ = ["FIGURE", "REPORT", "arguments", "write_page"]

FIGURE, REPORT = "figure", "report.html"


def arguments(run: Run, job: str, run_dir: str) -> list[str]:
    """Return what a run is started with, after ``fedcore``."""
    return ["run", job, "--seed", str(run.seed), *run.flags, "--run-dir", run_dir]


def write_page(
    experiment: Experiment, folder: Path, ended: Sequence[Ended], rows: Sequence[Row], wrong: Sequence[str], *, planned: int
) -> None:
    """Write report.html beside the figure, which stands in it."""
    from jinja2 import Environment, StrictUndefined

    source = (files("fedcore.experiments") / "page.html.j2").read_text("utf-8")
    template = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True).from_string(source)
    svg = (folder / f"{FIGURE}.svg").read_text("utf-8")
    runs = [
        {
            "title": f"{each.run.title}, seed {each.run.seed}",
            "end": f"{each.summary.get('reason', 'no summary')}, exit {each.exit_code}",
            "duration": f"{float(each.summary.get('duration_s', 0)):.1f} s",
            "link": f"runs/{each.run.name}/",
            "command": shlex.join(["fedcore", *arguments(each.run, JOB, f"again/{each.run.name}")]),
        }
        for each in ended
    ]
    page = template.render(
        title=experiment.TITLE,
        name=experiment.NAME,
        version=__version__,
        figure=svg[svg.index("<svg") :],
        caption=experiment.caption(rows),
        paper=experiment.PAPER,
        table=experiment.table(rows),
        runs=runs,
        planned=planned,
        wrong=wrong,
    )
    write_atomically(folder / REPORT, page)
