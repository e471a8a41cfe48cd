"""What keeps a command from its work, as a sentence and an exit code."""

from __future__ import annotations

__all__ = ["INTERRUPTED", "TIMED_OUT", "UNREACHABLE", "USAGE", "ApiTrouble", "Trouble"]

USAGE = 2
"""Nothing was asked for that could be done: no such job, no such pod, no kubeconfig."""
UNREACHABLE = 4
"""The cluster does not answer, does not let us, or does not know FederatedJobs."""
TIMED_OUT = 124
"""As of timeout(1): none of the codes that a job ends with."""
INTERRUPTED = 130


class Trouble(Exception):  # noqa: N818 - the user's word for it
    """The command ends, or what it shows is incomplete."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class ApiTrouble(Trouble):
    """The cluster answered, and not with what was asked for; or it did not answer: then ``code`` is 0."""

    def __init__(self, message: str, *, code: int, kind: str = "", exit_code: int = UNREACHABLE) -> None:
        super().__init__(message, exit_code)
        self.code = code
        self.kind = kind
        """What was not found, such as "federatedjobs"; empty if the server does not know such paths at all."""
