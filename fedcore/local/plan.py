"""What a run is, before it starts, and who watches it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from fedcore.local.credentials import Credentials
from fedcore.local.ports import LOOPBACK
from fedcore.report.rundir import JOB_INPUT
from fedcore.spec import local_tls

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from fedcore.local.directory import RunDirectory
    from fedcore.local.faults import Kill, Slow
    from fedcore.spec import FederatedJob

__all__ = ["Plan", "View"]


class View(Protocol):
    """Whoever watches a run."""

    refresh_seconds: float | None
    """How often `refresh` wants to be called; None: never."""

    def event(self, event: Mapping[str, Any]) -> None:
        """Take one event: of events.jsonl, or a note of the supervisor with the same keys."""

    def refresh(self) -> None:
        """Draw anew."""


@dataclass(frozen=True, slots=True)
class Plan:
    """One run, with everything decided that can be decided before it starts."""

    job: FederatedJob
    job_dir: Path | None
    """Folder that a task may be imported from: the job file's."""
    directory: RunDirectory
    port: int
    metrics_port: int
    kills: Sequence[Kill] = ()
    slows: Sequence[Slow] = ()
    trackers: Sequence[str] = ()
    """Whom the coordinator tells of each round."""
    log_format: str = "text"
    """Of the children's logs."""

    @property
    def url(self) -> str:
        """Where workers find the coordinator."""
        return f"http{'s' if self.tls else ''}://{LOOPBACK}:{self.port}"

    @property
    def tls(self) -> bool:
        """Whether the job asks for TLS."""
        return local_tls(self.job)

    @property
    def metrics_url(self) -> str:
        """Where Prometheus finds the coordinator."""
        return f"http://{LOOPBACK}:{self.metrics_port}/metrics"

    @property
    def coordinator_arguments(self) -> list[str]:
        """Command line of the coordinator, without its token."""
        path = self.directory.path
        places = ["--job", str(path / JOB_INPUT), "--run-dir", str(path), "--host", LOOPBACK]
        ports = ["--port", str(self.port), "--metrics-port", str(self.metrics_port)]
        shown = ["--tls-cert", str(self.credentials.certificate), "--tls-key", str(self.credentials.key)] if self.tls else []
        told = [part for name in self.trackers for part in ("--tracker", name)]
        return ["coordinator", *places, *ports, *shown, *told]

    def worker_arguments(self, name: str, attempt: int) -> list[str]:
        """Command line of a worker, without its token."""
        who = ["--coordinator", self.url, "--index", name.removeprefix("worker-"), "--attempt", str(attempt)]
        trusted = ["--ca-file", str(self.credentials.authority)] if self.tls else []
        return ["worker", *who, "--entrypoint", self.job.spec.task.entrypoint, *trusted]

    @property
    def credentials(self) -> Credentials:
        """What the processes of this run show each other."""
        return Credentials(self.directory.private)
