"""The FederatedJob as typed models: the one definition that the command line, the coordinator and the operator parse with.

Field names are camelCase in files and in the API, snake_case here. Unknown fields are refused, and so is a value of another type, as the
API server does: "5" is no number. A field's docstring is its documentation: unit, and the reason for its default. A rule over several
fields names the one to look at, so that its line in the job file can be shown (`fedcore.jobfile`).
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_serializer, model_validator
from pydantic.alias_generators import to_camel
from pydantic_core import PydanticCustomError

from fedcore.aggregation.registry import ALGORITHMS
from fedcore.engine.quorum import required
from fedcore.placement import DataEntry, contradictions

__all__ = [
    "API_VERSION",
    "KIND",
    "Aggregation",
    "Checkpoint",
    "Coordinator",
    "Evaluation",
    "FailurePolicy",
    "FederatedJob",
    "Metadata",
    "Metrics",
    "Quorum",
    "Security",
    "Spec",
    "Task",
    "Workers",
    "Workload",
    "local_tls",
]

API_VERSION = "fedcore.dev/v1alpha1"
KIND = "FederatedJob"

_JOB_NAME = r"^[a-z]([-a-z0-9]*[a-z0-9])?$"
_WEEK = 604_800
_YEAR = 31_536_000


def _broken(*problems: tuple[str, str]) -> PydanticCustomError:
    """Return the error of a rule over several fields: for each problem the path below the model of the field to look at, and a sentence."""
    return PydanticCustomError("broken_rule", "{text}", {"text": "; ".join(text for _, text in problems), "problems": problems})


class Model(BaseModel):
    """Frozen, strict about names, camelCase outside."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        alias_generator=to_camel,
        populate_by_name=True,
        use_attribute_docstrings=True,
        allow_inf_nan=False,
    )


def _entrypoint(value: str) -> str:
    module, colon, attribute = value.partition(":")
    if not colon or not all(part.isidentifier() for part in [*module.split("."), *attribute.split(".")]):
        raise ValueError(f'"{value}" is no entrypoint; allowed: module:attribute, such as fedcore.tasks.mnist:task')
    return value


def _algorithm(value: str) -> str:
    if value not in ALGORITHMS:
        raise ValueError(f'"{value}" is unknown; allowed: {", ".join(ALGORITHMS)}')
    return value


def _job_name(value: str) -> str:
    if not re.fullmatch(_JOB_NAME, value) or value.endswith("\n"):
        raise ValueError(f'"{value}" cannot name a job; allowed: at most 45 small letters, digits and "-", a letter first, no "-" last')
    return value


Name = Annotated[str, Field(min_length=1, max_length=64)]
Image = Annotated[str, Field(min_length=1, max_length=512)]


class Task(Model):
    """What the workers train."""

    entrypoint: Annotated[str, Field(max_length=256), AfterValidator(_entrypoint)]
    """Python import path in the worker's image, ``module:attribute``: a callable that makes the task."""
    parameters: dict[Name, Annotated[str, Field(max_length=4096)]] = Field(default_factory=dict, max_length=64)
    """Free strings handed to the task; no ML schema is frozen in the API."""
    initial_weights: str | None = Field(None, min_length=1, max_length=512)
    """Path of a safetensors file as the coordinator sees it; unset: the lowest live worker makes the first weights."""


