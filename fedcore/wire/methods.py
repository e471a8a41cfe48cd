"""The XML-RPC methods of protocol version 1: for introspection, and so that a call which fits none is refused before anybody is asked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["METHODS", "METHOD_LABELS", "RPC_CODES", "Method", "method_label", "misfit"]

TYPES: Mapping[str, tuple[type, ...]] = {"string": (str,), "int": (int,), "double": (float, int), "struct": (dict,)}
"""What may stand for a parameter's type; whole numbers pass for doubles, since many clients send 60 for 60.0."""


@dataclass(frozen=True, slots=True)
class Method:
    """The result's type, name and type of each parameter, and one sentence."""

    result: str
    params: Mapping[str, str]
    text: str

    @property
    def signature(self) -> list[str]:
        """Types as ``system.methodSignature`` tells them: the result's, then the parameters'."""
        return [self.result, *self.params.values()]


METHODS: dict[str, Method] = {
    "fedcore.register": Method(
        "struct",
        {"hello": "struct"},
        "Take part in the job: a struct with protocol, name, attempt, instance, samples and token; returns the session.",
    ),
    "fedcore.next_task": Method("struct", {"session": "string", "wait_seconds": "double"}, "Wait up to so many seconds for work."),
    "fedcore.heartbeat": Method(
        "struct",
        {"session": "string", "round": "int", "done": "double", "wait_seconds": "double"},
        "Say that round and share done are in hand; parked up to wait_seconds, answered at once when the round is over.",
    ),
    "fedcore.submit": Method(
        "struct",
        {"session": "string", "round": "int", "update": "struct"},
        "Report an update of this round: base, samples, and upload or weights as base64.",
    ),
    "fedcore.weights": Method(
        "base64", {"session": "string", "version": "int"}, "The safetensors bytes of a version, up to inline_limit_bytes."
    ),
    "fedcore.leave": Method("struct", {"session": "string", "reason": "string"}, "Go, with a reason."),
    "fedcore.status": Method("struct", {"session": "string"}, "The job's progress."),
    "system.listMethods": Method("array", {}, "Names of all methods."),
    "system.methodHelp": Method("string", {"name": "string"}, "What a method does."),
    "system.methodSignature": Method("array", {"name": "string"}, "Types of a method: its result, then its parameters."),
}


METHOD_LABELS = (*(name.removeprefix("fedcore.") for name in METHODS if name.startswith("fedcore.")), "get_weights", "put_upload", "other")
"""What metrics call the methods: those above, the two of the HTTP data plane, and all else."""
RPC_CODES = ("ok", "unknown_session", "unauthorized", "bad_request", "too_large", "busy", "finished", "error")
"""What metrics call the answers: the name of a fault; ``error`` where no client is to blame, or none that heals."""
_LABEL_OF = {name: name.removeprefix("fedcore.") for name in METHODS if name.startswith("fedcore.")}


def method_label(name: str) -> str:
    """Return what metrics call a method."""
    return _LABEL_OF.get(name, "other")


def misfit(name: str, params: Sequence[Any]) -> str:
    """Say what is wrong with the parameters of a known method, naming the first that is; nothing if they fit."""
    expected = METHODS[name].params
    for (parameter, wanted), value in zip(expected.items(), params, strict=False):
        if not isinstance(value, TYPES[wanted]) or isinstance(value, bool):
            return f"{name}: {parameter} is no {wanted}"
    if len(params) < len(expected):
        return f"{name}: {list(expected)[len(params)]} is missing"
    return f"{name} takes {', '.join(expected)} and nothing more" if len(params) > len(expected) else ""
