"""What the supervisor is told, and what it wants done."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    import signal
    from collections.abc import Mapping

    from fedcore.report.summary import End

__all__ = ["Action", "Event", "Exited", "JobFinished", "Note", "Send", "Start", "StopAsked", "Tell", "Tick"]


@dataclass(frozen=True, slots=True)
class Exited:
    """A process has ended."""

    name: str
    exit_code: int
    """As a shell gives it: 128 + n for signal n."""
    reason: str = ""
    """From its termination message."""
    message: str = ""
    """The same, or the last line of its log."""
    end: End | None = None
    """How the job has ended, from a coordinator's termination message: its word even if its log could not be written any more."""


@dataclass(frozen=True, slots=True)
class JobFinished:
    """The coordinator has written ``run_finished``."""

    linger_seconds: float = 0.0
    """How long it serves on at most, for its last values to be scraped."""


@dataclass(frozen=True, slots=True)
class StopAsked:
    """Ctrl-C or SIGTERM."""


@dataclass(frozen=True, slots=True)
class Tick:
    """Time has passed."""


@dataclass(frozen=True, slots=True)
class Start:
    """Start this attempt of a process."""

    name: str
    attempt: int


@dataclass(frozen=True, slots=True)
class Send:
    """Send a signal to a running process."""

    name: str
    signal: signal.Signals


@dataclass(frozen=True, slots=True)
class Tell:
    """Write the job input: who is gone for good, and the end that is wanted."""

    gone: tuple[int, ...]
    end: End | None


@dataclass(frozen=True, slots=True)
class Note:
    """Something for people to see."""

    event: str
    fields: Mapping[str, Any] = field(default_factory=dict)


Event: TypeAlias = "Exited | JobFinished | StopAsked | Tick"
Action: TypeAlias = "Start | Send | Tell | Note"
