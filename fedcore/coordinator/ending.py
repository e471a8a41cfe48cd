"""What remains of a run when it has ended: summary.json, model.safetensors, the termination message."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

from fedcore.coordinator.journal import Journal
from fedcore.engine.effects import Finish
from fedcore.engine.reasons import EXIT_CODE, EndReason, Phase
from fedcore.log import log_event
from fedcore.report.identity import AnotherRun, check_same_job
from fedcore.report.rundir import EVENTS, MODEL, SUMMARY, is_finished, publish_newest_version, read_events, write_json
from fedcore.report.summary import End, summarise
from fedcore.report.trackers import Trackers

if TYPE_CHECKING:
    from pathlib import Path

    from fedcore.spec import FederatedJob

__all__ = ["Ending", "repeat_end"]

_TERMINATION_BYTES = 4096
"""What the kubelet keeps of a termination message."""


class Ending:
    """Writes a run's last files, and tells its trackers, once."""

    def __init__(self, run_dir: Path, journal: Journal, termination_file: Path | None, trackers: Trackers | None = None) -> None:
        self._run_dir = run_dir
        self._termination_file = termination_file
        self._journal = journal
        self._trackers = trackers or Trackers()

    def write(self, end: Finish) -> None:
        """Write all that the disk takes; what it does not is logged and changes nothing, since the job has ended already."""
        said = End(end.phase, end.reason, end.message)  # for a log that could not be written any more
        summary = summarise(read_events(self._run_dir / EVENTS), run_dir=self._run_dir, end=said)
        for write in (
            self._journal.sync,
            lambda: publish_newest_version(self._run_dir),
            lambda: write_json(self._run_dir / SUMMARY, summary),
        ):
            try:
                write()
            except OSError as error:
                log_event("last_files_incomplete", error=str(error))
        self._trackers.on_run_end(summary)
        if self._termination_file is not None:
            message = {
                "schema": 1,
                "final": True,
                "phase": str(end.phase),
                "reason": str(end.reason),
                "message": end.message[:512],
                "rounds": summary["rounds_completed"],
                "metrics": summary["metrics"] or {},
                "artifact": MODEL,
                **self._model_digest(),
            }
            if len(json.dumps(message)) > _TERMINATION_BYTES:  # names of metrics are the task's, and cut JSON would read as a crash
                message |= {"metrics": {}, "message": end.message[:256]}
            try:
                self._termination_file.write_text(json.dumps(message), encoding="utf-8")
            except OSError as error:
                log_event("termination_message_failed", error=str(error))

    def _model_digest(self) -> dict[str, str]:
        """Lets whoever fetches the model see that it is this one; a job that ended before its first round has none."""
        try:
            with (self._run_dir / MODEL).open("rb") as model:
                return {"sha256": hashlib.file_digest(model, "sha256").hexdigest()}
        except OSError:
            return {}


def repeat_end(job: FederatedJob, run_dir: Path, termination_file: Path) -> Finish | None:
    """Say once more how a run of this job ended; None if the directory holds no such run.

    A coordinator that was killed between the end of its run and its last words leaves a supervisor without them. The next attempt has
    nothing to coordinate: it writes what may be missing, and ends as its predecessor would have.
    """
    if not is_finished(run_dir):
        return None
    try:
        check_same_job(job, run_dir)
    except AnotherRun:
        return None
    journal = Journal(run_dir)
    try:
        end = _end_of(journal, run_dir)
        log_event("end_repeated", phase=str(end.phase), reason=str(end.reason))
        Ending(run_dir, journal, termination_file).write(end)
    finally:
        journal.close()
    return end


def _end_of(journal: Journal, run_dir: Path) -> Finish:
    said = next((event for event in reversed(journal.past) if event["event"] == "run_finished"), None)
    if said is None:  # the log could not be written any more, the summary could
        said = json.loads((run_dir / SUMMARY).read_text("utf-8"))
    reason = EndReason(said["reason"])
    return Finish(Phase(said["phase"]), reason, said["message"], EXIT_CODE[reason])
