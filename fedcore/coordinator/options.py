"""What a coordinator is told from outside: flags, then ``FEDCORE_*`` variables, then defaults. What it trains stands in the job file."""

from __future__ import annotations

from collections.abc import Sequence  # noqa: TC003 - as the next one
from pathlib import Path  # noqa: TC003 - pydantic reads the annotations
from typing import Annotated, ClassVar, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from fedcore.options import InvalidOptions, ProcessOptions
from fedcore.report.trackers import split_names

__all__ = ["InvalidOptions", "Options"]


def _names(given: str | Sequence[str]) -> tuple[str, ...]:
    return split_names([given] if isinstance(given, str) else given)


def _checked_url(url: str) -> str:
    parts = urlsplit(url)
    if url and (parts.scheme not in {"http", "https"} or not parts.hostname):
        raise ValueError(f'"{url}" is no address; it looks like http://host:9091')
    return url


class Options(ProcessOptions):
    """A coordinator's options. Field ``x`` is the flag ``--x`` and the variable that `variable` names."""

    VARIABLES: ClassVar[dict[str, str]] = {
        "job": "FEDCORE_JOB_FILE",
        "tls_cert": "FEDCORE_TLS_CERT_FILE",
        "tls_key": "FEDCORE_TLS_KEY_FILE",
        "tracker": "FEDCORE_TRACKERS",
    }
    """Names that are not the field's own: in a pod ``FEDCORE_JOB`` is the job's name, and paths of secrets end in _FILE."""

    job: Path
    """A FederatedJob, YAML or JSON, or the supervisor's job input; looked at once a second."""
    run_dir: Path
    """Where the run's files lie. An unfinished run is resumed."""
    host: str = "0.0.0.0"  # noqa: S104 - a pod serves its workers; on one machine the local runner says 127.0.0.1
    """Address to listen at, for both ports."""
    port: int = Field(8470, ge=0, le=65535)
    """Port for workers; 0 takes a free one."""
    metrics_port: int = Field(9464, ge=0, le=65535)
    """Port for metrics, health and progress; 0 takes a free one."""
    token_file: Path | None = None
    """File with the token that workers must show; without it any caller may join."""
    tls_cert: Path | None = None
    """Certificate, PEM, then those between it and the authority; with ``tls_key`` workers are served over TLS. Read again on a change."""
    tls_key: Path | None = None
    """Its key, PEM, without a passphrase."""
    tracker: Annotated[tuple[str, ...], BeforeValidator(_names)] = ()
    """Who is told of each round beside the run directory: tensorboard, mlflow, or MODULE:CLASS; several with commas between them."""
    attempt: int = Field(1, ge=1)
    """Which start of this job's coordinator this is, as its supervisor counts."""
    termination_file: Path | None = None
    """Gets one JSON object at the end, saying how the job ended."""
    lifeline_fd: int | None = Field(None, ge=0)
    """Pipe from the process that started this one; at its end this one ends too."""
    events_fd: int | None = Field(None, ge=0)
    """Gets each line of events.jsonl too. It may be non-blocking: a line that does not fit is left out, the file has it."""
    namespace: str = ""
    """Of the job, as metrics are pushed under; in a pod the operator sets it."""
    pushgateway: Annotated[str, AfterValidator(_checked_url)] = ""
    """Address of a Pushgateway that gets the job's last metrics, once; for where nobody scrapes."""
    metrics_monitored: bool = False
    """Whether somebody scrapes the metrics, though nobody may have come yet: the end is then waited for to be scraped."""

    @model_validator(mode="after")
    def _both_or_neither(self) -> Self:
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ValueError("--tls-cert and --tls-key go together")
        return self
