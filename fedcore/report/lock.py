"""One writer per run directory: locks that are gone with their process, however it ends."""

from __future__ import annotations

import fcntl
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["COORDINATOR_LOCK", "RUNNER_LOCK", "RunDirectoryLocked", "lock_run_dir"]

COORDINATOR_LOCK = ".lock"
RUNNER_LOCK = "runner.lock"


class RunDirectoryLocked(Exception):  # noqa: N818 - an expected state of the world
    """Another process is at work in this run directory."""


def lock_run_dir(run_dir: Path, name: str = COORDINATOR_LOCK) -> int:
    """Lock a run directory for this process, and return the descriptor that holds the lock until it ends.

    Raises
    ------
    RunDirectoryLocked
        Another process holds it.
    """
    descriptor = os.open(run_dir / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise RunDirectoryLocked(f"{run_dir} is locked: another run is using it") from None
    return descriptor
