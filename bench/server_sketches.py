"""The servers that ``bench.server_model`` compares: two sketches, and FedCore's own with the least application behind it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import tempfile
import threading
import zlib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np

from fedcore.coordinator.http import Limits, Server, WeightsFile
from fedcore.wire.protocol import UploadReply
from fedcore.wire.xmlrpc import encode_response, parse_call

__all__ = ["SERVERS", "SESSION"]

PIECE = 256 * 1024
SESSION = "s"


def usage() -> dict[str, Any]:
    """Say what this process has cost so far."""
    spent = resource.getrusage(resource.RUSAGE_SELF)
    peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return {"cpu_s": spent.ru_utime + spent.ru_stime, "peak_mb": int(peak.split()[1]) * 1024 / 1e6, "threads": threading.active_count()}


class Spooled:
    """What is done with the pieces of one upload."""

    def __init__(self, *, check: bool = True) -> None:
        self.check = check  # FedCore's server has taken the checksum itself
        self.checksum, self.file = 0, tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 - closed with its last reference

    def write(self, piece: memoryview) -> None:
        self.checksum = zlib.crc32(piece, self.checksum) if self.check else 0
        np.frombuffer(piece[: len(piece) // 4 * 4], np.uint32).max(initial=0)
        self.file.write(piece)

    async def finish(self, crc32: int) -> tuple[int, UploadReply]:
        return 201, UploadReply(crc32=crc32)


def serve_threads(model: Path, ready: Any) -> None:
    parked = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            if parse_call(self.rfile.read(int(self.headers["Content-Length"]))).method == "fedcore.next_task":
                parked.wait()
            self._answer(encode_response(usage()))

        def do_PUT(self) -> None:
            left, sink, buffer = int(self.headers["Content-Length"]), Spooled(), memoryview(bytearray(PIECE))
            while left:
                count = self.rfile.readinto(buffer[: min(left, PIECE)])
                sink.write(buffer[:count])
                left -= count
            self._answer(b"%d" % sink.checksum)

        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(model.stat().st_size))
            self.end_headers()
            buffer = memoryview(bytearray(PIECE))
            with model.open("rb", buffering=0) as file:
                while count := file.readinto(buffer):
                    self.wfile.write(buffer[:count])

        def _answer(self, body: bytes) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    ThreadingHTTPServer.request_queue_size = 1024
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        ready.send(server.server_port)
        server.serve_forever()


async def streams(model: Path, ready: Any) -> None:
    file = os.open(model, os.O_RDONLY)
    size = os.fstat(file).st_size

    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0] or 0)
                if head.startswith(b"GET"):
                    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
                    for start in range(0, size, PIECE):
                        writer.write(os.pread(file, PIECE, start))
                        await writer.drain()
                    continue
                if head.startswith(b"PUT"):
                    sink = Spooled()
                    while length:
                        piece = await reader.read(min(length, PIECE))
                        sink.write(memoryview(piece))
                        length -= len(piece)
                    body = b"%d" % sink.checksum
                else:
                    if parse_call(await reader.readexactly(length)).method == "fedcore.next_task":
                        await asyncio.Event().wait()
                    body = encode_response(usage())
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))

    server = await asyncio.start_server(client, "127.0.0.1", 0, limit=PIECE, backlog=1024)
    ready.send(server.sockets[0].getsockname()[1])
    await server.serve_forever()


class Pooled:
    """The least application behind FedCore's server; no rounds, one session."""

    def __init__(self, model: Path) -> None:
        self.model = model

    async def rpc(self, method: str, params: list[Any], waiting: Any) -> Any:  # noqa: ARG002 - what the server hands over
        if method == "fedcore.next_task":
            await asyncio.Event().wait()
        return usage()

    async def upload(self, *_: Any) -> Spooled:
        return Spooled(check=False)

    async def weights(self, *_: Any) -> WeightsFile:
        return WeightsFile(self.model, "b")

    heard = refused = lambda *_: None
    authenticate = check_token = lambda *_: True


async def pooled(model: Path, ready: Any) -> None:
    server = Server("127.0.0.1", 0, Pooled(model), Limits())
    await server.start()
    ready.send(server.port)
    await asyncio.Event().wait()


def serve_asyncio(model: Path, ready: Any) -> None:
    asyncio.run(streams(model, ready))


def serve_pool(model: Path, ready: Any) -> None:
    asyncio.run(pooled(model, ready))


SERVERS = {"threads": serve_threads, "asyncio": serve_asyncio, "pool": serve_pool}
