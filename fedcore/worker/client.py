"""The wire as a worker sees it: XML-RPC calls, the model's octet stream, uploads. One attempt each; who calls decides on retries.

Each thread has one kept-alive connection. `http.client` sets ``TCP_NODELAY`` itself and never asks for compression.
"""

from __future__ import annotations

import http.client
import ssl
import threading
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from pydantic import ValidationError

from fedcore.aggregation import LONG_PIECE_BYTES
from fedcore.wire.protocol import RPC_PATH, Base, UploadReply, uploads_path
from fedcore.wire.xmlrpc import BadXml, encode_call, parse_response
from fedcore.worker.connections import GONE, connect_to, send_pieces, shut
from fedcore.worker.observer import Observer
from fedcore.worker.trust import BadCaFile, Trust

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

__all__ = ["Client", "Download", "HttpRefused", "Transient", "Uploaded"]

_ANSWER_SECONDS = 30.0
"""How long an answer may take beyond the time a call asked to be parked for."""
_TRANSFER_SECONDS = 60.0
"""Longest silence within a transfer."""
_NO_TLS = {"WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE"}
"""What older and newer OpenSSL say of an answer in plain text."""
_HEALS = {
    HTTPStatus.REQUEST_TIMEOUT,
    HTTPStatus.TOO_EARLY,
    HTTPStatus.TOO_MANY_REQUESTS,
    HTTPStatus.INTERNAL_SERVER_ERROR,
    HTTPStatus.BAD_GATEWAY,
    HTTPStatus.SERVICE_UNAVAILABLE,
    HTTPStatus.GATEWAY_TIMEOUT,
}


class Transient(Exception):  # noqa: N818 - a state of the world
    """No useful answer, this time. ``heard`` tells whether anything answered at all."""

    def __init__(self, message: str, *, heard: bool = False, retry_after_seconds: float = 0.0) -> None:
        super().__init__(message)
        self.heard = heard
        self.retry_after_seconds = retry_after_seconds


