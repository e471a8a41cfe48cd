"""Makes an experiment's runs, one after the other, and writes what comes out: results.csv after each of them, then figure and report.

Every run is ``fedcore run`` in a process of its own, as a user would start it. What is there is kept whatever happens: after Ctrl-C the
figure has the runs that had ended.
"""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.resources import files
from typing import TYPE_CHECKING

from fedcore.engine.reasons import EXIT_CODE, EndReason
from fedcore.experiments.experiment import Ended, counted
from fedcore.experiments.page import arguments, experiment_page
from fedcore.local.interrupts import held_back, interruptible
from fedcore.local.processes import child_environment
from fedcore.report.rundir import JOB, REPORT, new_run_dir, write_atomically

if TYPE_CHECKING:
    from pathlib import Path

    from fedcore.experiments.experiment import Experiment, Row, Run

__all__ = ["FIGURE", "RESULTS", "Conducted", "conduct"]

RESULTS, FIGURE = "results.csv", "figure"
_REFUSED = 2
_LIMIT_SECONDS = 3 * 3600
"""Of one run. Its job file has an end of two hours: this is for a runner that is stuck."""
_DRAIN_SECONDS = 60
"""What an interrupted run gets. It needs 10 s at most."""


@dataclass
class Conducted:
    """An experiment that has ended, or was broken off."""

    folder: Path
    total: int
    ended: list[Ended] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    """What did not go as the arithmetic says, a line for each run."""
    refused: str = ""
    """What ``fedcore run`` has against the job; nothing was started then."""
    interrupted: bool = False
    seconds: float = 0.0

    @property
    def exit_code(self) -> int:
        """Exit code of ``fedcore experiment``."""
        if self.refused:
            return _REFUSED
        if self.interrupted:
            return EXIT_CODE[EndReason.INTERRUPTED]
        return 1 if self.wrong else 0


def conduct(experiment: Experiment, base: Path) -> Conducted:
    """Make all runs below a new folder of ``base``; tell on stderr how far it is."""
    began = time.monotonic()
    runs = experiment.runs()
    done = Conducted(new_run_dir(base, experiment.NAME, datetime.now(UTC)), len(runs))
    job = done.folder / JOB
    job.write_text((files("fedcore.experiments") / "jobs" / f"{experiment.NAME}.yaml").read_text("utf-8"), encoding="utf-8")
    for kind in ("runs", "logs"):
        (done.folder / kind).mkdir()
    _say(f"{experiment.TITLE}: {counted(len(runs), 'run')}, results in {os.path.relpath(done.folder)}/\n")
    try:
        with interruptible():
            for number, run in enumerate(runs, 1):
                _say(f"{number:>3}/{len(runs)}  {run.title}, seed {run.seed}: ")
                ended = _make(run, job, done.folder)
                if ended.exit_code == _REFUSED:
                    done.refused = ended.log.read_text("utf-8")
                    break
                _take(experiment, ended, done, time.monotonic() - began)
    except KeyboardInterrupt:
        done.interrupted = True
        _say("interrupted\n")
    done.seconds = time.monotonic() - began
    if done.refused and not done.ended:
        shutil.rmtree(done.folder)
        return done
    if done.rows:
        _write_report(experiment, done)
    return done


def _write_report(experiment: Experiment, done: Conducted) -> None:
    from fedcore.experiments.drawing import draw_figure
    from fedcore.report.page import render

    figure = draw_figure(experiment, done.rows)
    for kind, content in figure.items():
        write_atomically(done.folder / f"{FIGURE}.{kind}", content)
    job = (done.folder / JOB).read_text("utf-8")
    page = experiment_page(experiment, done.ended, done.rows, figure, done.wrong, planned=done.total, job=job)
    write_atomically(done.folder / REPORT, render(page))


def _take(experiment: Experiment, ended: Ended, done: Conducted, seconds: float) -> None:
    wrong = experiment.wrong(ended)
    done.ended.append(ended)
    if ended.summary:
        done.rows += experiment.rows(ended)
        _write_rows(done.folder / RESULTS, experiment.COLUMNS, done.rows)
    if wrong:
        done.wrong.append(f"{ended.run.title}, seed {ended.run.seed}: {wrong}")
    left = seconds / len(done.ended) * (done.total - len(done.ended))
    later = f" · about {left:.0f} s left" if left else ""
    _say(f"{wrong or experiment.words(ended)} · {float(ended.summary.get('duration_s', 0)):.1f} s{later}\n")


def _make(run: Run, job: Path, folder: Path) -> Ended:
    run_dir, log = folder / "runs" / run.name, folder / "logs" / f"{run.name}.jsonl"
    command = [*arguments(run, str(job), str(run_dir)), "--json", "--log-format", "json", "--no-report"]
    with log.open("wb") as errors:
        child = None
        try:
            with held_back():
                child = subprocess.Popen(
                    [sys.executable, "-P", "-m", "fedcore.cli.main", *command],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=errors,
                    env=child_environment(os.environ, {}),
                    process_group=0,  # Ctrl-C reaches it once, through us: a second one would kill its workers
                )
            out = _output(child)
            exit_code = child.returncode
        except KeyboardInterrupt:
            if child is not None:
                _stop(child)
            raise
    summary = json.loads(out) if out.strip() else {}
    return Ended(run, exit_code, summary, run_dir, log)


def _output(child: subprocess.Popen[bytes]) -> bytes:
    try:
        return child.communicate(timeout=_LIMIT_SECONDS)[0]
    except subprocess.TimeoutExpired:
        return _stop(child)


def _stop(child: subprocess.Popen[bytes]) -> bytes:
    child.send_signal(signal.SIGINT)
    try:
        return child.communicate(timeout=_DRAIN_SECONDS)[0]
    except (subprocess.TimeoutExpired, KeyboardInterrupt):
        child.kill()  # its processes end with it
        return child.communicate()[0]


def _write_rows(path: Path, columns: tuple[str, ...], rows: list[Row]) -> None:
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_atomically(path, text.getvalue())


def _say(text: str) -> None:
    print(text, end="", file=sys.stderr, flush=True)
