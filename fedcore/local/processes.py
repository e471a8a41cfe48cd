"""Children of the local runner: started with an environment of their own, watched by descriptor, ended with all they started."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fedcore.engine.reasons import EndReason, Phase
from fedcore.local.messages import Exited
from fedcore.report.summary import End

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

__all__ = ["Process", "child_environment", "start_process"]

_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")
_PASSED_ON = {"FEDCORE_DATA", "FEDCORE_METRICS_MONITORED", "FEDCORE_PUSHGATEWAY"}
_LOG_TAIL_BYTES = 4096
_MESSAGE_CHARS = 512


def child_environment(inherited: Mapping[str, str], own: Mapping[str, str]) -> dict[str, str]:
    """Return a child's environment: the inherited one without what was meant for the runner itself, and ``own`` on top.

    Each process gets one thread for its sums unless the user has said otherwise: workers share the machine's cores, and pools of threads
    in each of them fight for those.
    """
    environment = {key: value for key, value in inherited.items() if not key.startswith("FEDCORE_") or key in _PASSED_ON}
    for variable in _THREADS:
        environment.setdefault(variable, "1")
    environment["PYTHONUNBUFFERED"] = "1"
    return environment | dict(own)


@dataclass(frozen=True, slots=True)
class Process:
    """A running child."""

    name: str
    popen: subprocess.Popen[bytes]
    descriptor: int
    """Readable when the process has ended; also names it for signals, so that none goes to a later process with the same id."""
    log: Path
    termination: Path

    def send(self, number: signal.Signals) -> None:
        """Send a signal to it; SIGKILL goes to all that it started too."""
        if number == signal.SIGKILL:
            self._kill_group()
            return
        with suppress(ProcessLookupError):  # it has ended, and is about to be reaped
            signal.pidfd_send_signal(self.descriptor, number)

    def reap(self) -> Exited:
        """Collect a process that has ended, and end what is left of what it started."""
        self._kill_group()  # before wait: until then its id, and so the group's, cannot be another's
        code = self.popen.wait()
        os.close(self.descriptor)
        reason, message, end = self._last_words()
        if code < 0:  # killed: what it happened to log last is not why
            return Exited(self.name, 128 - code, reason, message, end)
        return Exited(self.name, code, reason, message or _last_line(self.log), end)

    def _kill_group(self) -> None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.popen.pid, signal.SIGKILL)

    def _last_words(self) -> tuple[str, str, End | None]:
        try:
            said = json.loads(self.termination.read_text("utf-8"))
            reason, message = str(said.get("reason", "")), str(said.get("message", ""))[:_MESSAGE_CHARS]
            end = End(Phase(said["phase"]), EndReason(reason), message) if said.get("final") else None
        except (OSError, ValueError, AttributeError, KeyError):
            return "", "", None
        return reason, message, end


def start_process(
    name: str,
    arguments: Sequence[str],
    environment: Mapping[str, str],
    *,
    log: Path,
    termination: Path,
    descriptors: Sequence[int],
) -> Process:
    """Start ``fedcore ARGUMENTS`` in a process group of its own, so that Ctrl-C reaches the runner alone.

    ``-P`` keeps the current directory off the children's import path: a file there that happens to be called like a library must not
    end a training.
    """
    termination.unlink(missing_ok=True)
    with log.open("ab") as output:
        popen = subprocess.Popen(
            [sys.executable, "-P", "-m", "fedcore.cli.main", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=dict(environment),
            pass_fds=descriptors,
            process_group=0,
        )
    return Process(name, popen, os.pidfd_open(popen.pid), log, termination)


def _last_line(log: Path) -> str:
    try:
        with log.open("rb") as file:
            file.seek(max(file.seek(0, os.SEEK_END) - _LOG_TAIL_BYTES, 0))
            lines = file.read().decode(errors="replace").strip().splitlines()
    except OSError:
        return ""
    return lines[-1].strip()[:_MESSAGE_CHARS] if lines else ""