class HttpRefused(Exception):  # noqa: N818 - an answer
    """A status that another attempt would get again."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"HTTP {status}: {message}")
        self.status = status


@dataclass(slots=True)
class Download:
    """A file on its way in; an attempt goes on where the one before broke off."""

    buffer: bytearray
    received: int = 0


@dataclass(frozen=True, slots=True)
class Uploaded:
    """The answer to an upload, and whether it came after the whole body."""

    status: int
    reply: UploadReply
    whole: bool


class Client:
    """Connections to one coordinator, usable from several threads.

    Parameters
    ----------
    url : str
        http or https, with a path prefix if a proxy wants one.
    ca_file : Path, optional
        Certificates to trust, instead of the system's.
    observer : Observer, optional
        Told of the bytes of bodies.
    """

    def __init__(self, url: str, ca_file: Path | None = None, observer: Observer | None = None) -> None:
        self._observer = observer or Observer()
        self._url = urlsplit(url)
        self._trust = Trust(ca_file) if self._url.scheme == "https" else None
        self._local = threading.local()
        self._lock = threading.Lock()
        self._connections: list[http.client.HTTPConnection] = []
        self._closed = False
        self._parked: http.client.HTTPConnection | None = None
        self._interrupted = False

    def prepare(self) -> None:
        """Read what is to be trusted.

        Raises
        ------
        BadCaFile
            It cannot be read.
        """
        if self._trust is not None:
            self._trust.context()

    def call(
        self,
        method: str,
        params: tuple[Any, ...],
        *,
        wait_seconds: float = 0.0,
        answer_seconds: float = _ANSWER_SECONDS,
        interruptible: bool = False,
    ) -> Any:
        """Make one XML-RPC call that the coordinator may park for ``wait_seconds``, with ``answer_seconds`` for the rest.

        Raises
        ------
        RpcFault
            The coordinator's refusal.
        Transient, HttpRefused
            There was no XML-RPC answer.
        """
        body = encode_call(method, params)

        def send(connection: http.client.HTTPConnection) -> None:
            if interruptible:
                self._park(connection)
            connection.request("POST", self._path(RPC_PATH), body, {"Content-Type": "text/xml"})

        try:
            response = self._exchange(send, wait_seconds + answer_seconds)
            answer = self._rest(response)
        finally:
            if interruptible:
                with self._lock:
                    self._parked = None
        if response.status != HTTPStatus.OK:
            raise _failure(response, answer)
        try:
            return parse_response(answer)
        except BadXml as error:
            raise HttpRefused(response.status, f"no XML-RPC answer: {error}") from error

    def download(self, base: Base, session: str, into: Download) -> None:
        """Fetch a version of the model; what arrives before a failure stays in ``into``."""
        headers = {"Authorization": f"Bearer {session}"}
        if into.received:
            headers["Range"] = f"bytes={into.received}-"

        def send(connection: http.client.HTTPConnection) -> None:
            connection.request("GET", self._path(urlsplit(base.href).path), headers=headers)

        response = self._exchange(send, _TRANSFER_SECONDS)
        if response.status == HTTPStatus.OK:
            into.received = 0
        elif response.status != HTTPStatus.PARTIAL_CONTENT:
            raise _failure(response, self._rest(response))
        before = into.received
        expected = len(into.buffer) - before
        if response.length != expected:
            self._close()
            raise Transient(f"{response.length} bytes of weights announced, {expected} expected", heard=True)
        try:
            with memoryview(into.buffer) as view:
                while count := response.readinto(view[into.received : into.received + LONG_PIECE_BYTES]):
                    into.received += count
            response.read()  # marks the response as done, so that the connection can be used again
        except (OSError, http.client.HTTPException) as error:
            self._close()
            raise Transient(_describe(error), heard=True) from error
        finally:
            self._observer.carried("received", into.received - before)
        if into.received < len(into.buffer):
            self._close()
            raise Transient(f"the weights end after {into.received} of {len(into.buffer)} bytes", heard=True)

    def upload(
        self, round_number: int, base_id: str, body: memoryview, session: str, announced: Mapping[str, str] | None = None
    ) -> Uploaded:
        """Send an update's file, with further headers. Any status that `UploadReply` speaks of is an answer, not an error."""
        sent = False

        def send(connection: http.client.HTTPConnection) -> None:
            nonlocal sent
            connection.putrequest("PUT", self._path(uploads_path(round_number)))
            connection.putheader("Authorization", f"Bearer {session}")
            connection.putheader("Fedcore-Base", base_id)
            connection.putheader("Content-Type", "application/octet-stream")
            connection.putheader("Content-Length", str(body.nbytes))
            for name, value in (announced or {}).items():
                connection.putheader(name, value)
            connection.endheaders()
            sent = send_pieces(connection, body)

        response = self._exchange(send, _TRANSFER_SECONDS)
        answer = self._rest(response)
        if sent:
            self._observer.carried("sent", body.nbytes)
        else:  # the rest of the body is still owed on this connection
            self._close()
        spoken_of = {HTTPStatus.CREATED, HTTPStatus.CONFLICT, HTTPStatus.REQUEST_ENTITY_TOO_LARGE, HTTPStatus.UNPROCESSABLE_ENTITY}
        if response.status not in spoken_of:
            raise _failure(response, answer)
        try:
            return Uploaded(response.status, UploadReply.model_validate_json(answer), sent)
        except ValidationError:
            raise Transient(f"HTTP {response.status} with a body that is no upload's answer", heard=True) from None

    def interrupt(self) -> None:
        """Break off the interruptible call under way, and refuse further ones; called from another thread."""
        with self._lock:
            self._interrupted = True
            if self._parked is not None and self._parked.sock is not None:
                shut(self._parked)

    def disconnect(self) -> None:
        """Close this thread's connection."""
        self._close()

    def close(self) -> None:
        """Close this thread's connection and break off the calls of the others; no call can be made any more."""
        self._close()
        with self._lock:
            self._closed = True
            for connection in self._connections:
                if connection.sock is not None:
                    shut(connection)

    def _park(self, connection: http.client.HTTPConnection) -> None:
        if connection.sock is None:
            connection.connect()
        with self._lock:
            if self._interrupted:
                raise Transient("interrupted")
            self._parked = connection

    def _path(self, path: str) -> str:
        return self._url.path.rstrip("/") + path

    def _connection(self) -> http.client.HTTPConnection:
        connection: http.client.HTTPConnection | None = getattr(self._local, "connection", None)
        if connection is None:
            context = None if self._trust is None else self._trust.context()
            connection = self._local.connection = connect_to(self._url.hostname or "", self._url.port, context)
            with self._lock:
                self._connections.append(connection)
        return connection

    def _close(self) -> None:
        connection: http.client.HTTPConnection | None = getattr(self._local, "connection", None)
        if connection is not None:
            connection.close()

    def _distrust(self) -> None:
        """Let this thread's next connection read anew what is to be trusted."""
        connection, self._local.connection = self._local.connection, None
        connection.close()
        with self._lock:
            self._connections.remove(connection)
        assert self._trust is not None
        self._trust.forget()

    def _exchange(self, send: Callable[[http.client.HTTPConnection], None], timeout: float) -> http.client.HTTPResponse:
        try:
            connection = self._connection()
        except BadCaFile as error:  # it could be read at the start: it is being replaced
            raise Transient(str(error)) from error
        while True:
            if self._closed:
                raise Transient("closed")
            reused = connection.sock is not None
            try:
                if connection.sock is None:
                    connection.connect()
                connection.sock.settimeout(timeout)
                send(connection)
                return connection.getresponse()
            except ssl.SSLCertVerificationError as error:
                self._distrust()
                assert self._trust is not None
                raise Transient(self._trust.explain(error)) from error
            except (OSError, http.client.HTTPException) as error:
                connection.close()
                # A kept-alive connection may have been closed from the other side meanwhile: that says nothing of the coordinator.
                if reused and isinstance(error, GONE) and not self._interrupted:
                    continue
                raise Transient(_describe(error)) from error
            except Transient:
                connection.close()
                raise

    def _rest(self, response: http.client.HTTPResponse) -> bytes:
        try:
            return response.read()
        except (OSError, http.client.HTTPException) as error:
            self._close()
            raise Transient(_describe(error), heard=True) from error


def _describe(error: Exception) -> str:
    if isinstance(error, ssl.SSLError) and error.reason in _NO_TLS:
        return f"no TLS is spoken there, is the address http://? ({error.reason})"
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def _failure(response: http.client.HTTPResponse, body: bytes) -> Transient | HttpRefused:
    text = " ".join(body[:200].decode("utf-8", "replace").split()) or response.reason
    if response.status in _HEALS:
        after = response.headers.get("Retry-After", "")
        return Transient(
            f"HTTP {response.status}: {text}", heard=True, retry_after_seconds=min(float(after), 60.0) if after.isdigit() else 0.0
        )
    return HttpRefused(response.status, text)
