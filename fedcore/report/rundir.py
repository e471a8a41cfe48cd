"""A run directory: what its files are called, and how they are read and written so that a reader never meets half of one."""

from __future__ import annotations

import csv
import json
import os
import shutil
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from fedcore.engine.reasons import Phase
from fedcore.report.tables import ROUND_COLUMNS, UPDATE_COLUMNS, Row, Tables, moment

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path
    from types import TracebackType
    from typing import Self, TextIO

__all__ = [
    "EVENTS",
    "JOB",
    "JOB_INPUT",
    "LOGS",
    "MODEL",
    "PLOTS",
    "REPORT",
    "ROUNDS",
    "SPOOL",
    "SUMMARY",
    "UPDATES",
    "VERSIONS",
    "TableFiles",
    "format_time",
    "is_finished",
    "new_run_dir",
    "parse_event",
    "publish_newest_version",
    "read_events",
    "rebuild_tables",
    "write_atomically",
    "write_json",
]

JOB = "job.yaml"
JOB_INPUT = "job-input.json"
"""What a supervisor tells a running coordinator: spec, workers that are gone for good, the wish to end."""
EVENTS = "events.jsonl"
ROUNDS = "rounds.csv"
UPDATES = "updates.csv"
SUMMARY = "summary.json"
MODEL = "model.safetensors"
VERSIONS = "versions"
SPOOL = "spool"
LOGS = "logs"
PLOTS = "plots"
REPORT = "report.html"


def new_run_dir(base: Path, job_name: str, now: datetime) -> Path:
    """Make ``<base>/<UTC yyyymmdd-hhmmss>-<job>``; a second one within the same second gets a number behind it."""
    stem = f"{now.astimezone(UTC):%Y%m%d-%H%M%S}-{job_name}"
    base.mkdir(parents=True, exist_ok=True)
    number = 1
    while True:
        path = base / (stem if number == 1 else f"{stem}-{number}")
        try:
            path.mkdir()
        except FileExistsError:
            number += 1
        else:
            return path


def read_events(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the events of an events.jsonl. A torn last line is dropped; so is a torn one that a restart wrote on behind."""
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return
    with file:
        for line in file:
            event = parse_event(line)
            if event is not None:
                yield event


def parse_event(line: bytes) -> dict[str, Any] | None:
    """Read one line of events.jsonl; None if it is torn."""
    if not line.endswith(b"\n"):
        return None
    try:
        event = json.loads(line)
    except ValueError:
        return None
    return event if isinstance(event, dict) and "event" in event else None


def is_finished(run_dir: Path) -> bool:
    """Say whether a run has ended for good: its events or its summary say so. An interrupted run has not."""
    if any(event["event"] == "run_finished" for event in read_events(run_dir / EVENTS)):
        return True
    try:
        summary = json.loads((run_dir / SUMMARY).read_text("utf-8"))
    except (FileNotFoundError, ValueError):
        return False
    return summary.get("phase") in {Phase.SUCCEEDED, Phase.FAILED}


def write_atomically(path: Path, content: str | bytes, mode: int = 0o644) -> None:
    """Replace a small file as a whole, so that a reader sees the old or the new one."""
    part = path.with_name(f".{path.name}.part")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content.encode() if isinstance(content, str) else content)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Replace a JSON file as a whole."""
    write_atomically(path, json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def publish_newest_version(run_dir: Path) -> None:
    """Make model.safetensors the newest durable version, for a run whose coordinator could not do it itself."""
    numbers = sorted((path.stem for path in (run_dir / VERSIONS).glob("*.json")), reverse=True)
    newest = next((run_dir / VERSIONS / f"{n}.safetensors" for n in numbers if (run_dir / VERSIONS / f"{n}.safetensors").is_file()), None)
    if newest is None or ((run_dir / MODEL).exists() and newest.samefile(run_dir / MODEL)):
        return  # published already: a rename onto another name of the same file would leave both
    part = run_dir / f".{MODEL}.part"
    part.unlink(missing_ok=True)
    try:
        os.link(newest, part)  # versions are only ever replaced by rename, so the bytes behind a second name stay as they are
    except OSError:  # some network filesystems have no second names
        shutil.copyfile(newest, part)
    part.replace(run_dir / MODEL)


# -- CSV ------------------------------------------------------------------------------------------------------------------------------


def format_time(time: datetime) -> str:
    """Return RFC 3339 in UTC, to the millisecond."""
    return time.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _cell(column: str, value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, datetime):
        return format_time(value)
    if column == "time":
        return format_time(moment(value))
    return str(value)


class TableFiles:
    """rounds.csv and updates.csv of a run, appended to as rows become complete.

    Parameters
    ----------
    run_dir : Path
        Where they lie.
    events : Iterable
        What has happened so far: both files are written anew from it, so that a resume repeats no row and loses none.
    """

    def __init__(self, run_dir: Path, events: Iterable[Mapping[str, Any]] = ()) -> None:
        self._tables = Tables()
        self._files: dict[str, TextIO] = {}
        parts = {"rounds": run_dir / ROUNDS, "updates": run_dir / UPDATES}
        for table, path in parts.items():
            self._files[table] = path.with_name(f".{path.name}.part").open("w", encoding="utf-8", newline="")
        columns = {"rounds": ROUND_COLUMNS, "updates": UPDATE_COLUMNS}
        self._writers = {table: csv.writer(file, lineterminator="\n") for table, file in self._files.items()}
        for table, writer in self._writers.items():
            writer.writerow(columns[table])
        for event in events:
            self._write(self._tables.feed(event))
        for table, path in parts.items():
            self._files[table].flush()
            path.with_name(f".{path.name}.part").replace(path)

    def feed(self, event: Mapping[str, Any]) -> list[Row]:
        """Append the rows that are complete with this event, and return them."""
        rows = self._tables.feed(event)
        self._write(rows)
        for table in {row.table for row in rows}:
            self._files[table].flush()
        return rows

    def close(self) -> None:
        """Close both files, the second even if the first cannot be written to its end."""
        with ExitStack() as files:
            for file in self._files.values():
                files.callback(file.close)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _write(self, rows: Iterable[Row]) -> None:
        for row in rows:
            self._writers[row.table].writerow([_cell(column, value) for column, value in row.values.items()])


def rebuild_tables(run_dir: Path) -> None:
    """Write both tables anew from events.jsonl."""
    TableFiles(run_dir, read_events(run_dir / EVENTS)).close()
