"""The data plane's inner loops: a body from a socket into a sink, a file into a socket, in pieces.

They run in a thread of a small pool with the socket to themselves. Sockets, checksums, files and numpy let go of the interpreter's lock on
pieces of this size, so bodies move side by side while the loop goes on answering polls.
"""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import struct
import threading
import time
from typing import TYPE_CHECKING, TypeAlias

from fedcore.aggregation import LONG_PIECE_BYTES, PIECE_BYTES
from fedcore.wire.checksum import Sum64

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from fedcore.coordinator.app import UploadSink
    from fedcore.coordinator.limits import Pace

__all__ = [
    "HEARD_SECONDS",
    "PIECE_BYTES",
    "Incomplete",
    "ReadPiece",
    "SlowReader",
    "Stalled",
    "read_from",
    "receive_body",
    "send_file",
]

ReadPiece: TypeAlias = "Callable[[int, int], memoryview]"
"""Returns up to so many bytes from an offset on; they hold until the same thread's next call. None at the end."""
NOTHING_YET = (BlockingIOError, TimeoutError)
"""What a call raises that the system has waited for in vain, plain and over TLS."""
_LOOK_SECONDS = 0.5
"""How long the system may wait before the clock is looked at."""
_RECORDS_A_LOOK = 8
"""Over TLS the system hands over a record at a time, often 32 a piece: the clock is looked at after so many."""
_LOOK_TIMEVAL = struct.pack("@ll", 0, int(_LOOK_SECONDS * 1e6))
HEARD_SECONDS = 1.0
"""How often a moving body counts as a sign of life."""
_BUFFER_BYTES = 2 * PIECE_BYTES
"""Of each thread: what goes by a file has to stay in the cache from one call to the next."""
_local = threading.local()


class Incomplete(Exception):  # noqa: N818 - an outcome
    """The other side closed the connection before the body's end."""


class Stalled(Exception):  # noqa: N818 - an outcome
    """The body moved more slowly than the pace allows."""


class SlowReader(Stalled):
    """The other side does not read what it asked for: it cannot be told either."""


class _Pulse:
    """Watches a body move: calls back about once a second, and says until when the next bytes have to come.

    Looked at once per piece and after each wait, not for each of the 16 records that a piece is over TLS.
    """

    def __init__(self, heard: Callable[[], object], pace: Pace) -> None:
        self._started = self._piece_started = self._last = time.monotonic()
        self._pace = pace
        self._moved = 0
        self._heard = heard

    def deadline(self, filled: int) -> float:
        """Return the monotonic second by which more than ``filled`` bytes of the piece under way have to have moved."""
        of_all = self._pace.deadline(self._started, self._moved + filled)
        return min(of_all, self._pace.deadline(self._piece_started, filled))

    def check(self, filled: int) -> None:
        """See that a piece of which ``filled`` bytes have moved is not too late.

        Raises
        ------
        Stalled
            It is.
        """
        if self.beat() > self.deadline(filled):
            raise Stalled("nothing moved in time")

    def beat(self) -> float:
        now = time.monotonic()
        if now - self._last >= HEARD_SECONDS:
            self._last = now
            self._heard()
        return now

    def piece_done(self, size: int) -> None:
        """Count a piece that has moved.

        Raises
        ------
        Stalled
            It took too long, if never so long that a wait ran out.
        """
        now = self.beat()
        if now > self.deadline(size):
            raise Stalled(f"the last {size} bytes took {now - self._piece_started:.1f} s")
        self._moved += size
        self._piece_started = now


