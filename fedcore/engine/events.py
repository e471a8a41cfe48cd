"""What can happen to a job, as the engine sees it.

A ``ticket`` is the server's number for a call that waits for its answer; the engine answers it with exactly one `Answer`, at once
or later. ``session`` is the secret that a registration was given; a session the engine does not know is answered with a fault.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from fedcore.engine.reasons import EndReason, Rejection
    from fedcore.spec import Spec
    from fedcore.wire.protocol import Hello, UpdateReport

__all__ = [
    "EndAsked",
    "Event",
    "Heard",
    "HeartbeatReceived",
    "Left",
    "Registered",
    "SpecChanged",
    "Submitted",
    "TaskAsked",
    "Tick",
    "UploadOffered",
    "UploadRefused",
    "VersionWritten",
    "WorkerGone",
    "WorkerRevived",
    "WriteFailed",
]


@dataclass(frozen=True, slots=True)
class Registered:
    """A worker asks to take part; ``session`` is the secret it gets if it may."""

    ticket: int
    hello: Hello
    session: str


@dataclass(frozen=True, slots=True)
class TaskAsked:
    """A long poll for work, answered with ``wait`` after ``wait_seconds`` if there is none."""

    session: str
    ticket: int
    wait_seconds: float


@dataclass(frozen=True, slots=True)
class HeartbeatReceived:
    """A parked sign of life, answered at once when ``round`` is over. ``done`` is the share of the work done."""

    session: str
    ticket: int
    round: int
    done: float
    wait_seconds: float


@dataclass(frozen=True, slots=True)
class Heard:
    """Bytes came from a worker: a body in transit is a sign of life."""

    session: str


@dataclass(frozen=True, slots=True)
class UploadOffered:
    """A worker wants to send ``size_bytes`` for ``round`` from ``base``; answered before its body is read."""

    session: str
    ticket: int
    round: int
    base: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class UploadRefused:
    """A body was received and failed a check; ``detail`` names the tensor and the value."""

    session: str
    round: int
    reason: Rejection
    detail: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Submitted:
    """A report came in.

    ``rejection`` is what the checks outside the engine say of it, ``size_bytes`` the body's length, ``received_at`` the engine time of the
    body's last byte, where the round trip ends.
    """

    session: str
    ticket: int
    round: int
    report: UpdateReport
    size_bytes: int = 0
    rejection: Rejection | None = None
    detail: str = ""
    received_at: float | None = None


@dataclass(frozen=True, slots=True)
class Left:
    """A worker goes of its own accord."""

    session: str
    ticket: int
    reason: str


@dataclass(frozen=True, slots=True)
class VersionWritten:
    """A version is durable. Answers a `WriteVersion` or `AdoptInitial`; the next round may open."""

    version: int
    base: str
    size_bytes: int
    aggregation_s: float = 0.0
    checkpoint_s: float = 0.0
    fsync_s: float = 0.0


@dataclass(frozen=True, slots=True)
class WriteFailed:
    """The run directory cannot be written: the system's own words."""

    message: str


@dataclass(frozen=True, slots=True)
class SpecChanged:
    """The supervisor has changed the job; only mutable fields differ."""

    spec: Spec


@dataclass(frozen=True, slots=True)
class WorkerGone:
    """The supervisor has given up on a worker: its restart budget is spent."""

    index: int
    message: str


@dataclass(frozen=True, slots=True)
class WorkerRevived:
    """The supervisor tries a worker again that it had given up on: its budget was raised."""

    index: int


@dataclass(frozen=True, slots=True)
class EndAsked:
    """The supervisor wants the job to end with this reason."""

    reason: EndReason
    message: str


@dataclass(frozen=True, slots=True)
class Tick:
    """Time has passed; sent when ``next_deadline`` is reached."""


Event: TypeAlias = (
    Registered
    | TaskAsked
    | HeartbeatReceived
    | Heard
    | UploadOffered
    | UploadRefused
    | Submitted
    | Left
    | VersionWritten
    | WriteFailed
    | SpecChanged
    | WorkerGone
    | WorkerRevived
    | EndAsked
    | Tick
)
