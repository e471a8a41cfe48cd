"""What an answer of the API server means: to a dry run, and to a creation."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto

from fedcore_operator.api.conditions import Reason

__all__ = ["Answer", "Created", "Verdict", "creation", "error_class", "verdict"]

_NAMESPACE_TERMINATING = "NamespaceTerminating"


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer of the API server."""

    code: int
    message: str = ""
    causes: tuple[str, ...] = ()
    """Reasons in ``details.causes``."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the dry runs of a job's shapes say; the first that refuses decides."""

    reason: Reason
    message: str = ""

    @property
    def accepted(self) -> bool:
        """Whether the job may start."""
        return self.reason in {Reason.VALID, Reason.VALID_NOT_DRY_RUN}


def verdict(answer: Answer) -> Verdict | None:
    """Return what a dry run's answer means; None if it means nothing and is to be asked again."""
    match answer.code:
        case code if 200 <= code < 300:
            return Verdict(Reason.VALID)
        case 409:
            return Verdict(Reason.VALID)  # the name is taken: whose it is shows when it is made
        case 400 if "does not support dry run" in answer.message:
            return Verdict(Reason.VALID_NOT_DRY_RUN, answer.message)  # somebody's webhook has side effects
        case 400 | 422:
            return Verdict(Reason.INVALID_POD_TEMPLATE, answer.message)
        case 403:
            return Verdict(Reason.POD_FORBIDDEN, answer.message)
        case _:
            return None


class Created(Enum):
    """What became of a creation."""

    DONE = auto()
    OURS = auto()
    """It was there already, and it is ours: an earlier pass was cut off after making it."""
    REFUSED = auto()
    """Not now: quota, admission, a template that the dry run could not see. To be tried again in 30 s."""
    CONFLICT = auto()
    """The name is somebody else's."""
    WAIT = auto()
    """The name is an earlier job's, whose children are being collected."""
    DROP = auto()
    """Namespace or job are going away: no error, nothing left to do."""
    RETRY = auto()
    """The server has trouble."""


def creation(answer: Answer, *, holder_uid: str | None, holder_is_job: bool, job_uid: str) -> Created:
    """Return what became of a creation.

    Parameters
    ----------
    holder_uid : str or None
        After a 409: uid of the controller of the object that has the name; None if it has none.
    holder_is_job : bool
        Whether that controller is a FederatedJob of the same name.
    job_uid : str
        The job's.
    """
    match answer.code:
        case code if 200 <= code < 300:
            return Created.DONE
        case 409 if holder_uid == job_uid:
            return Created.OURS
        case 409:
            return Created.WAIT if holder_is_job else Created.CONFLICT
        case 404:
            return Created.DROP
        case 403 if _NAMESPACE_TERMINATING in answer.causes:
            return Created.DROP
        case 400 | 403 | 422:
            return Created.REFUSED
        case _:
            return Created.RETRY


def error_class(code: int) -> str:
    """Return the class of what kept a pass from its work; 0 is an API server that does not answer."""
    match code:
        case 0:
            return "timeout"
        case 429:
            return "throttled"
        case _:
            return "api"
