"""A run's report: plots and one HTML file in its run directory, made of its events. matplotlib and jinja2 are imported here, and late.

They come with ``fedcore[report]``; without them tables and summary are all there is.
"""

from __future__ import annotations

import json
import os
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from fedcore.report.history import HistoryFold
from fedcore.report.lock import COORDINATOR_LOCK, RUNNER_LOCK, lock_run_dir
from fedcore.report.rundir import EVENTS, JOB, PLOTS, REPORT, SUMMARY, read_events, rebuild_tables, write_atomically, write_json
from fedcore.report.summary import summarise

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from fedcore.report.history import History
    from fedcore.report.summary import End

__all__ = [
    "GET_IT",
    "NoRun",
    "can_draw",
    "check_run_dir",
    "locked",
    "newest_run",
    "read_history",
    "read_summary",
    "rebuild",
    "write_pages",
    "write_report",
]

GET_IT = 'pip install "fedcore[report]"'
_TOLD_BY_EVENTS = ("run_id", "rounds_completed", "duration_s", "updates", "bytes")
_TOLD_BY_SUPERVISOR = ("phase", "reason", "message", "exit_code", "worker_restarts", "coordinator_restarts")


class NoRun(Exception):  # noqa: N818 - an answer to a wrong path
    """The path is no run directory; the message says why."""


def can_draw() -> bool:
    """Say whether plots and pages can be made, without importing what makes them."""
    return all(find_spec(name) is not None for name in ("matplotlib", "jinja2"))


def check_run_dir(path: Path) -> None:
    """See that a path is a run directory.

    Raises
    ------
    NoRun
        It is not.
    """
    if not path.exists():
        raise NoRun(f"{path} is not there")
    if not path.is_dir():
        raise NoRun(f"{path} is a file; a run is a directory, such as runs/20261124-091103-mnist")
    if not (path / EVENTS).is_file():
        newest = newest_run(path)
        held = "" if newest is None else f"; it holds runs, the newest is {newest}"
        raise NoRun(f"{path} holds no run: there is no {EVENTS}{held}")


def newest_run(folder: Path) -> Path | None:
    """Return the run directory in a folder that was written to last; None if there is none."""
    found = [(file.stat().st_mtime, file.parent) for file in folder.glob("*/" + EVENTS)]
    return max(found)[1] if found else None


def read_history(run_dir: Path) -> History:
    """Read a run from its events."""
    fold = HistoryFold()
    for event in read_events(run_dir / EVENTS):
        fold.feed(event)
    return fold.history()


def read_summary(run_dir: Path, end: End | None = None) -> dict[str, Any]:
    """Return a run's summary by its events; ``end``: how it ended, if that is known from elsewhere and they do not say it.

    What only its supervisor knew is kept from summary.json, if that is of the same state of the run: restarts of processes that never
    registered, and how a run ended that may be resumed.
    """
    try:
        before = json.loads((run_dir / SUMMARY).read_text("utf-8"))
    except (OSError, ValueError):
        before = {}
    before = before if isinstance(before, dict) else {}
    summary = summarise(read_events(run_dir / EVENTS), run_dir=run_dir, job=before.get("job", run_dir.name), end=end)
    if (
        end is None
        and all(key in before for key in _TOLD_BY_SUPERVISOR)
        and all(before.get(key) == summary[key] for key in _TOLD_BY_EVENTS)
    ):
        summary |= {key: before[key] for key in _TOLD_BY_SUPERVISOR}
    return summary


def rebuild(run_dir: Path, end: End | None = None) -> dict[str, Any]:
    """Write tables and summary anew from events.jsonl, and return the summary; ``end`` as in `read_summary`."""
    summary = read_summary(run_dir, end)
    rebuild_tables(run_dir)
    write_json(run_dir / SUMMARY, summary)
    return summary


def write_report(run_dir: Path, summary: Mapping[str, Any], notes: Sequence[str] = ()) -> Path:
    """Write plots and page of a run, and return the page's path.

    Raises
    ------
    OSError
        They cannot be written. A page that was there stays as it was.
    ImportError
        What makes them is not installed.
    """
    try:
        job = (run_dir / JOB).read_text("utf-8", "replace")
    except OSError:
        job = ""
    return write_pages(run_dir, summary, read_history(run_dir), job=job, notes=notes)


def write_pages(run_dir: Path, summary: Mapping[str, Any], history: History, *, job: str = "", notes: Sequence[str] = ()) -> Path:
    """Likewise, of a history that is at hand."""
    from fedcore.report.page import render
    from fedcore.report.plots import draw
    from fedcore.report.runpage import run_page

    pictures = draw(history)
    page = render(run_page(summary, history, pictures, job=job, notes=notes))
    folder = run_dir / PLOTS
    folder.mkdir(exist_ok=True)
    files = {f"{name}.{kind}": content for name, kinds in pictures.items() for kind, content in kinds.items()}
    for stale in {path.name for path in folder.iterdir() if path.suffix in {".png", ".svg"}} - set(files):
        (folder / stale).unlink()
    for name, content in files.items():
        write_atomically(folder / name, content)
    write_atomically(run_dir / REPORT, page)
    return run_dir / REPORT


@contextmanager
def locked(run_dir: Path) -> Iterator[None]:
    """Keep everybody else out of a run directory.

    Raises
    ------
    RunDirectoryLocked
        The run is still going on.
    OSError
        The directory cannot be written to.
    """
    with ExitStack() as held:
        for name in (RUNNER_LOCK, COORDINATOR_LOCK):
            held.callback(os.close, lock_run_dir(run_dir, name))
        yield
