"""What a client may cost the server, in one place. The defaults hold for a thousand workers; tests make the clocks shorter."""

from __future__ import annotations

import resource
from dataclasses import dataclass

from fedcore.wire.protocol import INLINE_LIMIT_BYTES

__all__ = ["Limits", "Pace"]

RESERVED_DESCRIPTORS = 256
"""Kept for files, the spool and the metrics port."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """The slowest a body may move, in either direction: an average, after a grace for the start.

    It holds for the whole body and, where that is long, for each piece of it too: what has moved fast buys no time to stand still.
    """

    bytes_per_second: float = 64 * 1024
    grace_seconds: float = 10.0

    def deadline(self, started: float, moved: int) -> float:
        """Return the monotonic second until which the next byte has to move."""
        return started + self.grace_seconds + moved / self.bytes_per_second


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds of one server."""

    pace: Pace = Pace()
    head_seconds: float = 10.0
    """A request's head has to arrive within this time, on a new connection from its first moment."""
    head_bytes: int = 32 * 1024
    idle_seconds: float = 300.0
    """A connection whose client has shown a valid credential may rest this long between requests; others have ``head_seconds``."""
    early_bytes: int = 64 * 1024
    """How much of a call is read before its credential must have been seen."""
    anonymous_bytes: int = 32 * 2**20
    """Sum over all connections of what calls without a credential yet may hold."""
    rpc_bytes: int = 2**20
    """Longest call, except ``fedcore.submit`` with a valid session."""
    inline_bytes: int = INLINE_LIMIT_BYTES
    """Largest model inside a call or an answer, before base64."""
    inline_slots: int = 2
    """Calls with inline weights read and parsed at once, and as many answers with inline weights: each costs several times the model."""
    upload_slots: int = 8
    """Uploads received at once, each by a thread. More threads than cores gain nothing on a fast network; what waits costs no memory."""
    download_slots: int = 8
    queue_seconds: float = 60.0
    """Longest wait for a slot before the client is told to come again."""
    linger_seconds: float = 2.0
    """After a refusal the rest of the body is thrown away for so long, so that the client gets to see the answer."""
    linger_bytes: int = 64 * 2**20
    backlog: int = 1024
    max_connections: int | None = None
    """None: as many as the process may have open files, less a reserve."""

    @property
    def connections(self) -> int:
        """Connections that may be open at once."""
        if self.max_connections is not None:
            return self.max_connections
        soft, _hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        ceiling = 65_536 if soft == resource.RLIM_INFINITY else min(soft, 65_536)
        return max(ceiling - RESERVED_DESCRIPTORS, ceiling // 2)

    @property
    def idle_strangers(self) -> int:
        """Connections without a valid credential that may rest, or hold back a call, at once; beyond it the oldest goes. Half of all."""
        return self.connections // 2

    @property
    def inline_call_bytes(self) -> int:
        """Longest ``fedcore.submit``: base64 adds a third, line breaks and the struct a little."""
        return self.rpc_bytes + int(1.4 * self.inline_bytes)
