"""The messages of protocol version 1, as typed models. No I/O: the server, the engine and our own worker share them.

The XML-RPC structs are these models' ``to_wire()``; what arrives is parsed by ``Model.model_validate(struct)``. XML-RPC integers
end at 2**31 - 1, so larger counts travel as decimal strings, which the models read back as integers.
"""

from __future__ import annotations

import json
from enum import IntEnum, StrEnum
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

__all__ = [
    "INLINE_LIMIT_BYTES",
    "MAX_SAMPLES",
    "MAX_TRAIN_SECONDS",
    "MAX_WAIT_SECONDS",
    "PROTOCOL",
    "REPORT_HEADER",
    "RPC_PATH",
    "SUM64_HEADER",
    "Base",
    "FaultCode",
    "HeartbeatReply",
    "Hello",
    "SubmitReply",
    "Task",
    "TaskKind",
    "UpdateReport",
    "UploadReply",
    "Welcome",
    "Work",
    "to_struct",
    "uploads_path",
    "weights_path",
]

PROTOCOL = "1"
RPC_PATH = "/RPC2"
REPORT_HEADER = "Fedcore-Report"
"""An upload may bring its report along: then it is counted when it has come, and needs no ``fedcore.submit``."""
SUM64_HEADER = "Fedcore-Sum64"
"""What the body's checksum will be (`fedcore.wire.checksum`): with another one it is not taken."""
_LONGEST_HEADER_BYTES = 8192
MAX_WAIT_SECONDS = 60.0
"""Longest long poll. Proxies and load balancers commonly cut an idle connection after a minute or more."""
INLINE_LIMIT_BYTES = 8 * 2**20
"""Largest model that may ride inline as base64; above it only the octet streams carry weights."""
MAX_SAMPLES = 2**29 - 1
"""Largest weight of one update: the bound under which the exact mean's products are exact in float64."""
MAX_TRAIN_SECONDS = 366 * 86_400.0
"""Longest training a report may speak of: a year, so that what is divided by the least epochs stays far from a double's end."""
MAX_METRICS = 32


def weights_path(version: int) -> str:
    """Path of the octet stream of one version."""
    return f"/v1/weights/{version}"


def uploads_path(round_number: int) -> str:
    """Path that takes the update of one round."""
    return f"/v1/uploads/{round_number}"


class FaultCode(IntEnum):
    """XML-RPC fault numbers; the fault string starts with the name in lower case, then a colon and a sentence."""

    UNKNOWN_SESSION = 1  # register again, then resubmit what you hold
    REPLACED = 2  # a higher attempt of this worker has registered: exit 0
    NAME_IN_USE = 3  # another process holds this name and attempt: exit 2
    UNAUTHORIZED = 4
    BAD_REQUEST = 5
    TOO_LARGE = 6
    BUSY = 7  # try again later
    FINISHED = 8  # the job is over


class TaskKind(StrEnum):
    """What a worker is asked to do. A worker declares the first three it can do; the last two any worker understands."""

    INIT = "init"
    TRAIN = "train"
    EVALUATE = "evaluate"
    WAIT = "wait"
    STOP = "stop"


Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$")]


