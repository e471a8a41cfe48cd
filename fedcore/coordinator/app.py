"""What the server asks of the application behind it. The server knows HTTP, XML-RPC and bodies; the application knows the job."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

if TYPE_CHECKING:
    from pathlib import Path

    from fedcore.wire.protocol import UploadReply

__all__ = ["Announced", "App", "BodyRefused", "Page", "Refusal", "Route", "Routes", "UploadSink", "Waiting", "WeightsFile"]


@dataclass(frozen=True, slots=True)
class Page:
    """The answer to a GET outside the protocol."""

    content_type: str
    body: bytes
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    answered: Callable[[], object] | None = None
    """Called when it has gone out to its last byte."""


Route: TypeAlias = Callable[[Mapping[str, str]], Awaitable[Page]]
"""Answers a GET, given the request's headers (names in lower case). Runs in the loop's thread."""
Routes: TypeAlias = Mapping[str, Route]
Waiting: TypeAlias = Callable[[], AbstractContextManager[None]]
"""Entered by the application while an answer is not there yet: cancels the call when its client goes away, as nobody will read it."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """An answer instead of a body: the status, what the JSON says, and when to come again if that makes sense."""

    status: int
    reply: UploadReply
    retry_after_seconds: int | None = None


class BodyRefused(Exception):  # noqa: N818 - an outcome, raised only because it has to cross the receiving loop
    """Raised by `UploadSink.write`: the rest of the body need not come."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.reply.reason)
        self.refusal = refusal


@dataclass(frozen=True, slots=True)
class Announced:
    """What an upload's head says of the body: its report (JSON) and its checksum, each if it is there."""

    report: str = ""
    sum64: str = ""


@dataclass(frozen=True, slots=True)
class WeightsFile:
    """A complete file that will not change while it is open."""

    path: Path
    etag: str


class UploadSink(Protocol):
    """Takes one body. After the last ``write`` exactly one of ``finish`` and ``discard`` is called, in the loop's thread."""

    def room(self, size: int) -> memoryview | None:
        """Return memory in which to receive the next ``size`` bytes, to be handed to ``write``; None: any will do."""

    def write(self, piece: memoryview) -> None:
        """Take the next bytes, up to 1 MiB, in a thread of the pool. The memory is used again after the return.

        Raises
        ------
        BodyRefused
            The body fails a check, or there is no space; ``discard`` follows.
        """

    async def finish(self, sum64: str) -> tuple[int, UploadReply]:
        """All bytes have come. Return status and answer, 201 if the upload is kept or counted."""

    def discard(self, reason: str) -> None:
        """Forget the body: ``incomplete``, ``stalled``, ``refused`` or ``failed``."""


class App(Protocol):
    """The application. Coroutines and callbacks run in the loop's thread unless they say otherwise, and must not block it."""

    async def rpc(self, method: str, params: list[Any], waiting: Waiting) -> Any:
        """Answer a call of one of the wire's methods; the first parameter is the session, wherever the client has put it.

        The token of ``fedcore.register`` has been checked, sessions have not.

        Raises
        ------
        RpcFault
            The refusal the client sees.
        """

    async def upload(self, session: str, round_number: int, base: str, length: int, announced: Announced) -> UploadSink | Refusal:
        """Decide on a body before it is read; the session is valid."""

    async def weights(self, session: str, version: int) -> WeightsFile | Refusal:
        """Return the file of a version; the session is valid."""

    def authenticate(self, session: str) -> bool:
        """Whether the session may use the data plane and send large calls now."""

    def check_token(self, token: str) -> bool:
        """Whether this is the job's token, in constant time."""

    def heard(self, session: str) -> None:
        """Note that a body of this session is moving; called about once a second for each."""

    def sent(self, size_bytes: int) -> None:
        """Count body bytes of weights that have gone out."""

    def answered(self, method: str, code: str, seconds: float) -> None:
        """Count a request that was answered: see `fedcore.wire.methods.METHOD_LABELS` for ``method``, `RPC_CODES` for ``code``."""

    def refused(self, reason: str) -> None:
        """Count a refusal.

        One of unauthorized, certificate (no TLS was agreed on), too_large, no_length, gzip, bad_xml, unknown_method, stalled, incomplete,
        busy, damaged (a body with another checksum than was announced).
        """
