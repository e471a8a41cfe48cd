"""What remains of a run when it has ended: summary.json, model.safetensors, the termination message."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

from fedcore.log import log_event
from fedcore.report.rundir import EVENTS, MODEL, SUMMARY, publish_newest_version, read_events, write_json
from fedcore.report.summary import End, summarise

if TYPE_CHECKING:
    from pathlib import Path

    from fedcore.coordinator.journal import Journal
    from fedcore.engine.effects import Finish

__all__ = ["Ending"]

_TERMINATION_BYTES = 4096
"""What the kubelet keeps of a termination message."""


class Ending:
    """Writes a run's last files, once."""

    def __init__(self, run_dir: Path, journal: Journal, termination_file: Path | None) -> None:
        self._run_dir = run_dir
        self._termination_file = termination_file
        self._journal = journal

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
