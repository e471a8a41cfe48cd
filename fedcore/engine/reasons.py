"""Why things end. Every value here is API: exit code, condition reason, event, log field, metric label and CSV say the same word."""

from __future__ import annotations

from enum import StrEnum

__all__ = ["EXIT_CODE", "EndReason", "Outcome", "Phase", "Rejection", "Result"]


class Phase(StrEnum):
    """Where a job is. ``INTERRUPTED`` stands in summaries only: the run may be resumed, so it is not an end."""

    STARTING = "Starting"
    RUNNING = "Running"
    DEGRADED = "Degraded"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    INTERRUPTED = "Interrupted"


class EndReason(StrEnum):
    """Why a job ended. ``COORDINATOR_FAILED`` and ``INTERRUPTED`` are words of the supervisor, the others of the coordinator."""

    COMPLETED = "Completed"
    CHECKPOINT_FAILED = "CheckpointFailed"
    DEADLINE_EXCEEDED = "DeadlineExceeded"
    STARTUP_DEADLINE_EXCEEDED = "StartupDeadlineExceeded"
    NON_RETRYABLE_EXIT = "NonRetryableExit"
    COORDINATOR_FAILED = "CoordinatorFailed"
    INTERNAL_ERROR = "InternalError"
    QUORUM_LOST = "QuorumLost"
    QUORUM_UNREACHABLE = "QuorumUnreachable"
    INTERRUPTED = "Interrupted"


EXIT_CODE: dict[EndReason, int] = {
    EndReason.COMPLETED: 0,
    EndReason.CHECKPOINT_FAILED: 1,
    EndReason.DEADLINE_EXCEEDED: 1,
    EndReason.STARTUP_DEADLINE_EXCEEDED: 1,
    EndReason.NON_RETRYABLE_EXIT: 1,
    EndReason.COORDINATOR_FAILED: 1,
    EndReason.INTERNAL_ERROR: 1,
    EndReason.QUORUM_LOST: 3,
    EndReason.QUORUM_UNREACHABLE: 3,
    EndReason.INTERRUPTED: 130,
}
"""Exit code of ``fedcore run`` by reason. Beside these: 2 usage or invalid job, 4 coordinator or cluster unreachable."""


class Outcome(StrEnum):
    """How a round ended: everyone answered, the quorum did, or the job ended first."""

    FULL = "full"
    QUORUM = "quorum"
    ABORTED = "aborted"


class Result(StrEnum):
    """What became of a submitted update. ``STALE`` is called *late* in text, plots and tables."""

    ACCEPTED = "accepted"
    DUPLICATE = "duplicate"
    STALE = "stale"
    REJECTED = "rejected"


class Rejection(StrEnum):
    """Which check an update failed, in the order of the checks."""

    LENGTH = "length"
    HEADER = "header"
    LAYOUT = "layout"
    NON_FINITE = "non_finite"
    OUT_OF_RANGE = "out_of_range"
    SAMPLES = "samples"
    METRICS = "metrics"
    NORM = "norm"
