"""Follows a run's events.jsonl: complete lines only, each once, whatever a coordinator that is killed leaves behind."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from fedcore.report.rundir import EVENTS, parse_event

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["EventTail"]


class EventTail:
    """Reads what has been added since the last time.

    A torn last line is not taken: the next coordinator cuts it off and writes on where the last complete line ended.

    Parameters
    ----------
    run_dir : Path
        The run; events that are there already are left out.
    """

    def __init__(self, run_dir: Path) -> None:
        self._path = run_dir / EVENTS
        self._at = 0
        self.read()

    def read(self) -> list[dict[str, Any]]:
        """Return the new events, oldest first."""
        try:
            with self._path.open("rb") as file:
                file.seek(self._at)
                added = file.read()
        except FileNotFoundError:
            return []
        end = added.rfind(b"\n") + 1
        self._at += end
        events = (parse_event(line) for line in added[:end].splitlines(keepends=True))
        return [event for event in events if event is not None]

    def append_after(self, line: bytes) -> None:
        """Write one line behind the last complete one, or nothing; only while there is no coordinator.

        Raises
        ------
        OSError
            The file cannot be written.
        """
        self.read()
        with self._path.open("ab", buffering=0) as file:
            file.truncate(self._at)
            try:
                rest = memoryview(line)
                while rest:
                    rest = rest[file.write(rest) :]
                os.fsync(file.fileno())
            except OSError:
                file.truncate(self._at)
                raise
