"""events.jsonl: everything that happened, in order; the tables and the summary are folds of it."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from fedcore.engine.reasons import Result
from fedcore.log import log_event
from fedcore.report.rundir import EVENTS, TableFiles, format_time, read_events

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

__all__ = ["Journal"]

_QUIET = {"task_sent", "task_superseded", "checkpoint_written"}
"""Events that come once per worker or say what another has said, as accepted updates do: in the file, not in the log."""


class Journal:
    """Appends events, mirrors them to whoever watches, and keeps rounds.csv and updates.csv up to date.

    Parameters
    ----------
    run_dir : Path
        An existing run is continued: a torn last line is cut off, ``resume`` is one higher.
    mirror : int or None
        Descriptor that gets each line too. A reader that went away is forgotten.

    Attributes
    ----------
    watcher : callable or None
        Called with each event that was appended.
    on_round : callable or None
        Called with each row of rounds.csv when it is complete.
    """

    def __init__(self, run_dir: Path, mirror: int | None = None) -> None:
        path = run_dir / EVENTS
        before = list(read_events(path))
        self.past: list[dict[str, Any]] = before
        self.last_resume: int | None = before[-1]["resume"] if before else None
        self.resume = 0 if self.last_resume is None else self.last_resume + 1
        self._seq = before[-1]["seq"] + 1 if before else 0
        self._mirror = mirror
        self.watcher: Callable[[Mapping[str, Any]], None] | None = None
        self.on_round: Callable[[Mapping[str, Any]], None] | None = None
        self._file = path.open("ab", buffering=0)
        _cut_torn_line(path)
        self._tables = TableFiles(run_dir, before)

    def append(self, event: str, fields: Mapping[str, Any], *, resume: int | None = None, time: str | None = None) -> dict[str, Any]:
        """Append one event and return it; ``resume`` and ``time`` only for one that a crash kept a predecessor from writing.

        Raises
        ------
        OSError
            The run directory cannot be written.
        """
        line = {
            "time": format_time(datetime.now(UTC)) if time is None else time,
            "seq": self._seq,
            "resume": self.resume if resume is None else resume,
            "event": event,
            **fields,
        }
        encoded = (json.dumps(line, ensure_ascii=False, allow_nan=False, separators=(",", ":")) + "\n").encode()
        self._write(encoded)
        self._seq += 1
        rows = self._tables.feed(line)
        if self.watcher is not None:
            self.watcher(line)
        if self.on_round is not None:
            for row in rows:
                if row.table == "rounds":
                    self.on_round(row.values)
        self._tell(encoded)
        if event not in _QUIET and fields.get("result") != Result.ACCEPTED:
            log_event(event, **{key: value for key, value in fields.items() if not isinstance(value, dict)})
        return line

    def sync(self) -> None:
        """Make what was appended durable; called from the thread that writes a version."""
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Close the files; what a full disk keeps from the tables is written anew from the events at the next start."""
        try:
            self._tables.close()
        except OSError as error:
            log_event("tables_incomplete", error=str(error))
        self._file.close()

    def _write(self, line: bytes) -> None:
        """Append a whole line or nothing: a disk that fills up takes the first bytes of one, and the next would follow on them."""
        rest = memoryview(line)
        try:
            while rest:
                rest = rest[self._file.write(rest) :]
        except OSError:
            if len(rest) < len(line):
                with suppress(OSError):
                    self._file.truncate(os.fstat(self._file.fileno()).st_size - len(line) + len(rest))
            raise

    def _tell(self, line: bytes) -> None:
        if self._mirror is None:
            return
        try:
            os.write(self._mirror, line)
        except BlockingIOError:
            pass  # the watcher is slow; the file has the line
        except OSError:
            self._mirror = None


def _cut_torn_line(path: Path) -> None:
    with path.open("rb+") as file:
        content_end = file.seek(0, os.SEEK_END)
        step = 65_536
        at = content_end
        while at > 0:
            start = max(at - step, 0)
            file.seek(start)
            newline = file.read(at - start).rfind(b"\n")
            if newline >= 0:
                at = start + newline + 1
                break
            at = start
        if at < content_end:
            file.truncate(at)