class Message(BaseModel):
    """A frozen struct of the wire. Unknown members are ignored, so that either side may be the newer one."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)

    def to_wire(self) -> dict[str, Any]:
        """Return the struct: see `to_struct`."""
        return to_struct(self)


def to_struct(model: BaseModel) -> dict[str, Any]:
    """Return a model as XML-RPC can carry it: what is None is left out at any depth, an integer beyond 31 bits is a string."""
    struct: dict[str, Any] = _wire(model.model_dump(mode="json", by_alias=True))
    return struct


def _wire(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _wire(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_wire(item) for item in value]
    if isinstance(value, int) and not isinstance(value, bool) and not -(2**31) <= value < 2**31:
        return str(value)
    return value


class Hello(Message):
    """What a worker says of itself in ``fedcore.register``."""

    protocol: str
    name: Name
    index: int | None = Field(None, ge=0, lt=100_000)
    attempt: int = Field(1, ge=1)
    instance: str = Field(min_length=1, max_length=128)
    """Made anew at each process start, so that a restart with the same attempt number is told apart from a reconnect."""
    samples: int = Field(ge=0, le=MAX_SAMPLES)
    """Size of the worker's local training data. 0: not known yet; the worker wants the job's parameters in order to load its data, and
    takes part once it has registered again."""
    eval_samples: int = Field(0, ge=0, le=MAX_SAMPLES)
    client: str = Field("", max_length=128)
    token: str = Field("", max_length=4096, repr=False)
    tasks: frozenset[TaskKind] = frozenset({TaskKind.TRAIN})


class Welcome(Message):
    """The answer to ``fedcore.register``."""

    session: str = Field(repr=False)
    run_id: str
    index: int
    replicas: int
    seed: int
    heartbeat_seconds: float
    inline_limit_bytes: int = INLINE_LIMIT_BYTES
    parameters: dict[str, str]


class Base(Message):
    """The version of the model that a task starts from. ``id`` tells it apart: a checksum of its file, in hex."""

    id: str
    version: int
    href: str
    bytes: int


class Work(Message):
    """How much to do: ``epochs`` over the local data, within ``deadline_seconds`` from the moment of the answer."""

    epochs: float
    deadline_seconds: float


class Task(Message):
    """The answer to ``fedcore.next_task``. ``base`` and ``work`` are there for train, ``base`` for evaluate, neither otherwise.

    ``round`` is the round to train for, 0 for init, and the version to measure for evaluate. ``reason`` is filled for stop:
    an ``EndReason`` when the job is over, ``Retired`` when the worker is no longer needed.
    """

    kind: TaskKind
    round: int = 0
    base: Base | None = None
    work: Work | None = None
    seed: int = 0
    evaluate: bool = False
    reason: str = ""


class HeartbeatReply(Message):
    """The answer to ``fedcore.heartbeat``. ``superseded``: drop the work, its round is over."""

    superseded: bool
    deadline_seconds: float


class UpdateReport(Message):
    """What ``fedcore.submit`` says of an update; the weights lie in ``upload`` or ride in ``weights``.

    Without either it answers an evaluate task, or, with ``declined``, it says "not this round, because ...".
    """

    base: str
    samples: int = Field(0, ge=-(2**63), lt=2**63)
    """Weight of the update; what is not 1 to the registered number is rejected, what is no number of 64 bits is no report."""
    metrics: dict[str, float] = Field(default_factory=dict)
    """Measured on the base with the worker's held-out data, weighted by ``eval_samples``."""
    eval_samples: int = Field(0, ge=0, le=MAX_SAMPLES)
    """Held-out samples behind the metrics; they weigh as many as were registered at most."""
    train_loss: float | None = None
    seconds: float = Field(0.0, ge=0, le=MAX_TRAIN_SECONDS)
    """Time spent training, without transfers and evaluation: the worker's own clock."""
    upload: str = ""
    declined: str = Field("", max_length=512)

    def to_header(self) -> str:
        """Return the report as the value of `REPORT_HEADER`; an empty text if it is too long for that."""
        text = json.dumps(self.model_dump(mode="json", exclude_defaults=True), separators=(",", ":"))
        return text if len(text) <= _LONGEST_HEADER_BYTES else ""


class SubmitReply(Message):
    """The answer to ``fedcore.submit``: result is accepted, duplicate, stale or rejected; reason says why not."""

    result: str
    reason: str = ""


class UploadReply(Message):
    """The JSON body of every answer to ``PUT /v1/uploads/{round}``.

    ``upload`` on 201 if the report is still to come, ``result`` and ``reason`` otherwise: an upload that brought its report along has the
    result of a submit.
    """

    upload: str = ""
    bytes: int = 0
    sum64: str | None = None
    """Checksum of what came (`fedcore.wire.checksum`), for the sender to compare."""
    result: str = ""
    reason: str = ""
