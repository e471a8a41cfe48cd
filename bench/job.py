"""One job for the benches: the real coordinator and real workers, each a process, started as the local runner starts them."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import secrets
import select
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.figures import cpu_seconds

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.control import Certificate

__all__ = ["Coordinator", "echo_job", "start_coordinator", "start_workers"]

ROOT = Path(__file__).parents[1]
FEDCORE = [sys.executable, "-P", "-m", "fedcore.cli.main"]
JOB = """\
apiVersion: fedcore.dev/v1alpha1
kind: FederatedJob
metadata: {{name: bench}}
spec:
  rounds: {rounds}
  task: {{entrypoint: "bench.echo:EchoTask", parameters: {{megabytes: "{megabytes}"}}}}
  workload: {{policy: fixed, epochs: 1}}
  evaluation: {{everyRounds: 0}}
  quorum: {{percent: 100, roundTimeoutSeconds: 3600}}
  workers: {{replicas: {workers}}}
"""


def echo_job(workers: int, megabytes: float, rounds: int) -> str:
    """Return the job file: quorum 100 %, no evaluation, a model of ``megabytes``."""
    return JOB.format(workers=workers, megabytes=megabytes, rounds=rounds)


@dataclass
class Coordinator:
    """A coordinator process, its events as they come, and its memory."""

    process: subprocess.Popen[bytes]
    events_fd: int
    run_dir: Path
    token: Path
    certificate: Certificate | None
    launched_at: float
    url: str = ""
    workers: list[subprocess.Popen[bytes]] = field(default_factory=list)
    events: list[dict[str, Any]] = field(default_factory=list)
    last_round: int = 0
    _unread: list[bytes] = field(default_factory=list)
    _torn: bytes = b""
    peak_rss_mb: float = 0.0
    """Highest resident memory of the process (VmHWM), read at each look at its events."""

    def wait_for(self, name: str, seconds: float, **values: Any) -> dict[str, Any]:
        """Return the next event of this name with these fields; all are kept."""
        deadline = time.monotonic() + seconds
        while True:
            while self._unread:
                event = json.loads(self._unread.pop(0))
                self.events.append(event)
                if event["event"] == name and values.items() <= event.items():
                    return event
            self._read(name, deadline)

    def drain(self, seconds: float) -> None:
        """Forget what happens in the next seconds but the number of the last round: a long run's events are not kept."""
        deadline = time.monotonic() + seconds
        while select.select([self.events_fd], [], [], max(0.0, deadline - time.monotonic()))[0]:
            self._read("the end of the measurement", deadline)
            for line in self._unread:
                if b'"event":"round_opened"' in line:
                    self.last_round = json.loads(line)["round"]
            self._unread.clear()

    def _read(self, awaited: str, deadline: float) -> None:
        if not select.select([self.events_fd], [], [], max(0.0, deadline - time.monotonic()))[0]:
            raise SystemExit(f"{awaited} did not come in time; the log of the coordinator: {self.log()[-2000:]}")
        self.look()
        chunk = os.read(self.events_fd, 2**20)
        if not chunk:
            raise SystemExit(f"the coordinator ended before {awaited}: {self.log()[-2000:]}")
        *lines, self._torn = (self._torn + chunk).split(b"\n")
        self._unread += lines

    def cpu_seconds(self) -> float:
        """Return the processor time that coordinator and workers have used."""
        return cpu_seconds([self.process.pid, *(worker.pid for worker in self.workers)])

    def look(self) -> None:
        """Read the peak memory."""
        self.peak_rss_mb = max(self.peak_rss_mb, self._status("VmHWM") * 1024 / 1e6)

    def rss_mb(self) -> float:
        """Return the resident memory now."""
        return self._status("VmRSS") * 1024 / 1e6

    def threads(self) -> int:
        return self._status("Threads")

    def descriptors(self) -> int:
        return len(list(Path(f"/proc/{self.process.pid}/fd").iterdir()))

    def _status(self, name: str) -> int:
        with contextlib.suppress(OSError):
            if found := re.search(rf"{name}:\s+(\d+)", Path(f"/proc/{self.process.pid}/status").read_text("ascii")):
                return int(found[1])
        return 0  # it has just ended

    def named(self, name: str) -> list[dict[str, Any]]:
        """Return the events of this name so far; of a finished run, all."""
        return [event for event in self.events if event["event"] == name]

    def log(self) -> str:
        return (self.run_dir / "coordinator.log").read_text("utf-8", "replace")


def moment(event: dict[str, Any]) -> float:
    """Return an event's Unix time in seconds."""
    return datetime.fromisoformat(event["time"]).timestamp()


@contextlib.contextmanager
def start_coordinator(job: str, certificate: Certificate | None = None, folder: Path | None = None) -> Iterator[Coordinator]:
    """Start a coordinator on a free port, and end it with the block; its run directory lies in ``folder`` or a temporary one."""
    with contextlib.ExitStack() as stack:
        run_dir = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="fedcore-bench-", dir=folder)))
        (run_dir / "bench.yaml").write_text(job, encoding="utf-8")
        token = run_dir / "token"
        token.write_text(secrets.token_urlsafe(32), encoding="utf-8")
        reading, writing = os.pipe()
        with contextlib.suppress(OSError):  # more than an unprivileged user may have: then it is read often enough
            fcntl.fcntl(reading, fcntl.F_SETPIPE_SZ, 2**20)
        stack.callback(os.close, reading)
        options = ["--job", run_dir / "bench.yaml", "--run-dir", run_dir, "--host", "127.0.0.1", "--port", "0", "--metrics-port", "0"]
        options += ["--token-file", token]
        if certificate is not None:
            options += ["--tls-cert", certificate.cert, "--tls-key", certificate.key]
        launched_at = time.time()
        with (run_dir / "coordinator.log").open("wb") as log:
            process = subprocess.Popen(
                [*FEDCORE, "coordinator", *map(str, options)],
                stdout=log,
                stderr=log,
                env={**os.environ, "FEDCORE_EVENTS_FD": str(writing)},
                pass_fds=[writing],
            )
        os.close(writing)
        stack.callback(_end, process)
        coordinator = Coordinator(process, reading, run_dir, token, certificate, launched_at)
        coordinator.url = coordinator.wait_for("listening", 60)["url"]
        yield coordinator


@contextlib.contextmanager
def start_workers(coordinator: Coordinator, count: int, url: str = "") -> Iterator[list[subprocess.Popen[bytes]]]:
    """Start real workers, and end what is left of them with the block."""
    processes = coordinator.workers
    try:
        for index in range(count):
            options = ["--coordinator", url or coordinator.url, "--index", index, "--entrypoint", "bench.echo:EchoTask"]
            options += ["--token-file", coordinator.token]
            if coordinator.certificate is not None:
                options += ["--ca-file", coordinator.certificate.authority]
            with (coordinator.run_dir / f"worker-{index}.log").open("wb") as log:
                processes.append(
                    subprocess.Popen(
                        [*FEDCORE, "worker", *map(str, options)],
                        stdout=log,
                        stderr=log,
                        env={**os.environ, "FEDCORE_JOB_DIR": str(ROOT)},
                    )
                )
        yield processes
    finally:
        for process in processes:
            _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
