"""Why a worker ends, as exit code, reason and sentence. The reasons are API: the operator reads them from the termination message."""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from fedcore.engine.reasons import EndReason
from fedcore.wire.protocol import FaultCode

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["EndWord", "Ended", "Ending", "after_fault", "after_stop", "write_termination"]

_MESSAGE_CHARS = 1024
_BLAMES_OTHERS = {EndReason.QUORUM_LOST, EndReason.QUORUM_UNREACHABLE}


class EndWord(StrEnum):
    """Reason in the termination message."""

    STOPPED = "stopped"  # the job is over
    RETIRED = "retired"  # the job goes on with fewer workers
    LEFT = "left"  # asked to end from outside
    REPLACED = "replaced"  # a later attempt has taken the place
    NAME_IN_USE = "name_in_use"
    UNAUTHORIZED = "unauthorized"
    INVALID = "invalid"  # options, entrypoint or parameters; another attempt would fail alike
    UNREACHABLE = "unreachable"
    CRASHED = "crashed"


@dataclass(frozen=True, slots=True)
class Ending:
    """How a worker's process ends."""

    exit_code: int
    reason: EndWord
    message: str = ""


class Ended(Exception):  # noqa: N818 - an end is not an error
    """The worker's work is over, for good or bad."""

    def __init__(self, ending: Ending) -> None:
        super().__init__(ending.message)
        self.ending = ending


def after_stop(reason: str) -> Ending:
    """Return the end that a stop task asks for."""
    if reason == "Retired":
        return Ending(0, EndWord.RETIRED, "the job goes on with fewer workers")
    return Ending(3 if reason in _BLAMES_OTHERS else 0, EndWord.STOPPED, f"the job has ended: {reason}")


def after_fault(code: int, message: str) -> Ending:
    """Return the end that a fault leads to, when it is one that does not heal."""
    text = message
    for known in FaultCode:  # the string of a fault starts with its name
        if known == code:
            text = message.removeprefix(f"{known.name.lower()}: ")
    match code:
        case FaultCode.REPLACED:
            return Ending(0, EndWord.REPLACED, text)
        case FaultCode.NAME_IN_USE:
            return Ending(2, EndWord.NAME_IN_USE, text)
        case FaultCode.UNAUTHORIZED:
            return Ending(2, EndWord.UNAUTHORIZED, text)
        case FaultCode.FINISHED:
            return after_stop(next((str(reason) for reason in EndReason if reason in text), text))
        case _:
            return Ending(2, EndWord.INVALID, f"the coordinator refused a call: {message}")


def write_termination(file: Path | None, ending: Ending) -> None:
    """Leave the end where the kubelet, or whoever started the worker, finds it."""
    if file is None:
        return
    message = " ".join(ending.message.split())[:_MESSAGE_CHARS]
    with contextlib.suppress(OSError):  # the exit code says it too
        file.write_text(json.dumps({"schema": 1, "reason": str(ending.reason), "message": message}) + "\n", encoding="utf-8")
