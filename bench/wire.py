"""Bytes on the wire: ``python -m bench wire``. A relay between workers and coordinator counts what passes, each way.

Counted from the opening of the first round to the end of the job, calls and heads included, against the bytes of the parameters that had
to go: one model a worker and round, each way.
"""

from __future__ import annotations

import contextlib
import socket
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

from bench.certificate import make_certificate
from bench.control import PIECE
from bench.figures import machine, tell
from bench.job import echo_job, start_coordinator, start_workers

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["measure_wire"]

ROUNDS = 5


class Relay:
    """Passes connections on, and counts bytes by direction."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port = self._listener.getsockname()[1]
        self.up = self.down = 0
        self._counting = threading.Lock()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self._target))
                threading.Thread(target=self._pass, args=(client, server, True), daemon=True).start()
                threading.Thread(target=self._pass, args=(server, client, False), daemon=True).start()

    def _pass(self, source: socket.socket, target: socket.socket, up: bool) -> None:  # noqa: FBT001 - a thread's argument
        buffer = memoryview(bytearray(PIECE))
        with contextlib.suppress(OSError):
            while count := source.recv_into(buffer):
                with self._counting:
                    self.up += count if up else 0
                    self.down += 0 if up else count
                target.sendall(buffer[:count])
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._listener.close()


@contextlib.contextmanager
def relay(port: int) -> Iterator[Relay]:
    found = Relay(port)
    try:
        yield found
    finally:
        found.close()


def measure_wire(workers: int, megabytes: float, *, tls: bool) -> dict[str, Any]:
    """Run one job through the relay, and return the bytes each way."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="fedcore-bench-")))
        certificate = make_certificate(folder) if tls else None
        coordinator = stack.enter_context(start_coordinator(echo_job(workers, megabytes, ROUNDS), certificate))
        place = urlsplit(coordinator.url)
        between = stack.enter_context(relay(place.port or 0))
        through = urlunsplit(place._replace(netloc=f"{place.hostname}:{between.port}"))
        stack.enter_context(start_workers(coordinator, workers, through))
        coordinator.wait_for("round_opened", 300, round=1)
        up, down = between.up, between.down
        coordinator.wait_for("run_finished", 900, phase="Succeeded")
        up, down = between.up - up, between.down - down
    needed = ROUNDS * workers * int(megabytes * 1e6 / 4) * 4
    tell(f"wire {workers} x {megabytes:g} MB: up {up / needed:.5f}, down {down / needed:.5f} times the parameters")
    return {
        "bench": "wire",
        "workers": workers,
        "mb": megabytes,
        "tls": tls,
        "rounds": ROUNDS,
        "up_bytes": up,
        "down_bytes": down,
        "parameter_bytes": needed,
        "up_ratio": round(up / needed, 5),
        "down_ratio": round(down / needed, 5),
        **machine(),
    }
