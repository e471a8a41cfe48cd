"""``POST /RPC2``: a call is parsed while it arrives, refused as soon as it can be known to be unwelcome, and answered."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING, Any

from fedcore.coordinator.bodies import Incomplete
from fedcore.coordinator.connection import CONTINUE
from fedcore.coordinator.head import HttpRefusal
from fedcore.coordinator.slots import Slots
from fedcore.wire.methods import METHODS, RPC_CODES, method_label, misfit
from fedcore.wire.protocol import FaultCode
from fedcore.wire.xmlrpc import BadXml, Call, CallParser, Credential, RpcFault, encode_fault, encode_response

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from fedcore.coordinator.app import App
    from fedcore.coordinator.connection import Connection
    from fedcore.coordinator.head import Head
    from fedcore.coordinator.limits import Limits

__all__ = ["XML", "RpcEndpoint"]

XML = "text/xml"
REGISTER = "fedcore.register"
SUBMIT = "fedcore.submit"
WEIGHTS = "fedcore.weights"
LONG_POLLS = frozenset({"fedcore.next_task", "fedcore.heartbeat"})
SMALL_BYTES = 8 * 1024
"""A registration fits; what is shorter costs less than the connection it came on."""


class RpcEndpoint:
    """Answers calls; one for all connections of a server."""

    def __init__(self, app: App, limits: Limits) -> None:
        self._app = app
        self._limits = limits
        self._submits = Slots(limits.inline_slots, limits.queue_seconds)
        self._answers = Slots(limits.inline_slots, limits.queue_seconds)
        self._anonymous_bytes = 0

    async def serve(self, connection: Connection, head: Head, settled: Callable[[], object]) -> None:
        """Read the call and answer it.

        Parameters
        ----------
        connection, head
            The client, and what it has said so far.
        settled : callable
            Called once the caller is known or its call is there: only until then may its connection be dropped to make room.

        Raises
        ------
        HttpRefusal
            Refused; whether the body has been read stands in it.
        Stalled, Incomplete
            The client stopped in the middle, or has gone.
        """
        length = self._length(head)
        began, code = time.monotonic(), "ok"
        parked = _Parked(connection)
        async with contextlib.AsyncExitStack() as held:
            call, bearer = await self._receive(connection, head, length, held, settled)
            settled()
            try:
                value = await self._value(connection, call, bearer, held, parked)
            except RpcFault as fault:
                code, body = _code(fault.code), encode_fault(fault.code, fault.message)
            except HttpRefusal:
                raise
            except Exception:
                self._app.answered(method_label(call.method), "error", time.monotonic() - began - parked.seconds)
                raise
            else:
                body = encode_response(value)
            # Slots are held until the bytes are out: a thousand answers of this size side by side would be gigabytes.
            await connection.answer(200, XML, body, keep_alive=head.keep_alive, pace=self._limits.pace)
            self._app.answered(method_label(call.method), code, time.monotonic() - began - parked.seconds)

    async def _value(self, connection: Connection, call: Call, bearer: str, held: contextlib.AsyncExitStack, parked: _Parked) -> Any:
        if call.method.startswith("system."):
            return _introspect(call)
        params = self._with_session(call, bearer)
        if problem := misfit(call.method, params):
            raise RpcFault(FaultCode.BAD_REQUEST, problem)
        if call.method == WEIGHTS:
            await _take(self._answers, held, params[0])
        value = await self._app.rpc(call.method, params, parked.waiting if call.method in LONG_POLLS else connection.watched)
        connection.known = True
        return value

    def _length(self, head: Head) -> int:
        try:
            length = head.body_length()
        except HttpRefusal as uncounted:
            raise _as_fault(uncounted, FaultCode.BAD_REQUEST) from None
        most = self._limits.inline_call_bytes
        if length > most:
            refusal = HttpRefusal(413, f"{length} bytes, at most {most}; larger models travel by PUT /v1/uploads", reason="too_large")
            raise _as_fault(refusal, FaultCode.TOO_LARGE)
        return length

    async def _receive(
        self, connection: Connection, head: Head, length: int, held: contextlib.AsyncExitStack, settled: Callable[[], object]
    ) -> tuple[Call, str]:
        """Read and parse the body, and know who calls before much of it is in memory."""
        bearer = head.bearer
        known = bool(bearer) and (self._app.authenticate(bearer) or self._app.check_token(bearer))
        if bearer and not known and length > self._limits.early_bytes:
            raise self._unwelcome(FaultCode.UNKNOWN_SESSION, "this session is not known, register again")
        if known:
            settled()
        if head.expects_continue:
            await connection.send(CONTINUE, self._limits.pace)
        parser = CallParser()
        counted = received = 0
        large = length > self._limits.rpc_bytes
        clock = asyncio.get_running_loop().time
        started = clock()
        try:
            while received < length:
                most = length - received if known else min(length, self._limits.early_bytes) - received
                piece = await connection.read(min(most, self._limits.early_bytes), self._limits.pace.deadline(started, received))
                if not piece:
                    raise Incomplete(f"the call ended after {received} of {length} bytes")
                received += len(piece)
                parser.feed(piece)
                if not known and received > SMALL_BYTES:
                    self._anonymous_bytes += len(piece)
                    counted += len(piece)
                    known = self._look(parser.credential(), length, received)
                    if known:
                        settled()
                if large and parser.method:
                    if parser.method != SUBMIT:
                        refusal = HttpRefusal(413, f"a call of {length} bytes that is no {SUBMIT}", reason="too_large")
                        raise _as_fault(refusal, FaultCode.TOO_LARGE)
                    if known:
                        large = False
                        shown = parser.credential()
                        await _take(self._submits, held, bearer if shown is None else shown.secret)
                        started = clock()
            return parser.close(), bearer
        except BadXml as error:
            unread = received < length
            refusal = HttpRefusal(400 if unread else 200, error.reason, reason="bad_xml", close=unread)
            raise _as_fault(refusal, FaultCode.BAD_REQUEST) from None
        finally:
            self._anonymous_bytes -= counted

    def _look(self, credential: Credential | None, length: int, received: int) -> bool:
        """Whether the caller is known by now; raise if it never will be, or if too much would have to be kept to find out."""
        early = self._limits.early_bytes
        if credential is None:
            if received >= early and length > early:
                raise self._unwelcome(FaultCode.UNAUTHORIZED, f"no credential within the first {early} bytes")
            if self._anonymous_bytes > self._limits.anonymous_bytes:
                refusal = HttpRefusal(503, "too many calls without a credential", reason="busy", headers={"Retry-After": "1"})
                raise _as_fault(refusal, FaultCode.BUSY)
            return False
        if credential.method == REGISTER:
            if self._app.check_token(credential.secret):
                return True
            raise self._unwelcome(FaultCode.UNAUTHORIZED, "the token is wrong")
        if self._app.authenticate(credential.secret):
            return True
        if length > early:
            raise self._unwelcome(FaultCode.UNKNOWN_SESSION, "this session is not known, register again")
        return False  # short enough to be read to its end, where the application may have a better reason

    def _with_session(self, call: Call, bearer: str) -> list[Any]:
        """Check what can be checked without the application, and return the parameters with the session in front."""
        if call.method not in METHODS:
            refusal = HttpRefusal(200, f"no method {call.method!r}; system.listMethods names them", reason="unknown_method", close=False)
            raise _as_fault(refusal, FaultCode.BAD_REQUEST)
        params = call.params
        if call.method == REGISTER:
            shown = params[0].get("token", "") if params and isinstance(params[0], dict) else ""
            if not self._app.check_token(shown if isinstance(shown, str) and shown else bearer):
                raise self._unwelcome(FaultCode.UNAUTHORIZED, "the token is wrong", close=False)
            return params
        if bearer and (not params or params[0] != bearer):
            return [bearer, *params]
        if not params or not isinstance(params[0], str):
            raise self._unwelcome(FaultCode.UNAUTHORIZED, "the first parameter is the session", close=False)
        return params

    @staticmethod
    def _unwelcome(code: FaultCode, message: str, *, close: bool = True) -> HttpRefusal:
        return _as_fault(HttpRefusal(200, message, reason="unauthorized", close=close), code)


_CODES = {int(fault): fault.name.lower() for fault in FaultCode if fault.name.lower() in RPC_CODES}


class _Parked:
    """Watches a client while its long poll is parked, and takes the time."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.seconds = 0.0

    @contextlib.contextmanager
    def waiting(self) -> Iterator[None]:
        since = time.monotonic()
        try:
            with self._connection.watched():
                yield
        finally:
            self.seconds += time.monotonic() - since


def _code(fault: int) -> str:
    """Return what metrics call a fault."""
    return _CODES.get(fault, "error")


def _as_fault(refusal: HttpRefusal, code: FaultCode) -> HttpRefusal:
    """Give a refusal a body that an XML-RPC client understands."""
    refusal.body = encode_fault(code, str(refusal))
    refusal.content_type = XML
    return refusal


async def _take(slots: Slots, held: contextlib.AsyncExitStack, session: str) -> None:
    try:
        await held.enter_async_context(slots.taken(session))
    except HttpRefusal as busy:
        raise _as_fault(busy, FaultCode.BUSY) from None


def _introspect(call: Call) -> Any:
    if call.method == "system.listMethods":
        return sorted(METHODS)
    name = call.params[0] if call.params else None
    if call.method not in METHODS or not isinstance(name, str) or name not in METHODS:
        raise RpcFault(FaultCode.BAD_REQUEST, "name a method that system.listMethods names")
    return METHODS[name].text if call.method == "system.methodHelp" else [METHODS[name].signature]
