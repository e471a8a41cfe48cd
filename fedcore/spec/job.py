"""The FederatedJob: what the command line, the coordinator and the operator parse."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator
from pydantic.alias_generators import to_camel

from fedcore.aggregation.registry import ALGORITHMS
from fedcore.engine.quorum import required
from fedcore.spec.model import WEEK, YEAR, Model, broken, rule, rules
from fedcore.spec.processes import Coordinator, FailurePolicy, Metrics, Security, Workers
from fedcore.spec.training import Aggregation, Evaluation, Quorum, Task, Workload

__all__ = ["API_VERSION", "KIND", "FederatedJob", "Metadata", "Spec", "local_tls"]

API_VERSION = "fedcore.dev/v1alpha1"
KIND = "FederatedJob"

_JOB_NAME = r"^[a-z]([-a-z0-9]*[a-z0-9])?$"
_NOT_STARTED = "!has(oldSelf.status) || !has(oldSelf.status.startTime)"
"""Guard of the rules against changes: a job that was never accepted can be repaired."""
_NOT_ACCEPTED = "has(oldSelf.status.conditions) && oldSelf.status.conditions.exists(one, one.type == 'Accepted' && one.status == 'False')"
"""Guard for what can be added to a job that runs: an entry that was a mistake has to be taken back somehow."""
_FROZEN_BY_START = (
    "spec.task",
    "spec.workload",
    "spec.aggregation",
    "spec.coordinator",
    "spec.workers.image",
    "spec.workers.template",
    "spec.security",
)


def _immutable_once_started(path: str) -> dict[str, str]:
    same = f"has(self.{path}) == has(oldSelf.{path}) && (!has(self.{path}) || self.{path} == oldSelf.{path})"
    return rule(f"{_NOT_STARTED} || ({same})", f"{path} is immutable once the job has started")


def _job_name(value: str) -> str:
    if not re.fullmatch(_JOB_NAME, value) or value.endswith("\n"):
        raise ValueError(f'"{value}" cannot name a job; allowed: at most 45 small letters, digits and "-", a letter first, no "-" last')
    return value


class Spec(Model):
    """What is wanted."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "self.quorum.minWorkers <= self.workers.replicas",
                "quorum.minWorkers must not be above workers.replicas: no round could ever close",
            ),
            rule(
                "has(self.managedBy) == has(oldSelf.managedBy) && (!has(self.managedBy) || self.managedBy == oldSelf.managedBy)",
                "managedBy is immutable",
            ),
        )
    )

    seed: int = Field(0, ge=0, le=2**31 - 1)
    """Every random choice of the job derives from it."""
    rounds: int = Field(ge=1, le=100_000, json_schema_extra=rules(rule("self >= oldSelf", "rounds may only grow")))
    """Rounds to train; may grow while the job runs."""
    suspend: bool = False
    """Pods away, state kept."""
    managed_by: str | None = Field(None, min_length=1, max_length=63)
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
    startup_deadline_seconds: int = Field(1800, ge=0, le=WEEK)
    """Until quorum is first met; 0 waits for ever."""
    active_deadline_seconds: int | None = Field(None, ge=1, le=YEAR)
    """The whole run; starts anew on resume from suspension."""
    ttl_seconds_after_finished: int | None = Field(None, ge=0, le=YEAR)
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
            raise broken(("quorum.minWorkers", text))
        least, enough = ALGORITHMS[algorithm].min_updates(self.aggregation.parameters), required(quorum, replicas)
        if enough < least:
            text = (
                f"{algorithm} needs {least} updates, but the quorum requires only {enough} of {replicas};"
                " raise quorum.percent or quorum.minWorkers"
            )
            raise broken(("aggregation.algorithm", text))
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

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                f"self.metadata.name.size() <= 45 && self.metadata.name.matches('{_JOB_NAME}')",
                "a job's name has at most 45 small letters, digits and '-', a letter first, no '-' last",
            ),
            *(_immutable_once_started(path) for path in _FROZEN_BY_START),
            rule(
                f"{_NOT_STARTED} || ({_NOT_ACCEPTED}) || oldSelf.spec.workers.data.all(entry, entry in self.spec.workers.data)",
                "spec.workers.data may only be added to once the job has started, unless it was not accepted",
            ),
        )
    )

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
