"""The processes of a job: how many, where, from what, and what happens when one ends."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import ConfigDict, Field, field_serializer, model_validator

from fedcore.spec.model import Image, Model, broken, rule, rules
from fedcore.spec.placement import DataEntry, contradictions

__all__ = ["Checkpoint", "Coordinator", "FailurePolicy", "Metrics", "Security", "Workers"]


class Workers(Model):
    """The workers."""

    replicas: int = Field(ge=1, le=1000)
    """Declared number of workers; may change while the job runs."""
    image: Image | None = None
    """Container image on a cluster; unset: the chart's."""
    template: dict[str, Any] | None = None
    """Pod template laid over secure defaults on a cluster."""
    data: tuple[DataEntry, ...] = Field((), max_length=64, strict=False)
    """Who sits where and mounts what, on a cluster."""
    max_restarts_per_worker: int = Field(3, ge=0, le=100)
    """Restarts before a worker is given up; disruptions do not count."""

    @model_validator(mode="after")
    def _placed_once(self) -> Self:
        problems = contradictions(self.data)
        if problems:
            raise broken(*(("data", problem) for problem in problems))
        return self


class Checkpoint(Model):
    """Where the coordinator keeps its run directory on a cluster; without either volume a restart begins at round 1."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule("!(has(self.claimName) && has(self.volumeClaimTemplate))", "claimName and volumeClaimTemplate exclude each other")
        )
    )

    volume_claim_template: dict[str, Any] | None = None
    """A claim made for the job and deleted with it."""
    claim_name: str | None = Field(None, min_length=1, max_length=253)
    """The user's own claim, never touched: for results that must outlive the job."""
    keep: int = Field(3, ge=2, le=1000)
    """Versions kept. At least 2: the newest may be the one that a crash has torn."""

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if self.volume_claim_template is not None and self.claim_name is not None:
            raise broken(("claimName", "claimName and volumeClaimTemplate exclude each other; leave out one of them"))
        return self


class Coordinator(Model):
    """The coordinator."""

    image: Image | None = None
    """Container image on a cluster; unset: the chart's."""
    template: dict[str, Any] | None = None
    """Pod template laid over secure defaults on a cluster."""
    max_restarts: int = Field(3, ge=0, le=100)
    """Restarts before the job fails as CoordinatorFailed."""
    checkpoint: Checkpoint = Checkpoint()
    """Durability."""


class FailurePolicy(Model):
    """What happens when a process ends."""

    restart_backoff_seconds: int = Field(10, ge=1, le=3600)
    """Wait before a restart; doubles with each in a row, at most 300."""
    non_retryable_exit_codes: frozenset[Annotated[int, Field(ge=1, le=255)]] = Field(frozenset({2}), max_length=32, strict=False)
    """Exit codes that end the job. 2 is "invalid job": an import error must not burn the budget of every worker."""

    @field_serializer("non_retryable_exit_codes")
    def _in_order(self, codes: frozenset[int]) -> list[int]:
        return sorted(codes)


class Metrics(Model):
    """Prometheus metrics."""

    per_worker: Literal["auto", "always", "never"] = "auto"
    """Series per worker; ``auto``: up to 200 workers, the 50 most telling above."""
    linger_seconds: int = Field(45, ge=0, le=600)
    """How long a finished coordinator waits for its last scrape."""


class Security(Model):
    """The wire's security."""

    tls: bool = True
    """TLS in the cluster. A local run, on loopback, means false unless the file says so."""
