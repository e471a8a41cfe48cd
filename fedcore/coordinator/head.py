"""The head of a request, read by h11 and judged before a byte of the body is looked at; and the heads of answers."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING

import h11

from fedcore.wire.protocol import UploadReply

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Head", "HeadReader", "HttpRefusal", "json_refusal", "response_head"]

SECOND_LENGTH = re.compile(rb"^content-length:[^\n]*,|^content-length:.*^content-length:", re.IGNORECASE | re.MULTILINE | re.DOTALL)
"""h11 lets equal lengths pass; a proxy in front might not agree with it on what follows, so both forms are refused."""
ENCODED = re.compile(rb"^transfer-encoding\s*:", re.IGNORECASE | re.MULTILINE)


class HttpRefusal(Exception):  # noqa: N818 - an answer, not a failure of this program
    """Ends a request with this answer. ``reason`` is counted if it is set; ``close`` says that the body has not been read."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        reason: str = "",
        close: bool = True,
        body: bytes | None = None,
        content_type: str = "application/json",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason
        self.close = close
        self.body = json_refusal(reason or "bad_request", message) if body is None else body
        self.content_type = content_type
        self.headers = dict(headers or {})


def json_refusal(reason: str, message: str) -> bytes:
    """Return the JSON that refusals outside XML-RPC carry: an `UploadReply` with result and reason."""
    reply = UploadReply(result="refused", reason=f"{reason}: {message}")
    return json.dumps(reply.model_dump(include={"result", "reason"})).encode()


@dataclass(frozen=True, slots=True)
class Head:
    """A request, as far as it is known before the body."""

    method: str
    path: str
    headers: Mapping[str, str]
    """Names in lower case. Of a header that comes twice the first counts."""
    keep_alive: bool

    @property
    def bearer(self) -> str:
        """The credential of the Authorization header, or an empty string."""
        scheme, _, credential = self.headers.get("authorization", "").partition(" ")
        return credential.strip() if scheme.lower() == "bearer" else ""

    @property
    def length(self) -> int | None:
        """Content-Length, if there is one."""
        text = self.headers.get("content-length")
        return None if text is None else int(text)

    @property
    def expects_continue(self) -> bool:
        """Whether the client waits for a word before it sends the body."""
        return self.headers.get("expect", "").lower() == "100-continue"

    def body_length(self) -> int:
        """Return the length of the body of a POST or PUT.

        Raises
        ------
        HttpRefusal
            There is none, or the body is compressed.
        """
        if self.headers.get("content-encoding", "identity").lower() != "identity":
            raise HttpRefusal(415, "compressed bodies are not accepted", reason="gzip", headers={"Accept-Encoding": "identity"})
        if self.length is None:
            raise HttpRefusal(411, "Content-Length is required", reason="no_length")
        return self.length


class HeadReader:
    """Collects one head from pieces. Feed it until it returns a `Head`; ``rest`` then holds what came behind."""

    def __init__(self, limit_bytes: int) -> None:
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=limit_bytes)
        self._raw = bytearray()
        self.rest = b""

    def feed(self, data: bytes) -> Head | None:
        """Take bytes.

        Raises
        ------
        HttpRefusal
            They are no acceptable head.
        """
        self._raw += data
        try:
            self._http.receive_data(data)
            event = self._http.next_event()
        except h11.RemoteProtocolError as error:
            if ENCODED.search(self._raw):
                raise HttpRefusal(411, "Transfer-Encoding is not accepted, send Content-Length", reason="no_length") from error
            raise HttpRefusal(431 if error.error_status_hint == 431 else 400, str(error)) from error
        if event is h11.NEED_DATA:
            return None
        assert isinstance(event, h11.Request)
        self.rest, _ = self._http.trailing_data
        raw = bytes(self._raw[: len(self._raw) - len(self.rest)])
        self._raw.clear()
        return _checked(event, raw)


def _checked(request: h11.Request, raw: bytes) -> Head:
    if SECOND_LENGTH.search(raw):
        raise HttpRefusal(400, "more than one Content-Length")
    headers: dict[str, str] = {}
    for name, value in request.headers:
        headers.setdefault(name.decode("latin-1"), value.decode("latin-1"))
    if "transfer-encoding" in headers:
        raise HttpRefusal(411, "Transfer-Encoding is not accepted, send Content-Length", reason="no_length")
    if headers.get("expect", "100-continue").lower() != "100-continue":
        raise HttpRefusal(417, "only 100-continue can be expected")
    tokens = {token.strip() for token in headers.get("connection", "").lower().split(",")}
    return Head(
        method=request.method.decode("latin-1"),
        path=request.target.decode("latin-1").partition("?")[0],
        headers=headers,
        keep_alive=request.http_version == b"1.1" and "close" not in tokens,
    )


def response_head(status: int, headers: Mapping[str, str | int], *, keep_alive: bool) -> bytes:
    """Return the bytes of an answer's head."""
    lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    if not keep_alive:
        lines.append("Connection: close")
    return "\r\n".join([*lines, "", ""]).encode("latin-1")
