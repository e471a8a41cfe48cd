"""What a worker is told from outside: flags, then ``FEDCORE_*`` variables, then defaults."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - pydantic reads it
from typing import Annotated, ClassVar
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

from fedcore.options import InvalidOptions, ProcessOptions

__all__ = ["InvalidOptions", "Options"]


def _checked_url(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError(f'"{url}" is no address of a coordinator; it looks like http://host:8470 or https://host:8470')
    return url.rstrip("/")


class Options(ProcessOptions):
    """A worker's options. Field ``x`` is the flag ``--x`` and the variable ``FEDCORE_X``, `data_dir` being ``FEDCORE_DATA``."""

    VARIABLES: ClassVar[dict[str, str]] = {"data_dir": "FEDCORE_DATA"}

    coordinator: Annotated[str, AfterValidator(_checked_url)]
    """Address of the coordinator, http or https."""
    entrypoint: str = Field(pattern=r"^[^:\s]+:[^:\s]+$")
    """``module:attribute`` that makes the task."""
    index: int | None = Field(None, ge=0)
    """Place among the workers; without it the coordinator gives one, by name."""
    attempt: int = Field(1, ge=1)
    """Counts restarts of this index; a higher one replaces a lower one."""
    name: str = ""
    """Name in reports; ``worker-<index>`` unless set."""
    token_file: Path | None = None
    """File with the join token; read at each registration, so that it may be renewed."""
    ca_file: Path | None = None
    """Certificates to trust for https, instead of the system's; read again after a coordinator's was not trusted."""
    data_dir: Path | None = None
    """Folder with the data set, handed to the task."""
    job_dir: Path | None = None
    """Folder put first on the import path: a task may lie beside its job file."""
    ready_file: Path | None = None
    """Exists while the worker is registered: the readiness probe of its pod."""
    termination_file: Path | None = None
    """Gets one JSON object at the end, saying why."""
    lifeline_fd: int | None = Field(None, ge=0)
    """Pipe from the process that started this one; at its end this one ends too."""
    metrics_port: int | None = Field(None, ge=0, le=65535)
    """Port to show metrics at, on all interfaces; 0 takes a free one. Unset: none, since the coordinator tells most of it already."""
    job: str = ""
    """The job's name, for the metrics' label ``federatedjob``; in a pod the operator sets it."""
    slow: float = Field(1.0, ge=1.0)
    """Train as a machine slower by this factor would: for demonstrations and tests."""
    unreachable_seconds: float = Field(600.0, gt=0)
    """How long to look for a coordinator that does not answer. 600: longer than it takes to move one to another node."""
    drain_seconds: float = Field(20.0, ge=0)
    """Time between SIGTERM and the end at the latest. 20: below the 30 s that pods have by default."""
    ready_grace_seconds: float = Field(60.0, ge=0)
    """How long the ready file outlives the session. 60: a coordinator's restart must not turn all workers unready."""

    @property
    def display_name(self) -> str:
        """Name to register with."""
        return self.name or ("worker" if self.index is None else f"worker-{self.index}")
