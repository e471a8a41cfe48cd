"""The data plane: ``PUT /v1/uploads/{round}`` and ``GET /v1/weights/{version}``.

Everything is decided in the loop before a body moves; the body itself is moved by a thread that has the socket to itself meanwhile. One
that is a single piece is moved in the loop: handing it over and back would take longer.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

from fedcore.coordinator.app import Announced, BodyRefused, Refusal
from fedcore.coordinator.bodies import HEARD_SECONDS, PIECE_BYTES, Incomplete, Stalled, read_from, receive_body, send_file
from fedcore.coordinator.connection import CONTINUE
from fedcore.coordinator.head import HttpRefusal, response_head
from fedcore.coordinator.held import HeldVersion
from fedcore.coordinator.slots import Slots
from fedcore.wire.checksum import Sum64
from fedcore.wire.protocol import REPORT_HEADER, SUM64_HEADER

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from concurrent.futures import ThreadPoolExecutor

    from fedcore.coordinator.app import App, UploadSink, WeightsFile
    from fedcore.coordinator.connection import Connection
    from fedcore.coordinator.head import Head
    from fedcore.coordinator.limits import Limits

__all__ = ["JSON", "OCTETS", "TransferEndpoint"]

JSON = "application/json"
OCTETS = "application/octet-stream"
RANGE = re.compile(r"bytes=([0-9]{0,19})-([0-9]{0,19})")


_CODES = {200: "ok", 201: "ok", 409: "ok", 422: "ok", 401: "unknown_session", 413: "too_large", 503: "busy"}
"""What metrics call an answer by its status. That an update was late, counted before or rejected is an answer like any other."""


@dataclass(slots=True)
class _Counted:
    status: int = 200


class TransferEndpoint:
    """Moves bodies; one for all connections of a server."""

    def __init__(self, app: App, limits: Limits, pool: ThreadPoolExecutor) -> None:
        self._app = app
        self._limits = limits
        self._pool = pool
        self._uploads = Slots(limits.upload_slots, limits.queue_seconds)
        self._downloads = Slots(limits.download_slots, limits.queue_seconds)
        self._uploading: dict[str, Connection] = {}
        self._held = HeldVersion()

    async def put(self, connection: Connection, head: Head, round_number: int) -> None:
        """Take an update, and count what became of it. Raises as `_put` does."""
        with self._counted("put_upload") as counted:
            counted.status = await self._put(connection, head, round_number)

    async def get(self, connection: Connection, head: Head, version: int) -> None:
        """Send a version, or a range of it, and count it. Raises as `_put` does."""
        with self._counted("get_weights"):
            await self._get(connection, head, version)

    @contextlib.contextmanager
    def _counted(self, method: str) -> Iterator[_Counted]:
        """Count a request that is answered; one that is refused before anybody is asked, or broken off, is counted by its reason."""
        began, counted = time.monotonic(), _Counted()
        try:
            yield counted
        except HttpRefusal as refusal:
            if not refusal.reason:
                self._app.answered(method, _CODES.get(refusal.status, "bad_request"), time.monotonic() - began)
            raise
        except (Incomplete, Stalled):
            raise
        except Exception:
            self._app.answered(method, "error", time.monotonic() - began)
            raise
        self._app.answered(method, _CODES.get(counted.status, "error"), time.monotonic() - began)

    async def _put(self, connection: Connection, head: Head, round_number: int) -> int:
        """Take an update. One of the same session that is still on its way is broken off: its sender has given it up.

        Raises
        ------
        HttpRefusal
            Refused before the body was read to its end.
        Stalled, Incomplete
            The body did not come, or the answer could not be sent.
        """
        session = self._session(connection, head)
        length = head.body_length()
        base = head.headers.get("fedcore-base", "")
        if not base and round_number:  # the first weights start from nothing
            raise HttpRefusal(400, "the header Fedcore-Base is required: the id of the version the update starts from")
        async with self._only(session, connection), self._uploads.taken(session):
            if self._uploading.get(session) is not connection:
                raise Incomplete("a newer upload of this session has come")
            announced = Announced(head.headers.get(REPORT_HEADER.lower(), ""), head.headers.get(SUM64_HEADER.lower(), ""))
            sink = await self._app.upload(session, round_number, base, length, announced)
            if isinstance(sink, Refusal):
                _refuse(sink)
            checksum = await self._receive(connection, session, length, sink, expected=head.expects_continue)
            status, reply = await sink.finish(checksum)
            body = reply.model_dump_json(exclude_none=True).encode()
            await connection.answer(status, JSON, body, keep_alive=head.keep_alive, pace=self._limits.pace)
            return status

    @contextlib.asynccontextmanager
    async def _only(self, session: str, connection: Connection) -> AsyncIterator[None]:
        older = self._uploading.get(session)
        if older is not None:
            older.abort()
        self._uploading[session] = connection
        try:
            yield
        finally:
            if self._uploading.get(session) is connection:
                del self._uploading[session]

    async def _receive(self, connection: Connection, session: str, length: int, sink: UploadSink, *, expected: bool) -> str:
        outcome = "failed"
        try:
            if expected:
                await connection.send(CONTINUE, self._limits.pace)
            if length <= PIECE_BYTES:
                checksum = await self._receive_here(connection, session, length, sink)
            else:
                checksum = await self._receive_in_thread(connection, session, length, sink)
            outcome = "complete"
        except Incomplete:
            outcome = "incomplete"
            raise
        except Stalled:
            outcome = "stalled"
            raise
        except BodyRefused as refused:
            outcome = "refused"
            _refuse(refused.refusal)
        finally:
            if outcome != "complete":
                sink.discard(outcome)
        return checksum

    async def _receive_in_thread(self, connection: Connection, session: str, length: int, sink: UploadSink) -> str:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(
            self._pool,
            receive_body,
            connection.sock,
            connection.take(length),
            length,
            sink,
            lambda: loop.call_soon_threadsafe(self._app.heard, session),
            self._limits.pace,
        )

    async def _receive_here(self, connection: Connection, session: str, length: int, sink: UploadSink) -> str:
        clock = asyncio.get_running_loop().time
        started = heard = clock()
        body = bytearray()
        while len(body) < length:
            data = await connection.read(length - len(body), self._limits.pace.deadline(started, len(body)))
            if not data:
                raise Incomplete(f"the body ended after {len(body)} of {length} bytes")
            body += data
            if clock() - heard >= HEARD_SECONDS:
                heard = clock()
                self._app.heard(session)
        piece = memoryview(body)
        checksum = Sum64()
        checksum.update(piece)
        sink.write(piece)
        return checksum.hexdigest()

    async def _get(self, connection: Connection, head: Head, version: int) -> None:
        session = self._session(connection, head)
        if head.length:
            raise HttpRefusal(400, "a GET has no body")
        async with self._downloads.taken(session):
            found = await self._app.weights(session, version)
            if isinstance(found, Refusal):
                _refuse(found, close=False)
            try:
                file = os.open(found.path, os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError:
                raise HttpRefusal(404, f"version {version} is no longer kept", close=False) from None
            try:
                await self._send(connection, head, session, version, found, file)
            finally:
                os.close(file)

    async def _send(self, connection: Connection, head: Head, session: str, version: int, found: WeightsFile, file: int) -> None:
        size = os.fstat(file).st_size
        tag = f'"{found.etag}"'
        ranged = head.headers.get("range", "") if head.headers.get("if-range", tag) == tag else ""
        start, stop = _range(ranged, size)
        headers: dict[str, str | int] = {"Content-Type": OCTETS, "Content-Length": stop - start, "ETag": tag, "Accept-Ranges": "bytes"}
        status = 200
        if (start, stop) != (0, size):
            status = 206
            headers["Content-Range"] = f"bytes {start}-{stop - 1}/{size}"
        opening = response_head(status, headers, keep_alive=head.keep_alive)
        length = stop - start if head.method == "GET" else 0
        if length <= PIECE_BYTES:
            await connection.send(opening + os.pread(file, length, start), self._limits.pace)
        else:
            loop = asyncio.get_running_loop()
            await loop.run_in_executor(
                self._pool,
                send_file,
                connection.sock,
                opening,
                self._held.reader(version, file, size) or read_from(file),
                start,
                length,
                lambda: loop.call_soon_threadsafe(self._app.heard, session),
                self._limits.pace,
            )
        self._app.sent(length)

    def _session(self, connection: Connection, head: Head) -> str:
        session = head.bearer
        if not session or not self._app.authenticate(session):
            headers = {"WWW-Authenticate": "Bearer"}
            raise HttpRefusal(401, "a valid session is required as Authorization: Bearer", reason="unauthorized", headers=headers)
        connection.known = True
        return session


def _refuse(refusal: Refusal, *, close: bool = True) -> NoReturn:
    """Raise the application's refusal; it has counted it under its own reason."""
    headers = {} if refusal.retry_after_seconds is None else {"Retry-After": str(refusal.retry_after_seconds)}
    body = refusal.reply.model_dump_json(exclude_none=True).encode()
    raise HttpRefusal(refusal.status, refusal.reply.reason, close=close, body=body, content_type=JSON, headers=headers)


def _range(text: str, size: int) -> tuple[int, int]:
    """Return first byte and the one after the last. What is no single byte range asks for everything, as RFC 9110 wants it.

    Raises
    ------
    HttpRefusal
        416: nothing of it exists.
    """
    match = RANGE.fullmatch(text.strip().lower())
    if match is None or match.groups() == ("", ""):
        return 0, size
    first, last = match.groups()
    if not first:
        start, stop = max(size - int(last), 0), size
    else:
        start, stop = int(first), min(int(last) + 1, size) if last else size
        if last and int(last) < start:
            return 0, size
    if start >= stop:
        raise HttpRefusal(416, "no such bytes", close=False, headers={"Content-Range": f"bytes */{size}"})
    return start, stop
