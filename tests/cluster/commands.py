"""Run a program to its end, and wait for a condition: each with a deadline, each with a message that helps."""

import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tests.cluster.errors import ClusterError

PATIENCE = 180.0
"""Seconds for what takes a few on an idle machine. Long, since a deadline costs nothing where all is well, and machines are shared."""


def run(
    arguments: Sequence[str | Path],
    *,
    stdin: str | None = None,
    directory: Path | None = None,
    environment: Mapping[str, str] | None = None,
    seconds: float = PATIENCE,
) -> str:
    """Run to the end and return standard output.

    Raises
    ------
    ClusterError
        Not there, ended with another code than 0, or not done in time; the message holds what it said.
    """
    words = [str(word) for word in arguments]
    try:
        done = subprocess.run(
            words,
            input=stdin,
            cwd=directory,
            env=environment,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=seconds,
            check=False,
        )
    except FileNotFoundError as error:
        raise ClusterError(f"{words[0]} is not installed") from error
    except subprocess.TimeoutExpired as error:
        raise ClusterError(f"not done after {seconds:.0f} s: {' '.join(words)}") from error
    if done.returncode:
        raise ClusterError(f"{' '.join(words)}\nended with {done.returncode}: {(done.stderr or done.stdout).strip()[-4000:]}")
    return done.stdout


def wait_until(what: str, ready: Callable[[], object], *, seconds: float = PATIENCE, log: Path | None = None) -> None:
    """Ask again and again, every tenth of a second, until ``ready()`` is true.

    Raises
    ------
    ClusterError
        It was not within ``seconds``; the message ends with the end of ``log``, which may be gone by the time it is read.
    """
    deadline = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > deadline:
            raise ClusterError(f"{what}: not within {seconds:.0f} s{_end_of(log) if log else ''}")
        time.sleep(0.1)


def _end_of(log: Path) -> str:
    if not log.exists():
        return f"; {log} is missing"
    return f"; {log} ends with\n{log.read_text(encoding='utf-8', errors='replace')[-2000:].strip()}"