def receive_body(sock: socket.socket, first: bytes, length: int, sink: UploadSink, heard: Callable[[], object], pace: Pace) -> str:
    """Receive a body.

    Parameters
    ----------
    sock : socket
        Non-blocking; nobody else reads from it.
    first : bytes
        What has come of the body already, not longer than ``length``.
    length : int
        Bytes of the whole body.
    sink : UploadSink
        Takes each piece, and may have a place for it. What it raises ends the reception.
    heard : callable
        Called about once a second while bytes come.
    pace : Pace
        Slowest average.

    Returns
    -------
    str
        Checksum of the body (`fedcore.wire.checksum`).

    Raises
    ------
    Incomplete, Stalled
        The body did not come.
    """
    buffer = _buffer()
    pulse = _Pulse(heard, pace)
    checksum, received, calls = Sum64(), 0, 0
    # Over TLS a record at a time is all that comes, and flags are not taken.
    flags = 0 if isinstance(sock, ssl.SSLSocket) else socket.MSG_WAITALL
    with _waited_for_by_the_system(sock):
        while received < length:
            piece = sink.room(min(LONG_PIECE_BYTES, length - received))
            if piece is None:
                piece = buffer[: min(_BUFFER_BYTES, length - received)]
            filled = 0
            if received < len(first):
                filled = min(len(first) - received, len(piece))
                piece[:filled] = first[received : received + filled]
            while filled < len(piece):
                try:
                    count = sock.recv_into(piece[filled:], 0, flags)
                except NOTHING_YET:
                    pulse.check(filled)
                    continue
                except OSError as error:
                    raise Incomplete(str(error)) from error
                if not count:
                    raise Incomplete(f"the body ended after {received + filled} of {length} bytes")
                filled += count
                calls += 1
                if filled < len(piece) and (flags or not calls % _RECORDS_A_LOOK):
                    pulse.check(filled)
            pulse.piece_done(filled)
            checksum.update(piece)
            sink.write(piece)
            received += filled
    return checksum.hexdigest()


def send_file(sock: socket.socket, head: bytes, read: ReadPiece, start: int, length: int, heard: Callable[[], object], pace: Pace) -> None:
    """Send an answer's head and ``length`` bytes of a file from ``start`` on.

    ``sendfile`` would spare one copy, but over loopback it gained nothing, and TLS cannot use it.

    Raises
    ------
    Incomplete, SlowReader
        The other side went away, or reads too slowly; the connection is of no further use.
    """
    pulse = _Pulse(heard, pace)
    # TLS takes a piece as a whole or not at all, as far as can be seen from here: with long ones a slow reader would seem to stand still.
    longest = PIECE_BYTES if isinstance(sock, ssl.SSLSocket) else LONG_PIECE_BYTES
    sent = 0
    pending = memoryview(head)
    with _waited_for_by_the_system(sock):
        while True:
            moved, size = 0, len(pending)
            while pending:
                try:
                    count = sock.send(pending)
                except NOTHING_YET:
                    _still_read(pulse, moved)
                    continue
                except OSError as error:
                    raise Incomplete(str(error)) from error
                pending = pending[count:]
                moved += count
                if pending:
                    _still_read(pulse, moved)
            try:
                pulse.piece_done(size)
            except Stalled as stalled:
                raise SlowReader(str(stalled)) from None
            if sent == length:
                return
            try:
                pending = read(start + sent, min(longest, length - sent))
            except OSError as error:
                # The head is out: anything else sent now would be taken for weights.
                raise Incomplete(str(error)) from error
            if not pending:
                raise Incomplete("the file is shorter than it was")
            sent += len(pending)


def _still_read(pulse: _Pulse, moved: int) -> None:
    try:
        pulse.check(moved)
    except Stalled as stalled:
        raise SlowReader(str(stalled)) from None


def read_from(file: int) -> ReadPiece:
    """Return what reads pieces of an open file, into memory of the thread that it is called in."""

    def read(offset: int, size: int) -> memoryview:
        buffer = _buffer()
        return buffer[: os.preadv(file, [buffer[: min(size, _BUFFER_BYTES)]], offset)]

    return read


def _buffer() -> memoryview:
    buffer: memoryview | None = getattr(_local, "buffer", None)
    if buffer is None:
        buffer = _local.buffer = memoryview(bytearray(_BUFFER_BYTES))
    return buffer


@contextlib.contextmanager
def _waited_for_by_the_system(sock: socket.socket) -> Iterator[None]:
    """Let calls on the socket wait in the system, `_LOOK_SECONDS` at the most, in place of coming back to ask.

    A piece then costs one call and gives the interpreter's lock away once, however many packets it comes in.
    """
    if isinstance(sock, ssl.SSLSocket):
        sock.settimeout(_LOOK_SECONDS)
    else:
        sock.setblocking(True)
        for direction in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
            sock.setsockopt(socket.SOL_SOCKET, direction, _LOOK_TIMEVAL)
    try:
        yield
    finally:
        sock.setblocking(False)
