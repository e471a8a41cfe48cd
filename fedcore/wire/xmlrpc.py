"""XML-RPC documents to values and back, for the server and for our own worker.

The stdlib's decoder resolves entities and has no bounds, its encoder breaks base64 into lines (four times as slow) and sends nil, so both
directions are our own on top of defusedxml's parser. A call is parsed while it arrives: who may not speak is found out after a few hundred
bytes and not after a megabyte.
"""

from __future__ import annotations

import binascii
import math
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from xml.parsers.expat import ExpatError

from defusedxml.common import DefusedXmlException
from defusedxml.xmlrpc import DefusedExpatParser

from fedcore.wire.protocol import FaultCode
from fedcore.wire.xmlreader import BadXml, Reader

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "BadXml",
    "Call",
    "CallParser",
    "Credential",
    "RpcFault",
    "encode_call",
    "encode_fault",
    "encode_response",
    "parse_call",
    "parse_response",
]

REGISTER = "fedcore.register"
PIECE_BYTES = 64 * 1024
HEAD = b'<?xml version="1.0"?>'
UNPRINTABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
"""Characters XML 1.0 cannot carry, not even escaped."""


class RpcFault(Exception):  # noqa: N818 - the word of XML-RPC
    """The other side refuses the call, or this side does when the server's application raises it.

    Attributes
    ----------
    code : FaultCode or int
        What the worker can act on; a number that this version does not know stays an int.
    message : str
        A sentence, without the code's name.
    """

    def __init__(self, code: FaultCode | int, message: str) -> None:
        known = code in FaultCode.__members__.values()
        self.code = FaultCode(code) if known else int(code)
        name = FaultCode(code).name.lower() if known else f"fault {int(code)}"
        self.message = message.removeprefix(f"{name}: ")
        super().__init__(f"{name}: {self.message}")


@dataclass(frozen=True, slots=True)
class Call:
    """A method call. bytes stand for base64."""

    method: str
    params: list[Any] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Credential:
    """What a caller has shown so far: the job's token if it registers, its session otherwise."""

    method: str
    secret: str = field(repr=False)


class _Document:
    """One Expat parser and its target, with every way it can fail turned into `BadXml`."""

    def __init__(self, root: str) -> None:
        self.reader = Reader()
        self._root = root
        self._expat = DefusedExpatParser(self.reader, forbid_dtd=True)  # type: ignore[arg-type] # it takes any target
        # Without this, text comes in a call per line and per buffer of 8 KiB.
        self._expat._parser.buffer_text = True  # type: ignore[attr-defined] # noqa: SLF001
        self._expat._parser.buffer_size = PIECE_BYTES  # type: ignore[attr-defined] # noqa: SLF001

    def feed(self, data: bytes | bytearray | memoryview) -> None:
        try:
            self._expat.feed(data)
        except BadXml:
            raise
        except DefusedXmlException as error:
            raise BadXml("a document type or an entity is declared") from error
        except (ExpatError, ValueError, LookupError) as error:
            raise BadXml(f"not XML: {error}") from error
        if self.reader.root not in {"", self._root}:
            raise BadXml(f"expected a {self._root}")

    def close(self) -> Reader:
        try:
            self._expat.close()
        except BadXml:
            raise
        except (DefusedXmlException, ExpatError, ValueError, LookupError) as error:
            raise BadXml(f"not XML: {error}") from error
        if not self.reader.complete:
            raise BadXml("the document is incomplete")
        return self.reader


class CallParser:
    """Parses a ``methodCall`` as it arrives.

    Examples
    --------
    >>> parser = CallParser()
    >>> parser.feed(b"<methodCall><methodName>fedcore.status</methodName><params><param><value>s3cret</value></param>")
    >>> parser.credential().method
    'fedcore.status'
    """

    def __init__(self) -> None:
        self._document = _Document("methodCall")

    @property
    def method(self) -> str:
        """Name of the method, empty until it is known."""
        return self._document.reader.method

    def feed(self, data: bytes | bytearray | memoryview) -> None:
        """Take the next bytes.

        Raises
        ------
        BadXml
            What is wrong; the parser is of no further use.
        """
        self._document.feed(data)

    def credential(self) -> Credential | None:
        """Return the caller's credential if it has come already.

        It is the first parameter, or for ``fedcore.register`` the member ``token`` of the struct, which is found before the struct ends.
        A first parameter that is no string counts as an empty, so invalid, session.
        """
        reader = self._document.reader
        if reader.method == REGISTER:
            return None if reader.token is None else Credential(REGISTER, reader.token)
        if not reader.params:
            return None
        return Credential(reader.method, reader.params[0] if isinstance(reader.params[0], str) else "")

    def close(self) -> Call:
        """End the document and return the call.

        Raises
        ------
        BadXml
            It is incomplete, or something follows it.
        """
        reader = self._document.close()
        return Call(reader.method, reader.params)