class Workload(Model):
    """How much each worker trains in a round."""

    policy: Literal["aimd", "deadline", "fixed"] = "aimd"
    """``fixed``: the same for all. ``aimd``: takes work from stragglers and gives it back. ``deadline``: fitted to measured pace."""
    epochs: float = Field(1.0, ge=0.01, le=1000)
    """Passes over the local data per round, fractions allowed."""
    min_epochs: float = Field(0.1, ge=0.01, le=1000)
    """Least that a policy gives. 0.1: below it a round trip is mostly transfer."""
    max_epochs: float | None = Field(None, ge=0.01, le=1000)
    """Most that a policy gives; unset: ``epochs``, so that a policy only ever takes work away and gives it back."""
    increment: float = Field(0.25, ge=0.01, le=10)
    """Epochs that ``aimd`` adds after a round in time."""
    quantile: float = Field(0.5, ge=0.05, le=1)
    """Whose arrival ``deadline`` aims at: 0.5 is the median worker's."""

    @property
    def ceiling(self) -> float:
        """The effective ``maxEpochs``."""
        return self.epochs if self.max_epochs is None else self.max_epochs

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.min_epochs > self.epochs:
            at = "minEpochs" if "min_epochs" in self.model_fields_set else "epochs"
            text = f"minEpochs ({self.min_epochs:g}) is above epochs ({self.epochs:g}); allowed: minEpochs <= epochs <= maxEpochs"
            raise _broken((at, text))
        if self.max_epochs is not None and self.epochs > self.max_epochs:
            raise _broken(
                ("maxEpochs", f"{self.max_epochs:g} is below epochs ({self.epochs:g}); allowed: minEpochs <= epochs <= maxEpochs")
            )
        return self


class Evaluation(Model):
    """When the averaged model is measured."""

    every_rounds: int = Field(1, ge=0, le=10_000)
    """Workers measure each n-th version on their held-out data; 0: only the last one."""


class Quorum(Model):
    """How many updates close a round, and how long to wait for them."""

    percent: int = Field(75, ge=1, le=100)
    """Share of the declared workers; required = max(minWorkers, ceil(percent x replicas / 100))."""
    min_workers: int = Field(1, ge=1, le=1000)
    """Floor of required."""
    grace_seconds: int | None = Field(None, ge=0, le=3600)
    """How long a round with quorum still waits for the rest; unset: a quarter of the time quorum took, at least 1 s; 0: not at all."""
    round_timeout_seconds: int = Field(600, ge=1, le=_WEEK)
    """Deadline of a round; below quorum it is armed anew, and the loss clock starts."""
    loss_grace_period_seconds: int = Field(900, ge=0, le=_WEEK)
    """Below quorum for longer than this ends the job as QuorumLost; 0 waits for ever."""

    @model_validator(mode="after")
    def _grace_fits(self) -> Self:
        if self.grace_seconds is not None and self.grace_seconds > self.round_timeout_seconds:
            limit = f"roundTimeoutSeconds ({self.round_timeout_seconds})"
            text = f"{self.grace_seconds} is above {limit}; allowed: graceSeconds <= roundTimeoutSeconds"
            raise _broken(("graceSeconds", text))
        return self


class Aggregation(Model):
    """How updates become the next version."""

    algorithm: Annotated[str, AfterValidator(_algorithm)] = Field("fedavg", json_schema_extra={"enum": [*ALGORITHMS]})
    """``fedavg``: the mean weighted by samples, exact and independent of the order of arrival."""
    parameters: dict[Name, Annotated[str, Field(max_length=256)]] = Field(default_factory=dict, max_length=16)
    """Of the algorithm, which checks its own."""

    @model_validator(mode="after")
    def _parameters_fit(self) -> Self:
        problems = ALGORITHMS[self.algorithm].check_parameters(self.parameters)
        if problems:
            raise _broken(*(("parameters", problem) for problem in problems))
        return self


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
            raise _broken(*(("data", problem) for problem in problems))
        return self


class Checkpoint(Model):
    """Where the coordinator keeps its run directory on a cluster."""

    volume_claim_template: dict[str, Any] | None = None
    """A claim made for the job and deleted with it."""
    claim_name: str | None = Field(None, min_length=1, max_length=253)
    """The user's own claim, never touched: for results that must outlive the job."""
    keep: int = Field(3, ge=2, le=1000)
    """Versions kept. At least 2: the newest may be the one that a crash has torn."""

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if self.volume_claim_template is not None and self.claim_name is not None:
            raise _broken(("claimName", "claimName and volumeClaimTemplate exclude each other; leave out one of them"))
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


