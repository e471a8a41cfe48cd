"""What tells that a file has changed since it was last looked at."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Stamp", "stamp"]

Stamp: TypeAlias = tuple[int, int, int] | None
"""None while there is no such file."""


def stamp(path: Path) -> Stamp:
    """Look at a file. Taken before it is read: what changes between the two is read twice, what changes after them is not missed."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino
