"""One connection of a worker, plain or over TLS: how a long body is sent, broken off, and answered before its end."""

from __future__ import annotations

import contextlib
import http.client
import io
import select
import socket
import ssl
from typing import TYPE_CHECKING, Any

from fedcore.aggregation import LONG_PIECE_BYTES

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

__all__ = ["GONE", "connect_to", "send_pieces", "shut"]

GONE = (ConnectionError, ssl.SSLEOFError, ssl.SSLZeroReturnError)
"""What a send or a read raises when the other side has closed the connection."""
_WOULD_BLOCK = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)
_CONNECT_SECONDS = 10.0
_RECORD_BYTES = 16 * 1024


def connect_to(host: str, port: int | None, context: ssl.SSLContext | None) -> http.client.HTTPConnection:
    """Return a connection that is made when it is first used."""
    if context is None:
        return http.client.HTTPConnection(host, port, timeout=_CONNECT_SECONDS, blocksize=LONG_PIECE_BYTES)
    return http.client.HTTPSConnection(host, port, timeout=_CONNECT_SECONDS, blocksize=LONG_PIECE_BYTES, context=context)


def send_pieces(connection: http.client.HTTPConnection, body: memoryview) -> bool:
    """Send the body, and return whether all of it was sent: not if an answer came before its end.

    After False the answer is read as usual, and the connection is of no further use. An answer is looked for while nothing more can be
    sent, too: who has refused a body need not read it.
    """
    sock = connection.sock
    timeout = sock.gettimeout()
    readable, movable = select.poll(), select.poll()
    readable.register(sock, select.POLLIN)
    movable.register(sock, select.POLLIN | select.POLLOUT)
    sock.setblocking(False)
    try:
        for start in range(0, body.nbytes, LONG_PIECE_BYTES):
            unsent = body[start : start + LONG_PIECE_BYTES]
            while unsent:
                if readable.poll(0):
                    if _answer_begun(connection):
                        return False
                    continue
                try:
                    unsent = unsent[sock.send(unsent) :]
                except _WOULD_BLOCK:
                    if not movable.poll(None if timeout is None else timeout * 1000):
                        raise TimeoutError("the other side does not read") from None
                except GONE:
                    return False  # refused half-way, the answer may lie in the receive buffer; if it does not, reading it meets this again
    finally:
        sock.settimeout(timeout)
    return True


def shut(connection: http.client.HTTPConnection) -> None:
    """Break off whatever another thread does with it.

    Not by the method of `ssl.SSLSocket`, which turns it into a plain socket first: that thread would go on in plain text.
    """
    with contextlib.suppress(OSError):  # already broken
        socket.socket.shutdown(connection.sock, socket.SHUT_RDWR)


def _answer_begun(connection: http.client.HTTPConnection) -> bool:
    """Whether a readable, non-blocking socket has an answer, or its end. Over TLS it may be a session ticket, and only reading tells."""
    sock = connection.sock
    if not isinstance(sock, ssl.SSLSocket):
        return True
    try:
        begun = sock.recv(_RECORD_BYTES)
    except _WOULD_BLOCK:
        return False
    except OSError:
        return True  # reading the answer will meet it again

    def answer(*args: Any, **kwargs: Any) -> http.client.HTTPResponse:
        connection.response_class = http.client.HTTPResponse
        return _BegunResponse(begun, *args, **kwargs)

    connection.response_class = answer  # type: ignore[assignment]  # it is only called
    return True


class _BegunResponse(http.client.HTTPResponse):
    """An answer of which some bytes have been read."""

    def __init__(self, begun: bytes, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fp = io.BufferedReader(_Begun(begun, self.fp))


class _Begun(io.RawIOBase):
    """The bytes that have been read, then the rest."""

    def __init__(self, begun: bytes, rest: io.BufferedReader) -> None:
        self._begun = memoryview(begun)
        self._rest = rest

    def readable(self) -> bool:
        return True

    def readinto(self, into: WriteableBuffer, /) -> int:
        if not self._begun:
            return self._rest.readinto1(into)
        view = memoryview(into)
        count = min(len(view), len(self._begun))
        view[:count] = self._begun[:count]
        self._begun = self._begun[count:]
        return count

    def close(self) -> None:
        self._rest.close()
        super().close()
