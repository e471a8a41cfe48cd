"""Reads an XML-RPC document piece by piece into plain values, and stops at the first thing that has no business there.

``xmlrpc.client.Unmarshaller`` skips what it does not know, keeps every element, and grows with whatever comes. Here the grammar is a table,
everything is counted, and base64 is decoded as it arrives, so that a document never costs more than about its own length.
"""

from __future__ import annotations

import binascii
import math
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["MAX_DEPTH", "MAX_ELEMENTS", "BadXml", "Reader"]

MAX_ELEMENTS = 20_000
"""Elements of one document, two per number in a list: weights as lists of floats, 40 times as dear as base64, are refused by this."""
MAX_DEPTH = 40
"""Open elements. A container takes three or four, so about ten containers inside one another."""

TEXT_LIMIT = {"methodName": 128, "name": 128, "i4": 32, "int": 32, "boolean": 8, "double": 64}
TYPES = frozenset({"i4", "int", "boolean", "double", "string", "base64", "array", "struct"})
NEXT: Mapping[tuple[str, str], frozenset[str]] = {
    ("", ""): frozenset({"methodCall", "methodResponse"}),
    ("methodCall", ""): frozenset({"methodName"}),
    ("methodCall", "methodName"): frozenset({"params"}),
    ("methodResponse", ""): frozenset({"params", "fault"}),
    ("params", ""): frozenset({"param"}),
    ("params", "param"): frozenset({"param"}),
    ("param", ""): frozenset({"value"}),
    ("fault", ""): frozenset({"value"}),
    ("value", ""): TYPES,
    ("array", ""): frozenset({"data"}),
    ("data", ""): frozenset({"value"}),
    ("data", "value"): frozenset({"value"}),
    ("struct", ""): frozenset({"member"}),
    ("struct", "member"): frozenset({"member"}),
    ("member", ""): frozenset({"name"}),
    ("member", "name"): frozenset({"value"}),
}
"""What may open inside an element, given the child before it. nil, dateTime, i8 and all extensions are absent, so refused."""
LAST: Mapping[str, frozenset[str]] = {
    "methodCall": frozenset({"methodName", "params"}),
    "methodResponse": frozenset({"params", "fault"}),
    "param": frozenset({"value"}),
    "fault": frozenset({"value"}),
    "array": frozenset({"data"}),
    "member": frozenset({"value"}),
}
"""What the last child must have been when an element closes."""
TEXTUAL = frozenset({*TEXT_LIMIT, "string", "base64", "value"})
INT = re.compile(r"[+-]?[0-9]{1,10}")
DOUBLE = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,4})?")
TOKEN_DEPTH = 6
"""Open elements around a member of a struct that is a parameter itself."""


