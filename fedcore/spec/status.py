"""The status of a FederatedJob: what the operator writes and everyone else reads.

Numbers that have a fraction are texts, since floats do not belong in APIs; times have whole seconds, as all times of Kubernetes. A reader
takes what it knows and ignores the rest: a newer operator may write more.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from fedcore.spec.times import Time  # noqa: TC001 - pydantic reads the annotations

__all__ = [
    "Condition",
    "CoordinatorStatus",
    "Ending",
    "Images",
    "LastExit",
    "Metric",
    "ProgressStatus",
    "QuorumStatus",
    "RecentRound",
    "ResultStatus",
    "SlowWorker",
    "Status",
    "WorkerIndex",
    "WorkersStatus",
]

MESSAGE_CHARS = 1024
"""Most that a message of ours has; what comes from outside is cut."""
COORDINATOR_EXIT_CHARS = 512
WORKER_EXIT_CHARS = 160
"""A thousand workers may each have one."""


Count = Annotated[int, Field(ge=0)]
Word = Annotated[str, Field(max_length=128)]
Number = Annotated[str, Field(max_length=32)]
Ranges = Annotated[str, Field(max_length=4096)]
ObjectName = Annotated[str, Field(max_length=253)]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", alias_generator=to_camel, populate_by_name=True, use_attribute_docstrings=True)


class Condition(_Model):
    """One condition, in the shape of metav1.Condition."""

    type: Annotated[str, Field(max_length=316)]
    """Accepted, Suspended, CoordinatorReady, QuorumMet, Complete or Failed."""
    status: Literal["True", "False", "Unknown"]
    """Whether it holds."""
    reason: Annotated[str, Field(min_length=1, max_length=1024)]
    """One word for programs."""
    message: Annotated[str, Field(max_length=32768)] = ""
    """A sentence for people, with numbers."""
    last_transition_time: Time
    """When ``status`` changed last."""
    observed_generation: Count = 0
    """Generation of the job that it was computed from."""


class Images(_Model):
    """Images of all attempts, resolved once, so that an upgrade of the operator does not change a running job."""

    coordinator: Annotated[str, Field(max_length=512)]
    """The coordinator's."""
    worker: Annotated[str, Field(max_length=512)]
    """The workers'."""


class LastExit(_Model):
    """How an attempt ended."""

    reason: Word
    """OOMKilled, Evicted, Deleted, a reason of the process, ..."""
    exit_code: int | None = None
    """Of the container; unset if the pod went without one."""
    message: Annotated[str, Field(max_length=COORDINATOR_EXIT_CHARS)] = ""
    """What the process or Kubernetes said."""
    time: Time
    """When."""


class CoordinatorStatus(_Model):
    """The coordinator."""

    pod_name: ObjectName = ""
    """Pod of the current attempt."""
    attempt: Annotated[int, Field(ge=1)] = 1
    """Current attempt, running or about to be started. Never falls."""
    started: bool = False
    """Whether the current attempt has been seen in the API: tells a pod that is gone from one not yet made."""
    ready: bool = False
    """Whether it serves."""
    restarts: Count = 0
    """Attempts started after a failure; bounded by ``coordinator.maxRestarts``."""
    disruptions: Count = 0
    """Attempts started after others ended one; costs no budget."""
    streak: Count = 0
    """Ends in a row without ten good minutes between them."""
    not_before: Time | None = None
    """When the current attempt may start."""
    address: Annotated[str, Field(max_length=512)] = ""
    """Where workers find it."""
    last_exit: LastExit | None = None
    """How the attempt before ended."""


class WorkersStatus(_Model):
    """The workers together."""

    desired: Count = 0
    """Declared."""
    active: Count = 0
    """Pods of current attempts that have not ended."""
    ready: Count = 0
    """Registered with the coordinator."""
    finished: Count = 0
    """Told by the coordinator that the job is over."""
    failed: Count = 0
    """Given up: their budget is spent."""
    restarts: Count = 0
    """Attempts started after failures."""
    disruptions: Count = 0
    """Attempts started after others ended one."""
    display: Annotated[str, Field(max_length=32)] = ""
    """Ready of desired."""
    selector: Annotated[str, Field(max_length=512)] = ""
    """Of their pods, for the scale subresource."""
    started: Ranges = ""
    """Indexes whose current attempt has been seen in the API."""


class WorkerIndex(_Model):
    """A worker that has ended at least once."""

    index: Annotated[int, Field(ge=0, le=999)]
    """Which."""
    attempt: Annotated[int, Field(ge=1)] = 1
    """Current attempt. Never falls."""
    restarts: Count = 0
    """Attempts started after a failure; bounded by ``workers.maxRestartsPerWorker``."""
    disruptions: Count = 0
    """Attempts started after others ended one; costs no budget."""
    streak: Count = 0
    """Ends in a row without ten good minutes between them."""
    not_before: Time | None = None
    """When the current attempt may start."""
    gave_up: bool = False
    """Its budget is spent; raising it revives the worker."""
    last_exit: LastExit | None = None
    """How the attempt before ended."""


