"""One client's socket, non-blocking, waited for through the loop's readiness callbacks.

asyncio's streams would own the socket and copy every byte twice; here it stays a plain socket, which the loop can lend to a thread for a
body and take back. A TLS socket behaves the same, with these differences: either direction may have to wait for the other; a read may
leave decrypted bytes inside, so one is always tried before waiting; and `ssl.SSLSocket.shutdown` would turn it into a plain socket under
the thread that is using it, so the plain class's method is called instead.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import socket
import ssl
from typing import TYPE_CHECKING

from fedcore.coordinator.bodies import Incomplete, SlowReader, Stalled
from fedcore.coordinator.head import response_head

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from fedcore.coordinator.limits import Limits, Pace

__all__ = ["CONTINUE", "Connection", "NotTls"]

READ_BYTES = 64 * 1024
_WOULD_BLOCK = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)
TLS_HANDSHAKE = b"\x16"
"""First byte of every TLS connection; no HTTP request begins with it."""
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class NotTls(Exception):  # noqa: N818 - a state of the world
    """The client has begun with something else; it can be answered in plain text."""


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
        self._fd = sock.fileno()  # for the loop: of a socket it makes a text at each registration, names of both ends included
        self._buffer = b""
        self._ended = False

    @property
    def buffered(self) -> bool:
        """Whether bytes have come that nobody has asked for yet."""
        return bool(self._buffer)

    async def secure(self, context: ssl.SSLContext, deadline: float) -> bool:
        """Shake hands. Return False if the client goes away, or stays silent, before its first byte.

        Until that byte has come nothing is set up: an idle stranger costs no more than without TLS.

        Raises
        ------
        NotTls
            The client does not speak TLS.
        ssl.SSLError
            It does, but the two do not agree.
        Stalled, Incomplete
            It stopped in the middle, or has gone.
        """
        try:
            first = await self._read(functools.partial(self.sock.recv, 1, socket.MSG_PEEK), deadline)
        except Stalled:
            return False
        if not first:
            return False
        if first != TLS_HANDSHAKE:
            raise NotTls
        try:
            self.sock = sock = context.wrap_socket(self.sock, server_side=True, do_handshake_on_connect=False)
            while True:
                try:
                    sock.do_handshake()
                except _WOULD_BLOCK as blocked:
                    await self._ready(deadline, write=_wants_write(blocked, default=False))
                else:
                    return True
        except (ssl.SSLEOFError, ssl.SSLZeroReturnError) as error:
            raise Incomplete(str(error)) from error
        except ssl.SSLError:
            raise
        except OSError as error:
            raise Incomplete(str(error)) from error

    async def read(self, most: int, deadline: float) -> bytes:
        """Return up to ``most`` bytes, at least one; nothing at the end of the stream.

        Raises
        ------
        Stalled
            None came by ``deadline``, in the loop's time.
        """
        if self._buffer:
            return self.take(most)
        return await self._read(functools.partial(self.sock.recv, min(most, READ_BYTES)), deadline)

    async def _read(self, receive: Callable[[], bytes], deadline: float) -> bytes:
        while True:
            try:
                return receive()
            except _WOULD_BLOCK as blocked:
                await self._ready(deadline, write=_wants_write(blocked, default=False))
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
            except _WOULD_BLOCK as blocked:
                try:
                    await self._ready(pace.deadline(started, len(data) - len(pending)), write=_wants_write(blocked, default=True))
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
            except ssl.SSLWantWriteError:  # rare, and waiting for it here would spin: the next read sees to it
                self._loop.remove_reader(self._fd)
                return
            except _WOULD_BLOCK:
                return
            except OSError:
                data = b""
            if not data:
                self._loop.remove_reader(self._fd)
                task.cancel("the client has gone")
                return
            self._buffer += data
            if len(self._buffer) >= READ_BYTES:
                self._loop.remove_reader(self._fd)

        self._loop.add_reader(self._fd, readable)
        try:
            yield
        finally:
            self._loop.remove_reader(self._fd)

    async def linger(self, limits: Limits) -> None:
        """Throw away what the client still sends, within bounds: closing with unread bytes resets the connection and loses the answer."""
        deadline = self._loop.time() + limits.linger_seconds
        self._end_stream()
        with contextlib.suppress(OSError):
            socket.socket.shutdown(self.sock, socket.SHUT_WR)
        self._buffer = b""
        throw_away = functools.partial(socket.socket.recv, self.sock, READ_BYTES)  # over TLS too: nothing is worth decrypting
        thrown = 0
        with contextlib.suppress(Stalled):
            while thrown < limits.linger_bytes and self._loop.time() < deadline:
                data = await self._read(throw_away, deadline)
                if not data:
                    return
                thrown += len(data)

    def abort(self) -> None:
        """End the stream in both directions, whoever is using it at the moment; closing is the task's own business."""
        self._ended = True
        with contextlib.suppress(OSError):
            socket.socket.shutdown(self.sock, socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the socket."""
        if self.sock.fileno() >= 0:
            self._loop.remove_reader(self._fd)
            self._loop.remove_writer(self._fd)
            self._end_stream()
            self.sock.close()

    def _end_stream(self) -> None:
        """Tell a TLS client that nothing more comes, if that can be said at once. Not after `abort`: a thread may still use the socket."""
        if isinstance(self.sock, ssl.SSLSocket) and not self._ended:
            self._ended = True
            with contextlib.suppress(OSError, ValueError):
                self.sock.unwrap()

    async def _ready(self, deadline: float, *, write: bool) -> None:
        """Wait until the socket can be read or written."""
        future: asyncio.Future[bool] = self._loop.create_future()
        (self._loop.add_writer if write else self._loop.add_reader)(self._fd, _settle, future, True)
        timer = self._loop.call_at(deadline, _settle, future, False)
        try:
            if not await future:
                raise Stalled("nothing moved in time")
        finally:
            timer.cancel()
            (self._loop.remove_writer if write else self._loop.remove_reader)(self._fd)


def _settle(future: asyncio.Future[bool], value: bool) -> None:  # noqa: FBT001 - the loop hands arguments on by position
    if not future.done():
        future.set_result(value)


def _wants_write(blocked: OSError, *, default: bool) -> bool:
    """Whether to wait until a socket can be written: TLS says itself, and may have to write in order to read; for others ``default``."""
    return isinstance(blocked, ssl.SSLWantWriteError) or (default and not isinstance(blocked, ssl.SSLWantReadError))
