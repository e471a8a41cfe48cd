"""The XML-RPC methods of protocol version 1, for introspection and so that an unknown name is refused before anybody is asked."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["METHODS", "Method"]


@dataclass(frozen=True, slots=True)
class Method:
    """Signature (the result's type first) and one sentence."""

    signature: tuple[str, ...]
    text: str


METHODS: dict[str, Method] = {
    "fedcore.register": Method(
        ("struct", "struct"),
        "Take part in the job: a struct with protocol, name, attempt, instance, samples and token; returns the session.",
    ),
    "fedcore.next_task": Method(("struct", "string", "double"), "Wait up to so many seconds for work."),
    "fedcore.heartbeat": Method(
        ("struct", "string", "int", "double", "double"),
        "Say that round and share done are in hand; parked up to wait_seconds, answered at once when the round is over.",
    ),
    "fedcore.submit": Method(
        ("struct", "string", "int", "struct"), "Report an update of this round: base, samples, and upload or weights as base64."
    ),
    "fedcore.weights": Method(("base64", "string", "int"), "The safetensors bytes of a version, up to inline_limit_bytes."),
    "fedcore.leave": Method(("struct", "string", "string"), "Go, with a reason."),
    "fedcore.status": Method(("struct", "string"), "The job's progress."),
    "system.listMethods": Method(("array",), "Names of all methods."),
    "system.methodHelp": Method(("string", "string"), "What a method does."),
    "system.methodSignature": Method(("array", "string"), "Types of a method: its result, then its parameters."),
}
