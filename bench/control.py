"""What a round costs without FedCore: the same bytes over plain stdlib HTTP, or over raw TLS, summed in float32.

The floor that ratios are taken against: no retries, no registry, no checks, no exact sum, nothing written to disk. As in the real round,
N worker processes fetch the model, add a small number, and send it back in pieces of 256 KiB; the server process sums pieces as they come
and divides at the end. All memory is allocated once.
"""

from __future__ import annotations

import http.client
import http.server
import multiprocessing
import socket
import ssl
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.echo import add_small
from bench.figures import TICK_SECONDS, cpu_seconds

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.connection import Connection
    from pathlib import Path

__all__ = ["PIECE", "Certificate", "control_round"]

PIECE = 256 * 1024
TIMEOUT_SECONDS = 300
SPAWN = multiprocessing.get_context("spawn")


@dataclass(frozen=True, slots=True)
class Certificate:
    """Files for TLS: the server's pair, and the authority its clients trust."""

    cert: Path
    key: Path
    authority: Path


class Rounds:
    """The model, and the sum of the round that is open."""

    def __init__(self, workers: int, values: int) -> None:
        self.model = np.random.default_rng(0).standard_normal(values, np.float32)
        self.bytes = self.model.view(np.uint8).data
        self.ends: list[float] = []
        self._sum = np.zeros(values, np.float32)
        self._workers, self._missing = workers, workers
        self._changed = threading.Condition()
        self._adding = threading.Lock()

    def wait_for(self, round_number: int) -> None:
        """Wait until this round is open."""
        with self._changed:
            self._changed.wait_for(lambda: len(self.ends) >= round_number, TIMEOUT_SECONDS)

    def take(self, receive: Callable[[memoryview], int]) -> None:
        """Receive an update and add it; the last one of a round makes the new model."""
        piece = memoryview(bytearray(PIECE))
        scratch = np.empty(PIECE // 4, np.float32)
        size, received = len(self.bytes), 0
        while received < size:
            part = piece[: min(PIECE, size - received)]
            filled = 0
            while filled < len(part):
                filled += receive(part[filled:])
            values = np.frombuffer(part, np.float32)
            np.multiply(values, np.float32(100.0), out=scratch[: values.size])
            start = received // 4
            with self._adding:
                self._sum[start : start + values.size] += scratch[: values.size]
            received += len(part)
        with self._changed:
            self._missing -= 1
            if not self._missing:
                np.divide(self._sum, np.float32(100.0 * self._workers), out=self.model)
                self._sum[:] = 0
                self._missing = self._workers
                self.ends.append(time.monotonic())
                self._changed.notify_all()


def serve_http(rounds: Rounds, ready: Connection) -> Any:
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            rounds.wait_for(int(self.path.rpartition("/")[2]))
            self.send_response(200)
            self.send_header("Content-Length", str(len(rounds.bytes)))
            self.end_headers()
            for start in range(0, len(rounds.bytes), PIECE):
                self.wfile.write(rounds.bytes[start : start + PIECE])

        def do_PUT(self) -> None:
            rounds.take(self.rfile.readinto)
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None: ...

    class Server(http.server.ThreadingHTTPServer):
        request_queue_size = 1024

    server = Server(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    ready.send(server.server_port)
    return server


def serve_tls(rounds: Rounds, ready: Connection, count: int, certificate: Certificate) -> Any:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate.cert, certificate.key)
    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)

    def converse(plain: socket.socket) -> None:
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with context.wrap_socket(plain, server_side=True) as sock:
            for number in range(count):
                rounds.wait_for(number)
                for start in range(0, len(rounds.bytes), PIECE):
                    sock.sendall(rounds.bytes[start : start + PIECE])
                rounds.take(sock.recv_into)

    def accept() -> None:
        while True:
            threading.Thread(target=converse, args=(listener.accept()[0],), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    ready.send(listener.getsockname()[1])
    return listener


def serve(pipe: Connection, workers: int, values: int, count: int, certificate: Certificate | None) -> None:
    rounds = Rounds(workers, values)
    server = serve_http(rounds, pipe) if certificate is None else serve_tls(rounds, pipe, count, certificate)
    rounds.wait_for(1)
    pipe.send("warm")
    rounds.wait_for(count)
    pipe.send(rounds.ends)
    pipe.recv()
    del server


def work_http(port: int, index: int, values: int, count: int) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_SECONDS, blocksize=PIECE)
    connection.connect()
    model = np.empty(values, np.float32)
    body = model.view(np.uint8).data
    for number in range(count):
        connection.request("GET", f"/model/{number}")
        answer, received = connection.getresponse(), 0
        while got := answer.readinto(body[received : received + PIECE]):
            received += got
        answer.read()
        add_small(model, np.float32(1e-4 * (index + 1)))
        connection.putrequest("PUT", f"/update/{number}")
        connection.putheader("Content-Length", str(len(body)))
        connection.endheaders()
        for start in range(0, len(body), PIECE):
            connection.send(body[start : start + PIECE])
        connection.getresponse().read()


def work_tls(port: int, index: int, values: int, count: int, certificate: Certificate) -> None:
    context = ssl.create_default_context(cafile=str(certificate.authority))
    plain = socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT_SECONDS)
    plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    model = np.empty(values, np.float32)
    body = model.view(np.uint8).data
    with context.wrap_socket(plain, server_hostname="127.0.0.1") as sock:
        for _ in range(count):
            received = 0
            while received < len(body):
                received += sock.recv_into(body[received : received + PIECE])
            add_small(model, np.float32(1e-4 * (index + 1)))
            for start in range(0, len(body), PIECE):
                sock.sendall(body[start : start + PIECE])


def control_round(workers: int, megabytes: float, count: int, certificate: Certificate | None = None) -> dict[str, float]:
    """Run ``count`` rounds after one that is not counted, and return their mean duration and processor time in seconds."""
    values = int(megabytes * 1e6 / 4)
    ours, theirs = SPAWN.Pipe()
    server = SPAWN.Process(target=serve, args=(theirs, workers, values, count + 1, certificate))
    server.start()
    processes = [server]
    try:
        port = ours.recv()
        target, more = (work_http, ()) if certificate is None else (work_tls, (certificate,))
        for index in range(workers):
            processes.append(SPAWN.Process(target=target, args=(port, index, values, count + 1, *more)))
            processes[-1].start()
        pids = [process.pid or 0 for process in processes]
        ours.recv()
        warm = cpu_seconds(pids)
        if not ours.poll(TIMEOUT_SECONDS):
            raise SystemExit("the control did not finish in time")
        ends = ours.recv()
        cpu = cpu_seconds(pids) - warm
        ours.send("done")
        for process in processes:
            process.join(TIMEOUT_SECONDS)
    finally:
        for process in processes:
            process.kill()
    return {"round_s": (ends[-1] - ends[0]) / count, "cpu_s": max(cpu, TICK_SECONDS) / count}  # a short run may be below the clock
