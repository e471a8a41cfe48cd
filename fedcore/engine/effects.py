"""What has to happen in the world after an event. The engine only says so; the coordinator does it, in order."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fedcore.engine.reasons import EndReason, Phase
    from fedcore.wire.protocol import FaultCode, HeartbeatReply, SubmitReply, Task, Welcome

__all__ = [
    "AdoptInitial",
    "Answer",
    "Discard",
    "Effect",
    "Empty",
    "Fault",
    "Finish",
    "Merge",
    "Record",
    "Reply",
    "Shutdown",
    "UploadAnswer",
    "WriteVersion",
]


@dataclass(frozen=True, slots=True)
class Fault:
    """A refusal with a number the worker can act on."""

    code: FaultCode
    message: str


@dataclass(frozen=True, slots=True)
class UploadAnswer:
    """Whether an offered body may come: ``result`` is accepted, or stale or duplicate, which saves sending it."""

    result: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Empty:
    """Nothing to say but "heard"."""


Reply: TypeAlias = "Welcome | Task | HeartbeatReply | SubmitReply | UploadAnswer | Fault | Empty"


@dataclass(frozen=True, slots=True)
class Answer:
    """Answer the call that waits under this ticket."""

    ticket: int
    reply: Reply


@dataclass(frozen=True, slots=True)
class Merge:
    """Add this upload to the open round's sum; it is counted, whatever happens to its sender."""

    upload: str
    worker: str
    samples: int


@dataclass(frozen=True, slots=True)
class Discard:
    """Forget this upload: it is not counted."""

    upload: str


@dataclass(frozen=True, slots=True)
class AdoptInitial:
    """Make this upload version 0, durable; answered by `VersionWritten`. An empty ``upload`` stands for ``task.initialWeights``."""

    upload: str
    checkpoint: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class WriteVersion:
    """Close the sum, write it as ``version`` with its checkpoint, durable; answered by `VersionWritten` or `WriteFailed`.

    The checkpoint's ``closed`` holds the records that follow once it is durable, so that a crash in between loses no line of the log.
    """

    version: int
    checkpoint: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Record:
    """One line of events.jsonl."""

    event: str
    fields: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Finish:
    """The job has ended: write what remains of it. Workers are still told to stop until `Shutdown`."""

    phase: Phase
    reason: EndReason
    message: str
    exit_code: int


@dataclass(frozen=True, slots=True)
class Shutdown:
    """Every live worker has been told; the server may close."""


Effect: TypeAlias = "Answer | Merge | Discard | AdoptInitial | WriteVersion | Record | Finish | Shutdown"
