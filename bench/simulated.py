"""Simulated workers, real protocol: as many as asked for in one process, each with a connection of its own to the real coordinator.

They register, park polls, fetch every version to its last byte and send a whole update back; only training is left out, and what they send
is the same file each time. A thousand worker processes would measure the machine's memory, not the coordinator.
"""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import resource
import ssl
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import numpy as np
import safetensors.numpy

from bench.control import PIECE
from bench.echo import SAMPLES, TENSOR_VALUES
from fedcore.wire.protocol import REPORT_HEADER, RPC_PATH, UpdateReport, uploads_path
from fedcore.wire.xmlrpc import RpcFault, encode_call, parse_response

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from bench.job import Coordinator

__all__ = ["simulated_workers"]

POLL_SECONDS = 60.0
CONNECTING_AT_ONCE = 256
"""So many handshakes may be under way: the backlog of the machine, not of the coordinator, is the bound."""


class Connection:
    """HTTP/1.1 with keep-alive, as much of it as the protocol needs."""

    def __init__(self, host: str, port: int, tls: ssl.SSLContext | None) -> None:
        self._place = host, port
        self._tls = tls
        self._reader: asyncio.StreamReader
        self._writer: asyncio.StreamWriter

    async def open(self) -> None:
        name = None if self._tls is None else self._place[0]
        self._reader, self._writer = await asyncio.open_connection(*self._place, limit=PIECE, ssl=self._tls, server_hostname=name)

    async def request(self, method: str, path: str, headers: dict[str, str], body: memoryview) -> tuple[int, int]:
        """Send a request, and return status and length of the answer, whose body is then to be read."""
        lines = [f"{method} {path} HTTP/1.1", "Host: coordinator", f"Content-Length: {len(body)}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        self._writer.write("\r\n".join([*lines, "", ""]).encode())
        for start in range(0, len(body), PIECE):
            self._writer.write(body[start : start + PIECE])
            await self._writer.drain()
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode().lower()
        return int(head.split(" ", 2)[1]), int(head.partition("content-length:")[2].partition("\r\n")[0])

    async def call(self, name: str, *params: Any) -> Any:
        _, length = await self.request("POST", RPC_PATH, {"Content-Type": "text/xml"}, memoryview(encode_call(name, list(params))))
        return parse_response(await self._reader.readexactly(length))

    async def fetch(self, path: str, session: str) -> None:
        status, length = await self.request("GET", path, {"Authorization": f"Bearer {session}"}, memoryview(b""))
        if status != 200:
            raise RuntimeError(f"GET {path}: {status}")
        while length:
            length -= len(await self._reader.read(min(length, PIECE)))

    async def upload(self, number: int, base: str, session: str, body: memoryview) -> None:
        headers = {"Authorization": f"Bearer {session}", "Fedcore-Base": base}
        headers[REPORT_HEADER] = UpdateReport(base=base, samples=SAMPLES).to_header()
        status, length = await self.request("PUT", uploads_path(number), headers, body)
        answer = await self._reader.readexactly(length)
        if status not in {201, 409}:
            raise RuntimeError(f"PUT round {number}: {status} {answer[:200]!r}")

    def close(self) -> None:
        self._writer.close()


async def live(index: int, url: str, token: str, body: memoryview, tls: ssl.SSLContext | None, gate: asyncio.Semaphore) -> None:
    """Be one worker until told to stop."""
    place = urlsplit(url)
    connection = Connection(place.hostname or "", place.port or 0, tls)
    async with gate:
        await connection.open()
    hello = {"protocol": "1", "name": f"worker-{index}", "index": index, "attempt": 1, "instance": f"simulated-{index}"}
    hello |= {"samples": SAMPLES, "client": "simulated", "token": token, "tasks": ["train", "init"]}
    session = (await connection.call("fedcore.register", hello))["session"]
    with contextlib.suppress(RpcFault, asyncio.IncompleteReadError, ConnectionError):  # the job is over, and its coordinator may be gone
        while (task := await connection.call("fedcore.next_task", session, POLL_SECONDS))["kind"] != "stop":
            if task["kind"] == "wait":
                continue
            base = task.get("base", {}).get("id", "")
            if base:
                await connection.fetch(task["base"]["href"], session)
            await connection.upload(task["round"], base, session, body)
    connection.close()


def run(url: str, token: str, workers: int, megabytes: float, authority: Path | None) -> None:
    """Run all of them in this process."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 4 * workers)), hard))
    values = int(megabytes * 1e6 / 4)
    sizes = [TENSOR_VALUES] * (values // TENSOR_VALUES) + [values % TENSOR_VALUES]
    random = np.random.default_rng(0)
    tensors = {f"layer{place:04d}.weight": random.standard_normal(size, np.float32) for place, size in enumerate(sizes) if size}
    body = memoryview(safetensors.numpy.save(tensors))
    tls = None if authority is None else ssl.create_default_context(cafile=str(authority))

    async def all_of_them() -> None:
        gate = asyncio.Semaphore(CONNECTING_AT_ONCE)
        async with asyncio.TaskGroup() as group:
            for index in range(workers):
                group.create_task(live(index, url, token, body, tls, gate))

    asyncio.run(all_of_them())


@contextlib.contextmanager
def simulated_workers(coordinator: Coordinator, workers: int, megabytes: float) -> Iterator[int]:
    """Start them in a process of their own, whose id this yields, and end it with the block."""
    token = coordinator.token.read_text("utf-8")
    authority = None if coordinator.certificate is None else coordinator.certificate.authority
    context = multiprocessing.get_context("spawn")
    process = context.Process(target=run, args=(coordinator.url, token, workers, megabytes, authority))
    process.start()
    began = time.monotonic()
    assert process.pid is not None
    try:
        yield process.pid
        process.join(max(10.0, 60.0 - (time.monotonic() - began)))
    finally:
        process.kill()
        process.join()