class BadXml(ValueError):  # noqa: N818 - it reads as what it is
    """The document is not an XML-RPC call or response that this protocol allows."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class _Frame:
    """One open element."""

    __slots__ = ("decoded", "last", "name", "size", "tag", "text", "value")

    def __init__(self, tag: str, value: Any) -> None:
        self.tag = tag
        self.last = ""
        self.text: list[str] = []
        self.size = 0
        self.value = value
        self.name = ""
        self.decoded: bytearray | None = bytearray() if tag == "base64" else None


class Reader:
    """Target of an Expat parser. What it has understood so far can be looked at while the document still comes in.

    Attributes
    ----------
    root : str
        ``methodCall`` or ``methodResponse``, empty before the first element.
    method : str
        Name of the method, empty until it is known.
    params : list
        The complete parameters so far.
    fault : object
        The value of a fault, or None.
    token : str or None
        The member ``token`` of a struct that is a parameter.
    complete : bool
        Whether the document has ended.
    """

    def __init__(self) -> None:
        self.root = ""
        self.method = ""
        self.params: list[Any] = []
        self.fault: Any = None
        self.token: str | None = None
        self.complete = False
        self._elements = 0
        self._stack = [_Frame("", None)]

    def xml(self, encoding: str | None, standalone: int | None) -> None:
        """Take the XML declaration; the stdlib's parser insists on telling."""

    def start(self, tag: str, attributes: Mapping[str, str]) -> None:  # noqa: ARG002 - no attribute means anything
        """Open an element."""
        self._elements += 1
        if self._elements > MAX_ELEMENTS:
            raise BadXml(f"more than {MAX_ELEMENTS} elements; weights travel as base64 or as an upload, never as lists")
        parent = self._stack[-1]
        if tag not in NEXT.get((parent.tag, parent.last), ()):
            raise BadXml(f"unexpected <{tag[:40]}> inside <{parent.tag or 'document'}>")
        if len(self._stack) > MAX_DEPTH:
            raise BadXml(f"elements nested deeper than {MAX_DEPTH}")
        if parent.tag == "value" and "".join(parent.text).strip():
            raise BadXml("a value has both text and a type")
        parent.last = tag
        if len(self._stack) == 1:
            self.root = tag
        self._stack.append(_Frame(tag, [] if tag == "data" else {} if tag == "struct" else None))

    def data(self, text: str) -> None:
        """Take text; base64 is decoded at once."""
        frame = self._stack[-1]
        if frame.decoded is not None:
            _decode(frame, text)
        elif frame.tag in TEXTUAL and not (frame.tag == "value" and frame.last):
            frame.size += len(text)
            if frame.size > TEXT_LIMIT.get(frame.tag, frame.size):
                raise BadXml(f"<{frame.tag}> is longer than {TEXT_LIMIT[frame.tag]} characters")
            frame.text.append(text)
        elif text.strip():
            raise BadXml(f"text inside <{frame.tag or 'document'}>")

    def end(self, tag: str) -> None:
        """Close an element and hand its value to the one around it."""
        frame = self._stack.pop()
        parent = self._stack[-1]
        if tag in LAST and frame.last not in LAST[tag]:
            raise BadXml(f"<{tag}> is incomplete")
        match tag:
            case "methodName":
                self.method = "".join(frame.text).strip()
            case "name":
                parent.name = "".join(frame.text)
            case "value":
                self._value(parent, frame.value if frame.last else "".join(frame.text))
            case "member":
                if frame.name in parent.value:
                    raise BadXml(f"struct member {frame.name!r} comes twice")
                parent.value[frame.name] = frame.value
                if frame.name == "token" and len(self._stack) == TOKEN_DEPTH and isinstance(frame.value, str):
                    self.token = frame.value
            case "param":
                self.params.append(frame.value)
            case "fault":
                self.fault = frame.value
            case "methodCall" | "methodResponse":
                self.complete = True
            case "array" | "data" | "struct":
                parent.value = frame.value
            case "params":
                pass
            case _:
                parent.value = _scalar(frame)

    @staticmethod
    def _value(parent: _Frame, value: Any) -> None:
        if parent.tag == "data":
            parent.value.append(value)
        else:
            parent.value = value


def _decode(frame: _Frame, text: str) -> None:
    """Decode as many whole groups of four as there are; what is left waits for the next piece."""
    assert frame.decoded is not None
    waiting = "".join([*frame.text, *text.split()])
    if waiting and frame.value == "padded":
        raise BadXml("base64 goes on after its padding")
    whole = len(waiting) - len(waiting) % 4
    frame.text = [waiting[whole:]]
    if not whole:
        return
    try:
        frame.decoded += binascii.a2b_base64(waiting[:whole], strict_mode=True)
    except ValueError as error:
        raise BadXml(f"not base64: {error}") from error
    if waiting[whole - 1] == "=":
        frame.value = "padded"


def _scalar(frame: _Frame) -> object:
    if frame.decoded is not None:
        if frame.text and frame.text[0]:
            raise BadXml("base64 ends inside a group of four")
        return bytes(frame.decoded)
    text = "".join(frame.text)
    if frame.tag == "string":
        return text
    text = text.strip()
    if frame.tag == "boolean":
        if text not in {"0", "1"}:
            raise BadXml("a boolean is 0 or 1")
        return text == "1"
    if frame.tag == "double":
        number = float(text) if DOUBLE.fullmatch(text) else math.nan
        if not math.isfinite(number):
            raise BadXml("a double is a finite number")
        return number
    whole = int(text) if INT.fullmatch(text) else 2**31
    if not -(2**31) <= whole < 2**31:
        raise BadXml("an int lies within 32 bits; larger counts travel as strings")
    return whole
