"""``fedcore report RUN``: tables, summary, plots and page of a run, made anew from its events."""

from __future__ import annotations

import sys
from pathlib import Path

from fedcore.cli.closing import closing
from fedcore.report.lock import RunDirectoryLocked
from fedcore.report.write import GET_IT, NoRun, can_draw, check_run_dir, locked, newest_run, rebuild, write_report

__all__ = ["find_run", "report"]

_USAGE = 2
_LATEST = "latest"
_RUNS = Path("runs")


def report(run: str) -> int:
    """Write the report and return the exit code: 0 written, 1 only the part that needs no plots, 2 no run there that could be read."""
    try:
        run_dir = find_run(run)
        with locked(run_dir):
            summary = rebuild(run_dir)
            page = write_report(run_dir, summary) if can_draw() else None
    except NoRun as problem:
        print(f"error: {problem}", file=sys.stderr)
        return _USAGE
    except RunDirectoryLocked:
        print(f"error: {run} is still running; its report is written when it ends", file=sys.stderr)
        return _USAGE
    except OSError as error:
        print(f"error: the report cannot be written: {error}", file=sys.stderr)
        return _USAGE
    print("\n".join(closing(summary, [], page)))
    if page is None:
        print(f"note: plots and report.html need matplotlib and jinja2: {GET_IT}", file=sys.stderr)
        return 1
    return 0


def find_run(text: str) -> Path:
    """Return the run directory that is meant: a path, or ``latest``, the newest one below ./runs.

    Raises
    ------
    NoRun
        There is none.
    """
    path = Path(text)
    if text == _LATEST and not path.exists():
        newest = newest_run(_RUNS)
        if newest is None:
            raise NoRun(f"there is no run in {_RUNS}/")
        path = newest
    check_run_dir(path)
    return path
