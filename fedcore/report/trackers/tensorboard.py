"""TensorBoard: event files in the run directory, so that ``tensorboard --logdir runs`` shows all runs side by side."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from fedcore.report.trackers.protocol import numbers

if TYPE_CHECKING:
    from tensorboardX import SummaryWriter

    from fedcore.report.trackers.protocol import RoundRow, RunInfo, Summary

__all__ = ["TensorBoard"]

FOLDER = "tensorboard"


class TensorBoard:
    """One scalar for each figure of rounds.csv, by round; job and summary as texts. A resumed run adds a file beside the first."""

    def __init__(self) -> None:
        self._writer: SummaryWriter | None = None
        self._round = 0

    def on_run_start(self, run: RunInfo) -> None:
        """Open the file."""
        from tensorboardX import SummaryWriter

        self._writer = SummaryWriter(logdir=str(run.run_dir / FOLDER))
        self._write_text("job", {"job": run.job, "run_id": run.run_id, "resume": run.resume, "spec": run.spec})

    def log_round(self, row: RoundRow) -> None:
        """Write the figures, down to the disk."""
        assert self._writer is not None
        self._round = row["round"]
        for name, value in numbers(row).items():
            self._writer.add_scalar(name, value, global_step=self._round)
        self._writer.flush()

    def on_run_end(self, summary: Summary) -> None:
        """Write the summary, and close the file."""
        assert self._writer is not None
        self._write_text("summary", summary)
        self._writer.close()

    def _write_text(self, tag: str, value: object) -> None:
        assert self._writer is not None
        lines = json.dumps(value, indent=1, ensure_ascii=False).splitlines()
        self._writer.add_text(tag, "\n".join(f"    {line}" for line in lines), self._round)  # Markdown: four spaces make it code
        self._writer.flush()
