"""Ports on loopback: the well-known ones when they are free, any other where nobody asked for a certain one."""

from __future__ import annotations

import socket
from dataclasses import dataclass

__all__ = ["METRICS_PORT", "RPC_PORT", "PortInUseError", "Reserved", "reserve"]

LOOPBACK = "127.0.0.1"
RPC_PORT = 8470
METRICS_PORT = 9464


class PortInUseError(Exception):
    """A port that was asked for is taken."""


@dataclass(frozen=True, slots=True)
class Reserved:
    """A port that no other run of this machine takes while ``claim`` is open; the coordinator binds it itself, at each of its starts."""

    port: int
    claim: socket.socket

    def release(self) -> None:
        """Give the port up."""
        self.claim.close()


def reserve(asked: int | None, usual: int) -> Reserved:
    """Find a port for the coordinator.

    Parameters
    ----------
    asked
        The port that was asked for, None if any will do.
    usual
        The port to take if it is free and none was asked for.

    Raises
    ------
    PortInUseError
        The port that was asked for is in use.
    """
    if asked:
        reserved = _try(asked)
        if reserved is None:
            raise PortInUseError(f"port {asked} on {LOOPBACK} is in use; choose another, or leave it out to take a free one")
        return reserved
    reserved = _try(usual) if asked is None else None
    while reserved is None:
        with socket.socket() as probe:
            probe.bind((LOOPBACK, 0))
            number = probe.getsockname()[1]
        reserved = _try(number)
    return reserved


def _try(port: int) -> Reserved | None:
    # The coordinator is not there yet, and is away between two attempts: until it listens, only a name tells other runs that its port
    # is taken. An abstract socket's name goes away with its process, however that ends.
    claim = socket.socket(socket.AF_UNIX)
    try:
        claim.bind(f"\0fedcore-port-{port}")
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the server does: connections that linger do not matter
            probe.bind((LOOPBACK, port))
            probe.listen()
    except OSError:
        claim.close()
        return None
    return Reserved(port, claim)
