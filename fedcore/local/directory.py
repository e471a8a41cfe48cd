"""Which run directory a run may have: a new one, or that of an unfinished run of the same job, with nobody else in it."""

from __future__ import annotations

import os
import shutil
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from fedcore.jobfile import dump_job
from fedcore.report.identity import AnotherRun, check_same_run
from fedcore.report.lock import RUNNER_LOCK, RunDirectoryLocked, lock_run_dir
from fedcore.report.rundir import EVENTS, JOB, LOGS, new_run_dir, read_events, write_atomically

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from fedcore.spec import FederatedJob

__all__ = ["RunDirectory", "RunDirectoryError", "open_run_directory"]

_PRIVATE = ".local"
_PREDECESSOR_SECONDS = 3.0
_LOOK_SECONDS = 0.02


class RunDirectoryError(Exception):
    """The directory cannot be used; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class RunDirectory:
    """A directory that this process alone runs a job in."""

    path: Path
    lock: int
    attempts: Mapping[str, int]
    """Highest attempt of each process in an earlier part of the run."""

    @property
    def private(self) -> Path:
        """Folder for the token and for what processes leave behind at their end; nobody else can read it."""
        return self.path / _PRIVATE

    @property
    def logs(self) -> Path:
        """Folder for the processes' stderr."""
        return self.path / LOGS

    @property
    def resumed(self) -> bool:
        """Whether the run has been here before."""
        return bool(self.attempts)

    def close(self) -> None:
        """Remove what only a running job needs, and let others in."""
        shutil.rmtree(self.private, ignore_errors=True)
        os.close(self.lock)


def open_run_directory(job: FederatedJob, asked: Path | None, base: Path) -> RunDirectory:
    """Make a run directory below ``base``, or take the one that was asked for, and lock it.

    Raises
    ------
    RunDirectoryError
        It is locked, finished, another job's, or no run directory at all; nothing was changed.
    """
    path = new_run_dir(base, job.metadata.name, datetime.now(UTC)) if asked is None else asked
    path = path.absolute()
    try:
        path.mkdir(parents=True, exist_ok=True)
        names = {entry.name for entry in path.iterdir()}
        if names and not names & {JOB, EVENTS, RUNNER_LOCK}:
            raise RunDirectoryError(f"{path} is not empty and holds no run; choose another directory, or empty it first")
        lock = lock_run_dir(path, RUNNER_LOCK)
    except RunDirectoryLocked as error:
        raise RunDirectoryError(str(error)) from None
    except OSError as error:
        raise RunDirectoryError(f"{path} cannot be a run directory: {error.strerror or error}") from error
    try:
        _wait_for_predecessor(path)
        check_same_run(job, path)
        (path / LOGS).mkdir(exist_ok=True)
        shutil.rmtree(path / _PRIVATE, ignore_errors=True)
        (path / _PRIVATE).mkdir(mode=0o700)
        attempts = _attempts(path)
        write_atomically(path / JOB, dump_job(job))
    except AnotherRun as error:
        os.close(lock)
        raise RunDirectoryError(str(error)) from None
    except OSError as error:
        os.close(lock)
        raise RunDirectoryError(f"{path} cannot be a run directory: {error.strerror or error}") from error
    except BaseException:
        os.close(lock)
        raise
    return RunDirectory(path, lock, attempts)


def _wait_for_predecessor(path: Path) -> None:
    """Let a coordinator go whose runner was killed a moment ago; one that stays is somebody's."""
    if not (path / EVENTS).exists():
        return
    deadline = time.monotonic() + _PREDECESSOR_SECONDS
    while True:
        try:
            os.close(lock_run_dir(path))
        except RunDirectoryLocked:
            if time.monotonic() >= deadline:
                raise RunDirectoryError(f"{path} is locked: a coordinator is using it") from None
            time.sleep(_LOOK_SECONDS)
        else:
            return


def _attempts(path: Path) -> dict[str, int]:
    attempts: dict[str, int] = {}
    for event in read_events(path / EVENTS):
        attempts["coordinator"] = event.get("resume", 0) + 1
        if event["event"] == "worker_registered":
            attempts[event["worker"]] = max(attempts.get(event["worker"], 0), event["attempt"])
    return attempts
