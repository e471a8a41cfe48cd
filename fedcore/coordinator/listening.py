"""Listening sockets for a name or address, IPv4 and IPv6."""

from __future__ import annotations

import errno
import socket

__all__ = ["ANY_IPV4", "listen"]

ANY_IPV4 = "0.0.0.0"  # noqa: S104 - only where the caller has asked for all interfaces
NO_SUCH_ADDRESS = frozenset({errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT})


def listen(host: str, port: int, backlog: int) -> list[socket.socket]:
    """Return non-blocking listeners for every address of ``host``; empty and ``::`` take all interfaces, of both families.

    Raises
    ------
    OSError
        The address cannot be used; its text says which and why.
    """
    if host in {"", "::"} and socket.has_dualstack_ipv6():
        try:
            return [_non_blocking(socket.create_server(("::", port), family=socket.AF_INET6, backlog=backlog, dualstack_ipv6=True))]
        except OSError as error:
            if error.errno not in NO_SUCH_ADDRESS or host:
                raise
    listeners: list[socket.socket] = []
    infos = socket.getaddrinfo(host or ANY_IPV4, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    missing: OSError | None = None
    for family, address in dict.fromkeys((info[0], str(info[4][0])) for info in infos):
        try:
            listeners.append(_non_blocking(socket.create_server((address, port), family=family, backlog=backlog)))
        except OSError as error:
            if error.errno not in NO_SUCH_ADDRESS:
                for listener in listeners:
                    listener.close()
                raise
            missing = error
        else:
            port = listeners[0].getsockname()[1]
    if not listeners:
        assert missing is not None
        raise missing
    return listeners


def _non_blocking(listener: socket.socket) -> socket.socket:
    listener.setblocking(False)
    return listener
