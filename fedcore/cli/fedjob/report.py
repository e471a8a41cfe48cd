"""``kubectl fedjob report``: the run directory of a job on a cluster, fetched, and its report written here."""

from __future__ import annotations

import sys
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fedcore.cli.closing import closing, count
from fedcore.cli.fedjob.fetch import fetch, place
from fedcore.cli.fedjob.remains import remains
from fedcore.cli.fedjob.source import Source
from fedcore.cli.fedjob.trouble import USAGE, Trouble
from fedcore.engine.reasons import EndReason, Phase
from fedcore.report.lock import RunDirectoryLocked
from fedcore.report.rundir import EVENTS, JOB, MODEL, SUMMARY, read_events, write_json
from fedcore.report.summary import End
from fedcore.report.write import GET_IT, can_draw, locked, rebuild, write_pages, write_report

if TYPE_CHECKING:
    from fedcore.cli.fedjob.http import Http
    from fedcore.cli.fedjob.kubectl import Kubectl
    from fedcore.cli.fedjob.scene import Scene

__all__ = ["ReportOptions", "end_of", "report"]

_FILES = (JOB, EVENTS, SUMMARY)
"""Of these all else is made, except the model."""
_NOT_DRAWN = 1


@dataclass(frozen=True, slots=True)
class ReportOptions:
    """What the flags say."""

    run_dir: Path | None = None
    model: bool = False


def report(http: Http, kubectl: Kubectl, name: str, options: ReportOptions) -> int:
    """Fetch and write the report, and return the exit code.

    Raises
    ------
    Trouble
        There is no such job, nothing to fetch, no right to, or no room here.
    """
    source = Source(http, kubectl.namespace, name)
    scene = source.read()
    for sentence in source.hidden:
        print(f"note: {sentence}", file=sys.stderr)
    run_dir = options.run_dir or _default(scene)
    try:
        with place(http, kubectl, scene) as found:
            if found is None:
                return _status_alone(scene, run_dir)
            run_dir.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=run_dir.parent, prefix=f".{run_dir.name}-") as fetched:
                _fetch(kubectl, scene, found, Path(fetched), options)
                _move(Path(fetched), run_dir)
        with locked(run_dir):
            return _finished(scene, run_dir)
    except (OSError, RunDirectoryLocked) as error:
        raise Trouble(f"the report cannot be written here: {error}", USAGE) from error


def _fetch(kubectl: Kubectl, scene: Scene, found: tuple[str, str], folder: Path, options: ReportOptions) -> None:
    got = fetch(kubectl, *found, (*_FILES, *((MODEL,) if options.model else ())), folder)
    if EVENTS not in got:
        raise Trouble(f"the run directory of job {scene.name} has no {EVENTS} yet", USAGE)
    if options.model and MODEL not in got:
        print(f"note: there is no {MODEL} yet: it is written when the job ends", file=sys.stderr)


def _move(fetched: Path, run_dir: Path) -> None:
    """Replace what was fetched of the same run before; anything else that lies there is not ours to replace."""
    run_dir.mkdir(exist_ok=True)
    with locked(run_dir):
        there = {entry.name for entry in run_dir.iterdir()} - {".lock", "runner.lock"}
        if there and _run_id(run_dir) != _run_id(fetched):
            raise Trouble(f"{run_dir} holds something else; --run-dir names another place", USAGE)
        for file in fetched.iterdir():
            file.replace(run_dir / file.name)


def _run_id(folder: Path) -> Any:
    return next((event.get("run_id") for event in read_events(folder / EVENTS) if event["event"] == "run_started"), None)


def _finished(scene: Scene, run_dir: Path) -> int:
    summary = rebuild(run_dir, end_of(scene))
    notes = []
    if scene.end is None and summary["phase"] == Phase.INTERRUPTED:
        notes = [f"The job was {scene.status.phase or 'Pending'} when this was fetched, {datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC."]
        summary |= {"phase": str(Phase.RUNNING), "reason": scene.status.phase or "Pending", "message": ""}
    page = write_report(run_dir, summary, notes) if can_draw() else None
    return _told(summary, page)


def _status_alone(scene: Scene, run_dir: Path) -> int:
    summary, history, note = remains(scene, run_dir)
    run_dir.mkdir(parents=True, exist_ok=True)
    if (run_dir / EVENTS).exists():
        raise Trouble(f"{run_dir} holds more of a run than the status does; --run-dir names another place", USAGE)
    write_json(run_dir / SUMMARY, summary)
    print(f"note: {note}", file=sys.stderr)
    page = write_pages(run_dir, summary, history, notes=[note]) if can_draw() else None
    return _told(summary, page)


def _told(summary: dict[str, Any], page: Path | None) -> int:
    lines = closing(summary, [], page)
    if summary["phase"] == Phase.RUNNING:
        target = f" of {summary['rounds_target']}" if summary["rounds_target"] else ""
        lines[0] = f"{summary['reason']}: {count(summary['rounds_completed'], 'round')}{target} closed"
    print("\n".join(line for line in lines if not line.startswith("  Logs ")))
    if page is None:
        print(f"note: plots and report.html need matplotlib and jinja2: {GET_IT}", file=sys.stderr)
        return _NOT_DRAWN
    return 0


def end_of(scene: Scene) -> End | None:
    """Return how the operator says that the job ended, for a coordinator that could not say it; None if it has not."""
    if scene.end is None:
        return None
    phase = Phase.SUCCEEDED if scene.end.type == "Complete" else Phase.FAILED
    reason = EndReason(scene.end.reason) if scene.end.reason in set(EndReason) else EndReason.INTERNAL_ERROR
    return End(phase, reason, scene.end.message)


def _default(scene: Scene) -> Path:
    return Path("runs") / f"{scene.status.start_time or scene.created:%Y%m%d-%H%M%S}-{scene.name}"
