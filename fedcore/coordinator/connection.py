"""One client's socket, non-blocking, waited for through the loop's readiness callbacks.

asyncio's streams would own the socket and copy every byte twice; here it stays a plain socket, which the loop can lend to a thread for a
body and take back. A TLS socket behaves the same, apart from the names of its exceptions.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from typing import TYPE_CHECKING

from fedcore.coordinator.bodies import Incomplete, SlowReader, Stalled
from fedcore.coordinator.head import response_head

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from fedcore.coordinator.limits import Limits, Pace

__all__ = ["CONTINUE", "Connection"]

READ_BYTES = 64 * 1024
WOULD_BLOCK = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Connection:
    """A socket with the bytes that were read from it too early.

    Attributes
    ----------
    peer : str
        Address of the other end, for logs.
    known : bool
        Whether the client has shown a valid credential.
    """

    def __init__(self, sock: socket.socket, peer: str, loop: asyncio.AbstractEventLoop) -> None:
        self.sock = sock
        self.peer = peer
        self.known = False
        self._loop = loop
        self._buffer = b""

    @property
    def buffered(self) -> bool:
        """Whether bytes have come that nobody has asked for yet."""
        return bool(self._buffer)

    async def read(self, most: int, deadline: float) -> bytes:
        """Return up to ``most`` bytes, at least one; nothing at the end of the stream.

        Raises
        ------
        Stalled
            None came by ``deadline``, in the loop's time.
        """
        if self._buffer:
            return self.take(most)
        while True:
            try:
                return self.sock.recv(min(most, READ_BYTES))
            except WOULD_BLOCK:
                await self._ready(deadline, write=False)
            except OSError:
                return b""

    def take(self, most: int) -> bytes:
        """Return up to ``most`` of the bytes that are here already."""
        data, self._buffer = self._buffer[:most], self._buffer[most:]
        return data

    def put_back(self, data: bytes) -> None:
        """Keep bytes that belong to what comes next."""
        self._buffer = data + self._buffer

    async def send(self, data: bytes, pace: Pace) -> None:
        """Send everything.

        Raises
        ------
        SlowReader, Incomplete
            The other side reads too slowly, or has gone.
        """
        pending = memoryview(data)
        started = self._loop.time()
        while pending:
            try:
                count = self.sock.send(pending)
            except WOULD_BLOCK:
                try:
                    await self._ready(pace.deadline(started, len(data) - len(pending)), write=True)
                except Stalled as stalled:
                    raise SlowReader(str(stalled)) from None
            except OSError as error:
                raise Incomplete(str(error)) from error
            else:
                pending = pending[count:]

    async def answer(
        self, status: int, content_type: str, body: bytes, *, keep_alive: bool, pace: Pace, headers: Mapping[str, str] | None = None
    ) -> None:
        """Send a whole answer. Raises as `send` does."""
        head = response_head(status, {"Content-Type": content_type, "Content-Length": len(body), **(headers or {})}, keep_alive=keep_alive)
        await self.send(head + body, pace)

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        """Cancel the current task when the client goes away meanwhile. What it sends early is kept, up to a bound."""
        task = asyncio.current_task()
        assert task is not None

        def readable() -> None:
            try:
                data = self.sock.recv(READ_BYTES)
            except WOULD_BLOCK:
                return
            except OSError:
                data = b""
            if not data:
                self._loop.remove_reader(self.sock)
                task.cancel("the client has gone")
                return
            self._buffer += data
            if len(self._buffer) >= READ_BYTES:
                self._loop.remove_reader(self.sock)

        self._loop.add_reader(self.sock, readable)
        try:
            yield
        finally:
            self._loop.remove_reader(self.sock)

    async def linger(self, limits: Limits) -> None:
        """Throw away what the client still sends, within bounds: closing with unread bytes resets the connection and loses the answer."""
        deadline = self._loop.time() + limits.linger_seconds
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_WR)
        thrown = 0
        with contextlib.suppress(Stalled):
            while thrown < limits.linger_bytes and self._loop.time() < deadline:
                data = await self.read(READ_BYTES, deadline)
                if not data:
                    return
                thrown += len(data)

    def abort(self) -> None:
        """End the stream in both directions, whoever is using it at the moment; closing is the task's own business."""
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the socket."""
        if self.sock.fileno() >= 0:
            self._loop.remove_reader(self.sock)
            self._loop.remove_writer(self.sock)
            self.sock.close()

    async def _ready(self, deadline: float, *, write: bool) -> None:
        """Wait until the socket can be read or written."""
        future: asyncio.Future[bool] = self._loop.create_future()
        (self._loop.add_writer if write else self._loop.add_reader)(self.sock, _settle, future, True)
        timer = self._loop.call_at(deadline, _settle, future, False)
        try:
            if not await future:
                raise Stalled("nothing moved in time")
        finally:
            timer.cancel()
            (self._loop.remove_writer if write else self._loop.remove_reader)(self.sock)


def _settle(future: asyncio.Future[bool], value: bool) -> None:  # noqa: FBT001 - the loop hands arguments on by position
    if not future.done():
        future.set_result(value)