def parse_call(body: bytes) -> Call:
    """Parse a whole ``methodCall``.

    Raises
    ------
    BadXml
        What is wrong. Nothing else is raised, whatever the bytes.
    """
    parser = CallParser()
    view = memoryview(body)
    for start in range(0, len(body), PIECE_BYTES):
        parser.feed(view[start : start + PIECE_BYTES])
    return parser.close()


def parse_response(body: bytes) -> Any:
    """Return the value of a ``methodResponse``.

    Raises
    ------
    RpcFault
        The server refused the call.
    BadXml
        The bytes are no response.
    """
    document = _Document("methodResponse")
    view = memoryview(body)
    for start in range(0, len(body), PIECE_BYTES):
        document.feed(view[start : start + PIECE_BYTES])
    reader = document.close()
    if reader.fault is not None:
        raise _fault(reader.fault)
    if len(reader.params) != 1:
        raise BadXml("a response has one value")
    return reader.params[0]


def encode_call(method: str, params: Sequence[Any]) -> bytes:
    """Return a ``methodCall``.

    Raises
    ------
    TypeError, ValueError
        A value that XML-RPC cannot carry: None, an integer beyond 32 bits, a float that is not finite.
    """
    parts = [HEAD, b"<methodCall><methodName>", _escaped(method), b"</methodName><params>"]
    for param in params:
        parts.append(b"<param>")
        _encode(param, parts)
        parts.append(b"</param>")
    parts.append(b"</params></methodCall>")
    return b"".join(parts)


def encode_response(value: Any) -> bytes:
    """Return a ``methodResponse`` with one value. Raises as `encode_call` does."""
    parts = [HEAD, b"<methodResponse><params><param>"]
    _encode(value, parts)
    parts.append(b"</param></params></methodResponse>")
    return b"".join(parts)


def encode_fault(code: FaultCode | int, message: str) -> bytes:
    """Return a ``methodResponse`` that refuses. The string starts with the code's name, for people who see nothing else."""
    parts = [HEAD, b"<methodResponse><fault>"]
    _encode({"faultCode": int(code), "faultString": str(RpcFault(code, message))}, parts)
    parts.append(b"</fault></methodResponse>")
    return b"".join(parts)


def _encode(value: Any, parts: list[bytes]) -> None:
    parts.append(b"<value>")
    match value:
        case bool():
            parts.append(b"<boolean>1</boolean>" if value else b"<boolean>0</boolean>")
        case str():
            parts += (b"<string>", _escaped(value), b"</string>")
        case int():
            if not -(2**31) <= value < 2**31:
                raise ValueError(f"{value} is beyond XML-RPC's 32 bits; send it as a string")
            parts.append(b"<int>%d</int>" % value)
        case float():
            if not math.isfinite(value):
                raise ValueError("XML-RPC has no infinity and no NaN")
            parts.append(b"<double>%s</double>" % repr(value).encode())
        case bytes() | bytearray() | memoryview():
            parts += (b"<base64>", binascii.b2a_base64(value, newline=False), b"</base64>")
        case dict():
            parts.append(b"<struct>")
            for key, item in value.items():
                parts += (b"<member><name>", _escaped(key), b"</name>")
                _encode(item, parts)
                parts.append(b"</member>")
            parts.append(b"</struct>")
        case list() | tuple():
            parts.append(b"<array><data>")
            for item in value:
                _encode(item, parts)
            parts.append(b"</data></array>")
        case _:
            raise TypeError(f"XML-RPC cannot carry a {type(value).__name__}")
    parts.append(b"</value>")


def _escaped(text: str) -> bytes:
    clean = UNPRINTABLE.sub("\ufffd", text)
    return clean.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("\r", "&#13;").encode()


def _fault(value: Any) -> RpcFault:
    if not isinstance(value, dict) or not isinstance(value.get("faultCode"), int) or not isinstance(value.get("faultString"), str):
        raise BadXml("a fault has a faultCode and a faultString")
    return RpcFault(value["faultCode"], value["faultString"])
