"""What a page is made of: text, tables, and pictures as data. `fedcore.report.page` makes HTML of it."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["Page", "Picture", "Table", "number", "picture", "size", "span"]

_MOST_SVG_BYTES = 200_000
"""A larger drawing goes into the page as PNG, so that a page has a bound whatever the run was."""
_UNITS = ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"))


@dataclass(frozen=True, slots=True)
class Table:
    """A table; ``words``: its cells are text, not numbers."""

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""
    words: bool = False


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture; ``source`` is a data URL."""

    name: str
    source: str
    caption: str


@dataclass(frozen=True, slots=True)
class Page:
    """What a page says, in this order."""

    title: str
    heading: str
    phase: str = ""
    ending: str = ""
    notes: Sequence[str] = ()
    facts: Sequence[tuple[str, str]] = ()
    lead: Sequence[Table] = ()
    pictures: Sequence[Picture] = ()
    tables: Sequence[Table] = ()
    job: str = ""


def picture(name: str, files: Mapping[str, bytes], caption: str) -> Picture:
    """Return a plot as it goes into a page: sharp at any size, unless that would be large."""
    kind, mime = ("svg", "image/svg+xml") if len(files["svg"]) <= _MOST_SVG_BYTES else ("png", "image/png")
    return Picture(name, f"data:{mime};base64,{base64.b64encode(files[kind]).decode()}", caption)


def number(value: float | None, digits: int = 4) -> str:
    """Return a number for people; nothing for one that is not known."""
    if value is None:
        return ""
    return str(value) if isinstance(value, int) else f"{value:.{digits}g}" if abs(value) < 10**digits else f"{value:.0f}"


def size(octets: float | None) -> str:
    """Return an amount of bytes."""
    if octets is None:
        return ""
    scale, unit = next(((scale, unit) for scale, unit in _UNITS if octets >= scale), (1.0, "B"))
    return f"{octets / scale:.3g} {unit}"


def span(seconds: float | None) -> str:
    """Return a length of time."""
    if seconds is None:
        return ""
    if seconds < 120:
        return f"{seconds:.3g} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"