class Spec(Model):
    """What is wanted."""

    seed: int = Field(0, ge=0, le=2**31 - 1)
    """Every random choice of the job derives from it."""
    rounds: int = Field(ge=1, le=100_000)
    """Rounds to train; may grow while the job runs."""
    suspend: bool = False
    """Pods away, state kept."""
    managed_by: str | None = Field(None, max_length=63)
    """Another controller's name: our operator then leaves the job alone."""
    task: Task
    """What the workers train."""
    workload: Workload = Workload()
    """How much each worker trains in a round."""
    evaluation: Evaluation = Evaluation()
    """When the averaged model is measured."""
    quorum: Quorum = Quorum()
    """How many updates close a round, and how long to wait for them."""
    aggregation: Aggregation = Aggregation()
    """How updates become the next version."""
    workers: Workers
    """How many workers, where, from which image."""
    coordinator: Coordinator = Coordinator()
    """The one process that averages, and its durability."""
    failure_policy: FailurePolicy = FailurePolicy()
    """What happens when a process ends."""
    startup_deadline_seconds: int = Field(1800, ge=0, le=_WEEK)
    """Until quorum is first met; 0 waits for ever."""
    active_deadline_seconds: int | None = Field(None, ge=1, le=_YEAR)
    """The whole run; starts anew on resume from suspension."""
    ttl_seconds_after_finished: int | None = Field(None, ge=0, le=_YEAR)
    """Deletes the FederatedJob this long after its end."""
    clean_pod_policy: Literal["Running", "All", "None"] = "Running"
    """Which pods are deleted at the end."""
    metrics: Metrics = Metrics()
    """Prometheus metrics."""
    security: Security = Security()
    """The wire's security."""

    @model_validator(mode="after")
    def _quorum_fits(self) -> Self:
        replicas, quorum, algorithm = self.workers.replicas, self.quorum, self.aggregation.algorithm
        if quorum.min_workers > replicas:
            text = f"{quorum.min_workers} is above workers.replicas ({replicas}): no round could ever close"
            raise _broken(("quorum.minWorkers", text))
        least, enough = ALGORITHMS[algorithm].min_updates(self.aggregation.parameters), required(quorum, replicas)
        if enough < least:
            text = (
                f"{algorithm} needs {least} updates, but the quorum requires only {enough} of {replicas};"
                " raise quorum.percent or quorum.minWorkers"
            )
            raise _broken(("aggregation.algorithm", text))
        return self


class Metadata(BaseModel):
    """The part of Kubernetes' metadata that matters here; the rest is left to the API server."""

    model_config = ConfigDict(
        frozen=True, extra="allow", strict=True, alias_generator=to_camel, populate_by_name=True, use_attribute_docstrings=True
    )

    name: Annotated[str, Field(max_length=45, json_schema_extra={"pattern": _JOB_NAME}), AfterValidator(_job_name)]
    """A DNS label of at most 45 characters: a label may have 63, and pods add ``-coordinator-`` and an attempt of up to five digits."""
    namespace: str | None = None
    """Set on a cluster; means nothing elsewhere."""
    uid: str | None = None
    """The API server's, different for a job that was deleted and made again under the same name."""
    generation: int | None = None
    """The API server's count of changes to the spec."""
    labels: dict[str, str] | None = None
    """The user's."""
    annotations: dict[str, str] | None = None
    """The user's."""


class FederatedJob(Model):
    """One federated training."""

    api_version: Literal["fedcore.dev/v1alpha1"]
    """Version of this API."""
    kind: Literal["FederatedJob"]
    """Kind of the resource."""
    metadata: Metadata
    """The job's name, and what Kubernetes keeps beside it."""
    spec: Spec
    """What is wanted."""
    status: dict[str, Any] | None = None
    """Written by the operator; without meaning in a job file."""

    @property
    def name(self) -> str:
        """The job's name."""
        return self.metadata.name


def local_tls(job: FederatedJob) -> bool:
    """Say whether a local run uses TLS: only if the file asks for it, since loopback needs none.

    Whether it asks is in ``model_fields_set``, at both levels: the default is for clusters.
    """
    return "security" in job.spec.model_fields_set and "tls" in job.spec.security.model_fields_set and job.spec.security.tls