class QuorumStatus(_Model):
    """The quorum."""

    required: Count = 0
    """Updates that close a round, over the declared workers."""
    present: Count = 0
    """Ready workers and those told to stop."""
    lost_since: Time | None = None
    """Since when too few are present; the loss clock."""


class Metric(_Model):
    """One measured value."""

    name: Annotated[str, Field(max_length=64)]
    """The task's word."""
    value: Number
    """A number, as text."""


class RecentRound(_Model):
    """A closed round."""

    round: Count
    """Which."""
    seconds: Number
    """How long it was open."""
    accepted: Count
    """Updates in the average."""
    required: Count
    """Updates that were needed."""
    late: Count
    """Workers without an update in it."""


class SlowWorker(_Model):
    """One of the slowest workers."""

    worker: Annotated[str, Field(max_length=128)]
    """Its name."""
    round: Count
    """In which round."""
    seconds: Number
    """From task to update."""


class ProgressStatus(_Model):
    """What the coordinator said last."""

    round: Count = 0
    """Open round, else the last one."""
    total_rounds: Count = 0
    """Rounds to train."""
    display: Annotated[str, Field(max_length=32)] = ""
    """Round of rounds."""
    accepted: Count = 0
    """Updates in the open round."""
    registered: Count = 0
    """Live workers."""
    late: Count = 0
    """Late updates of this attempt of the coordinator."""
    accuracy: Number = ""
    """Of the newest measured version."""
    metrics: tuple[Metric, ...] = Field((), max_length=32)
    """Of the newest measured version."""
    metrics_version: Count | None = None
    """Which that is: version *n* is the model after *n* rounds."""
    recent_rounds: tuple[RecentRound, ...] = Field((), max_length=5)
    """The last five."""
    slowest_workers: tuple[SlowWorker, ...] = Field((), max_length=3)
    """The slowest three."""
    observed_time: Time | None = None
    """When it was said."""


class Ending(_Model):
    """The operator has asked the coordinator to end."""

    reason: Word
    """An EndReason."""
    message: Annotated[str, Field(max_length=MESSAGE_CHARS)] = ""
    """Why."""
    since: Time
    """When."""


class ResultStatus(_Model):
    """What the coordinator left when it ended."""

    reason: Word
    """Its EndReason."""
    rounds: Count = 0
    """Rounds that closed."""
    metrics: tuple[Metric, ...] = Field((), max_length=32)
    """Of the last version."""
    artifact: Annotated[str, Field(max_length=512)] = ""
    """File in the run directory."""
    sha256: Annotated[str, Field(max_length=64)] = ""
    """Of that file."""


class Status(_Model):
    """What is."""

    observed_generation: Count = 0
    """Generation of the job that this was computed from."""
    phase: Literal["", "Pending", "Suspended", "Starting", "Running", "Degraded", "Succeeded", "Failed"] = ""
    """For display; the conditions say why."""
    start_time: Time | None = None
    """When the first pod was about to be made; set anew on resume."""
    quorum_first_met_time: Time | None = None
    """End of Starting; cleared by suspension."""
    completion_time: Time | None = None
    """When the job ended, well or not."""
    images: Images | None = None
    """Resolved once, used for all attempts."""
    attempt_base: Annotated[int, Field(ge=1)] = 1
    """Attempt of every worker without an entry in ``workerIndexes``; raised by suspension."""
    coordinator: CoordinatorStatus = CoordinatorStatus()
    """The coordinator."""
    workers: WorkersStatus = WorkersStatus()
    """The workers together."""
    worker_indexes: tuple[WorkerIndex, ...] = Field((), max_length=1000)
    """Only workers that have ended at least once, sorted."""
    quorum: QuorumStatus = QuorumStatus()
    """The quorum."""
    progress: ProgressStatus | None = None
    """What the coordinator said last."""
    ending: Ending | None = None
    """The operator has asked the coordinator to end."""
    restarts: Count = 0
    """Workers' and coordinator's together, for the column."""
    result: ResultStatus | None = None
    """What the coordinator left when it ended."""
    conditions: tuple[Condition, ...] = Field((), max_length=16, json_schema_extra={"x-kubernetes-list-map-keys": ["type"]})
    """Accepted, Suspended, CoordinatorReady, QuorumMet, Complete, Failed."""

    def to_api(self) -> dict[str, Any]:
        """Return the status as the API server takes it: what is not set is left out."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)
